"""What makes the actors run: base actor, switchboard, dispatchers, timers, clocks. No trading rule lives here."""

"""What a person sees on a terminal while the engine runs. `live.py` says when it is drawn, `panels.py` what."""

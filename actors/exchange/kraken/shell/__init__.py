"""What KrakenActor does, layer upon layer: calling, asking, wishing; the line and the rest stand in actor.py."""

"""The shell of OrderActor in layers: desk, sending, guarding, settling, requests; `actor.py` stands on top."""

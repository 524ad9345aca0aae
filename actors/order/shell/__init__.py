"""The shell of OrderActor in layers: desk, sending, guarding, booking, settling, adopting, surveying, requests.

`actor.py` stands on top.
"""

"""The shell of OrderActor in layers: desk, sending, guarding, settling, adopting, requests.

`actor.py` stands on top.
"""

"""The shell of OrderActor in layers, `actor.py` on top of them.

desk, sending, guarding, booking, settling, adopting, surveying, reconciling, requests.
"""

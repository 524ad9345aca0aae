"""OrderActor: every order and its state machine, and which order protects what.

Read in order: lifecycle.py (the seven states), sizing.py, protection.py (what a position needs), actor.py.
"""

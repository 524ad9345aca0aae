"""OrderActor: every order and its state machine, and which order protects what.

Read in order: lifecycle.py (the seven states), sizing.py and intents.py (what is asked for), protection.py (what a
position needs), book.py (what is remembered), adoption.py (what was forgotten); then actor.py (what is heard) and,
layer by layer, shell/.
"""

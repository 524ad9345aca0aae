"""Positions: what is held, what it has earned, and which prices matter to it."""

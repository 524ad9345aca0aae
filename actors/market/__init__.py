"""Prices: the actor that passes them on, and the sources they come from (files, a seeded random walk)."""

"""Kraken itself: its words, its ways, and the actor that speaks for us there."""

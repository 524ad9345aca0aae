"""Tests of actors/position."""

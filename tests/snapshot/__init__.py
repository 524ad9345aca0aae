"""Tests of actors/snapshot."""

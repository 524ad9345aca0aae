"""The worlds of the scenarios: an actor is seen at work in the whole machine, on both dispatchers."""

from tests.scenarios.conftest import world, worlds

__all__ = ["world", "worlds"]

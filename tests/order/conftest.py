"""The worlds of the scenarios: a found defect is told as a story, on both dispatchers."""

from tests.scenarios.conftest import world, worlds

__all__ = ["world", "worlds"]

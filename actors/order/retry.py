"""How long to wait before trying again: exponential backoff, capped."""

from __future__ import annotations


def backoff_us(failures: int, first_ms: int, longest_ms: int) -> int:
    """Return the wait after the `failures`-th failure in a row (from 1): doubling, never above `longest_ms`."""
    doublings = min(failures - 1, 32)
    return min(first_ms << doublings, longest_ms) * 1000

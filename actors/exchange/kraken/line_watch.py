"""Watching a line: whether it is silent, and when the next one may be opened."""

from __future__ import annotations

from actors.exchange.kraken.notation import MICROSECONDS

AGAIN_FIRST_S, AGAIN_LONGEST_S = 1, 30
"""Waits before the line is opened again: they double. Kraken bans who tries more than 150 times in ten minutes."""
DOUBLINGS_MAX = 5


class LineWatch:
    """What one line after another has let us hear."""

    def __init__(self, quiet_max_s: int, now_us: int) -> None:
        self._quiet_max_us = quiet_max_s * MICROSECONDS
        self._heard_us = now_us
        self._again_us = 0
        self._failures = 0
        """In a row."""

    def hears(self, now_us: int) -> None:
        """Note that something came."""
        self._heard_us = now_us

    def is_silent(self, now_us: int) -> bool:
        """Say whether nothing has come for too long."""
        return now_us - self._heard_us >= self._quiet_max_us

    def silent_s(self, now_us: int) -> int:
        """Return for how many seconds nothing has come."""
        return (now_us - self._heard_us) // MICROSECONDS

    def may_open(self, now_us: int) -> bool:
        """Say whether the wait after the last failure is over."""
        return now_us >= self._again_us

    def fails(self, now_us: int, *, at_once: bool = False) -> int:
        """Note that a line is down; return after how many seconds the next one may be opened."""
        wait_s = 0 if at_once else min(AGAIN_LONGEST_S, AGAIN_FIRST_S << min(self._failures, DOUBLINGS_MAX))
        self._failures += 1
        self._again_us = now_us + wait_s * MICROSECONDS
        return wait_s

    def succeeds(self) -> None:
        """Note that a line does what it is for: the next failure is the first."""
        self._failures = 0

"""The two clocks: stepped from tick to tick, or running beside the wall clock.

All instants are whole microseconds since 1970 (UTC), on the prices' clock: in a replay it is
the time of the recording, in live trading it is the wall clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Says what time it is on the prices' clock."""

    def now_us(self) -> int:
        """Return the present instant."""
        ...


class SteppedClock:
    """Stands still until it is told to advance: one instant, one state, every run."""

    def __init__(self, start_us: int = 0) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        """Return the instant it was last advanced to."""
        return self._now_us

    def advance_to(self, instant_us: int) -> None:
        """Move forward; an earlier instant leaves it where it is."""
        self._now_us = max(self._now_us, instant_us)


class PacedClock:
    """Runs `speed` times as fast as the monotonic clock, from `start_us`."""

    def __init__(self, start_us: int, speed: int) -> None:
        self._start_us = start_us
        self._speed = speed
        self._origin_ns = time.monotonic_ns()

    def now_us(self) -> int:
        """Return where the prices' clock has come."""
        return self._start_us + (time.monotonic_ns() - self._origin_ns) * self._speed // 1000

    def wall_us_until(self, instant_us: int) -> int:
        """Return how long a person has to wait for `instant_us`; never negative."""
        return max(0, (instant_us - self.now_us()) // self._speed)


def as_datetime(instant_us: int) -> datetime:
    """Return the instant as an aware datetime, exact to the microsecond."""
    return EPOCH + timedelta(microseconds=instant_us)


def as_instant_us(moment: datetime) -> int:
    """Return an aware datetime as an instant, exact to the microsecond."""
    return (moment - EPOCH) // timedelta(microseconds=1)

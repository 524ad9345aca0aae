"""A counter in whole numbers that calls lift and time lowers: what would lift it above its limit must wait.

Unit: the grain. A point is 1,000,000,000 grains, so a decay of n thousandths of a point each second is exactly n grains
each microsecond and nothing is ever rounded. A millipoint, in which calls are charged, is 1,000,000 grains.
"""

from __future__ import annotations

GRAINS = 1_000_000
"""Grains in a millipoint."""
NEVER_US = 10**18
"""Later than any instant."""


class PointCounter:
    """Empty at first. Time only moves forward here: an earlier instant than the last one lowers nothing."""

    __slots__ = ("_at_us", "_decay", "_level", "_limit")

    def __init__(self, *, limit_milli: int, decay_milli_per_s: int, now_us: int) -> None:
        if limit_milli < 1 or decay_milli_per_s < 1:
            raise ValueError(
                f"a counter needs a limit and a decay of 1 at least, not {limit_milli} and {decay_milli_per_s}"
            )
        self._limit = limit_milli * GRAINS
        self._decay = decay_milli_per_s
        self._level = 0
        self._at_us = now_us

    def decay(self, now_us: int) -> None:
        """Lower it by what has run out until `now_us`. Before the end of a pause nothing does."""
        if now_us > self._at_us:
            self._level = max(0, self._level - (now_us - self._at_us) * self._decay)
            self._at_us = now_us

    def ready_at_us(self, cost_milli: int, kept_milli: int = 0) -> int:
        """Return the first instant at which this cost has room and leaves `kept_milli`, if nothing is spent before."""
        room = self._limit - (cost_milli + kept_milli) * GRAINS
        if room < 0:
            return NEVER_US
        return self._at_us if self._level <= room else self._at_us - (room - self._level) // self._decay

    def spend(self, cost_milli: int) -> None:
        """Lift it by a cost that has room."""
        level = self._level + cost_milli * GRAINS
        if level > self._limit:
            raise ValueError("points were spent that are not there")
        self._level = level

    def fill_until(self, until_us: int) -> None:
        """Take it as full until this instant, and falling from there on; an earlier word of that kind holds as well."""
        if until_us >= self._at_us:
            self._level, self._at_us = self._limit, until_us
        else:
            self._level = max(self._level, self._limit - (self._at_us - until_us) * self._decay)

    @property
    def at_us(self) -> int:
        """The instant that it was brought up to; in a pause, its end."""
        return self._at_us

    @property
    def millipoints(self) -> int:
        """What it stands at, in whole thousandths of a point, rounded up."""
        return -(-self._level // GRAINS)

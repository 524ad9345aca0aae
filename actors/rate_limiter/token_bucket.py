"""A token bucket in whole numbers: it never grants more than its burst plus its rate, in any window of time.

Unit: the drop. One token is 60,000,000 drops, so a bucket of n tokens a minute gains exactly n drops each
microsecond and nothing is ever rounded. A millitoken, for those who look in, is 60,000 drops.
"""

from __future__ import annotations

TOKEN = 60_000_000
"""Drops in one token: microseconds in a minute."""
MILLITOKEN = TOKEN // 1_000


class TokenBucket:
    """Full at first. Time only moves forward here: an earlier instant than the last one adds nothing."""

    __slots__ = ("_at_us", "_burst", "_level", "_per_minute")

    def __init__(self, *, per_minute: int, burst: int, now_us: int) -> None:
        if per_minute < 1 or burst < 1:
            raise ValueError(f"a bucket needs a rate and a burst of 1 at least, not {per_minute} and {burst}")
        self._per_minute = per_minute
        self._burst = burst * TOKEN
        self._level = self._burst
        self._at_us = now_us

    def refill(self, now_us: int) -> None:
        """Add what has dripped in until `now_us`; what is above the burst runs over."""
        if now_us > self._at_us:
            self._level = min(self._burst, self._level + (now_us - self._at_us) * self._per_minute)
            self._at_us = now_us

    def has(self, tokens: int) -> bool:
        """Say whether `tokens` are there."""
        return self._level >= tokens * TOKEN

    def spend(self) -> None:
        """Take one token, which must be there."""
        if self._level < TOKEN:
            raise ValueError("a token was spent that is not there")
        self._level -= TOKEN

    def ready_at_us(self, tokens: int) -> int:
        """Return the first instant at which `tokens` are there, if none is spent before."""
        missing = tokens * TOKEN - self._level
        return self._at_us if missing <= 0 else self._at_us - (-missing // self._per_minute)

    def next_token_at_us(self) -> int:
        """Return the first instant at which there is a whole token more than now; the present one if it is full."""
        return self.ready_at_us(min(self._burst, self._level + TOKEN) // TOKEN)

    @property
    def millitokens(self) -> int:
        """What is there, in whole thousandths of a token, rounded down."""
        return self._level // MILLITOKEN

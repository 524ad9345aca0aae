"""Kraken's counters as its documentation tells them, written without a look at ours: what would it have refused?

In fractions and seconds, where ours are whole numbers and microseconds. A call is counted when it arrives; an order is
as old as the time since the model itself took it up or moved it.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from messages.permits import CallKind

REST = {"starter": (15, Fraction(33, 100)), "intermediate": (20, Fraction(1, 2)), "pro": (20, Fraction(1))}
ENGINE = {"starter": (60, Fraction(1)), "intermediate": (125, Fraction(234, 100)), "pro": (180, Fraction(375, 100))}
OPEN = {"starter": 60, "intermediate": 80, "pro": 225}


class Falling:
    """A number that falls by so much a second, and never below nothing."""

    def __init__(self, most: int, a_second: Fraction) -> None:
        self.most = most
        self.a_second = a_second
        self.value = Fraction(0)
        self.at_s = Fraction(0)

    def now(self, at_s: Fraction) -> Fraction:
        assert at_s >= self.at_s, "the model is told things in order"
        self.value = max(Fraction(0), self.value - self.a_second * (at_s - self.at_s))
        self.at_s = at_s
        return self.value

    def rise(self, at_s: Fraction, points: Fraction | int) -> bool:
        """Count, and say whether that is still allowed."""
        self.value = self.now(at_s) + points
        return self.value <= self.most


def cancel_points(age_s: Fraction) -> int:
    if age_s < 5:
        return 8
    if age_s < 10:
        return 6
    if age_s < 15:
        return 5
    if age_s < 45:
        return 4
    if age_s < 90:
        return 2
    return 1 if age_s < 300 else 0


def amend_points(age_s: Fraction) -> int:
    if age_s < 5:
        return 1 + 3
    if age_s < 10:
        return 1 + 2
    return 1 + 1 if age_s < 15 else 1


class KrakenModel:
    """The counters of one account, and every refusal for them."""

    def __init__(self, tier: str) -> None:
        self.rest = Falling(*REST[tier])
        self.engines: defaultdict[str, Falling] = defaultdict(lambda: Falling(*ENGINE[tier]))
        self.open_max = OPEN[tier]
        self.touched_s: dict[str, Fraction] = {}
        """When each open order was taken up or moved last."""
        self.pair_of: dict[str, str] = {}
        self.open_in: defaultdict[str, set[str]] = defaultdict(set)
        self.refusals: list[str] = []
        self.highest: defaultdict[str, Fraction] = defaultdict(Fraction)

    def rest_call(self, at_us: int, points_milli: int) -> None:
        """A REST call that is no order arrives."""
        at_s = Fraction(at_us, 1_000_000)
        if not self.rest.rise(at_s, Fraction(points_milli, 1_000)):
            self.refusals.append(f"EAPI:Rate limit exceeded at {at_us}: {float(self.rest.value):.2f}")
        self.highest["REST"] = max(self.highest["REST"], self.rest.value)

    def order_call(self, at_us: int, kind: CallKind, pair: str, order: str) -> None:
        """A call that places, moves or cancels an order arrives."""
        at_s = Fraction(at_us, 1_000_000)
        age_s = at_s - self.touched_s.get(order, at_s)
        if kind is CallKind.PLACE:
            points = 1
            self.open_in[pair].add(order)
            self.touched_s[order] = at_s
            if len(self.open_in[pair]) > self.open_max:
                self.refusals.append(f"EOrder:Orders limit exceeded at {at_us}: {pair}")
        elif kind is CallKind.AMEND:
            points = amend_points(age_s)
            self.touched_s[order] = at_s
            self.rest_call(at_us, 1_000)
        else:
            points = cancel_points(age_s)
            self.open_in[pair].discard(order)
            self.touched_s.pop(order, None)
        engine = self.engines[pair]
        if not engine.rise(at_s, points):
            self.refusals.append(f"EOrder:Rate limit exceeded at {at_us}: {pair} {float(engine.value):.2f}")
        self.highest[pair] = max(self.highest[pair], engine.value)

"""Kraken's counters as we reckon them: the REST counter, and for each pair the engine's counter and the open orders.

They are reckoned here because the exchange tells none of them until it is too late. So each errs on the safe side: an
order counts as young as it may be, an order that is under way as open, and a refusal for too many calls as a counter
that is full.

Read in order: KrakenCounters.engine_ready_us(), rest_ready_us(), has_place(), spend(), hear().
"""

from __future__ import annotations

import attrs

from actors.rate_limiter.kraken_tiers import (
    AMEND_REST_POINTS,
    ENGINE_POINTS,
    MILLI,
    PLACE_POINTS,
    QUERY_REST_POINTS_MAX,
    Tier,
)
from actors.rate_limiter.point_counter import NEVER_US, PointCounter
from messages.base import Symbol
from messages.permits import CallKind, CallPriority, CallsThrottled, PairReported, RequestPermit, ThrottleScope

MAY_USE_RESERVE = frozenset({CallPriority.PROTECT, CallPriority.CANCEL})
AMEND_REST_MILLI = AMEND_REST_POINTS * MILLI


@attrs.define
class Pair:
    """What is reckoned of one pair."""

    engine: PointCounter
    open_orders: int = 0
    """Orders of ours that are open in it or on their way, by the last word and what has left since."""
    asked: int = 0
    """Placements that wait for their permits."""


class KrakenCounters:
    """The counters of one account. A pair has its own from its first order on, and keeps it."""

    def __init__(self, tier: Tier, *, rest_points_reserved: int, engine_points_reserved: int, now_us: int) -> None:
        if (rest_points_reserved + QUERY_REST_POINTS_MAX) * MILLI > tier.rest_limit_milli:
            raise ValueError(f"rest_points_reserved ({rest_points_reserved}) leaves too little of {tier.rest_points}")
        if (engine_points_reserved + PLACE_POINTS) * MILLI > tier.engine_limit_milli:
            raise ValueError(
                f"engine_points_reserved ({engine_points_reserved}) leaves too little of {tier.engine_points}"
            )
        self._tier = tier
        self._rest_kept_milli = rest_points_reserved * MILLI
        self._engine_kept_milli = engine_points_reserved * MILLI
        self._now_us = now_us
        self.rest = PointCounter(
            limit_milli=tier.rest_limit_milli, decay_milli_per_s=tier.rest_decay_milli_per_s, now_us=now_us
        )
        self._pairs: dict[Symbol, Pair] = {}

    def decay(self, now_us: int) -> None:
        """Let time pass."""
        self._now_us = max(self._now_us, now_us)
        self.rest.decay(now_us)

    def pair(self, symbol: Symbol) -> Pair:
        """Return what is reckoned of this pair, up to date."""
        found = self._pairs.get(symbol)
        if found is None:
            tier, now_us = self._tier, self._now_us
            engine = PointCounter(
                limit_milli=tier.engine_limit_milli, decay_milli_per_s=tier.engine_decay_milli_per_s, now_us=now_us
            )
            found = self._pairs[symbol] = Pair(engine)
        found.engine.decay(self._now_us)
        return found

    # What must be waited for ----------------------------------------------------------------------

    def engine_ready_us(self, request: RequestPermit, symbol: Symbol) -> int:
        """Return the first instant at which the engine's counter of the pair has room for this call.

        Waiting helps twice: the counter falls, and the order grows older, which makes the call cheaper by steps.
        """
        engine = self.pair(symbol).engine
        kept_milli = 0 if request.priority in MAY_USE_RESERVE else self._engine_kept_milli
        touched_us = request.touched_at_us
        begins_us = self._now_us
        for younger_than_us, points in ENGINE_POINTS[request.kind]:
            ends_us = NEVER_US if touched_us is None else touched_us + younger_than_us
            ready_us = max(begins_us, engine.ready_at_us(points * MILLI, kept_milli))
            if ready_us < ends_us:
                return ready_us
            begins_us = max(begins_us, ends_us)
        return NEVER_US

    def rest_ready_us(self, cost_milli: int, priority: CallPriority, kept_milli: int) -> int:
        """Return the first instant at which the REST counter has room for this cost and leaves `kept_milli`."""
        reserve_milli = 0 if priority in MAY_USE_RESERVE else self._rest_kept_milli
        return self.rest.ready_at_us(cost_milli, max(reserve_milli, kept_milli))

    def is_possible(self, cost_milli: int, priority: CallPriority) -> bool:
        """Say whether a REST call of this cost could ever leave."""
        return self.rest_ready_us(cost_milli, priority, 0) < NEVER_US

    def has_place(self, request: RequestPermit, symbol: Symbol) -> bool:
        """Say whether one more order may be open in the pair; the last places are for what protects and closes."""
        if request.kind is not CallKind.PLACE:
            return True
        tier = self._tier
        places = tier.places if request.priority in MAY_USE_RESERVE else tier.places_for_opening
        return self.pair(symbol).open_orders < places

    # What has happened ----------------------------------------------------------------------------

    def note_asked(self, request: RequestPermit, symbol: Symbol) -> None:
        """Take the word of whoever wants to place an order about those that are open besides."""
        if request.kind is CallKind.PLACE:
            pair = self.pair(symbol)
            pair.open_orders = max(0, request.open_orders - pair.asked)
            pair.asked += 1

    def note_answered(self, request: RequestPermit, symbol: Symbol) -> None:
        """A call waits no longer: it leaves, or never will."""
        if request.kind is CallKind.PLACE:
            self.pair(symbol).asked -= 1

    def spend(self, request: RequestPermit, symbol: Symbol) -> None:
        """Charge a call that leaves now."""
        pair = self.pair(symbol)
        pair.engine.spend(self._points_now(request) * MILLI)
        if request.kind is CallKind.AMEND:
            self.rest.spend(AMEND_REST_MILLI)
        elif request.kind is CallKind.PLACE:
            pair.open_orders += 1

    def hear(self, message: CallsThrottled) -> None:
        """Believe the exchange rather than our own reckoning: what it calls full is full until then."""
        if message.scope is ThrottleScope.REST:
            self.rest.fill_until(message.until_us)
        elif message.scope is ThrottleScope.ORDERS:
            if message.symbol is None:
                raise ValueError("the engine counts by pair, so a word about its counter must name one")
            self.pair(message.symbol).engine.fill_until(message.until_us)

    def _points_now(self, request: RequestPermit) -> int:
        steps = ENGINE_POINTS[request.kind]
        if request.touched_at_us is None:
            return steps[0][1]
        age_us = self._now_us - request.touched_at_us
        return next(points for younger_than_us, points in steps if age_us < younger_than_us)

    def report(self) -> tuple[PairReported, ...]:
        """Return the figures of every pair."""
        return tuple(
            PairReported(
                symbol=symbol,
                engine_millipoints=pair.engine.millipoints,
                open_orders=pair.open_orders,
                full_until_us=pair.engine.at_us if pair.engine.at_us > self._now_us else None,
            )
            for symbol, pair in ((symbol, self.pair(symbol)) for symbol in self._pairs)
        )

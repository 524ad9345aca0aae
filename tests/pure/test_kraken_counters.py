"""Kraken's counters are reckoned so that it never refuses a call for them (C19, D8), and what waits goes in order."""

from __future__ import annotations

from fractions import Fraction
from itertools import count
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.rate_limiter.kraken_counters import MAY_USE_RESERVE, KrakenCounters
from actors.rate_limiter.kraken_tiers import TIERS, UNEVEN_S, Tier
from actors.rate_limiter.point_counter import NEVER_US, PointCounter
from actors.rate_limiter.token_bucket import TokenBucket
from actors.rate_limiter.waiting import SPENDS_ORDER_TOKEN, WaitingCalls, WaitingRestCall
from messages.base import OrderId, Symbol
from messages.permits import CallKind, CallPriority, CallsThrottled, RequestCall, RequestPermit, ThrottleScope
from tests.pure.kraken_model import ENGINE, OPEN, REST, KrakenModel, amend_points, cancel_points
from tests.pure.kraken_traffic import Traffic

SECOND_US = 1_000_000
BTC, ETH = Symbol("BTC/USD"), Symbol("ETH/USD")
PLACE, AMEND, CANCEL = CallKind.PLACE, CallKind.AMEND, CallKind.CANCEL
PROTECT, OPENING, QUERY = CallPriority.PROTECT, CallPriority.OPEN, CallPriority.QUERY

# The counter --------------------------------------------------------------------------------------


def test_a_counter_falls_to_the_microsecond() -> None:
    """A third of a point each second, nearly: a point takes 3.030303... s, rounded up once, and never down."""
    counter = PointCounter(limit_milli=1_000, decay_milli_per_s=330, now_us=0)
    counter.spend(1_000)
    ready_us = counter.ready_at_us(1_000)
    assert ready_us == 3_030_304

    counter.decay(ready_us - 1)
    assert counter.ready_at_us(1_000) == ready_us
    assert counter.millipoints == 1
    counter.decay(ready_us)
    assert counter.ready_at_us(1_000) == ready_us
    assert counter.millipoints == 0


def test_what_must_be_left_is_not_spent() -> None:
    counter = PointCounter(limit_milli=10_000, decay_milli_per_s=1_000, now_us=0)
    counter.spend(6_000)
    assert counter.ready_at_us(4_000) == 0
    assert counter.ready_at_us(4_000, kept_milli=1_000) == SECOND_US
    assert counter.ready_at_us(9_000, kept_milli=1_001) == NEVER_US


def test_points_that_are_not_there_cannot_be_spent() -> None:
    counter = PointCounter(limit_milli=1_000, decay_milli_per_s=1, now_us=0)
    with pytest.raises(ValueError, match="not there"):
        counter.spend(1_001)


@pytest.mark.parametrize(("limit_milli", "decay_milli_per_s"), [(0, 1), (1, 0), (-5, 5)])
def test_a_counter_without_limit_or_decay_is_refused(limit_milli: int, decay_milli_per_s: int) -> None:
    with pytest.raises(ValueError, match="a limit and a decay"):
        PointCounter(limit_milli=limit_milli, decay_milli_per_s=decay_milli_per_s, now_us=0)


def test_a_counter_that_is_called_full_falls_from_then_on() -> None:
    counter = PointCounter(limit_milli=10_000, decay_milli_per_s=1_000, now_us=0)
    counter.fill_until(5 * SECOND_US)
    counter.decay(3 * SECOND_US)
    assert counter.millipoints == 10_000
    assert counter.ready_at_us(0) == 5 * SECOND_US, "not even what costs nothing"
    assert counter.ready_at_us(2_000) == 7 * SECOND_US

    counter.fill_until(4 * SECOND_US)  # An earlier word is no reason to believe less.
    assert counter.ready_at_us(2_000) == 7 * SECOND_US
    counter.decay(9 * SECOND_US)
    counter.fill_until(8 * SECOND_US)  # One that comes late counts from its own instant.
    assert counter.millipoints == 9_000


@given(st.integers(1, 5_000), st.lists(st.integers(0, 5 * SECOND_US), max_size=60))
def test_falling_in_steps_is_falling_at_once(decay: int, waits_us: list[int]) -> None:
    often, once = (PointCounter(limit_milli=60_000, decay_milli_per_s=decay, now_us=0) for _ in range(2))
    for counter in (often, once):
        counter.spend(60_000)
    now_us = 0
    for wait_us in waits_us:
        now_us += wait_us
        often.decay(now_us)
    once.decay(now_us)
    assert often.ready_at_us(60_000) == once.ready_at_us(60_000)
    assert often.millipoints == once.millipoints


# The tiers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REST)
def test_the_tiers_are_those_of_the_documentation(name: str) -> None:
    tier = TIERS[name]
    assert (tier.rest_points, Fraction(tier.rest_decay_milli_per_s, 1_000)) == REST[name]
    assert (tier.engine_points, Fraction(tier.engine_decay_milli_per_s, 1_000)) == ENGINE[name]
    assert tier.places == OPEN[name]


@given(st.integers(0, 400 * SECOND_US))
def test_the_costs_are_those_of_the_documentation(age_us: int) -> None:
    counters = some_counters()
    for kind, points in ((AMEND, amend_points), (CANCEL, cancel_points)):
        before_milli = counters.pair(BTC).engine.millipoints
        counters.spend(permit(kind, touched_at_us=-age_us), BTC)
        assert counters.pair(BTC).engine.millipoints - before_milli == points(Fraction(age_us, SECOND_US)) * 1_000


def test_the_documentation_s_own_example() -> None:
    """Place, amend at 7 s, cancel 36 s later: 1 + 1 + 2 + 4 = 8."""
    counters = some_counters(attrs.evolve(TIERS["starter"], engine_decay_milli_per_s=1))
    counters.spend(permit(PLACE), BTC)
    counters.decay(7 * SECOND_US)
    counters.spend(permit(AMEND, touched_at_us=0), BTC)
    counters.decay(43 * SECOND_US)
    counters.spend(permit(CANCEL, touched_at_us=7 * SECOND_US), BTC)
    assert counters.pair(BTC).engine.millipoints == 8_000 - 43
    assert counters.rest.millipoints == 0, "the amend's point is long gone"


@pytest.mark.parametrize(("rest", "engine"), [(11, 0), (0, 59)])
def test_a_reserve_that_leaves_too_little_is_refused(rest: int, engine: int) -> None:
    with pytest.raises(ValueError, match="leaves too little"):
        some_counters(rest=rest, engine=engine)


# Calls that wait ----------------------------------------------------------------------------------


def some_counters(tier: Tier = TIERS["starter"], *, rest: int = 5, engine: int = 24) -> KrakenCounters:
    return KrakenCounters(tier, rest_points_reserved=rest, engine_points_reserved=engine, now_us=0)


def waiting_calls(counters: KrakenCounters | None = None, *, api: int = 10**6, orders: int = 10**6) -> WaitingCalls:
    """Return lines with tokens for everything, where nothing else is said."""
    return WaitingCalls(
        api=TokenBucket(per_minute=api, burst=api, now_us=0),
        orders=TokenBucket(per_minute=orders, burst=orders, now_us=0),
        orders_reserved=0,
        counters=counters or some_counters(),
    )


def permit(kind: CallKind, priority: CallPriority = OPENING, symbol: Symbol = BTC, **more: Any) -> RequestPermit:
    return RequestPermit(
        kind=kind, priority=priority, order_id=OrderId("o"), symbol=symbol, **{"deadline_us": NEVER_US - 1, **more}
    )


def rest_call(number: int, points_milli: int = 1_000, priority: CallPriority = QUERY) -> RequestCall:
    return RequestCall(call=number, points_milli=points_milli, priority=priority)


def put(calls: WaitingCalls, *requests: RequestPermit | RequestCall) -> None:
    for one in requests:
        if isinstance(one, RequestCall):
            calls.add_rest(one, None)
        else:
            calls.add(one, None)


def granted(calls: WaitingCalls, now_us: int = 0) -> list[Any]:
    """Let go what may; each call by its number or its kind."""
    calls.refill(now_us)
    return [call.request.call if isinstance(call, WaitingRestCall) else call.request.kind for call in calls.grant()]


def test_seven_cancels_of_new_orders_exhaust_a_pair_and_no_other() -> None:
    calls = waiting_calls()
    put(calls, *[permit(CANCEL, CallPriority.CANCEL, touched_at_us=0)] * 8)
    assert granted(calls) == [CANCEL] * 7
    assert calls.next_instant_us() == 5 * SECOND_US, "then it has fallen by 5, and the cancel costs 6"

    put(calls, permit(PLACE, PROTECT, ETH))
    assert granted(calls) == [PLACE]
    assert granted(calls, 5 * SECOND_US - 1) == []
    assert granted(calls, 5 * SECOND_US) == [CANCEL]


def test_openings_leave_the_reserve_of_points_to_what_protects() -> None:
    calls = waiting_calls(some_counters(attrs.evolve(TIERS["starter"], places=1_000)))
    put(calls, *[permit(PLACE)] * 60)
    assert granted(calls) == [PLACE] * (60 - UNEVEN_S - 24)

    put(calls, *[permit(PLACE, PROTECT)] * 30)
    assert granted(calls) == [PLACE] * 24
    assert granted(calls, 6 * SECOND_US) == [PLACE] * 6, "what protects goes before what opens"
    assert granted(calls, 31 * SECOND_US - 1) == []
    assert granted(calls, 31 * SECOND_US) == [PLACE]


def test_queries_leave_the_reserve_of_rest_points_to_what_protects() -> None:
    calls = waiting_calls()
    put(calls, *[rest_call(number) for number in range(12)])
    assert granted(calls) == list(range(9))

    put(calls, rest_call(100, 4_000, PROTECT), permit(AMEND, PROTECT, touched_at_us=0))
    assert granted(calls) == [100, AMEND]
    assert calls.counters.rest.millipoints == 14_000


def test_nothing_opens_in_any_pair_while_something_that_protects_waits() -> None:
    calls = waiting_calls()
    put(calls, *[permit(CANCEL, CallPriority.CANCEL, touched_at_us=0)] * 8)
    put(calls, permit(PLACE, OPENING, ETH), permit(CANCEL, CallPriority.CANCEL, ETH, touched_at_us=0))
    assert granted(calls) == [*[CANCEL] * 8], "seven of one pair, and one of the other"

    assert granted(calls, 5 * SECOND_US) == [CANCEL, PLACE]


def test_an_amend_that_waits_for_a_rest_point_is_passed_by_a_stop_and_by_a_cancel() -> None:
    calls = waiting_calls()
    calls.hear(throttled(ThrottleScope.REST, until_us=60 * SECOND_US))
    put(calls, permit(AMEND, PROTECT, touched_at_us=0))
    assert granted(calls) == []
    put(calls, permit(PLACE, PROTECT), permit(CANCEL, CallPriority.CANCEL), permit(PLACE, OPENING))
    assert granted(calls) == [PLACE, CANCEL], "but nothing opens while a stop cannot be moved"

    assert calls.next_instant_us() == 63_030_304
    assert granted(calls, 63_030_303) == []
    assert granted(calls, 63_030_304) == [AMEND, PLACE]


def test_a_rest_call_leaves_a_point_to_an_amend_before_it() -> None:
    """The amend has no token yet; the call after it, of the same weight, must not take its last point."""
    calls = waiting_calls(orders=1)
    put(calls, permit(PLACE, PROTECT))
    assert granted(calls) == [PLACE]
    calls.counters.rest.spend(13_000)

    put(calls, permit(AMEND, PROTECT), rest_call(1, 1_000, PROTECT))
    assert granted(calls) == []
    assert granted(calls, 60 * SECOND_US) == [1, AMEND]


def test_an_amend_does_not_take_the_point_of_a_rest_call_before_it() -> None:
    calls = waiting_calls()
    calls.counters.rest.spend(12_000)
    put(calls, rest_call(1, 4_000, PROTECT), permit(AMEND, PROTECT))
    assert granted(calls) == []
    assert granted(calls, 4_030_303) == []
    assert granted(calls, 4_030_304) == [1]


def test_a_look_up_does_not_make_a_line_of_rest_calls_longer() -> None:
    calls = waiting_calls()
    put(calls, *[rest_call(number) for number in range(10)], permit(CallKind.LOOK_UP, QUERY))
    assert granted(calls) == list(range(9))
    assert granted(calls, SECOND_US - 1) == []
    assert granted(calls, SECOND_US) == [9, CallKind.LOOK_UP]


def test_a_call_that_could_never_leave_is_a_mistake() -> None:
    calls = waiting_calls()
    with pytest.raises(ValueError, match="9671 thousandths of a point would wait for ever"):
        put(calls, rest_call(1, 9_671))
    put(calls, rest_call(1, 9_670), rest_call(2, 14_670, PROTECT))


def test_an_order_call_without_its_pair_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="CANCEL of order o must name its pair"):
        waiting_calls().add(attrs.evolve(permit(CANCEL), symbol=None), None)


# Places -------------------------------------------------------------------------------------------


def test_openings_use_half_the_places_and_what_protects_the_rest() -> None:
    calls = waiting_calls()
    put(calls, permit(PLACE, open_orders=30), permit(PLACE, PROTECT, open_orders=59))
    assert granted(calls) == [PLACE]
    assert calls.turn_away() == []

    put(calls, permit(PLACE, PROTECT, open_orders=61))
    assert granted(calls) == []
    assert [call.priority for call in calls.turn_away()] == [PROTECT], "its asker must know, not wait"
    assert calls.turn_away() == []
    assert len(calls) == 1, "the opening waits"

    put(calls, permit(PLACE, open_orders=29 + 1))  # Of which one is known here: it waits.
    assert granted(calls) == [PLACE]
    assert len(calls) == 1, "that was the last place for openings"
    put(calls, permit(PLACE, OPENING, ETH, open_orders=0))
    assert granted(calls) == [PLACE]


def test_placements_of_one_instant_count_each_other() -> None:
    """Whoever asks counts all that it has asked for; what waits here is not open yet."""
    calls = waiting_calls()
    put(calls, *(permit(PLACE, open_orders=number) for number in range(35)))
    assert granted(calls) == [PLACE] * 30


# The exchange has the last word -------------------------------------------------------------------


def throttled(scope: ThrottleScope, until_us: int, symbol: Symbol | None = None) -> CallsThrottled:
    return CallsThrottled(scope=scope, symbol=symbol, until_us=until_us, reason="too many calls")


def test_a_pair_that_is_called_full_pauses_and_no_other() -> None:
    calls = waiting_calls()
    calls.hear(throttled(ThrottleScope.ORDERS, 10 * SECOND_US, BTC))
    put(calls, permit(CANCEL, CallPriority.CANCEL, touched_at_us=-(10**12)))
    put(calls, permit(PLACE, PROTECT, ETH), rest_call(1), permit(CallKind.POLL, QUERY))
    assert granted(calls) == [1, PLACE, CallKind.POLL]
    assert calls.next_instant_us() == 10 * SECOND_US
    assert granted(calls, 10 * SECOND_US - 1) == []

    put(calls, permit(PLACE, PROTECT))
    assert granted(calls, 10 * SECOND_US) == []
    assert granted(calls, 11 * SECOND_US) == [PLACE, CANCEL]


def test_a_rest_counter_that_is_called_full_holds_back_what_it_counts() -> None:
    calls = waiting_calls()
    calls.hear(throttled(ThrottleScope.REST, 10 * SECOND_US))
    put(calls, rest_call(1, 1_000, PROTECT), permit(CallKind.POLL, QUERY), permit(PLACE), permit(AMEND, PROTECT, ETH))
    assert granted(calls) == []
    put(calls, permit(CANCEL, CallPriority.CANCEL, touched_at_us=0))
    assert granted(calls) == [CANCEL]
    assert granted(calls, 10 * SECOND_US) == []
    assert granted(calls, 10 * SECOND_US + 3_030_303) == []
    assert granted(calls, 10 * SECOND_US + 3_030_304) == [1, CallKind.POLL]


def test_when_everything_is_held_nothing_leaves_and_nothing_is_lost() -> None:
    calls = waiting_calls()
    calls.hear(throttled(ThrottleScope.ALL, 10 * SECOND_US))
    calls.hear(throttled(ThrottleScope.ALL, 5 * SECOND_US))
    put(calls, permit(PLACE, PROTECT), rest_call(1), permit(CallKind.POLL, QUERY, deadline_us=3 * SECOND_US))
    assert granted(calls) == []
    assert calls.next_instant_us() == 3 * SECOND_US
    assert [call.request.kind for call in calls.expire(3 * SECOND_US)] == [CallKind.POLL]
    calls.refill(3 * SECOND_US)
    assert calls.next_instant_us() == 10 * SECOND_US
    assert granted(calls, 10 * SECOND_US - 1) == []
    assert granted(calls, 10 * SECOND_US) == [1, PLACE]


def test_a_word_about_the_engine_s_counter_must_name_the_pair() -> None:
    with pytest.raises(ValueError, match="must name one"):
        waiting_calls().hear(throttled(ThrottleScope.ORDERS, 10 * SECOND_US))


# Any schedule -------------------------------------------------------------------------------------


@attrs.frozen
class Wish:
    """Something somebody wants at an instant. `order` picks one that is there."""

    wait_us: int
    kind: CallKind | None
    """None for a REST call."""
    priority: CallPriority
    order: int
    pair: Symbol
    patience_us: int
    points_milli: int
    times: int


wishes = st.builds(
    Wish,
    wait_us=st.sampled_from((0, 0, 0, 1, 300_000, SECOND_US, 4_500_000, 9_500_000, 14_500_000, 44_500_000)),
    kind=st.sampled_from((PLACE, PLACE, PLACE, CANCEL, CANCEL, AMEND, AMEND, CallKind.POLL, None, None)),
    priority=st.sampled_from((PROTECT, PROTECT, *CallPriority)),
    order=st.integers(0, 5),
    pair=st.sampled_from((BTC, BTC, BTC, ETH)),
    times=st.sampled_from((1, 1, 3, 9)),
    patience_us=st.sampled_from((SECOND_US, 20 * SECOND_US, 10**12)),
    points_milli=st.sampled_from((500, 1_000, 2_000, 4_000)),
)
schedules = st.lists(wishes, min_size=20, max_size=60)
tokens = st.sampled_from(((10**6, 10**6), (60, 30), (40, 60)))


class Play:
    """One schedule, played as the actor would play it."""

    def __init__(self, tier: str, limits: tuple[int, int], chance: Random) -> None:
        self.model = KrakenModel(tier)
        self.calls = waiting_calls(some_counters(TIERS[tier]), api=limits[0], orders=limits[1])
        self.traffic = Traffic(self.model, lambda: chance.randrange(SECOND_US))
        self.answered = 0
        self.waiting: set[OrderId | None] = set()
        """Orders of which a call waits: as OrderActor asks, one at a time."""
        self._ids = count()

    def tell(self, wish: Wish, now_us: int) -> None:
        """Somebody wants something."""
        calls, deadline_us = self.calls, now_us + wish.patience_us
        calls.refill(now_us)
        if wish.kind is None:
            calls.add_rest(rest_call(0, wish.points_milli, wish.priority), None)
        elif wish.kind is CallKind.POLL:
            calls.add(permit(CallKind.POLL, wish.priority, deadline_us=deadline_us), None)
        else:
            order, kind = self._pick(wish, wish.kind, now_us)
            self.waiting.add(order)
            calls.add(self.traffic.ask(order, kind, wish.priority, wish.pair, deadline_us, now_us), None)
        self.serve(now_us)

    def _pick(self, wish: Wish, kind: CallKind, now_us: int) -> tuple[OrderId, CallKind]:
        """Return an order that this can be about, and of which no call waits; without one, one is placed."""
        there = [order for order in self.traffic.there(now_us) if order not in self.waiting]
        if kind is PLACE or not there:
            return OrderId(f"o{next(self._ids)}"), PLACE
        return there[wish.order % len(there)], kind

    def serve(self, now_us: int) -> None:
        """Let go what may."""
        self.calls.refill(now_us)
        given_up = self.calls.expire(now_us)
        granted = self.calls.grant()
        turned_away = self.calls.turn_away()
        assert all(call.priority in MAY_USE_RESERVE for call in turned_away)
        self.traffic.arrive_until(now_us)
        for call in granted:
            if isinstance(call, WaitingRestCall):
                self.traffic.leave_rest(now_us, call.request.points_milli)
            elif call.request.kind in SPENDS_ORDER_TOKEN:
                self.traffic.leave(now_us, call.request)
                self.waiting.discard(call.request.order_id)
        for refused in (*given_up, *turned_away):
            self.waiting.discard(refused.request.order_id)
            if refused.request.kind is PLACE:
                self.traffic.give_up(refused.request.order_id, now_us)
        self.answered += len(given_up) + len(granted) + len(turned_away)

    def serve_until(self, until_us: int) -> None:
        """Serve at every instant at which something may happen, and make sure that nothing could before."""
        now_us = -1
        while (next_us := self.calls.next_instant_us()) is not None and next_us <= until_us:
            assert next_us > now_us, "time must go on"
            self.calls.refill(next_us - 1)
            assert self.calls.grant() == []
            now_us = next_us
            self.serve(now_us)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(tuple(REST)), tokens, st.randoms(use_true_random=False), schedules)
def test_c19_on_any_schedule_kraken_refuses_nothing(
    tier: str, limits: tuple[int, int], chance: Random, schedule: list[Wish]
) -> None:
    """However late and unevenly calls arrive, the model never counts more than it allows, and no call is lost."""
    play = Play(tier, limits, chance)
    now_us = 0
    for wish in schedule:
        play.serve_until(now_us + wish.wait_us)
        now_us += wish.wait_us
        for _ in range(wish.times):
            play.tell(wish, now_us)
    play.serve_until(now_us + 10**13)
    play.traffic.arrive_until(10**15)

    assert play.model.refusals == []
    assert play.answered == sum(wish.times for wish in schedule)
    assert len(play.calls) == 0
    assert {report.symbol for report in play.calls.counters.report()} <= {BTC, ETH}

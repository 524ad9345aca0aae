"""The bucket is exact, and the calls that wait are served in the right order (X25)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.rate_limiter.kraken_counters import MAY_USE_RESERVE, KrakenCounters
from actors.rate_limiter.kraken_tiers import TIERS
from actors.rate_limiter.token_bucket import TOKEN, TokenBucket
from actors.rate_limiter.waiting import SPENDS_ORDER_TOKEN, WaitingCall, WaitingCalls
from messages.base import Symbol
from messages.permits import CallKind, CallPriority, RequestPermit

MINUTE_US = 60_000_000
NEVER_US = 10**15
BTC = Symbol("BTC/USD")
rates = st.integers(1, 6_000)
bursts = st.integers(1, 20)
steps = st.lists(st.integers(0, 5_000_000), max_size=60)


def test_a_bucket_is_full_at_first_and_never_fuller() -> None:
    bucket = TokenBucket(per_minute=60, burst=3, now_us=0)
    assert bucket.millitokens == 3_000
    bucket.refill(10 * MINUTE_US)
    assert bucket.millitokens == 3_000


def test_a_token_comes_back_to_the_microsecond() -> None:
    bucket = TokenBucket(per_minute=7, burst=1, now_us=0)
    bucket.spend()
    ready_us = bucket.ready_at_us(1)
    assert ready_us == 8_571_429  # A minute divided by 7, rounded up.

    bucket.refill(ready_us - 1)
    assert not bucket.has(1)
    bucket.refill(ready_us)
    assert bucket.has(1)


def test_time_that_goes_backwards_adds_nothing_twice() -> None:
    bucket = TokenBucket(per_minute=60, burst=2, now_us=0)
    bucket.spend()
    bucket.spend()
    for now_us in (500_000, 100_000, 500_000):
        bucket.refill(now_us)
    assert bucket.millitokens == 500


def test_a_token_that_is_not_there_cannot_be_spent() -> None:
    bucket = TokenBucket(per_minute=60, burst=1, now_us=0)
    bucket.spend()
    with pytest.raises(ValueError, match="not there"):
        bucket.spend()


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-5, 5)])
def test_a_bucket_without_rate_or_burst_is_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(ValueError, match="a rate and a burst"):
        TokenBucket(per_minute=per_minute, burst=burst, now_us=0)


@given(rates, bursts, steps)
def test_refilling_in_steps_is_refilling_at_once(per_minute: int, burst: int, waits_us: list[int]) -> None:
    """Exact: however often one looks, not a drop is won or lost."""
    often, once = (TokenBucket(per_minute=per_minute, burst=burst, now_us=0) for _ in range(2))
    for bucket in (often, once):
        while bucket.has(1):
            bucket.spend()
    now_us = 0
    for wait_us in waits_us:
        now_us += wait_us
        often.refill(now_us)
    once.refill(now_us)
    assert often.ready_at_us(burst) == once.ready_at_us(burst)
    assert often.millitokens == once.millitokens


@given(rates, bursts, steps)
def test_x25_no_window_of_time_holds_more_grants_than_burst_plus_rate(
    per_minute: int, burst: int, waits_us: list[int]
) -> None:
    bucket = TokenBucket(per_minute=per_minute, burst=burst, now_us=0)
    granted_us: list[int] = []
    now_us = 0
    for wait_us in waits_us:
        now_us += wait_us
        bucket.refill(now_us)
        while bucket.has(1):
            bucket.spend()
            granted_us.append(now_us)
    assert_within(granted_us, per_minute, burst)


def assert_within(granted_us: list[int], per_minute: int, burst: int) -> None:
    """In any window: grants <= burst + rate x window, in whole drops."""
    for first, start_us in enumerate(granted_us):
        for last in range(first, len(granted_us)):
            grants = last - first + 1
            assert grants * TOKEN <= burst * TOKEN + (granted_us[last] - start_us) * per_minute


# Calls that wait ----------------------------------------------------------------------------------


def request(
    kind: CallKind = CallKind.PLACE, priority: CallPriority = CallPriority.OPEN, deadline_us: int = NEVER_US
) -> RequestPermit:
    return RequestPermit(kind=kind, priority=priority, order_id=None, symbol=BTC, deadline_us=deadline_us)


def waiting_calls(
    *, api: tuple[int, int] = (60, 10), orders: tuple[int, int] = (30, 5), reserved: int = 2
) -> WaitingCalls:
    return WaitingCalls(
        api=TokenBucket(per_minute=api[0], burst=api[1], now_us=0),
        orders=TokenBucket(per_minute=orders[0], burst=orders[1], now_us=0),
        orders_reserved=reserved,
        counters=KrakenCounters(TIERS["none"], rest_points_reserved=0, engine_points_reserved=0, now_us=0),
    )


def put(calls: WaitingCalls, *requests: RequestPermit) -> None:
    for one in requests:
        calls.add(one, None)


def permits(calls: WaitingCalls) -> list[WaitingCall]:
    """Grant what may leave; nothing here is a REST call."""
    granted = calls.grant()
    return [call for call in granted if isinstance(call, WaitingCall)]


def granted(calls: WaitingCalls) -> list[tuple[CallPriority, CallKind]]:
    return [(call.priority, call.request.kind) for call in permits(calls)]


OPEN = (CallPriority.OPEN, CallKind.PLACE)
PROTECT = (CallPriority.PROTECT, CallKind.PLACE)
POLL = (CallPriority.QUERY, CallKind.POLL)


def test_opening_leaves_the_reserve_to_protecting() -> None:
    calls = waiting_calls()
    put(calls, *[request()] * 5)
    assert granted(calls) == [OPEN] * 3

    put(calls, *[request(priority=CallPriority.PROTECT)] * 3)
    assert granted(calls) == [PROTECT] * 2
    assert len(calls) == 3


def test_a_poll_passes_orders_that_wait_for_order_tokens_alone() -> None:
    calls = waiting_calls()
    put(calls, *[request()] * 4, request(CallKind.POLL, CallPriority.QUERY))
    assert granted(calls) == [OPEN, OPEN, OPEN, POLL]


def test_a_poll_does_not_take_the_api_token_that_an_order_will_need() -> None:
    """One API token left, one a minute to come, an order token in two seconds: the order needs this one."""
    calls = waiting_calls(api=(1, 2), orders=(30, 1), reserved=0)
    put(calls, request(), request(), request(CallKind.POLL, CallPriority.QUERY))
    assert granted(calls) == [OPEN]
    assert calls.next_instant_us() == 2_000_000

    calls.refill(2_000_000)
    assert granted(calls) == [OPEN]
    assert calls.next_instant_us() == MINUTE_US
    calls.refill(MINUTE_US)
    assert granted(calls) == [POLL]


def test_a_look_up_that_protects_goes_before_an_order_that_opens() -> None:
    calls = waiting_calls(api=(60, 1))
    put(calls, request(), request(CallKind.LOOK_UP, CallPriority.PROTECT))
    assert granted(calls) == [(CallPriority.PROTECT, CallKind.LOOK_UP)]


def test_a_call_whose_deadline_has_come_is_taken_out_and_spends_nothing() -> None:
    calls = waiting_calls(orders=(30, 1), reserved=0)
    put(calls, request(), request(deadline_us=1_000_000), request(deadline_us=500_000))
    assert granted(calls) == [OPEN]
    assert calls.next_instant_us() == 500_000

    assert calls.expire(499_999) == []
    assert [call.request.deadline_us for call in calls.expire(1_000_000)] == [500_000, 1_000_000]
    assert len(calls) == 0
    assert calls.next_instant_us() is None


requests = st.builds(
    request,
    kind=st.sampled_from(CallKind),
    priority=st.sampled_from(CallPriority),
    deadline_us=st.integers(1, 20_000_000),
)
schedules = st.lists(st.tuples(st.integers(0, 2_000_000), requests), min_size=1, max_size=40)
limits = st.tuples(rates, bursts)


def before(one: WaitingCall, other: WaitingCall) -> bool:
    return (one.priority, one.arrival) < (other.priority, other.arrival)


@given(limits, limits, st.integers(0, 5), schedules)
def test_x25_on_any_schedule(
    api: tuple[int, int], orders: tuple[int, int], reserved: int, schedule: list[tuple[int, RequestPermit]]
) -> None:
    """Never above a limit, no call lost, none overtaken by a lower one that needs the same bucket."""
    reserved = min(reserved, orders[1] - 1)
    calls = waiting_calls(api=api, orders=orders, reserved=reserved)
    waiting: list[WaitingCall] = []
    grants: list[tuple[int, WaitingCall]] = []
    expired: list[WaitingCall] = []

    def serve(now_us: int) -> None:
        calls.refill(now_us)
        for call in calls.expire(now_us):
            assert call.request.deadline_us <= now_us
            waiting.remove(call)
            expired.append(call)
        for call in permits(calls):
            assert now_us < call.request.deadline_us
            waiting.remove(call)
            spends_order = call.request.kind in SPENDS_ORDER_TOKEN
            for other in waiting:
                if before(other, call):
                    assert not spends_order, "overtook a call that needs everything it needs"
                    assert other.request.kind in SPENDS_ORDER_TOKEN
            if spends_order and call.priority not in MAY_USE_RESERVE:
                assert calls.orders.millitokens >= reserved * 1_000
            grants.append((now_us, call))

    now_us = 0
    for arrival, (wait_us, wish) in enumerate(schedule, start=1):
        until_us = now_us + wait_us
        while (next_us := calls.next_instant_us()) is not None and next_us <= until_us:
            assert next_us > now_us, "time must go on"
            now_us = next_us
            serve(now_us)
        now_us = until_us
        calls.add(wish, None)
        waiting.append(WaitingCall(wish.priority, arrival, wish, None, BTC))
        serve(now_us)
    while (next_us := calls.next_instant_us()) is not None:
        now_us = next_us
        serve(now_us)

    assert waiting == []
    assert len(grants) + len(expired) == len(schedule)
    assert_within([at_us for at_us, _call in grants], *api)
    assert_within([at_us for at_us, call in grants if call.request.kind in SPENDS_ORDER_TOKEN], *orders)


@given(limits, limits, st.lists(requests, min_size=1, max_size=30))
def test_a_poll_delays_nobody(api: tuple[int, int], orders: tuple[int, int], wishes: list[RequestPermit]) -> None:
    """Every call of a higher priority leaves at the same instant, whether others only ask or not."""

    def instants(chosen: list[RequestPermit]) -> list[tuple[object, int]]:
        calls = waiting_calls(api=api, orders=orders, reserved=0)
        put(calls, *chosen)
        left: list[tuple[Any, int]] = [(call.request, 0) for call in permits(calls)]
        while (next_us := calls.next_instant_us()) is not None:
            calls.refill(next_us)
            calls.expire(next_us)
            left += [(call.request, next_us) for call in permits(calls)]
        return [(wish, at_us) for wish, at_us in left if wish.priority is not CallPriority.QUERY]

    assert instants(wishes) == instants([wish for wish in wishes if wish.priority is not CallPriority.QUERY])


@given(limits, limits, st.integers(0, 5), st.lists(requests, min_size=1, max_size=15))
def test_the_next_instant_is_the_first_at_which_anything_happens(
    api: tuple[int, int], orders: tuple[int, int], reserved: int, wishes: list[RequestPermit]
) -> None:
    """Neither late, which would waste tokens, nor missed: just before it, nothing can leave."""
    calls = waiting_calls(api=api, orders=orders, reserved=min(reserved, orders[1] - 1))
    put(calls, *wishes)
    calls.grant()
    now_us = 0
    for early_us, late_us in pairwise(iter_instants(calls)):
        assert now_us <= early_us < late_us
        now_us = early_us


def iter_instants(calls: WaitingCalls) -> list[int]:
    """Serve all calls, looking just before each instant; return the instants."""
    instants: list[int] = []
    while (next_us := calls.next_instant_us()) is not None:
        calls.refill(next_us - 1)
        assert calls.expire(next_us - 1) == []
        assert calls.grant() == []
        calls.refill(next_us)
        calls.expire(next_us)
        calls.grant()
        instants.append(next_us)
    return instants

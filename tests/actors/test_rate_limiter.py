"""Permits are given as soon as the limits allow, never sooner, to the most important first (X25)."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.rate_limiter.actor import RateLimiterActor
from config.settings import RateLimitSettings
from messages.base import OrderId, ProposalId, Symbol
from messages.permits import (
    CallGranted,
    CallKind,
    CallPriority,
    CallsThrottled,
    PairReported,
    PermitExpired,
    PermitGranted,
    RequestCall,
    RequestPermit,
    ThrottleScope,
    TokensReported,
)
from tests.runtime.driver import START_US, Stage, on_both, play

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
LIMITS = RateLimitSettings()
BTC, ETH = Symbol("BTC/USD"), Symbol("ETH/USD")


def request(
    name: str,
    kind: CallKind = CallKind.PLACE,
    priority: CallPriority = CallPriority.OPEN,
    within_us: int = 10 * MINUTE_US,
) -> RequestPermit:
    return RequestPermit(
        kind=kind, priority=priority, order_id=OrderId(name), symbol=BTC, deadline_us=START_US + within_us
    )


def enter(stage: Stage, limits: RateLimitSettings = LIMITS) -> RateLimiterActor:
    stage.audience(PermitGranted, PermitExpired, CallGranted)
    return stage.enter(RateLimiterActor, settings=limits)


def granted(stage: Stage) -> list[str | None]:
    return [permit.order_id for permit in stage.of(PermitGranted)]


def tokens(report: TokensReported) -> tuple[int, int, int]:
    return report.api_millitokens, report.order_millitokens, report.waiting


@on_both
async def test_a_call_leaves_at_once_while_there_are_tokens(stage: Stage) -> None:
    limiter = enter(stage)
    stage.say(request("a"), ProposalId("trade-a"))
    stage.say(RequestPermit(kind=CallKind.POLL, priority=CallPriority.QUERY, order_id=None, deadline_us=START_US + 1))
    await stage.settle()

    first, second = stage.of(PermitGranted)
    assert (first, first.proposal_id) == (PermitGranted(kind=CallKind.PLACE, order_id=OrderId("a")), "trade-a")
    assert (second, second.proposal_id) == (PermitGranted(kind=CallKind.POLL, order_id=None), None)
    assert tokens(await stage.state_of(limiter)) == (8_000, 4_000, 0)
    assert len(stage.timers) == 0, "nobody waits, so nobody has to be woken"


@on_both
async def test_a_call_that_waits_leaves_at_the_exact_instant(stage: Stage) -> None:
    """Five tokens, two reserved: the fourth order waits for one more, two seconds away at 30 a minute."""
    limiter = enter(stage)
    for name in "abcd":
        stage.say(request(name), ProposalId(f"trade-{name}"))
    await stage.advance(2 * SECOND_US - 1)
    assert granted(stage) == ["a", "b", "c"]
    assert (await stage.state_of(limiter)).waiting == 1

    await stage.advance(1)

    assert granted(stage) == ["a", "b", "c", "d"]
    assert stage.of(PermitGranted)[-1].proposal_id == "trade-d"
    assert tokens(await stage.state_of(limiter)) == (8_000, 2_000, 0)


@on_both
async def test_protecting_and_cancelling_use_the_reserve_while_opening_waits(stage: Stage) -> None:
    enter(stage)
    for name in "abcd":
        stage.say(request(name))
    stage.say(request("stop", priority=CallPriority.PROTECT))
    stage.say(request("cancel", CallKind.CANCEL, CallPriority.CANCEL))
    stage.say(request("amend", CallKind.AMEND, CallPriority.PROTECT))
    await stage.settle()
    assert granted(stage) == ["a", "b", "c", "stop", "cancel"]

    await stage.advance(2 * SECOND_US)
    assert granted(stage)[5:] == ["amend"], "what protects goes before what opens, whoever came first"
    await stage.advance(6 * SECOND_US)
    assert granted(stage)[6:] == ["d"]


@on_both
async def test_a_permit_not_given_by_its_deadline_expires_then_and_spends_nothing(stage: Stage) -> None:
    limiter = enter(stage)
    for name in "abc":
        stage.say(request(name))
    stage.say(request("late", within_us=SECOND_US), ProposalId("trade-late"))
    stage.say(request("gone", within_us=0))
    await stage.advance(SECOND_US - 1)
    assert [expired.order_id for expired in stage.of(PermitExpired)] == ["gone"]

    await stage.advance(1)

    late = stage.of(PermitExpired)[-1]
    assert (late, late.proposal_id) == (PermitExpired(kind=CallKind.PLACE, order_id=OrderId("late")), "trade-late")
    await stage.advance(SECOND_US)
    assert granted(stage) == ["a", "b", "c"]
    assert (await stage.state_of(limiter)).order_millitokens == 3_000


@on_both
async def test_a_storm_is_served_in_order_with_few_timers(stage: Stage) -> None:
    enter(stage, RateLimitSettings(kraken_tier="none"))  # It would not let so many be open.
    for number in range(200):
        stage.say(request(str(number)))
    await stage.settle()
    assert len(stage.timers) == 1

    await stage.advance(7 * MINUTE_US)

    assert granted(stage) == [str(number) for number in range(200)]


@on_both
async def test_rest_calls_leave_at_the_exact_instant(stage: Stage) -> None:
    """Fifteen points, of which a third of one is never counted on and five are kept: nine queries, and then wait."""
    limiter = enter(stage)
    for number in range(10):
        stage.say(RequestCall(call=number, points_milli=1_000, priority=CallPriority.QUERY), ProposalId(f"t{number}"))
    await stage.advance(SECOND_US - 1)
    assert [granted.call for granted in stage.of(CallGranted)] == list(range(9))
    assert (await stage.state_of(limiter)).waiting == 1

    await stage.advance(1)

    last = stage.of(CallGranted)[-1]
    assert (last.call, last.proposal_id) == (9, "t9")
    report: TokensReported = await stage.state_of(limiter)
    assert (report.waiting, report.rest_millipoints, report.rest_full_until_us) == (0, 9_670, None)
    assert report.pairs == ()


@on_both
async def test_what_the_exchange_calls_full_is_waited_for_and_shown(stage: Stage) -> None:
    limiter = enter(stage)
    until_us = START_US + 10 * SECOND_US
    stage.say(request("a"))
    for scope, symbol in ((ThrottleScope.REST, None), (ThrottleScope.ORDERS, BTC)):
        stage.say(CallsThrottled(scope=scope, symbol=symbol, until_us=until_us, reason="too many calls"))
    stage.say(request("b", priority=CallPriority.PROTECT))
    stage.say(RequestCall(call=1, points_milli=1_000, priority=CallPriority.PROTECT))
    await stage.settle()

    assert granted(stage) == ["a"]
    report: TokensReported = await stage.state_of(limiter)
    assert report.pairs == (PairReported(symbol=BTC, engine_millipoints=59_000, open_orders=0, full_until_us=until_us),)
    assert (report.rest_millipoints, report.rest_full_until_us) == (14_670, until_us)
    assert report.held_until_us is None

    await stage.advance(11 * SECOND_US - 1)
    assert granted(stage) == ["a"]
    await stage.advance(1)
    assert granted(stage) == ["a", "b"]
    await stage.advance(3 * SECOND_US)
    assert [one.call for one in stage.of(CallGranted)] == [1]
    assert (await stage.state_of(limiter)).pairs[0].full_until_us is None


@on_both
async def test_while_all_is_held_nothing_leaves_and_deadlines_go_on(stage: Stage) -> None:
    limiter = enter(stage)
    until_us = START_US + 10 * SECOND_US
    stage.say(CallsThrottled(scope=ThrottleScope.ALL, symbol=None, until_us=until_us, reason="maintenance"))
    stage.say(request("stop", priority=CallPriority.PROTECT))
    stage.say(request("late", within_us=5 * SECOND_US))
    await stage.advance(10 * SECOND_US - 1)
    assert granted(stage) == []
    assert [expired.order_id for expired in stage.of(PermitExpired)] == ["late"]
    assert (await stage.state_of(limiter)).held_until_us == until_us

    await stage.advance(1)
    assert granted(stage) == ["stop"]
    assert (await stage.state_of(limiter)).held_until_us is None


@on_both
async def test_what_protects_and_has_no_place_is_told_so_at_once(stage: Stage) -> None:
    enter(stage)
    stage.say(attrs.evolve(request("stop", priority=CallPriority.PROTECT), open_orders=60))
    stage.say(attrs.evolve(request("entry", within_us=SECOND_US), open_orders=61))
    await stage.settle()
    assert [expired.order_id for expired in stage.of(PermitExpired)] == ["stop"]

    await stage.advance(SECOND_US)
    assert [expired.order_id for expired in stage.of(PermitExpired)] == ["stop", "entry"]


@pytest.mark.parametrize("tier", ["starter", "none"])
def test_without_a_tier_nothing_is_counted(tier: str) -> None:
    async def scenario(stage: Stage) -> None:
        ample = {"orders_per_minute": 10**6, "orders_burst": 10**6, "api_per_minute": 10**6, "api_burst": 10**6}
        enter(stage, RateLimitSettings(kraken_tier=tier, **ample))
        for number in range(300):
            stage.say(request(str(number), CallKind.CANCEL, CallPriority.CANCEL))
        await stage.settle()
        assert len(granted(stage)) == (300 if tier == "none" else 7)

    play(scenario)


def test_a_reserve_that_leaves_nothing_to_open_with_is_refused() -> None:
    async def scenario(stage: Stage) -> None:
        with pytest.raises(ValueError, match=r"orders_reserved \(5\) must be below orders_burst \(5\)"):
            enter(stage, RateLimitSettings(orders_burst=5, orders_reserved=5))

    play(scenario)


calls = st.tuples(
    st.integers(0, 3 * SECOND_US), st.sampled_from(CallKind), st.sampled_from(CallPriority), st.integers(0, MINUTE_US)
)


@settings(deadline=None, max_examples=60)
@given(st.lists(calls, max_size=40))
def test_x25_no_permit_is_lost_no_limit_broken_and_timers_stay_few(
    schedule: list[tuple[int, CallKind, CallPriority, int]],
) -> None:
    async def scenario(stage: Stage) -> None:
        limiter = enter(stage)
        at_us: list[int] = []
        stage.switchboard.tap(
            lambda message: at_us.append(stage.clock.now_us()) if isinstance(message, PermitGranted) else None
        )
        for number, (wait_us, kind, priority, patience_us) in enumerate(schedule):
            await stage.advance(wait_us)
            within_us = stage.clock.now_us() - START_US + patience_us
            stage.say(request(str(number), kind, priority, within_us))
            await stage.settle()
            # One timer for each line's next grant and for each deadline before it, however the calls came.
            assert len(stage.timers) <= (await stage.state_of(limiter)).waiting + 3
        await stage.advance(10 * MINUTE_US)

        answered = [*granted(stage), *(expired.order_id for expired in stage.of(PermitExpired))]
        assert sorted(map(str, answered)) == sorted(str(number) for number in range(len(schedule)))
        for first, start_us in enumerate(at_us):
            for last, end_us in enumerate(at_us[first:], start=1):
                assert last <= LIMITS.api_burst + (end_us - start_us) * LIMITS.api_per_minute / MINUTE_US
        assert stage.failures == []

    play(scenario)


def test_the_same_schedule_gives_the_same_permits() -> None:
    def run() -> list[tuple[str | None, int]]:
        permits: list[tuple[str | None, int]] = []

        async def scenario(stage: Stage) -> None:
            enter(stage)
            stage.switchboard.tap(
                lambda message: (
                    permits.append((message.order_id, stage.clock.now_us()))
                    if isinstance(message, PermitGranted)
                    else None
                )
            )
            for number in range(60):
                kind, priority = CallKind(number % 5), CallPriority(number * 7 % 4)
                stage.say(request(str(number), kind, priority))
                await stage.advance(number * 12_345 % 700_000)
            await stage.advance(5 * MINUTE_US)

        play(scenario)
        return permits

    first = run()
    assert len(first) == 60
    assert first == run()

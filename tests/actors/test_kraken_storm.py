"""A day of storms: Kraken, as an independent model counts, never refuses a call for its limits (C19, D8)."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random
from statistics import mean
from typing import Any

import pytest

from actors.rate_limiter.actor import RateLimiterActor
from config.settings import RateLimitSettings
from messages.base import Message, OrderId, Symbol
from messages.permits import (
    CallGranted,
    CallKind,
    CallPriority,
    PermitExpired,
    PermitGranted,
    RequestCall,
    RequestPermit,
    TokensReported,
)
from tests.pure.kraken_model import ENGINE, REST, KrakenModel
from tests.pure.kraken_traffic import Traffic
from tests.runtime.driver import START_US, Stage, play

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
PAIRS = (Symbol("BTC/USD"), Symbol("ETH/USD"), Symbol("XRP/USD"))
PROTECT, CANCEL, OPEN, QUERY = CallPriority
AMPLE = {"orders_per_minute": 6_000, "orders_burst": 1_000, "api_per_minute": 6_000, "api_burst": 1_000}
STORM_PACE_US = {"starter": SECOND_US, "intermediate": SECOND_US * 6 // 10, "pro": SECOND_US // 3}
CALM_PACE_US = 40 * SECOND_US
OPEN_MAX = 20
"""Orders in a pair from which on the storm cancels instead of placing."""


class Storm:
    """An engine with too much to say, of which ten minutes in each hour are worse."""

    def __init__(self, stage: Stage, tier: str, settings: RateLimitSettings) -> None:
        stage.audience(PermitGranted, PermitExpired, CallGranted)
        self.limiter = stage.enter(RateLimiterActor, settings=settings)
        self.model = KrakenModel(tier)
        self.waits_us: defaultdict[CallPriority, list[int]] = defaultdict(list)
        self.impatient: Counter[CallPriority] = Counter()
        self.dropped: Counter[CallPriority] = Counter()
        self._stage = stage
        self._tier = tier
        self._chance = Random(f"storm of {tier}")
        self._traffic = Traffic(self.model, lambda: self._chance.randrange(SECOND_US))
        self._waiting: dict[object, tuple[RequestPermit | RequestCall, int]] = {}
        self._number = 0
        stage.switchboard.tap(self._listen)

    async def blow(self, hours: int) -> None:
        """Let so many hours pass, and one of peace after them."""
        now_us = self._stage.clock.now_us
        while now_us() < START_US + hours * HOUR_US:
            is_worse = (now_us() - START_US) % HOUR_US < HOUR_US // 6
            await self._stage.advance(self._chance.randrange(STORM_PACE_US[self._tier] if is_worse else CALM_PACE_US))
            self._want()
            await self._stage.settle()
            self._stage.said.clear()
        await self._stage.advance(HOUR_US)
        self._traffic.arrive_until(now_us())

    def _want(self) -> None:
        """Ask, protect, open, move and cancel at random."""
        match self._chance.choices(range(6), (30, 10, 15, 12, 10, 23))[0]:
            case 0:
                self._ask_rest(self._chance.choice((QUERY, QUERY, QUERY, PROTECT)))
            case 1:
                self._look_up()
            case 2:
                self._place(OPEN, 60 * SECOND_US)
            case 3:
                self._place(PROTECT, 1_000 * HOUR_US)
            case 4:
                self._about_one_that_rests(CallKind.AMEND, PROTECT)
            case _:
                self._about_one_that_rests(CallKind.CANCEL, CANCEL)

    def _ask_rest(self, priority: CallPriority) -> None:
        self._number += 1
        points_milli = self._chance.choice((1_000, 1_000, 2_000, 4_000)) if priority is QUERY else 1_000
        self._say(RequestCall(call=self._number, points_milli=points_milli, priority=priority))

    def _look_up(self) -> None:
        self._number += 1
        self.impatient[QUERY] += 1
        order, deadline_us = OrderId(f"q{self._number}"), self._stage.clock.now_us() + 5 * SECOND_US
        self._say(RequestPermit(kind=CallKind.LOOK_UP, priority=QUERY, order_id=order, deadline_us=deadline_us))

    def _place(self, priority: CallPriority, patience_us: int) -> None:
        pair = self._chance.choice(PAIRS)
        resting = [order for order, known in self._traffic.orders.items() if known.pair == pair and not known.gone_us]
        if len(resting) >= OPEN_MAX:
            self._about_one_that_rests(CallKind.CANCEL, CANCEL)
        else:
            self._number += 1
            self.impatient[priority] += 1
            self._ask(OrderId(f"o{self._number}"), CallKind.PLACE, priority, pair, patience_us)

    def _about_one_that_rests(self, kind: CallKind, priority: CallPriority) -> None:
        now_us = self._stage.clock.now_us()
        self._traffic.forget(now_us)
        resting = [order for order in self._traffic.there(now_us) if order not in self._waiting]
        if resting:
            # The newest ones above all: those are the dear ones.
            order = self._chance.choice(resting[-5:])
            self._ask(order, kind, priority, self._traffic.orders[order].pair, 1_000 * HOUR_US)

    def _ask(self, order: OrderId, kind: CallKind, priority: CallPriority, pair: Symbol, patience_us: int) -> None:
        now_us = self._stage.clock.now_us()
        self._say(self._traffic.ask(order, kind, priority, pair, now_us + patience_us, now_us))

    def _say(self, request: RequestPermit | RequestCall) -> None:
        key = request.call if isinstance(request, RequestCall) else request.order_id
        self._waiting[key] = request, self._stage.clock.now_us()
        self._stage.say(request)

    def _listen(self, message: Message) -> None:
        now_us = self._stage.clock.now_us()
        match message:
            case PermitGranted():
                self._traffic.arrive_until(now_us)
                request = self._answered(message.order_id, now_us)
                if message.kind is not CallKind.LOOK_UP:
                    self._traffic.leave(now_us, request)
                if request.priority is OPEN:
                    self._nothing_protective_waits()
            case CallGranted():
                self._traffic.arrive_until(now_us)
                self._traffic.leave_rest(now_us, self._answered(message.call, now_us).points_milli)
            case PermitExpired():
                request, _since_us = self._waiting.pop(message.order_id)
                self.dropped[request.priority] += 1
                if message.kind is CallKind.PLACE:
                    self._traffic.give_up(message.order_id, now_us)

    def _answered(self, key: object, now_us: int) -> Any:
        request, since_us = self._waiting.pop(key)
        self.waits_us[request.priority].append(now_us - since_us)
        return request

    def _nothing_protective_waits(self) -> None:
        """A protective call is never delayed by an entry: none leaves while one waits."""
        waiting = [one for one, _since_us in self._waiting.values() if isinstance(one, RequestPermit)]
        assert [one for one in waiting if one.priority in (PROTECT, CANCEL)] == []


@pytest.mark.parametrize("tier", REST)
def test_c19_a_day_of_storms_meets_no_limit(tier: str) -> None:
    """Our own buckets are out of the way, so that nothing but Kraken's counters holds the storm back."""

    async def scenario(stage: Stage) -> None:
        storm = Storm(stage, tier, RateLimitSettings(kraken_tier=tier, **AMPLE))
        await storm.blow(24)

        assert storm.model.refusals == []
        assert stage.failures == []
        assert storm.model.highest["REST"] > REST[tier][0] - 2, "the REST counter has been in the way"
        assert max(storm.model.highest[pair] for pair in PAIRS) > ENGINE[tier][0] - 10, "and so have the engine's"
        waits_us, dropped = storm.waits_us, storm.dropped
        assert dropped[QUERY] / storm.impatient[QUERY] > dropped[OPEN] / storm.impatient[OPEN]
        assert dropped[PROTECT] == dropped[CANCEL] == 0
        assert mean(waits_us[QUERY]) > mean(waits_us[OPEN]) > mean(waits_us[PROTECT])
        report: TokensReported = await stage.state_of(storm.limiter)
        assert report.waiting == 0
        assert {pair.symbol for pair in report.pairs} == set(PAIRS)
        assert report.rest_millipoints == 0

    play(scenario)

"""Sayings that are under way for as long as they like: answers one by one, pushes on one ordered channel."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange.mock.store import BookStore, MemoryStore
from messages.exchange import ExchangeAlert
from messages.orders import ExecutionReported, OrderEnded, TimeInForce
from messages.trades import OrderType
from tests.exchange.desk import BTC_USDT, BUY, SELL, D
from tests.exchange.stage import START_US, Theatre, play

LIMIT = OrderType.LIMIT
LONGEST_US = 5_000


class Scripted:
    """As late as the lists say, one after the other and round again."""

    def __init__(self, answers_us: list[int], pushes_us: list[int]) -> None:
        self._answers_us, self._pushes_us = cycle(answers_us), cycle(pushes_us)

    def answer_us(self) -> int:
        return next(self._answers_us)

    def push_us(self) -> int:
        return next(self._pushes_us)


@pytest.fixture(params=["memory", "none"])
def store(request: pytest.FixtureRequest) -> BookStore | None:
    return MemoryStore() if request.param == "memory" else None


def test_answers_overtake_each_other_and_the_pushes(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.faults.latency = Scripted([300, 200, 100], [400])
        order_id = theatre.place(BUY, "1")
        theatre.look_up(order_id)
        theatre.poll(order_id)
        await theatre.advance(99)
        assert theatre.names == []
        await theatre.advance(301)

        assert theatre.names == ["OrdersPolled", "OrderFound", "OrderAccepted", "ExecutionReported"]

    play(scene, store)


def test_a_slow_push_keeps_back_those_behind_it(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.faults.latency = Scripted([0], [500, 0, 0])
        orders = [theatre.place(BUY, "1", LIMIT, limit=limit) for limit in ("95", "90", "85")]
        for price in ("95", "90"):
            theatre.tick(price)
            await theatre.advance(100)
        theatre.faults.heal()  # What is under way stays there, and nothing overtakes it.
        theatre.tick("85")
        await theatre.advance(299)
        assert theatre.names == ["OrderAccepted"] * 3
        await theatre.advance(1)

        assert [message.fill.order_id for message in theatre.of(ExecutionReported)] == orders

    play(scene, store)


def test_the_end_that_answers_a_cancel_is_no_push(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.faults.latency = Scripted([0], [500])
        theatre.place(BUY, "1")
        resting = theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.cancel(resting)
        await theatre.settle()
        assert theatre.names == ["OrderAccepted", "OrderAccepted", "OrderEnded"]
        await theatre.advance(500)
        assert theatre.names[3:] == ["ExecutionReported"]

    play(scene, store)


def _pushes(theatre: Theatre) -> list[tuple[Any, int]]:
    """Return the pushes, and when each was heard."""
    heard = zip(theatre.heard, theatre.heard_at_us, strict=True)
    return [
        (message, at_us) for message, at_us in heard if type(message) in (ExecutionReported, OrderEnded, ExchangeAlert)
    ]


async def _a_busy_day(theatre: Theatre, gaps_us: list[int]) -> None:
    """Fills at once and at rest, expiries, trades by hand: everything that is pushed, each kind more than once."""
    for step, gap_us in enumerate(gaps_us):
        theatre.place(BUY, "0.1")
        theatre.place(BUY, "0.1", LIMIT, limit=f"{99 - step % 3}")
        theatre.place(SELL, "0.1", LIMIT, limit="200", time_in_force=TimeInForce.IOC)
        due_us = theatre.clock.now_us() + gap_us + 1
        theatre.place(BUY, "0.1", LIMIT, limit="50", time_in_force=TimeInForce.GTD, expires_at_us=due_us)
        theatre.faults.trade_by_hand(BTC_USDT, BUY, D("0.1"), on_margin=step % 2 == 0)
        theatre.tick(f"{100 - step % 4}")
        await theatre.advance(gap_us)
    await theatre.advance(20 * LONGEST_US)


DELAYS = st.lists(st.integers(0, LONGEST_US), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(DELAYS, DELAYS, st.lists(st.integers(0, 2_000), min_size=1, max_size=8))
@pytest.mark.parametrize("make_store", [MemoryStore, lambda: None], ids=["memory", "none"])
def test_pushes_arrive_in_the_order_in_which_they_happened(
    make_store: Callable[[], BookStore | None], answers_us: list[int], pushes_us: list[int], gaps_us: list[int]
) -> None:
    days: list[list[tuple[Any, int]]] = []

    async def late(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.faults.latency = Scripted(answers_us, pushes_us)
        await _a_busy_day(theatre, gaps_us)
        days.append(_pushes(theatre))

    async def at_once(theatre: Theatre) -> None:
        theatre.tick("100")
        await _a_busy_day(theatre, gaps_us)
        days.append(_pushes(theatre))

    play(late, make_store())
    play(at_once, make_store())

    heard, happened = days
    assert [push for push, _at_us in heard] == [push for push, _at_us in happened], "nothing is lost or overtakes"
    arrivals_us = [at_us for _push, at_us in heard]
    assert arrivals_us == sorted(arrivals_us)
    # Nothing is faster than the fastest, and the channel never stands still for longer than its slowest push.
    for (_push, at_us), (_same, told_at_us) in zip(heard, happened, strict=True):
        assert told_at_us + min(pushes_us) <= at_us <= told_at_us + max(pushes_us)


def test_a_plan_without_latency_asks_for_none(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "1")
        await theatre.settle()

        assert theatre.heard_at_us == [START_US] * 2
        assert len(theatre.timers) == 0

    play(scene, store)

"""The actor around the books: saved before told, answers, delays, resuming from the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from actors.exchange.mock.actor import HELD_MAX, TICKS_PER_SAVE
from actors.exchange.mock.store import BookStore, MemoryStore
from messages.exchange import AccountReported, Holding
from messages.orders import (
    ExecutionReported,
    OrderAccepted,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrdersPolled,
    OrderStatus,
    TimeInForce,
)
from messages.trades import OrderType
from tests.exchange.desk import (
    BTC,
    BTC_USDT,
    BUY,
    SELL,
    USDT,
    D,
)
from tests.exchange.stage import START_US, TRADE, SlowStore, Theatre, play

LIMIT, STOP = OrderType.LIMIT, OrderType.STOP_LOSS
StoreMaker = Callable[[], BookStore | None]


@pytest.fixture(params=["memory", "none"])
def store(request: pytest.FixtureRequest) -> BookStore | None:
    return MemoryStore() if request.param == "memory" else None


def test_an_order_is_accepted_and_its_execution_reported(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        order_id = theatre.place(BUY, "1")
        await theatre.settle()

        accepted, executed = theatre.heard
        assert accepted == OrderAccepted(order_id=order_id, external_id=accepted.external_id, at_us=START_US)
        assert executed.fill.price_quote == 100
        assert accepted.proposal_id == TRADE
        assert executed.proposal_id == TRADE

    play(scene, store)


def test_a_fill_of_a_tick_belongs_to_the_trade_of_its_order(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        await theatre.settle()
        theatre.tick("95")
        await theatre.settle()

        assert theatre.of(ExecutionReported)[0].proposal_id == f"proposal of {order_id}"

    play(scene, store)


def test_the_account_is_reported(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(SELL, "2", leverage=2)
        theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.ask_account()
        await theatre.settle()

        (account,) = theatre.of(AccountReported)
        assert account.balances == ((BTC, D(10)), (USDT, D("9999.2")))
        assert account.holdings == (Holding(symbol=BTC_USDT, volume_base=D(-2), cost_quote=D(200)),)
        assert [order.order_id for order in account.open_orders] == ["order 2"]

    play(scene, store)


def test_orders_are_looked_up_open_and_over(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        over, resting = theatre.place(BUY, "1"), theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.look_up(over)
        theatre.look_up(resting)
        theatre.look_up("nobody")  # type: ignore[arg-type]
        await theatre.settle()

        first, second = theatre.of(OrderFound)
        assert (first.order.status, [fill.volume_base for fill in first.fills]) == (OrderStatus.FILLED, [D(1)])
        assert (second.order.status, second.fills) == (OrderStatus.OPEN, ())
        assert theatre.of(OrderNotFound) == [OrderNotFound(order_id="nobody", as_of_us=START_US)]  # type: ignore[arg-type]

    play(scene, store)


def test_a_poll_tells_the_trades_since_the_last_one(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        first = theatre.place(BUY, "1")
        theatre.place(BUY, "2")
        theatre.poll(first)
        await theatre.settle()
        (polled,) = theatre.of(OrdersPolled)
        assert [fill.volume_base for fill in polled.fills] == [D(1)]  # Those of the orders asked about.

        third = theatre.place(BUY, "3")
        theatre.poll(first, third, after=polled.cursor)
        await theatre.settle()
        polled = theatre.of(OrdersPolled)[-1]
        assert [order.order_id for order in polled.orders] == [first, third]
        assert [fill.volume_base for fill in polled.fills] == [D(3)]

        theatre.poll(first, after=polled.cursor)
        await theatre.settle()
        assert theatre.of(OrdersPolled)[-1].fills == ()

    play(scene, store)


def test_answers_and_fills_are_as_late_as_the_settings_say(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "1")
        await theatre.settle()
        assert theatre.names == []

        await theatre.advance(199_999)
        assert theatre.names == []
        await theatre.advance(1)
        assert theatre.names == ["OrderAccepted"]
        await theatre.advance(50_000)
        assert theatre.names == ["OrderAccepted", "ExecutionReported"]

    play(scene, store, acknowledge_delay_ms=200, fill_delay_ms=50)


def test_an_order_expires_by_a_timer(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        terms = {"limit": "95", "time_in_force": TimeInForce.GTD}
        late = theatre.place(BUY, "1", LIMIT, expires_at_us=START_US + 2_000, **terms)
        early = theatre.place(BUY, "1", LIMIT, expires_at_us=START_US + 1_000, **terms)
        await theatre.advance(999)
        assert theatre.of(OrderEnded) == []

        await theatre.advance(1)
        assert [(ended.order_id, ended.status) for ended in theatre.of(OrderEnded)] == [(early, OrderStatus.EXPIRED)]
        await theatre.advance(1_000)
        assert [ended.order_id for ended in theatre.of(OrderEnded)] == [early, late]
        assert len(theatre.timers) <= 1

    play(scene, store)


def test_the_expiry_timer_is_wound_again_for_the_next_order(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        for delay_us in (1_000, 2_000, 3_000):
            terms = {"limit": "95", "time_in_force": TimeInForce.GTD, "expires_at_us": START_US + delay_us}
            theatre.place(BUY, "1", LIMIT, **terms)
        await theatre.settle()
        assert len(theatre.timers) == 1

        await theatre.advance(3_000)
        assert [ended.at_us - START_US for ended in theatre.of(OrderEnded)] == [1_000, 2_000, 3_000]

    play(scene, store)


# Saved before told --------------------------------------------------------------------------------


def test_nothing_is_told_before_it_is_saved() -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "1")
        theatre.poll("order 1")  # type: ignore[arg-type]
        pending = asyncio.create_task(theatre.settle())
        for _ in range(20):
            await asyncio.sleep(0)
        assert theatre.names == []
        assert theatre.report.untold == 3

        slow.gate.set()
        await pending
        assert theatre.names == ["OrderAccepted", "ExecutionReported", "OrdersPolled"]

    slow = SlowStore()
    play(scene, slow)


def test_what_happens_during_a_save_goes_together_as_the_next_one() -> None:
    async def scene(theatre: Theatre) -> None:
        slow.gate.set()
        await theatre.settle()
        slow.gate.clear()
        before = len(slow.saves)
        theatre.tick("100")
        for _ in range(5):
            theatre.place(BUY, "1")
        pending = asyncio.create_task(theatre.settle())
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(slow.saves) - before == 1

        slow.gate.set()
        await pending
        assert len(slow.saves) - before == 2
        assert theatre.names == ["OrderAccepted", "ExecutionReported"] * 5
        assert theatre.documents == await slow.load()

    slow = SlowStore()
    play(scene, slow)


def test_a_save_that_fails_is_tried_again_and_nothing_is_told_meanwhile() -> None:
    async def scene(theatre: Theatre) -> None:
        slow.gate.set()
        theatre.tick("100")
        await theatre.settle()
        slow.failures = 2
        theatre.place(BUY, "1")
        await theatre.advance(1_999_999)
        assert theatre.names == []
        assert "the database is away" in theatre.report.store_error

        await theatre.advance(1)
        assert theatre.names == ["OrderAccepted", "ExecutionReported"]
        assert theatre.report.store_error == ""
        assert theatre.documents == await slow.load()

    slow = SlowStore()
    play(scene, slow)


def test_a_store_that_cannot_be_read_is_read_again_and_everything_waits_in_order() -> None:
    async def scene(theatre: Theatre) -> None:
        slow.gate.set()
        theatre.tick("100")
        theatre.place(BUY, "1")
        theatre.look_up("order 1")  # type: ignore[arg-type]
        await theatre.settle()
        assert theatre.names == []

        await theatre.advance(1_000_000)
        assert theatre.names == ["OrderAccepted", "ExecutionReported", "OrderFound"]

    slow = SlowStore()
    slow.load_failures = 1
    play(scene, slow)


def test_more_than_can_wait_is_a_failure() -> None:
    async def scene(theatre: Theatre) -> None:
        slow.load_failures = 10
        theatre.exchange._held.extend([None] * HELD_MAX)
        theatre.ask_account()
        with pytest.raises(OverflowError):
            await theatre.settle()

    slow = SlowStore()
    slow.load_failures = 1
    play(scene, slow)


def test_ticks_that_change_nothing_save_only_how_far_they_came() -> None:
    async def scene(theatre: Theatre) -> None:
        slow.gate.set()
        await theatre.settle()
        before = len(slow.saves)
        for _ in range(TICKS_PER_SAVE - 1):
            theatre.tick("100")
            await theatre.settle()
        assert len(slow.saves) == before

        theatre.tick("101")
        await theatre.settle()
        (changes,) = slow.saves[before:]
        assert changes.progress.sequence == TICKS_PER_SAVE
        assert {document.kind for document in changes.documents} == {"account", "price"}

    slow = SlowStore()
    play(scene, slow)


def test_a_stop_limit_that_fires_and_rests_is_saved_without_a_word() -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(SELL, "1", OrderType.STOP_LOSS_LIMIT, trigger="95", limit="94")
        await theatre.settle()
        theatre.tick("90")
        await theatre.settle()

        assert theatre.documents == await memory.load()

    memory = MemoryStore()
    play(scene, memory)


# Resuming -----------------------------------------------------------------------------------------


def test_the_books_go_on_where_the_store_left_them() -> None:
    kept = []

    async def before(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "1", leverage=2)
        theatre.place(SELL, "1", STOP, trigger="95", leverage=2, reduce_only=True)
        theatre.place(BUY, "1", LIMIT, limit="90", time_in_force=TimeInForce.GTD, expires_at_us=START_US + 10_000)
        await theatre.settle()
        kept.append(theatre.documents)

    async def after(theatre: Theatre) -> None:
        await theatre.settle()
        assert theatre.documents == kept[0]
        theatre.look_up("order 1")  # type: ignore[arg-type]
        theatre.tick("94", sequence=2, at_us=START_US + 1)
        await theatre.advance(10_000)

        (found,) = theatre.of(OrderFound)
        assert found.order.status is OrderStatus.FILLED
        assert [fill.fill.trade_id for fill in theatre.of(ExecutionReported)] == ["T0000000002"]
        assert [(ended.order_id, ended.status) for ended in theatre.of(OrderEnded)] == [
            ("order 3", OrderStatus.EXPIRED)
        ]

    memory = MemoryStore()
    play(before, memory)
    play(after, memory)


def test_a_tick_that_is_in_the_books_already_does_nothing_again() -> None:
    async def before(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "2", LIMIT, limit="95")
        await theatre.settle()
        theatre.tick("95", sequence=7)
        await theatre.settle()
        assert len(theatre.of(ExecutionReported)) == 1

    async def after(theatre: Theatre) -> None:
        theatre.tick("95", sequence=7, at_us=START_US)
        await theatre.settle()
        assert theatre.names == []

        theatre.tick("95", sequence=1, at_us=START_US + 1)  # A new stream counts from one again.
        await theatre.settle()
        assert theatre.names == ["ExecutionReported"]

    memory = MemoryStore()
    play(before, memory, fill_share_pct=D(50))
    play(after, memory, fill_share_pct=D(50))


def test_opening_balances_are_taken_once() -> None:
    async def before(theatre: Theatre) -> None:
        theatre.tick("100")
        theatre.place(BUY, "10")
        await theatre.settle()

    async def after(theatre: Theatre) -> None:
        theatre.ask_account()
        await theatre.settle()
        assert dict(theatre.of(AccountReported)[0].balances)[BTC] == 20

    memory = MemoryStore()
    play(before, memory)
    play(after, memory)

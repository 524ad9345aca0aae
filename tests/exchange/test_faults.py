"""Each fault by itself: what the engine hears, and what is true."""

from __future__ import annotations

import pytest

from actors.exchange.mock.store import BookStore, MemoryStore
from messages.base import OrderId
from messages.exchange import AccountReported, ExchangeAlert
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExecutionReported,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrdersPolled,
    OrderStatus,
    OutcomeUnknown,
    TimeInForce,
)
from messages.trades import OrderType
from tests.exchange.desk import (
    BTC_USDT,
    BUY,
    SELL,
    USDT,
    D,
)
from tests.exchange.stage import Scene, Theatre, play

LIMIT, STOP = OrderType.LIMIT, OrderType.STOP_LOSS


@pytest.fixture(params=["memory", "none"])
def store(request: pytest.FixtureRequest) -> BookStore | None:
    return MemoryStore() if request.param == "memory" else None


def played(scene: Scene, store: BookStore | None, **paper: object) -> None:
    """Play a scene in a market at 100."""

    async def from_a_hundred(theatre: Theatre) -> None:
        theatre.tick("100")
        await theatre.settle()
        await scene(theatre)

    play(from_a_hundred, store, **paper)


def test_the_next_placements_are_refused(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.refuse_next("EService:Busy", times=2)
        theatre.faults.refuse_next_for_funds()
        for _ in range(4):
            theatre.place(BUY, "1")
        await theatre.settle()

        refused = [(message.reason, message.may_retry) for message in theatre.of(OrderRefused)]
        assert refused == [("EService:Busy", True)] * 2 + [("EOrder:Insufficient funds", False)]
        assert theatre.names[3:] == ["OrderAccepted", "ExecutionReported"]

    played(scene, store)


def test_an_acceptance_is_lost_and_the_order_lives(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.lost_answers = 1
        theatre.faults.timeout_us = 5_000
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        await theatre.settle()
        assert theatre.names == []
        await theatre.advance(5_000)
        assert theatre.names == ["OutcomeUnknown"]

        theatre.look_up(order_id)
        theatre.tick("95")
        await theatre.settle()
        assert theatre.of(OrderFound)[0].order.status is OrderStatus.OPEN
        assert theatre.of(ExecutionReported)[0].fill.order_id == order_id

    played(scene, store)


def test_a_request_is_lost_and_nothing_is_placed(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.lost_requests = 1
        order_id = theatre.place(BUY, "1")
        theatre.look_up(order_id)
        await theatre.settle()

        assert [message.order_id for message in theatre.of(OutcomeUnknown)] == [order_id]
        assert [message.order_id for message in theatre.of(OrderNotFound)] == [order_id]

    played(scene, store)


def test_answers_are_late(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.answer_delay_us = 300
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.look_up(order_id)
        await theatre.advance(299)
        assert theatre.names == []
        await theatre.advance(1)
        assert theatre.names == ["OrderAccepted", "OrderFound"]

    played(scene, store)


def test_executions_are_told_twice(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.duplicates_executions = True
        theatre.place(BUY, "1")
        await theatre.settle()

        first, second = theatre.of(ExecutionReported)
        assert first == second
        theatre.ask_account()
        await theatre.settle()
        assert dict(theatre.of(AccountReported)[0].balances)[USDT] == D("9899.6")

    played(scene, store)


def test_the_next_order_fills_in_part_first(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.fill_only(D(25))
        theatre.faults.fill_only(D(10))
        resting = theatre.place(BUY, "1", LIMIT, limit="100")
        immediate = theatre.place(BUY, "1", LIMIT, limit="100", time_in_force=TimeInForce.IOC)
        theatre.poll(resting, immediate)
        await theatre.settle()

        partly, cancelled = theatre.of(OrdersPolled)[0].orders
        assert (partly.status, partly.filled_base) == (OrderStatus.PARTIALLY_FILLED, D("0.25"))
        assert (cancelled.status, cancelled.filled_base) == (OrderStatus.CANCELLED, D("0.1"))
        theatre.tick("99")
        await theatre.settle()
        assert theatre.of(ExecutionReported)[-1].fill.volume_base == D("0.75")

    played(scene, store)


def test_a_lost_execution_is_told_by_polling_only(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.lost_executions = 1
        order_id = theatre.place(BUY, "1")
        theatre.poll(order_id)
        await theatre.settle()

        assert theatre.of(ExecutionReported) == []
        assert [fill.order_id for fill in theatre.of(OrdersPolled)[0].fills] == [order_id]

    played(scene, store)


def test_the_answer_to_a_cancel_is_lost_and_the_order_is_gone(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.faults.lost_cancel_answers = 1
        theatre.cancel(order_id)
        theatre.look_up(order_id)
        await theatre.settle()

        assert "unknown" in theatre.of(CancelRefused)[0].reason
        assert theatre.of(OrderEnded) == []
        assert theatre.of(OrderFound)[0].order.status is OrderStatus.CANCELLED

    played(scene, store)


def test_the_answer_to_an_amend_is_lost_and_the_order_has_moved(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(SELL, "1", STOP, trigger="90")
        theatre.faults.lost_amend_answers = 1
        theatre.amend(order_id, "1", "95")
        theatre.look_up(order_id)
        await theatre.settle()

        assert "unknown" in theatre.of(AmendRefused)[0].reason
        assert theatre.of(OrderFound)[0].order.trigger_price_quote == 95

    played(scene, store)


def test_an_amend_is_refused_and_the_order_has_not_moved(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(SELL, "1", STOP, trigger="90")
        theatre.faults.refuse_next_amend("EService:Busy")
        theatre.amend(order_id, "1", "95")
        theatre.look_up(order_id)
        theatre.amend(order_id, "1", "96")
        await theatre.settle()

        assert [message.reason for message in theatre.of(AmendRefused)] == ["EService:Busy"]
        assert theatre.of(OrderFound)[0].order.trigger_price_quote == 90
        assert [message.trigger_price_quote for message in theatre.of(OrderAmended)] == [D(96)]

    played(scene, store)


def test_polls_that_lag_see_the_books_as_they_were(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.poll_lag_us = 1_000
        await theatre.advance(10)
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.look_up(order_id)
        await theatre.advance(600)
        assert theatre.names == ["OrderAccepted", "OrderNotFound"]

        theatre.tick("95")
        await theatre.advance(600)
        theatre.poll(order_id)
        await theatre.settle()
        polled = theatre.of(OrdersPolled)[-1]
        assert ([order.status for order in polled.orders], polled.fills) == ([OrderStatus.OPEN], ())

        theatre.poll(order_id, after=polled.cursor)
        await theatre.settle()
        assert (theatre.of(OrdersPolled)[-1].fills, theatre.of(OrdersPolled)[-1].cursor) == ((), polled.cursor)

        await theatre.advance(600)
        theatre.poll(order_id, after=polled.cursor)
        await theatre.settle()
        polled = theatre.of(OrdersPolled)[-1]
        assert [order.status for order in polled.orders] == [OrderStatus.FILLED]
        assert [fill.order_id for fill in polled.fills] == [order_id]

    played(scene, store)


def test_funds_vanish(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.move_funds(USDT, D(-9_950))
        theatre.place(BUY, "1")
        await theatre.settle()

        assert theatre.of(OrderRefused)[0].reason == "EOrder:Insufficient funds"
        if store is not None:
            assert theatre.documents == await store.load()

    played(scene, store)


def test_a_position_is_closed_by_hand(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        entry = theatre.place(BUY, "1", leverage=2)
        await theatre.settle()
        theatre.faults.close_by_hand(BTC_USDT)
        theatre.tick("101")
        theatre.ask_account()
        await theatre.settle()

        fill = theatre.of(ExecutionReported)[-1].fill
        assert fill.order_id not in {entry, OrderId("")}
        assert theatre.of(ExchangeAlert)[0].kind == "external_order"
        assert theatre.of(AccountReported)[0].holdings == ()

    played(scene, store)


@pytest.mark.parametrize("delays", [{}, {"acknowledge_delay_ms": 5, "fill_delay_ms": 7}])
def test_the_execution_comes_before_the_acceptance(store: BookStore | None, delays: dict[str, int]) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.executes_first = True
        theatre.place(BUY, "1")
        await theatre.advance(20_000)

        assert theatre.names == ["ExecutionReported", "OrderAccepted"]

    played(scene, store, **delays)

"""Each fault by itself: what the engine hears, and what is true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
import pytest

from actors.exchange.mock.faults import FAULT_NAMES, Faults
from actors.exchange.mock.store import BookStore, MemoryStore
from messages.base import OrderId, Symbol
from messages.exchange import AccountReported, ExchangeAlert, Holding
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
from messages.trades import OrderType, Side
from tests.exchange.desk import (
    BTC,
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


@pytest.mark.parametrize("is_duplicated", [False, True])
def test_the_end_of_an_order_overtakes_its_execution(store: BookStore | None, *, is_duplicated: bool) -> None:
    """It counts without it; the books know better, and a moment later the execution is told."""

    async def scene(theatre: Theatre) -> None:
        theatre.faults.late_executions = 1
        theatre.faults.duplicates_answers = is_duplicated
        theatre.faults.fill_only(D(40))
        order_id = theatre.place(BUY, "1", LIMIT, limit="100", time_in_force=TimeInForce.IOC)
        await theatre.settle()

        assert {(end.status, end.filled_base) for end in theatre.of(OrderEnded)} == {(OrderStatus.CANCELLED, D(0))}
        assert theatre.of(ExecutionReported) == []
        theatre.look_up(order_id)
        await theatre.settle()
        assert theatre.of(OrderFound)[0].order.filled_base == D("0.4")
        await theatre.advance(2_000_000)
        assert [told.fill.volume_base for told in theatre.of(ExecutionReported)] == [D("0.4")]
        assert theatre.faults.struck["late_executions"] == 1

    played(scene, store)


def test_executions_of_an_order_that_fills_wholly_are_told_in_their_order(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.late_executions = 1
        theatre.faults.fill_only(D(40))
        theatre.place(BUY, "1", LIMIT, limit="100")
        await theatre.settle()
        assert theatre.of(ExecutionReported) == []

        theatre.tick("99")
        await theatre.settle()

        assert [told.fill.volume_base for told in theatre.of(ExecutionReported)] == [D("0.4"), D("0.6")]
        assert theatre.of(OrderEnded) == []

    played(scene, store)


def test_no_execution_of_a_sale_outright_is_late(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.late_executions = 1
        theatre.faults.fill_only(D(40))
        theatre.place(SELL, "1", LIMIT, limit="100", time_in_force=TimeInForce.IOC)
        await theatre.settle()

        assert [end.filled_base for end in theatre.of(OrderEnded)] == [D("0.4")]
        assert theatre.faults.struck["late_executions"] == 0

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


def test_a_cancel_is_lost_and_the_order_rests(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        theatre.faults.lost_cancels = 1
        theatre.cancel(order_id)
        theatre.look_up(order_id)
        theatre.cancel(order_id)
        await theatre.settle()

        assert "unknown" in theatre.of(CancelRefused)[0].reason
        assert theatre.of(OrderFound)[0].order.status is OrderStatus.OPEN
        assert [message.status for message in theatre.of(OrderEnded)] == [OrderStatus.CANCELLED]

    played(scene, store)


def test_an_amend_is_lost_and_the_order_has_not_moved(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(SELL, "1", STOP, trigger="90")
        theatre.faults.lost_amends = 1
        theatre.amend(order_id, "1", "95")
        theatre.look_up(order_id)
        theatre.amend(order_id, "1", "96")
        await theatre.settle()

        assert "unknown" in theatre.of(AmendRefused)[0].reason
        assert theatre.of(OrderFound)[0].order.trigger_price_quote == 90
        assert [message.trigger_price_quote for message in theatre.of(OrderAmended)] == [D(96)]

    played(scene, store)


def test_a_mute_exchange_does_what_it_is_asked(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.mute_answers = 6
        filled = theatre.place(BUY, "1")
        resting = theatre.place(SELL, "1", STOP, trigger="90")
        theatre.amend(resting, "1", "95")
        theatre.look_up(resting)
        theatre.poll(resting)
        theatre.ask_account()
        await theatre.settle()
        assert theatre.names == ["ExecutionReported"], "pushes are no answers"

        theatre.look_up(resting)
        await theatre.settle()
        assert theatre.of(OrderFound)[0].order.trigger_price_quote == 95
        theatre.faults.mute_answers = 1
        theatre.cancel(resting)
        theatre.poll(filled, resting)
        await theatre.settle()
        assert theatre.of(OrderEnded) == []
        statuses = [order.status for order in theatre.of(OrdersPolled)[0].orders]
        assert statuses == [OrderStatus.FILLED, OrderStatus.CANCELLED]

    played(scene, store)


def test_a_request_is_lost_and_nobody_says_so(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.lost_requests = theatre.faults.mute_answers = 1
        order_id = theatre.place(BUY, "1")
        theatre.look_up(order_id)
        await theatre.settle()

        assert theatre.names == ["OrderNotFound"]

    played(scene, store)


def test_maintenance_takes_nothing_and_answers_nothing(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        resting = theatre.place(SELL, "1", STOP, trigger="90")
        await theatre.settle()
        theatre.faults.maintenance = True
        theatre.place(BUY, "1")
        theatre.amend(resting, "1", "95")
        theatre.cancel(resting)
        theatre.look_up(resting)
        theatre.poll(resting)
        theatre.ask_account()
        await theatre.settle()

        refused, amend, cancel = theatre.heard[1:]
        assert (refused.reason, refused.may_retry) == ("EService:Unavailable", True)
        assert (type(amend), amend.reason) == (AmendRefused, "EService:Unavailable")
        assert (type(cancel), cancel.reason) == (CancelRefused, "EService:Unavailable")
        theatre.faults.maintenance = False
        theatre.ask_account()
        await theatre.settle()
        assert [order.trigger_price_quote for order in theatre.of(AccountReported)[0].open_orders] == [D(90)]

    played(scene, store)


def test_maintenance_holds_back_what_it_pushes(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        now_us = theatre.clock.now_us()
        first = theatre.place(BUY, "1", LIMIT, limit="95")
        second = theatre.place(BUY, "1", LIMIT, limit="90")
        third = theatre.place(BUY, "1", LIMIT, limit="80", time_in_force=TimeInForce.GTD, expires_at_us=now_us + 2_000)
        await theatre.settle()
        theatre.faults.maintenance = True
        theatre.tick("95")
        await theatre.advance(1_000)
        theatre.tick("90")
        await theatre.advance(1_000)
        assert theatre.names == ["OrderAccepted"] * 3

        theatre.faults.maintenance = False
        await theatre.settle()
        assert theatre.names == ["OrderAccepted"] * 3
        theatre.tick("91")
        await theatre.settle()
        assert [message.fill.order_id for message in theatre.of(ExecutionReported)] == [first, second]
        assert [message.order_id for message in theatre.of(OrderEnded)] == [third]
        assert theatre.names[3:] == ["ExecutionReported", "ExecutionReported", "OrderEnded"]

        if store is not None:
            kept = await store.load()  # A tick that changes nothing is saved later.
            assert [one for one in theatre.documents if one.kind != "price"] == [
                one for one in kept if one.kind != "price"
            ]

    played(scene, store)


def test_what_maintenance_held_back_goes_before_an_expiry_after_it(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        due_us = theatre.clock.now_us() + 2_000
        filled = theatre.place(BUY, "1", LIMIT, limit="95")
        expiring = theatre.place(BUY, "1", LIMIT, limit="80", time_in_force=TimeInForce.GTD, expires_at_us=due_us)
        await theatre.settle()
        theatre.faults.maintenance = True
        theatre.tick("95")
        await theatre.settle()
        theatre.faults.maintenance = False
        await theatre.advance(2_000)

        assert theatre.names[2:] == ["ExecutionReported", "OrderEnded"]
        assert theatre.of(ExecutionReported)[0].fill.order_id == filled
        assert theatre.of(OrderEnded)[0].order_id == expiring

    played(scene, store)


def test_answers_are_told_twice(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.duplicates_answers = True
        theatre.place(BUY, "1")
        resting = theatre.place(SELL, "1", STOP, trigger="90")
        theatre.amend(resting, "1", "95")
        theatre.cancel(resting)
        theatre.ask_account()
        await theatre.settle()

        accepted, ended = ["OrderAccepted"] * 2, ["OrderEnded"] * 2
        assert theatre.names == [
            *accepted,
            "ExecutionReported",
            *accepted,
            "OrderAmended",
            "OrderAmended",
            *ended,
            "AccountReported",
        ]
        assert theatre.heard[0] == theatre.heard[1]

    played(scene, store)


def test_an_order_is_cancelled_by_hand(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(BUY, "1", LIMIT, limit="95")
        await theatre.settle()
        theatre.faults.cancel_by_hand(order_id)
        theatre.faults.cancel_by_hand(order_id)  # It is over by then.
        theatre.tick("94")
        await theatre.settle()

        (ended,) = theatre.of(OrderEnded)
        assert (ended.order_id, ended.status, ended.reason) == (order_id, OrderStatus.CANCELLED, "User requested")
        assert ended.proposal_id == f"proposal of {order_id}"
        assert theatre.of(ExecutionReported) == []
        assert theatre.faults.struck == {"cancel_by_hand": 1}

    played(scene, store)


def test_somebody_trades_on_spot_by_hand(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        theatre.faults.trade_by_hand(BTC_USDT, BUY, D(2))
        theatre.faults.trade_by_hand(BTC_USDT, SELL, D(1))
        theatre.ask_account()
        await theatre.settle()

        bought, sold = (message.fill for message in theatre.of(ExecutionReported))
        assert (bought.side, bought.volume_base, bought.price_quote, bought.fee_quote) == (BUY, D(2), D(100), D("0.8"))
        for fill in (bought, sold):
            assert str(fill.order_id) == str(fill.external_order_id)
        assert bought.order_id != sold.order_id
        assert [alert.kind for alert in theatre.of(ExchangeAlert)] == ["external_order"] * 2
        (account,) = theatre.of(AccountReported)
        assert (account.balances, account.holdings) == (((BTC, D(11)), (USDT, D("9898.8"))), ())
        if store is not None:
            assert theatre.documents == await store.load()

    played(scene, store)


def test_somebody_trades_on_margin_by_hand(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        async def by_hand(side: Side, volume: str) -> None:
            theatre.faults.trade_by_hand(BTC_USDT, side, D(volume), on_margin=True)
            theatre.ask_account()
            await theatre.settle()

        await by_hand(BUY, "1")  # Opens,
        await by_hand(BUY, "2")  # increases,
        await by_hand(SELL, "1")  # reduces,
        await by_hand(SELL, "5")  # and closes, for it does not turn a position round.
        await by_hand(SELL, "1")

        volumes = [message.fill.volume_base for message in theatre.of(ExecutionReported)]
        assert volumes == [1, 2, 1, 2, 1]
        held = [account.holdings for account in theatre.of(AccountReported)]
        assert held == [
            (Holding(symbol=BTC_USDT, volume_base=D(1), cost_quote=D(100)),),
            (Holding(symbol=BTC_USDT, volume_base=D(3), cost_quote=D(300)),),
            (Holding(symbol=BTC_USDT, volume_base=D(2), cost_quote=D(200)),),
            (),
            (Holding(symbol=BTC_USDT, volume_base=D(-1), cost_quote=D(100)),),
        ]
        assert dict(theatre.of(AccountReported)[-1].balances) == {BTC: D(10), USDT: D("9997.2")}

    played(scene, store)


def test_somebody_leaves_an_order_by_hand(store: BookStore | None) -> None:
    """It rests and fills as any other, and bears no id of ours."""

    async def scene(theatre: Theatre) -> None:
        theatre.faults.order_by_hand(BTC_USDT, D(2), below_bps=500)
        theatre.ask_account()
        await theatre.settle()
        (rests,) = theatre.of(AccountReported)[0].open_orders
        assert (rests.volume_base, rests.filled_base, rests.status) == (D(2), D(0), OrderStatus.OPEN)
        assert str(rests.order_id) == str(rests.external_id)

        theatre.tick("94")
        await theatre.settle()
        (bought,) = (message.fill for message in theatre.of(ExecutionReported))
        assert (bought.order_id, bought.volume_base, bought.price_quote) == (rests.order_id, D(2), D(95))
        assert [alert.kind for alert in theatre.of(ExchangeAlert)] == ["external_order"]
        assert theatre.faults.struck == {"order_by_hand": 1}

    played(scene, store)


def test_what_the_exchange_would_refuse_is_not_traded_by_hand_either(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        faults = theatre.faults
        theatre.place(SELL, "9", LIMIT, limit="110")
        await theatre.settle()
        faults.trade_by_hand(BTC_USDT, SELL, D(2))  # Nine of ten are held back for the order.
        faults.trade_by_hand(BTC_USDT, BUY, D(100))
        faults.trade_by_hand(BTC_USDT, BUY, D(300), on_margin=True)
        faults.trade_by_hand(BTC_USDT, BUY, D("0.00001"))
        faults.trade_by_hand(Symbol("XRP/USDT"), BUY, D(100))  # Nobody has traded there yet.
        faults.trade_by_hand(Symbol("DOGE/USDT"), BUY, D(100))
        faults.order_by_hand(BTC_USDT, D(200), below_bps=100)
        faults.order_by_hand(BTC_USDT, D(1), below_bps=10_000)
        faults.order_by_hand(Symbol("XRP/USDT"), D(100), below_bps=100)
        theatre.tick("100")
        theatre.ask_account()
        await theatre.settle()

        assert theatre.names == ["OrderAccepted", "AccountReported"]
        assert theatre.of(AccountReported)[0].balances == ((BTC, D(10)), (USDT, D(10_000)))
        assert not faults.struck

    played(scene, store)


def test_a_healed_plan_does_nothing_and_remembers_what_struck(store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        faults = theatre.faults
        faults.refuse_next("EService:Busy", times=2)
        theatre.place(BUY, "1")
        await theatre.settle()
        faults.lost_answers = faults.mute_answers = faults.poll_lag_us = 5
        faults.maintenance = faults.duplicates_answers = True
        faults.fill_only(D(10))
        faults.cancel_by_hand(OrderId("order 1"))
        faults.move_funds(USDT, D(-5_000))

        faults.heal()

        calm, names = Faults(), {field.name for field in attrs.fields(Faults)} - {"struck"}
        assert {name: getattr(faults, name) for name in names} == {name: getattr(calm, name) for name in names}
        theatre.place(BUY, "1")
        await theatre.settle()
        assert theatre.names == ["OrderRefused", "OrderAccepted", "ExecutionReported"]
        assert faults.struck == {"refusals": 1}

    played(scene, store)


# Each of them can strike --------------------------------------------------------------------------


@attrs.frozen
class Slow:
    """As late as this, every time."""

    by_us: int

    def answer_us(self) -> int:
        return self.by_us

    def push_us(self) -> int:
        return self.by_us


async def _buys(theatre: Theatre) -> None:
    theatre.place(BUY, "1")


async def _amends(theatre: Theatre) -> None:
    theatre.amend(theatre.place(SELL, "1", STOP, trigger="90"), "1", "95")


async def _cancels(theatre: Theatre) -> None:
    theatre.cancel(theatre.place(BUY, "1", LIMIT, limit="95"))


async def _looks_up(theatre: Theatre) -> None:
    await theatre.advance(10)
    theatre.look_up(theatre.place(BUY, "1"))


async def _cancelled_by_hand(theatre: Theatre) -> None:
    order_id = theatre.place(BUY, "1", LIMIT, limit="95")
    await theatre.settle()
    theatre.faults.cancel_by_hand(order_id)
    theatre.tick("100")


async def _closed_by_hand(theatre: Theatre) -> None:
    theatre.place(BUY, "1", leverage=2)
    await theatre.settle()
    theatre.faults.close_by_hand(BTC_USDT)
    theatre.tick("100")


Strike = tuple[Callable[[Faults], None], Callable[[Theatre], Awaitable[None]]]


def _with(**values: object) -> Callable[[Faults], None]:
    def apply(faults: Faults) -> None:
        for name, value in values.items():
            setattr(faults, name, value)

    return apply


def _late(faults: Faults) -> None:
    faults.late_executions = 1
    faults.fill_only(D(40))


STRIKES: Mapping[str, Strike] = {
    "refusals": (lambda faults: faults.refuse_next("EService:Busy"), _buys),
    "amend_refusals": (lambda faults: faults.refuse_next_amend("EService:Busy"), _amends),
    "first_shares_pct": (lambda faults: faults.fill_only(D(10)), _buys),
    "lost_requests": (_with(lost_requests=1), _buys),
    "lost_answers": (_with(lost_answers=1), _buys),
    "lost_cancels": (_with(lost_cancels=1), _cancels),
    "lost_cancel_answers": (_with(lost_cancel_answers=1), _cancels),
    "lost_amends": (_with(lost_amends=1), _amends),
    "lost_amend_answers": (_with(lost_amend_answers=1), _amends),
    "lost_executions": (_with(lost_executions=1), _buys),
    "late_executions": (_late, _buys),
    "mute_answers": (_with(mute_answers=1), _buys),
    "timeout_us": (_with(timeout_us=5, lost_answers=1), _buys),
    "answer_delay_us": (_with(answer_delay_us=5), _buys),
    "latency": (_with(latency=Slow(5)), _buys),
    "duplicates_executions": (_with(duplicates_executions=True), _buys),
    "duplicates_answers": (_with(duplicates_answers=True), _buys),
    "silent_ends": (_with(silent_ends=True), _cancels),
    "executes_first": (_with(executes_first=True), _buys),
    "poll_lag_us": (_with(poll_lag_us=5), _looks_up),
    "maintenance": (_with(maintenance=True), _buys),
    "move_funds": (lambda faults: faults.move_funds(USDT, D(1)), _buys),
    "close_by_hand": (_with(), _closed_by_hand),
    "trade_by_hand": (lambda faults: faults.trade_by_hand(BTC_USDT, BUY, D(1)), _buys),
    "order_by_hand": (lambda faults: faults.order_by_hand(BTC_USDT, D(1), below_bps=100), _buys),
    "cancel_by_hand": (_with(), _cancelled_by_hand),
}


def test_every_fault_has_a_name_and_a_way_to_strike() -> None:
    assert set(STRIKES) == set(FAULT_NAMES)
    assert len(FAULT_NAMES) == len(set(FAULT_NAMES))


@pytest.mark.parametrize("name", FAULT_NAMES)
def test_a_fault_that_strikes_is_counted(name: str, store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        set_up, story = STRIKES[name]
        set_up(theatre.faults)
        await story(theatre)
        await theatre.advance(100)

        assert theatre.faults.struck[name] > 0

    played(scene, store)


@pytest.mark.parametrize(
    "plan",
    [
        _with(),
        _with(poll_lag_us=5, latency=Slow(0), timeout_us=5),
        _with(lost_cancels=1, lost_amends=1, lost_amend_answers=1),
    ],
)
def test_a_fault_that_meets_nothing_is_not_counted(plan: Callable[[Faults], None], store: BookStore | None) -> None:
    async def scene(theatre: Theatre) -> None:
        order_id = theatre.place(BUY, "1")
        await theatre.advance(1_000)
        plan(theatre.faults)
        theatre.look_up(order_id)
        theatre.poll(order_id)
        theatre.place(BUY, "1", LIMIT, limit="95")
        await theatre.advance(1_000)

        assert not theatre.faults.struck

    played(scene, store)

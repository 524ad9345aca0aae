"""Each order type: when it trades, at which price, as maker or taker."""

from __future__ import annotations

import pytest

from messages.base import OrderId
from messages.orders import OrderAccepted, OrderAmended, OrderEnded, OrderStatus, TimeInForce
from messages.trades import OrderType
from tests.exchange.desk import (
    BTC,
    BUY,
    SELL,
    USDT,
    D,
    Desk,
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk({USDT: D(10_000), BTC: D(10)})
    desk.tick("100")
    return desk


def test_a_market_buy_trades_at_the_last_price_and_pays_the_taker_fee(desk: Desk) -> None:
    order_id = desk.place(BUY, "2")

    (fill,) = desk.fills
    assert type(desk.said[0]) is OrderAccepted
    assert (fill.price_quote, fill.volume_base, fill.fee_quote, fill.is_maker) == (D(100), D(2), D("0.8"), False)
    assert desk.balance(USDT) == D("9799.2")
    assert desk.balance(BTC) == D(12)
    assert desk.order(order_id).status is OrderStatus.FILLED


def test_a_market_sell_brings_the_price_less_the_fee(desk: Desk) -> None:
    desk.place(SELL, "2")

    assert desk.balance(USDT) == D("10199.2")
    assert desk.balance(BTC) == D(8)


def test_slippage_worsens_both_sides_and_rounds_against_us() -> None:
    desk = Desk({USDT: D(10_000), BTC: D(10)}, slippage_pct=D("0.333"))
    desk.tick("100.1")

    desk.place(BUY, "1")
    desk.place(SELL, "1")

    assert desk.prices == [D("100.5"), D("99.7")]  # 100.433333 up, 99.766667 down.


def test_a_resting_limit_trades_as_maker_at_its_limit(desk: Desk) -> None:
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="95")
    assert desk.tick("95.1") == []
    desk.tick("97", low="94", high="97")

    (fill,) = desk.fills
    assert (fill.order_id, fill.price_quote, fill.fee_quote, fill.is_maker) == (order_id, D(95), D("0.2375"), True)


def test_a_resting_sell_limit_trades_when_the_high_touches_it(desk: Desk) -> None:
    desk.place(SELL, "1", OrderType.LIMIT, limit="105")
    desk.tick("104.9")
    desk.tick("101", low="101", high="105")

    assert desk.prices == [D(105)]


def test_a_limit_that_crosses_trades_at_once_as_taker_at_the_last_price(desk: Desk) -> None:
    desk.place(BUY, "1", OrderType.LIMIT, limit="103")

    assert [(fill.price_quote, fill.is_maker) for fill in desk.fills] == [(D(100), False)]


def test_slippage_never_takes_a_limit_beyond_its_limit() -> None:
    desk = Desk(slippage_pct=D(1))
    desk.tick("100")

    desk.place(BUY, "1", OrderType.LIMIT, limit="100.5", time_in_force=TimeInForce.IOC)

    assert desk.prices == [D("100.5")]


def test_an_immediate_limit_that_does_not_cross_is_cancelled(desk: Desk) -> None:
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="99", time_in_force=TimeInForce.IOC)

    assert desk.fills == []
    assert desk.order(order_id).status is OrderStatus.CANCELLED
    assert desk.ends == [(order_id, "Immediate or cancel")]


@pytest.mark.parametrize(
    ("side", "order_type", "trigger", "miss", "reach", "paid"),
    [
        (SELL, OrderType.STOP_LOSS, "95", "95.1", ("93", "93", "93"), "93"),  # A gap is paid in full.
        (SELL, OrderType.STOP_LOSS, "95", "95.1", ("97", "94", "98"), "94"),  # Of merged ticks the worst counts.
        (SELL, OrderType.STOP_LOSS, "95", "95.1", ("95", "95", "95"), "95"),
        (BUY, OrderType.STOP_LOSS, "105", "104.9", ("107", "106", "107"), "107"),
        (SELL, OrderType.TAKE_PROFIT, "105", "104.9", ("108", "108", "108"), "105"),  # A gap for us is not believed.
        (BUY, OrderType.TAKE_PROFIT, "95", "95.1", ("92", "92", "92"), "95"),
    ],
)
def test_a_trigger_that_is_reached_trades_at_the_worse_of_trigger_and_extreme(
    desk: Desk, side: object, order_type: OrderType, trigger: str, miss: str, reach: tuple[str, str, str], paid: str
) -> None:
    desk.place(side, "1", order_type, trigger=trigger)  # type: ignore[arg-type]
    desk.tick(miss)
    assert desk.fills == []

    desk.tick(*reach)

    assert [(fill.price_quote, fill.is_maker) for fill in desk.fills] == [(D(paid), False)]


@pytest.mark.parametrize(
    ("side", "order_type", "trigger"),
    [
        (SELL, OrderType.STOP_LOSS, "101"),
        (BUY, OrderType.STOP_LOSS, "99"),
        (SELL, OrderType.TAKE_PROFIT, "99"),
        (BUY, OrderType.TAKE_PROFIT, "101"),
    ],
)
def test_a_trigger_already_satisfied_fires_at_once_at_the_last_price(
    desk: Desk, side: object, order_type: OrderType, trigger: str
) -> None:
    desk.place(side, "1", order_type, trigger=trigger)  # type: ignore[arg-type]

    assert desk.prices == [D(100)]


def test_a_stop_limit_trades_within_its_limit(desk: Desk) -> None:
    desk.place(SELL, "1", OrderType.STOP_LOSS_LIMIT, trigger="95", limit="93")
    desk.tick("94")

    assert desk.prices == [D(94)]


def test_a_stop_limit_that_gaps_beyond_its_limit_rests_there(desk: Desk) -> None:
    order_id = desk.place(SELL, "1", OrderType.STOP_LOSS_LIMIT, trigger="95", limit="94")
    desk.tick("90")
    assert desk.fills == []
    assert desk.order(order_id).status is OrderStatus.OPEN

    desk.tick("94")

    assert [(fill.price_quote, fill.is_maker) for fill in desk.fills] == [(D(94), True)]


def test_a_target_with_a_limit_trades_as_taker_when_reached(desk: Desk) -> None:
    desk.place(SELL, "1", OrderType.TAKE_PROFIT_LIMIT, trigger="105", limit="104")
    desk.tick("106")

    assert [(fill.price_quote, fill.is_maker) for fill in desk.fills] == [(D(105), False)]


def test_stops_are_served_before_targets_in_one_tick() -> None:
    desk = Desk()
    desk.tick("100")
    desk.place(BUY, "1", leverage=2)
    target = desk.place(SELL, "1", OrderType.TAKE_PROFIT, trigger="105", leverage=2, reduce_only=True)
    stop = desk.place(SELL, "1", OrderType.STOP_LOSS, trigger="95", leverage=2, reduce_only=True)

    desk.tick("100", low="95", high="105")

    assert desk.fills[-1].order_id == stop
    assert desk.ends == [(target, "EOrder:Reduce only:No position exists")]


def test_an_order_good_till_date_expires_at_its_instant(desk: Desk) -> None:
    order_id = desk.place(
        BUY, "1", OrderType.LIMIT, limit="95", time_in_force=TimeInForce.GTD, expires_at_us=desk.now_us + 100
    )
    due_us = desk.books.next_expiry_us()

    assert due_us is not None
    assert list(desk.books.expire(due_us - 1)) == []
    (ended,) = desk.books.expire(due_us)
    assert isinstance(ended, OrderEnded)
    assert (ended.order_id, ended.status) == (order_id, OrderStatus.EXPIRED)
    assert desk.books.account.held(USDT) == 0
    assert desk.books.next_expiry_us() is None


def test_a_cancelled_order_holds_nothing_and_cannot_be_cancelled_again(desk: Desk) -> None:
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="95")
    assert desk.books.account.held(USDT) == D("95.38")

    desk.cancel(order_id)
    desk.cancel(order_id)

    assert desk.books.account.held(USDT) == 0
    assert desk.ends == [(order_id, "User requested")]
    assert "Unknown order" in str(desk.said[-1])


# Amending -----------------------------------------------------------------------------------------


def test_a_stop_is_moved_in_place(desk: Desk) -> None:
    order_id = desk.place(SELL, "1", OrderType.STOP_LOSS, trigger="90")
    external_id = desk.order(order_id).external_id

    desk.amend(order_id, "2", "95")
    desk.tick("94")

    assert [(amended.volume_base, amended.trigger_price_quote) for amended in desk.of(OrderAmended)] == [(D(2), D(95))]
    assert [(fill.volume_base, fill.external_order_id) for fill in desk.fills] == [(D(2), external_id)]


def test_a_stop_moved_beyond_the_price_fires_at_once(desk: Desk) -> None:
    order_id = desk.place(SELL, "1", OrderType.STOP_LOSS, trigger="90")

    desk.amend(order_id, "1", "101")

    assert desk.prices == [D(100)]


def test_a_volume_amended_to_what_has_filled_ends_the_order(desk: Desk) -> None:
    order_id = desk.place(BUY, "2", OrderType.LIMIT, limit="100", first_share_pct=D(50))

    desk.amend(order_id, "1")

    assert desk.ends == [(order_id, "Volume amended to what had filled")]
    assert desk.order(order_id).filled_base == 1


@pytest.mark.parametrize(
    ("volume", "trigger", "reason"),
    [
        ("1", "90.05", "EOrder:Tick size check failed"),
        ("0.00001", "90", "EOrder:Order minimum not met"),
        ("0.01", "90", "EOrder:Cost minimum not met"),
        ("11", "90", "EOrder:Insufficient funds"),
    ],
)
def test_an_amend_is_checked_like_an_order(desk: Desk, volume: str, trigger: str, reason: str) -> None:
    order_id = desk.place(SELL, "1", OrderType.STOP_LOSS, trigger="90")
    before = desk.order(order_id)

    desk.amend(order_id, volume, trigger)

    assert reason in str(desk.said[-1])
    assert desk.order(order_id) == before


def test_only_a_waiting_trigger_can_be_moved(desk: Desk) -> None:
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="95")

    desk.amend(order_id, "1", "96")

    assert "EGeneral:Invalid arguments:price" in str(desk.said[-1])
    desk.amend(OrderId("nobody"), "1", "96")
    assert "EOrder:Unknown order" in str(desk.said[-1])


def test_what_is_left_of_a_market_order_can_be_made_smaller(desk: Desk) -> None:
    order_id = desk.place(BUY, "2", first_share_pct=D(25))

    desk.amend(order_id, "1")

    assert [fill.volume_base for fill in desk.fills] == [D("0.5"), D("0.5")]
    assert desk.order(order_id).status is OrderStatus.FILLED


# Partial fills ------------------------------------------------------------------------------------


def test_a_share_of_an_order_fills_in_each_tick_that_reaches_it() -> None:
    desk = Desk(fill_share_pct=D(40))
    desk.tick("100")
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="95")
    statuses = []
    for price in ("94", "96", "95", "95"):
        desk.tick(price)
        statuses.append(desk.order(order_id).status)

    assert [fill.volume_base for fill in desk.fills] == [D("0.4"), D("0.4"), D("0.2")]
    partly = OrderStatus.PARTIALLY_FILLED
    assert statuses == [partly, partly, partly, OrderStatus.FILLED]


def test_what_is_left_of_a_market_order_trades_at_the_following_ticks() -> None:
    desk = Desk(fill_share_pct=D(50))
    desk.tick("100")
    desk.place(BUY, "1")
    desk.tick("101", low="99", high="102")
    desk.tick("120")

    assert [(fill.volume_base, fill.price_quote) for fill in desk.fills] == [(D("0.5"), D(100)), (D("0.5"), D(102))]


def test_what_is_left_of_an_immediate_order_is_cancelled() -> None:
    desk = Desk(fill_share_pct=D(30))
    desk.tick("100")
    order_id = desk.place(BUY, "1", OrderType.LIMIT, limit="101", time_in_force=TimeInForce.IOC)

    assert desk.order(order_id).filled_base == D("0.3")
    assert desk.ends == [(order_id, "Immediate or cancel")]


def test_a_share_is_at_least_one_lot() -> None:
    desk = Desk(fill_share_pct=D("0.0000001"))
    desk.tick("100")
    desk.place(BUY, "1")

    assert [fill.volume_base for fill in desk.fills] == [D("0.00000001")]


def test_a_partly_filled_limit_holds_only_for_its_rest() -> None:
    desk = Desk(fill_share_pct=D(50))
    desk.tick("100")
    desk.place(BUY, "2", OrderType.LIMIT, limit="95")
    assert desk.books.account.held(USDT) == D("190.76")

    desk.tick("95")

    assert desk.books.account.held(USDT) == D("95.38")


def test_only_the_newest_orders_and_trades_are_remembered() -> None:
    desk = Desk(history_max=3)
    desk.tick("100")
    order_ids = [desk.place(BUY, "0.1") for _ in range(5)]
    resting = desk.place(BUY, "0.1", OrderType.LIMIT, limit="90")
    history = desk.books.history

    assert [history.find(order_id) is not None for order_id in (*order_ids, resting)] == [False] * 2 + [True] * 4
    assert history.fills_of(order_ids[1]) == ()
    assert [fill.order_id for fill in history.fills_after(0)[0]] == order_ids[2:]
    gone = [document.key for document in desk.books.take_documents() if document.body is None]
    assert gone == ["O0000000001", "O0000000002"]

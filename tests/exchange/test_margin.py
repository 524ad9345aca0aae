"""Positions on borrowed funds: lots, profit, reduce-only, free margin, liquidation."""

from __future__ import annotations

import pytest

from messages.exchange import ExchangeAlert, Holding
from messages.market import Instrument
from messages.orders import OrderStatus
from messages.trades import OrderType
from tests.exchange.desk import (
    BTC,
    BTC_USDT,
    BUY,
    INSTRUMENTS,
    SELL,
    USDT,
    XRP_BTC,
    XRP_USDT,
    D,
    Desk,
)

LIMIT, STOP, TARGET = OrderType.LIMIT, OrderType.STOP_LOSS, OrderType.TAKE_PROFIT


@pytest.fixture
def desk() -> Desk:
    desk = Desk({USDT: D(1_000)})
    desk.tick("100")
    return desk


def test_opening_on_margin_costs_the_fee_and_moves_no_coins(desk: Desk) -> None:
    desk.place(BUY, "10", leverage=5)

    assert desk.balance(USDT) == D(996)
    assert desk.balance(BTC) == 0
    assert desk.books.report(1).holdings == (Holding(symbol=BTC_USDT, volume_base=D(10), cost_quote=D(1_000)),)


@pytest.mark.parametrize(("side", "exit_price", "profit"), [(BUY, "110", 100), (SELL, "110", -100), (SELL, "90", 100)])
def test_closing_realises_volume_times_the_price_difference(
    desk: Desk, side: object, exit_price: str, profit: int
) -> None:
    desk.place(side, "10", leverage=5)  # type: ignore[arg-type]
    desk.tick(exit_price)
    desk.place(side.opposite, "10", leverage=2, reduce_only=True)  # type: ignore[attr-defined]

    fees = sum(fill.fee_quote for fill in desk.fills)
    assert desk.balance(USDT) == D(1_000) + profit - fees
    assert desk.volume() == 0
    assert desk.books.report(1).holdings == ()


def test_the_cost_of_a_short_is_reported_positive(desk: Desk) -> None:
    desk.place(SELL, "3", leverage=2)

    assert desk.books.report(1).holdings == (Holding(symbol=BTC_USDT, volume_base=D(-3), cost_quote=D(300)),)


def test_lots_are_closed_first_in_first_out(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=2)
    desk.tick("120")
    desk.place(BUY, "1", leverage=5)
    desk.tick("150")
    before = desk.balance(USDT)

    desk.place(SELL, "1.5", leverage=2, reduce_only=True)

    assert desk.balance(USDT) - before == D(50) + D(15) - D("0.9")
    (lot,) = desk.books.account.positions[BTC_USDT].lots
    assert (lot.volume_base, lot.price_quote) == (D("0.5"), D(120))


def test_used_margin_is_exact_even_where_a_third_is_not(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=3)
    desk.place(SELL, "1", leverage=3, reduce_only=True)

    assert desk.books.account.gauge().scaled_margin_usd == 0


def test_free_margin_bounds_what_may_be_opened(desk: Desk) -> None:
    desk.place(BUY, "48", leverage=5)  # 960 of margin and 19.20 of fee.
    desk.place(BUY, "2", leverage=5)
    assert desk.refusal == "EOrder:Insufficient margin"

    desk.tick("110")  # 480 of profit: there is room again.
    desk.place(BUY, "2", leverage=5)

    assert desk.volume() == 50


def test_the_fee_must_fit_into_the_free_margin_too(desk: Desk) -> None:
    desk.place(BUY, "49.02", leverage=5)  # 980.40 of margin would fit, 19.608 of fee no longer do.
    assert desk.refusal == "EOrder:Insufficient margin"

    desk.place(BUY, "49.01", leverage=5)

    assert desk.volume() == D("49.01")


def test_a_resting_opening_order_is_asked_again_when_it_trades(desk: Desk) -> None:
    resting = desk.place(BUY, "20", LIMIT, limit="90", leverage=5)
    desk.place(BUY, "45", leverage=5)

    desk.tick("90")

    assert desk.ends == [(resting, "EOrder:Insufficient margin")]


def test_a_resting_opening_order_does_not_flip_a_position(desk: Desk) -> None:
    resting = desk.place(SELL, "1", LIMIT, limit="110", leverage=2)
    desk.place(BUY, "1", leverage=2)

    desk.tick("110")

    assert desk.ends == [(resting, "EOrder:Cannot open opposing position")]
    assert desk.volume() == 1


# Reduce only --------------------------------------------------------------------------------------


def test_an_immediate_reduce_only_order_is_clipped_at_the_position(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=2)
    exit_id = desk.place(SELL, "3", leverage=2, reduce_only=True)

    assert desk.volume() == 0
    assert desk.order(exit_id).filled_base == 1
    assert desk.order(exit_id).status is OrderStatus.CANCELLED
    assert desk.ends == [(exit_id, "EOrder:Reduce only:Position is closed")]


def test_a_resting_stop_is_taken_without_a_position_and_checked_when_it_fires(desk: Desk) -> None:
    stop = desk.place(SELL, "1", STOP, trigger="95", leverage=2, reduce_only=True)
    assert desk.order(stop).status is OrderStatus.OPEN

    desk.tick("95")

    assert desk.ends == [(stop, "EOrder:Reduce only:No position exists")]


def test_a_stop_larger_than_the_position_is_shrunk_when_it_fires(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=2)
    stop = desk.place(SELL, "5", STOP, trigger="95", leverage=2, reduce_only=True)

    desk.tick("95")

    assert desk.order(stop).filled_base == 1
    assert desk.volume() == 0


def test_of_two_exits_the_second_finds_nothing_left(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=2)
    stop = desk.place(SELL, "1", STOP, trigger="95", leverage=2, reduce_only=True)
    target = desk.place(SELL, "1", TARGET, trigger="105", leverage=2, reduce_only=True)

    desk.tick("105")
    desk.tick("94")

    assert [fill.order_id for fill in desk.fills][1:] == [target]
    assert desk.ends == [(stop, "EOrder:Reduce only:No position exists")]


# Equity -------------------------------------------------------------------------------------------


def test_equity_counts_coins_at_their_last_price_and_open_profit() -> None:
    desk = Desk({USDT: D(1_000), BTC: D(2)})
    desk.tick("100")
    desk.tick("0.5", symbol=XRP_USDT)
    desk.place(BUY, "100", symbol=XRP_USDT, leverage=2)
    desk.tick("0.6", symbol=XRP_USDT)
    desk.tick("110")

    assert desk.books.account.gauge().equity_usd == D(1_000) - D("0.2") + D(220) + D(10)


def test_a_gauge_that_follows_the_ticks_says_what_a_fresh_one_says() -> None:
    desk = Desk({USDT: D(1_000), BTC: D("0.3")})
    desk.tick("100")
    desk.place(SELL, "3", leverage=3)
    account = desk.books.account
    for price in ("101.3", "99.9", "87.1", "104.4"):
        account.gauge()
        desk.tick(price)
        followed = account.gauge().equity_usd
        account.add(USDT, D(0))  # Anything booked makes it measured anew.
        assert account.gauge().equity_usd == followed


def test_a_position_quoted_in_coins_is_valued_through_their_price() -> None:
    desk = Desk({USDT: D(1_000), BTC: D(1)})
    desk.tick("100")
    desk.tick("0.005", symbol=XRP_BTC)
    desk.place(BUY, "100", symbol=XRP_BTC, leverage=2)
    desk.tick("0.006", symbol=XRP_BTC)
    desk.tick("200")

    # 1 BTC less 0.002 of fee, and 0.1 BTC of profit, at 200.
    assert desk.books.account.gauge().equity_usd == D(1_000) + D("1.098") * 200


# Liquidation --------------------------------------------------------------------------------------


def test_at_the_liquidation_level_the_exchange_closes_lot_by_lot(desk: Desk) -> None:
    first = desk.place(BUY, "10", leverage=5)
    second = desk.place(BUY, "20", leverage=5)
    stop = desk.place(SELL, "10", STOP, trigger="60", leverage=5, reduce_only=True)
    resting = desk.place(BUY, "1", LIMIT, limit="50", leverage=5)
    opened = len(desk.fills)
    # 988 of balance, 600 of margin: at 40 % equity is 240, so the price has to lose 748 / 30.
    assert desk.tick("75.1") == []

    desk.tick("75")

    closed = desk.fills[opened:]
    assert [(fill.order_id, fill.volume_base, fill.price_quote) for fill in closed] == [
        (first, D(10), D(75)),
        (second, D(20), D(75)),
    ]
    assert all(fill.is_liquidation and fill.side is SELL and not fill.is_maker for fill in closed)
    assert len({fill.external_order_id for fill in closed}) == 1
    assert closed[0].external_order_id not in {desk.order(name).external_id for name in (first, second, stop, resting)}
    assert desk.ends == [(stop, "Position liquidated")]
    assert desk.order(resting).status is OrderStatus.OPEN
    assert [alert.kind for alert in desk.of(ExchangeAlert)] == ["liquidation"]
    assert desk.balance(USDT) == D(988) - 750 - D(2250) * D("0.004")
    assert desk.volume() == 0


def test_a_stop_in_the_same_tick_goes_before_the_liquidation(desk: Desk) -> None:
    desk.place(BUY, "30", leverage=5)
    stop = desk.place(SELL, "30", STOP, trigger="80", leverage=5, reduce_only=True)

    desk.tick("70")

    assert [fill.order_id for fill in desk.fills][1:] == [stop]
    assert desk.of(ExchangeAlert) == []


def test_the_worst_price_of_merged_ticks_liquidates(desk: Desk) -> None:
    desk.place(SELL, "30", leverage=5)

    desk.tick("100", low="99", high="130")

    assert desk.fills[-1].price_quote == 130
    assert desk.fills[-1].is_liquidation


def test_liquidation_closes_every_symbol_oldest_first_and_leaves_coins_alone() -> None:
    desk = Desk({USDT: D(1_000), BTC: D(1)})
    desk.tick("100")
    desk.tick("0.5", symbol=XRP_USDT)
    xrp = desk.place(SELL, "100", symbol=XRP_USDT, leverage=5)
    btc = desk.place(BUY, "30", leverage=5)

    desk.tick("70")

    assert [(fill.order_id, fill.price_quote) for fill in desk.fills[2:]] == [(xrp, D("0.5")), (btc, D(70))]
    assert desk.balance(BTC) == 1


def test_a_position_quoted_in_coins_is_liquidated_too() -> None:
    desk = Desk({BTC: D(1)})
    desk.tick("100")
    desk.tick("0.005", symbol=XRP_BTC)
    desk.place(BUY, "900", symbol=XRP_BTC, leverage=5)
    desk.tick("50")  # Worth half in dollars, and so is the margin: nothing happens.
    assert len(desk.fills) == 1

    desk.tick("0.0042", low="0.004", high="0.005", symbol=XRP_BTC)

    assert desk.fills[-1].is_liquidation
    assert desk.fills[-1].price_quote == D("0.004")


def test_leverage_that_would_not_be_exact_is_refused_at_the_start() -> None:
    values = {name: getattr(INSTRUMENTS[BTC_USDT], name) for name in Instrument.__annotations__}
    with pytest.raises(ValueError, match="leverage above 10"):
        type(Desk().books)(
            instruments={BTC_USDT: Instrument(**{**values, "leverage_max": 11})}, balances={}, usd_equivalents=(USDT,)
        )


def test_a_position_closed_by_hand_is_told_under_an_id_that_is_not_ours(desk: Desk) -> None:
    entry = desk.place(BUY, "10", leverage=5)
    desk.said += desk.books.close_by_hand(BTC_USDT, 2_000)

    fill = desk.fills[-1]
    assert fill.order_id != entry
    assert str(fill.order_id) == str(fill.external_order_id)
    assert not fill.is_liquidation
    assert desk.volume() == 0
    assert [alert.kind for alert in desk.of(ExchangeAlert)] == ["external_order"]
    assert list(desk.books.close_by_hand(BTC_USDT, 2_000)) == []

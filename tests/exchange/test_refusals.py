"""Every refusal, in Kraken's words; a refused order leaves no trace in the books."""

from __future__ import annotations

from typing import Any

import pytest

from actors.exchange.mock.refusals import may_retry
from messages.base import Symbol
from messages.orders import OrderRefused, TimeInForce
from messages.trades import OrderType
from tests.exchange.desk import (
    BTC,
    BUY,
    SELL,
    USDT,
    XRP_USDT,
    D,
    Desk,
)

LIMIT, STOP = OrderType.LIMIT, OrderType.STOP_LOSS


@pytest.fixture
def desk() -> Desk:
    desk = Desk({USDT: D(1_000), BTC: D(1)})
    desk.tick("100")
    return desk


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"volume": "1", "symbol": Symbol("DOGE/USDT")}, "EQuery:Unknown asset pair"),
        ({"volume": "0.00009"}, "EOrder:Order minimum not met"),
        ({"volume": "0.04"}, "EOrder:Cost minimum not met"),
        ({"volume": "0.100000001"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "1", "order_type": LIMIT, "limit": "95.05"}, "EOrder:Tick size check failed"),
        ({"volume": "1", "order_type": STOP, "trigger": "105.55"}, "EOrder:Tick size check failed"),
        ({"volume": "1", "order_type": LIMIT}, "EGeneral:Invalid arguments:price"),
        ({"volume": "1", "order_type": STOP}, "EGeneral:Invalid arguments:price"),
        ({"volume": "1", "order_type": LIMIT, "limit": "-95"}, "EGeneral:Invalid arguments:price"),
        ({"volume": "1", "leverage": 6}, "EGeneral:Invalid arguments:leverage"),
        ({"volume": "1", "leverage": 0}, "EGeneral:Invalid arguments:leverage"),
        ({"volume": "1", "reduce_only": True}, "EGeneral:Invalid arguments:reduce_only"),
        ({"volume": "1", "reduce_only": True, "leverage": 2}, "EOrder:Reduce only:No position exists"),
        ({"volume": "10"}, "EOrder:Insufficient funds"),  # 1000 and the fee.
        ({"volume": "10", "order_type": LIMIT, "limit": "99.7"}, "EOrder:Insufficient funds"),
        ({"volume": "10", "order_type": STOP, "trigger": "105"}, "EOrder:Insufficient funds"),
        ({"volume": "60", "leverage": 5}, "EOrder:Insufficient margin"),
        ({"volume": "1", "deadline_us": 1}, "EService:Deadline elapsed"),
        ({"volume": "1", "symbol": XRP_USDT}, "EService:Unavailable"),  # Nobody has heard a price.
        ({"volume": "1", "time_in_force": TimeInForce.GTD, "expires_at_us": 1}, "EGeneral:Invalid arguments:expiretm"),
    ],
)
def test_a_refused_order_leaves_no_trace(desk: Desk, order: dict[str, Any], reason: str) -> None:
    before = desk.books.documents()

    order_id = desk.place(BUY, **order)

    assert desk.refusal == reason
    assert desk.books.history.find(order_id) is None
    assert desk.books.documents() == before


@pytest.mark.parametrize("terms", [{}, {"order_type": LIMIT, "limit": "105"}, {"order_type": STOP, "trigger": "95"}])
def test_coins_that_are_not_owned_cannot_be_sold(desk: Desk, terms: dict[str, Any]) -> None:
    desk.place(SELL, "1.1", **terms)

    assert desk.refusal == "EOrder:Insufficient funds"


def test_a_buy_must_be_covered_including_its_fee(desk: Desk) -> None:
    desk.place(BUY, "9.96")
    assert desk.balance(USDT) == D("0.016")  # 996 and 3.984.


def test_a_resting_limit_holds_its_coins_and_a_resting_stop_does_not(desk: Desk) -> None:
    desk.place(SELL, "1", STOP, trigger="95")
    desk.place(SELL, "1", OrderType.TAKE_PROFIT, trigger="105")
    desk.place(SELL, "1", LIMIT, limit="110")
    desk.place(SELL, "1", STOP, trigger="94")
    assert desk.of(OrderRefused) == []

    desk.place(SELL, "0.1")

    assert desk.refusal == "EOrder:Insufficient funds"


def test_a_stop_that_fires_without_coins_is_cancelled_and_says_why(desk: Desk) -> None:
    first = desk.place(SELL, "1", STOP, trigger="95")
    second = desk.place(SELL, "1", STOP, trigger="94")

    desk.tick("90")

    assert [fill.order_id for fill in desk.fills] == [first]
    assert desk.ends == [(second, "EOrder:Insufficient funds")]
    assert desk.balance(BTC) == 0


def test_an_id_is_unique_among_open_orders_only(desk: Desk) -> None:
    desk.place(BUY, "1", LIMIT, limit="90", order_id="same")
    desk.place(BUY, "1", order_id="same")
    assert desk.refusal == "EGeneral:Invalid arguments:cl_ord_id not unique"

    desk.tick("90")
    desk.place(BUY, "1", order_id="same")

    assert [fill.order_id for fill in desk.fills] == ["same", "same"]


def test_opening_against_an_open_position_is_refused(desk: Desk) -> None:
    desk.place(BUY, "1", leverage=2)
    desk.place(SELL, "1", leverage=2)
    assert desk.refusal == "EOrder:Cannot open opposing position"

    desk.place(SELL, "1", LIMIT, limit="110", leverage=2)

    assert desk.refusal == "EOrder:Cannot open opposing position"


@pytest.mark.parametrize(
    ("reason", "retry"),
    [
        ("EService:Unavailable", True),
        ("EService:Market in cancel_only mode", True),
        ("EAPI:Rate limit exceeded", True),
        ("EOrder:Rate limit exceeded", True),
        ("EOrder:Insufficient funds", False),
        ("EGeneral:Invalid arguments:price", False),
    ],
)
def test_only_what_blames_the_moment_may_be_tried_again(reason: str, retry: bool) -> None:  # noqa: FBT001
    assert may_retry(reason) is retry

"""What others do on the account, and what the exchange does by itself: seen, booked, told, and nothing of it ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from messages.exchange import ExchangeAlert
from messages.orders import OrderRole, OrderStatus
from messages.positions import CloseReason, PositionStatus
from tests.wire.world import WireWorld

BTC = "BTC/USDT"


@pytest.fixture
def world() -> Iterator[WireWorld]:
    with WireWorld() as world:
        world.price(BTC, 100_000)
        yield world


def test_c09_a_position_closed_by_hand_is_closed_in_our_books(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=5)
    world.acts("close_by_hand", symbol=BTC)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.events("unknown_execution") != []
    assert world.violations() == ()


def test_c09_coins_sold_by_hand_close_the_spot_position(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    held = world.balance("BTC")
    world.acts("trade_by_hand", symbol=BTC, side="sell", volume=str(held))
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.violations() == ()


def test_x17_a_foreign_order_is_told_of_and_never_touched(world: WireWorld) -> None:
    world.acts("order_by_hand", pair="XBTUSDT", type="buy", ordertype="limit", volume="0.01", price="90000")
    world.passes(minutes=3)

    assert len(world.account().open_orders) == 1
    assert world.sent("CancelOrder") == []
    assert [alert.kind for alert in world.said(ExchangeAlert)] == ["external_order"]
    assert len(world.events("external_order")) == 1


def test_a_stop_cancelled_by_hand_is_placed_again(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    stop = world.order(trade, OrderRole.STOP)
    assert stop.external_id is not None
    world.acts("cancel_by_hand", txid=stop.external_id)
    world.passes(seconds=10)

    assert world.order(trade, OrderRole.STOP).status is OrderStatus.OPEN
    assert world.order(trade, OrderRole.STOP).id != stop.id
    assert world.violations() == ()


def test_a_liquidation_is_recognised(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=9_000, stop=60_000, leverage=4)
    world.acts("move_funds", currency="USDT", amount="-45000")
    world.acts("move_funds", currency="USD", amount="-50000")
    world.price(BTC, 85_000)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.LIQUIDATED
    assert world.position(trade).close_reason is CloseReason.LIQUIDATED
    assert world.account().open_orders == ()


def test_what_happened_while_we_were_down_is_booked_once(world: WireWorld) -> None:
    """X13: the stop fires while nobody is there to hear of it."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.is_down_while(BTC, 97_900)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert len(world.fills(trade)) == 2
    assert world.violations() == ()


def test_c06_ten_restarts_change_nothing(world: WireWorld) -> None:
    world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.proposes(BTC, "buy", size=500, entry=95_000, stop=93_000)
    world.passes(seconds=10)
    rows = (len(world.journal.fills), len(world.journal.orders), len(world.account().open_orders))
    for _restart in range(10):
        world.crashes()
        world.passes(minutes=1)

    assert (len(world.journal.fills), len(world.journal.orders), len(world.account().open_orders)) == rows
    assert world.events("unknown_execution") == []
    assert world.violations() == ()

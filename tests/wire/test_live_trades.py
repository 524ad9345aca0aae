"""Whole trades through the engine, the SDK and the wire mock: entry, protection, exit, and books that agree."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from messages.orders import OrderRole, OrderStatus
from messages.positions import CloseReason, PositionStatus
from tests.wire.world import WireWorld

BTC = "BTC/USDT"


@pytest.fixture(params=["shared", "threads"])
def world(request: pytest.FixtureRequest) -> Iterator[WireWorld]:
    with WireWorld(dispatcher=request.param) as world:
        yield world


def test_a_spot_trade_from_entry_to_its_stop(world: WireWorld) -> None:
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000)

    position = world.position(trade)
    assert position.status is PositionStatus.OPEN
    assert [order.intent.role for order in world.orders(trade)] == [OrderRole.ENTRY, OrderRole.STOP]
    assert world.order(trade, OrderRole.STOP).status is OrderStatus.OPEN

    world.price(BTC, 97_900)

    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.balance("BTC") == 0
    assert world.violations() == ()


def test_a_short_on_margin_to_its_target(world: WireWorld) -> None:
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "sell", size=500, stop=102_000, target=96_000, leverage=3)
    world.passes(seconds=5)

    assert {order.intent.role for order in world.orders(trade)} == {OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET}
    world.price(BTC, 95_900)
    world.passes(seconds=10)

    assert world.position(trade).close_reason is CloseReason.TAKE_PROFIT
    assert world.account().open_orders == ()
    assert world.violations() == ()


def test_what_was_done_survives_a_crash(world: WireWorld) -> None:
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.crashes()
    world.price(BTC, 97_900)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.balance("USDT") < Decimal(50_000)
    assert world.violations() == ()


def test_the_exchange_knows_an_order_by_the_id_in_our_books(world: WireWorld) -> None:
    """Letter by letter: whoever compares the two needs to know nothing of how ids are written."""
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)

    assert [request.params["cl_ord_id"] for request in world.sent("AddOrder")] == [
        order.id for order in world.orders(trade)
    ]

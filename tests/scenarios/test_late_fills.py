"""An order is over, and then a fill of it is told: it counts, whatever has happened in between."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.harness import Harness
from messages.base import Symbol
from messages.orders import OrderRole, OrderStatus
from messages.positions import CloseReason, PositionStatus
from messages.trades import Side
from tests.scenarios.conftest import World

BTC = "BTC/USDT"


def ends_early(world: Harness) -> None:
    """Let the next entry fill in part, and its end be told before that."""
    world.exchange.fill_only(Decimal(40))
    world.exchange.late_executions = 1


@pytest.mark.parametrize("leverage", [1, 2])
@pytest.mark.parametrize("crashes", [False, True])
def test_a_fill_that_its_order_did_not_count_is_held_by_nobody(world: Harness, leverage: int, *, crashes: bool) -> None:
    ends_early(world)
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=leverage)
    world.passes(seconds=1)
    assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.CANCELLED
    assert not world.has_position(trade)

    if crashes:
        world.crashes()
        world.price(BTC, 100_000)
    world.passes(seconds=10)

    entry, position = world.order(trade, OrderRole.ENTRY), world.position(trade)
    assert entry.status is OrderStatus.CANCELLED, "what is over stays over"
    assert position.volume_base == entry.filled_base > 0
    assert world.order(trade, OrderRole.STOP).volume_base == position.volume_base
    assert world.events("unknown_execution") == []
    assert world.violations() == ()


def test_a_late_fill_of_a_trade_that_was_closed_stays(world: Harness) -> None:
    """Its close was taken while nothing seemed to be held."""
    ends_early(world)
    trade = world.proposes(BTC, "buy", entry=99_900, stop=98_000)
    world.price(BTC, 99_890)
    world.closes(trade)
    world.crashes()
    world.price(BTC, 99_890)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.position(trade).close_reason is CloseReason.MANUAL
    assert world.violations() == ()


def test_the_slot_of_a_late_fill_is_taken_by_another_trade(worlds: World) -> None:
    """Its trade had given the slot back: it takes one again, and the next trade has to wait."""
    world = worlds(limits={"positions_per_symbol_max": 1})
    world.price(BTC, 100_000)
    ends_early(world)
    trade = world.proposes(BTC, "buy", stop=98_000)
    world.crashes()
    world.price(BTC, 100_000)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.OPEN
    assert world.codes(world.proposes(BTC, "buy", stop=98_000)) == ("POSITION_LIMIT_SYMBOL",)


def test_a_sale_by_hand_before_a_late_fill_is_told_closes_nothing(worlds: World) -> None:
    """It was sold after it had been bought, and is told before."""
    world = worlds(orders={"poll_s": 30})
    world.price(BTC, 100_000)
    ends_early(world)
    trade = world.proposes(BTC, "buy", stop=98_000)
    bought = world.balance("BTC")
    assert bought > 0
    world.exchange.trade_by_hand(Symbol(BTC), Side.SELL, bought)
    world.price(BTC, 100_000)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.balance("BTC") == 0
    assert world.violations() == ()


def test_an_exit_sells_what_was_sold_by_hand_meanwhile(worlds: World) -> None:
    """It rests half filled, for more than is left: it makes room for one that is no larger than what is held."""
    world = worlds(paper={"fill_share_pct": Decimal(40)})
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=5)
    world.closes(trade)
    world.passes(seconds=5)
    held = world.position(trade).volume_base
    assert world.position(trade).status is PositionStatus.CLOSING
    assert held > 0

    world.exchange.trade_by_hand(Symbol(BTC), Side.SELL, held / 2)
    world.price("XRP/USDT", "0.5")
    world.passes(seconds=10)

    first, *_others, last = world.orders(trade, OrderRole.EXIT)
    assert first.status is OrderStatus.CANCELLED
    assert last.volume_base == held / 2
    assert last.remaining_base == world.position(trade).volume_base

"""The account and the books: what others do is kept, what cannot be explained holds openings, and a person is told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.exchange.mock.actor import MockExchangeActor
from actors.exchange.mock.books import Books
from actors.harness import Harness
from messages.base import Currency, OrderId, PositionId, ProposalId, Symbol
from messages.orders import OrderIntent, OrderRole, OrderStatus, PlaceOrder, TimeInForce
from messages.positions import PositionStatus
from messages.trades import OrderType, Side
from persistence.memory import MemoryJournal
from tests.scenarios.conftest import World

BTC, XRP = Symbol("BTC/USDT"), Symbol("XRP/USDT")
COIN = Currency("BTC")
GONE = Decimal("-0.004")
HELD = Decimal("0.01")
STRANGE = OrderId("0f9f8a53-9f0c-4b5e-8d3a-3a5a7c1d2e4f")


def books_of(world: Harness) -> Books:
    """Return the exchange's own books."""
    exchange: MockExchangeActor = world.engine.actors["exchange"]  # type: ignore[assignment]
    return exchange.books


def codes(world: Harness, trade: ProposalId) -> tuple[str, ...]:
    """Return why a trade was rejected."""
    return world.journal.requests[trade].codes


def said(world: Harness, kind: str) -> list[dict[str, Any]]:
    """Return what the events of a kind say."""
    return [dict(event.details) for event in world.events(kind)]


def somebody_trades(world: Harness, side: Side, volume_base: Decimal = HELD) -> None:
    """Somebody else trades on margin."""
    world.exchange.trade_by_hand(BTC, side, volume_base, on_margin=True)
    world.price(BTC, 100_000)


def test_what_somebody_else_does_on_the_account_is_kept(world: Harness) -> None:
    world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.exchange.close_by_hand(BTC)
    world.price(BTC, 100_001)
    world.passes(seconds=1)

    assert "closed the position in BTC/USDT" in said(world, "external_order")[0]["reason"]


# What cannot be explained -------------------------------------------------------------------------


def test_coins_that_are_gone_hold_openings_until_they_are_back(world: Harness) -> None:
    world.proposes(BTC, "buy", stop=98_000)
    held = world.balance(COIN)
    world.exchange.move_funds(COIN, GONE)
    world.passes(minutes=4)

    assert len(said(world, "account_differs")) == 1
    told = said(world, "account_differs")[0]
    assert told["symbol"] == BTC
    assert [Decimal(told[name]) for name in ("ours", "theirs", "difference")] == [held, held + GONE, GONE]
    assert codes(world, world.proposes(BTC, "buy", stop=98_000)) == ("ACCOUNT_DIFFERS",)
    world.price(XRP, "0.5")
    assert world.orders(world.proposes(XRP, "buy", stop="0.45")), "elsewhere trading goes on"

    world.exchange.move_funds(COIN, -GONE)
    world.passes(minutes=1)

    assert [told["symbol"] for told in said(world, "account_agrees")] == [BTC]
    assert world.orders(world.proposes(BTC, "buy", stop=98_000))
    assert world.violations() == ()


def test_what_is_held_is_held_after_a_crash(world: Harness) -> None:
    world.proposes(BTC, "buy", stop=98_000)
    world.exchange.move_funds(COIN, GONE)
    world.passes(minutes=4)
    world.crashes()
    world.price(BTC, 100_000)

    assert codes(world, world.proposes(BTC, "buy", stop=98_000)) == ("ACCOUNT_DIFFERS",)
    world.passes(minutes=5)
    assert len(said(world, "account_differs")) == 1, "the same figures are told once"


def test_a_difference_of_a_moment_is_none(world: Harness) -> None:
    world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=50)
    world.exchange.move_funds(COIN, GONE)
    world.passes(seconds=60)
    world.exchange.move_funds(COIN, -GONE)
    world.passes(minutes=4)

    assert said(world, "account_differs") == []


def test_a_trade_that_is_told_as_late_as_records_may_lag_explains_in_time(world: Harness) -> None:
    """Its push is lost, and the first poll after it does not know of it yet."""
    world.passes(seconds=35)
    world.exchange.lost_executions = 1
    world.exchange.poll_lag_us = 60_000_000
    somebody_trades(world, Side.BUY)
    world.passes(minutes=6)

    assert said(world, "account_differs") == []
    assert [told["volume"] for told in said(world, "external_holding")] == ["0.01"]


def test_a_position_of_which_a_part_is_gone_and_no_trade_tells_where(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    held = world.position(trade).volume_base
    books_of(world).account.reduce(BTC, held / 2, Decimal(100_000), Decimal(0))
    world.passes(minutes=4)

    told = said(world, "account_differs")[0]
    assert (Decimal(told["ours"]), Decimal(told["theirs"])) == (held, held / 2)
    assert codes(world, world.proposes(BTC, "buy", stop=98_000, leverage=2)) == ("ACCOUNT_DIFFERS",)


def test_who_asks_is_told_at_once_what_differs(world: Harness) -> None:
    world.proposes(BTC, "buy", stop=98_000)
    world.compares()
    world.exchange.move_funds(COIN, GONE)
    world.compares()

    first, second = said(world, "account_compared")
    assert first["found"] == "nothing differs"
    assert "BTC/USDT, coins" in second["found"]
    assert "-0.004" in second["found"]


def test_an_order_of_ours_that_nobody_remembers_is_taken_up(world: Harness) -> None:
    """It came about behind our back, long after the start: nothing but the comparison sees it."""
    world.price(XRP, "0.5")
    world.proposes(XRP, "buy", entry="0.4", stop="0.3")
    world.passes(minutes=5)
    intent = OrderIntent(
        id=STRANGE,
        proposal_id=ProposalId(STRANGE),
        position_id=PositionId(STRANGE),
        symbol=BTC,
        side=Side.BUY,
        role=OrderRole.ENTRY,
        order_type=OrderType.LIMIT,
        volume_base=HELD,
        limit_price_quote=Decimal(90_000),
        trigger_price_quote=None,
        reference_price_quote=Decimal(90_000),
        leverage=1,
        reduce_only=False,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=1,
        created_at_us=0,
    )
    world.tell(PlaceOrder(intent=intent, deadline_us=2**62))
    assert len(world.account().open_orders) == 2
    world.passes(minutes=5)

    assert len(said(world, "order_adopted")) == 1
    assert len(world.account().open_orders) == 1, "nobody knows what should protect what it opens"
    assert world.journal.orders[STRANGE].status is OrderStatus.CANCELLED
    assert len(said(world, "account_differs")) == len(said(world, "account_agrees")) == 1


# What others hold ---------------------------------------------------------------------------------


def test_what_somebody_else_holds_is_told_once_and_left_alone(world: Harness) -> None:
    somebody_trades(world, Side.BUY)
    world.passes(minutes=4)
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(minutes=4)
    world.crashes()
    world.passes(minutes=5)

    assert [(told["symbol"], told["volume"]) for told in said(world, "external_holding")] == [(BTC, "0.01")]
    assert said(world, "account_differs") == []
    assert world.position(trade).status is PositionStatus.OPEN
    assert len(world.journal.positions) == 1


def test_what_somebody_else_has_sold_again_is_forgotten(world: Harness) -> None:
    somebody_trades(world, Side.BUY)
    world.passes(minutes=4)
    somebody_trades(world, Side.SELL)
    world.passes(minutes=4)

    assert world.journal.standings[BTC].external_base == 0
    somebody_trades(world, Side.BUY, HELD * 2)
    world.passes(minutes=4)
    assert [told["volume"] for told in said(world, "external_holding")] == ["0.01", "0", "0.02"]
    assert said(world, "account_differs") == []


def test_what_is_there_when_an_account_begins_is_others(world: Harness) -> None:
    somebody_trades(world, Side.SELL)
    world.journal = MemoryJournal()
    world.crashes()
    world.price(BTC, 100_000)
    world.passes(minutes=4)

    assert [told["volume"] for told in said(world, "external_holding")] == ["-0.01"]
    assert said(world, "account_differs") == []


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_what_somebody_else_opens_becomes_ours_if_we_are_told_so(worlds: World, side: Side) -> None:
    world = worlds(orders={"adopt_external": True})
    world.price(BTC, 100_000)
    somebody_trades(world, side)
    world.passes(minutes=4)
    (position,) = world.journal.positions.values()

    assert (position.entry_base, position.entry_cost_quote) == (HELD, HELD * 100_000)
    assert [told["symbol"] for told in said(world, "adopted_without_stop")] == [BTC]
    world.crashes()
    world.price(BTC, 100_000)
    world.passes(minutes=4)
    assert [*world.journal.positions] == [position.id]
    assert said(world, "account_differs") == said(world, "external_holding") == []

    world.closes(position.proposal_id)
    world.passes(minutes=2)
    assert world.position(position.proposal_id).status is PositionStatus.CLOSED
    assert world.account().holdings == ()


def test_what_has_become_ours_may_be_protected_and_closed_by_its_first_owner(worlds: World) -> None:
    world = worlds(orders={"adopt_external": True})
    world.price(BTC, 100_000)
    somebody_trades(world, Side.BUY)
    world.passes(minutes=4)
    (position,) = world.journal.positions.values()
    world.protects(position.proposal_id, stop=98_000)
    world.passes(seconds=10)
    assert world.order(position.proposal_id, OrderRole.STOP).status is OrderStatus.OPEN

    somebody_trades(world, Side.SELL)
    world.passes(minutes=4)
    assert world.position(position.proposal_id).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert said(world, "account_differs") == []

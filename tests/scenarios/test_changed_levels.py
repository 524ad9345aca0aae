"""New levels for a trade: what was taken stands, whenever it was said, and what was not is answered."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.harness import Harness
from messages.base import ProposalId
from messages.journal import RecordPosition
from messages.orders import OrderRole
from messages.positions import PositionStatus
from messages.trades import ChangeProtection, RequestRow

BTC = "BTC/USDT"


def changes(world: Harness) -> list[RequestRow]:
    """Return what the journal keeps of changed levels."""
    return [row for row in world.journal.requests.values() if row.kind == "protect"]


def levels_of(world: Harness, trade: ProposalId) -> tuple[Decimal | None, Decimal | None]:
    """Return where the position gets out."""
    position = world.position(trade)
    return position.stop_loss_quote, position.take_profit_quote


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("leverage", [1, 2])
def test_a_stop_that_is_changed_while_the_entry_waits_is_lost(world: Harness, leverage: int, *, crashes: bool) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=leverage)
    world.passes(seconds=5)
    world.protects(trade, stop=98_000, target=104_000)
    world.protects(trade, stop=98_500)
    if crashes:
        world.crashes()
    world.price(BTC, 98_990)
    world.passes(seconds=10)

    assert levels_of(world, trade) == (Decimal(98_500), Decimal(104_000))
    assert world.order(trade, OrderRole.STOP).trigger_price_quote == 98_500
    assert [row.verdict for row in changes(world)] == ["taken", "taken"]
    assert world.violations() == ()


def test_levels_of_a_waiting_entry_are_measured_from_where_it_waits(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000)
    world.passes(seconds=5)
    world.protects(trade, stop=99_500)
    world.protects(trade, target=99_500)
    world.price(BTC, 98_990)
    world.passes(seconds=10)

    assert [row.codes for row in changes(world)] == [("STOP_WRONG_SIDE",), ()]
    assert len(world.events("protection_refused")) == 1
    assert levels_of(world, trade) == (Decimal(97_000), Decimal(99_500))


def test_levels_and_the_wish_for_them_are_kept_in_one_breath(world: Harness) -> None:
    """One without the other would be done twice after a crash, or forgotten."""
    trade = world.proposes(BTC, "buy", stop=97_000)
    world.passes(seconds=5)
    world.protects(trade, stop=98_000)

    (unit,) = [unit for unit in world.said(RecordPosition) if unit.request is not None]
    assert unit.position.stop_loss_quote == 98_000
    assert unit.request in changes(world)


def test_an_old_change_loosens_a_stop_that_has_trailed_since(world: Harness) -> None:
    """After a restart the position has the levels that it had, and not those of its last change."""
    trade = world.proposes(BTC, "buy", stop=97_000, trailing=True, leverage=2)
    world.passes(seconds=5)
    world.protects(trade, stop=98_000)
    world.price(BTC, 110_000)
    world.passes(seconds=30)
    trailed = world.position(trade).stop_loss_quote
    assert trailed is not None
    assert trailed > 98_000

    world.crashes()
    world.price(BTC, 110_000)
    world.passes(seconds=30)

    assert world.position(trade).stop_loss_quote == trailed


def test_a_change_for_nothing_is_answered(world: Harness) -> None:
    closed = world.proposes(BTC, "buy", stop=97_000)
    world.passes(seconds=5)
    world.closes(closed)
    world.passes(seconds=5)
    assert world.position(closed).status is PositionStatus.CLOSED

    world.protects(closed, stop=98_000)
    world.protects(ProposalId("nobody's"), stop=98_000)

    assert [row.codes for row in changes(world)] == [("NOTHING_TO_DO",)] * 2
    assert len(world.events("request_rejected")) == 2
    assert world.position(closed).stop_loss_quote == 97_000


def test_the_same_change_again_is_the_same_wish(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=96_000)
    world.passes(seconds=5)
    first = ChangeProtection(request_id=ProposalId("first"), target_id=trade, stop_loss_quote=Decimal(97_000))
    world.tell(first, trade)
    world.protects(trade, stop=98_000)
    world.tell(first, trade)
    world.passes(seconds=30)

    assert world.position(trade).stop_loss_quote == 98_000
    assert len(changes(world)) == 2

"""While the database is away: no entry leaves, protection and exits do, with an alert, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import Any

import pytest

from actors.harness import Harness
from actors.supervisor.policy import EXIT_FAILED
from messages.bus import EventPriority, EventsCommitted
from messages.journal import JournalResumed, JournalStalled
from messages.orders import AmendOrder, OrderRole, OrderStatus, PlaceOrder
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import with_settings
from tests.scenarios.test_other_systems import LockedJournal

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
BTC = "BTC/USDT"
Worlds = Callable[..., tuple[Harness, LockedJournal]]


@pytest.fixture(params=["shared", "threads"])
def worlds(request: pytest.FixtureRequest) -> Iterator[Worlds]:
    """Return a function that makes a running world whose database can be switched away."""
    with ExitStack() as stack:

        def make(**changes: Any) -> tuple[Harness, LockedJournal]:
            world = Harness(with_settings(**changes), dispatcher=request.param)
            world.journal = journal = LockedJournal()
            stack.enter_context(world)
            world.price(BTC, 100_000)
            return world, journal

        yield make


def placed(world: Harness) -> list[OrderRole]:
    return [message.intent.role for message in world.said(PlaceOrder)]


def comes_back(world: Harness, journal: LockedJournal) -> None:
    journal.is_locked = False
    world.passes(seconds=10)
    assert len(world.said(JournalResumed)) == 1
    assert world.violations() == ()


def test_a_fill_meanwhile_is_protected_at_once_and_a_person_is_told(worlds: Worlds) -> None:
    world, journal = worlds()
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, target=104_000, leverage=2)
    journal.is_locked = True
    world.price(BTC, 98_990)
    world.passes(seconds=5)

    assert placed(world) == [ENTRY, STOP, TARGET]
    assert {order.order_id for order in world.account().open_orders} == {
        message.intent.id for message in world.said(PlaceOrder)[1:]
    }
    assert [message.reason for message in world.said(JournalStalled)] == ["the database is locked"]
    assert not world.has_position(trade), "nothing of it could be kept"
    assert world.events("order_filled") == [], "and nobody hears of what is not kept"

    comes_back(world, journal)
    assert world.position(trade).status is PositionStatus.OPEN
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    (stalled,) = world.events("journal_stalled")
    assert (stalled.priority, stalled.details) == (EventPriority.URGENT, (("reason", "the database is locked"),))
    unrecorded = world.events("sent_unrecorded")
    assert len(unrecorded) == 2
    assert {event.priority for event in unrecorded} == {EventPriority.URGENT}


def test_a_stop_that_fires_meanwhile_is_booked_when_it_is_back(worlds: Worlds) -> None:
    world, journal = worlds()
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    journal.is_locked = True
    world.price(BTC, 97_900)
    world.passes(minutes=1)
    assert world.account().holdings == ()
    assert world.account().open_orders == (), "its sibling is cancelled without waiting"
    assert world.position(trade).status is PositionStatus.OPEN, "as far as the database knows"

    comes_back(world, journal)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    sequences = [numbered.sequence for numbered in journal.events]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_target_that_is_watched_here_gets_out_meanwhile(worlds: Worlds) -> None:
    world, journal = worlds()
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000)
    journal.is_locked = True
    world.price(BTC, 104_100)
    world.passes(seconds=10)
    assert placed(world) == [ENTRY, STOP, EXIT]
    assert world.balance("BTC") == 0

    comes_back(world, journal)
    assert world.position(trade).close_reason is CloseReason.TAKE_PROFIT


def test_a_trailing_stop_moves_meanwhile(worlds: Worlds) -> None:
    world, journal = worlds()
    trade = world.proposes(BTC, "buy", stop=95_000, leverage=2, trailing=True)
    journal.is_locked = True
    world.price(BTC, 105_000)
    world.passes(seconds=20)
    assert len(world.said(AmendOrder)) == 1

    comes_back(world, journal)
    assert world.position(trade).stop_loss_quote == Decimal("103425.0")


def test_an_entry_that_could_not_be_kept_in_time_is_given_up(worlds: Worlds) -> None:
    """Whoever asked for it did so in another market: it must not leave when the database is back after hours."""
    world, journal = worlds(orders={"permit_wait_max_s": 60})
    journal.is_locked = True
    early = world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=50)
    late = world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=30)
    assert placed(world) == []

    journal.is_locked = False
    world.passes(seconds=10)
    assert world.order(early, ENTRY).status is OrderStatus.CANCELLED
    assert world.order(early, ENTRY).reason == "its intent could not be kept in time"
    assert world.order(late, ENTRY).status is OrderStatus.FILLED
    risk: Any = world.engine.actors["risk"].describe()
    assert risk.slots_taken == 1, "the slot of the first is free again"
    assert world.violations() == ()


def test_what_only_memory_knew_when_the_engine_died_is_told_again_by_the_exchange(worlds: Worlds) -> None:
    world, journal = worlds()
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    journal.is_locked = True
    world.price(BTC, 97_900)
    world.passes(seconds=5)
    assert len(journal.fills) == 1, "the exit is known to memory alone"
    journal.is_locked = False
    world.crashes()
    world.price(BTC, 97_900)
    world.passes(minutes=3)

    assert world.violations() == ()
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.account().open_orders == ()


def test_more_than_waiting_max_ends_the_engine_with_its_reason_and_the_next_start_recovers(worlds: Worlds) -> None:
    world, journal = worlds(journal={"waiting_max": 8, "group_max": 8})
    trade = world.proposes(BTC, "buy", stop=95_000, leverage=2, trailing=True)
    journal.is_locked = True
    for step in range(1, 10):
        world.price(BTC, 100_000 + 1_000 * step)
        world.passes(seconds=20)

    assert world.engine.exit_code == EXIT_FAILED
    assert world.engine.exit_reason == (
        "journal failed: QueueFullError: more than 8 units wait for the journal (the database is locked)"
    )
    journal.is_locked = False
    world.crashes()
    world.price(BTC, 109_000)
    world.passes(minutes=3)
    assert world.violations() == ()
    assert world.order(trade, STOP).status is OrderStatus.OPEN


def test_what_is_handed_in_meanwhile_is_answered_when_it_is_back(worlds: Worlds) -> None:
    world, journal = worlds()
    journal.is_locked = True
    known = world.proposes(BTC, "buy", stop=98_000)
    absurd = world.proposes(BTC, "buy", stop=120_000)
    world.passes(seconds=20)
    assert dict(journal.requests) == {}
    assert len(world.said(EventsCommitted)) == 0

    comes_back(world, journal)
    assert world.codes(known) == ()
    assert world.codes(absurd) != ()
    assert world.order(known, ENTRY).status is OrderStatus.FILLED

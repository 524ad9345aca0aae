"""What could be exercised is all that the engine knows, and what is left out is left out for a reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import product

import attrs
import pytest

from actors.exchange.kraken.actor import KrakenActor
from actors.exchange.mock.faults import FAULT_NAMES
from actors.order.lifecycle import TRANSITIONS
from actors.position.changes import closing
from actors.position.ledger import ImpossibleFillError, add_entry, apply_exit, book
from actors.simulator import exercised
from actors.simulator.exercised import (
    POSITION_STATUSES,
    change,
    everyone,
    in_words,
    merged,
    names_of_messages,
    possible,
    rejection_codes,
    spoken,
    zeros,
)
from actors.simulator.faults import STRIKES
from actors.simulator.simulation import simulate
from actors.simulator.workload import plan_of
from messages.orders import OrderRole, OrderStatus
from messages.positions import ApplyFill, CloseReason, PositionStatus
from messages.protocols import OrderInbox, RiskInbox
from messages.trades import Side
from scripts.draw_messages import actor_classes
from tests.position.values import a_fill, an_order


def test_the_machine_has_every_actor_there_is() -> None:
    """But for the other one that may stand for the exchange: it is tried over the wire, with real sockets."""
    assert set(everyone()) == set(actor_classes()) - {KrakenActor}


def test_names_of_messages_tell_them_apart() -> None:
    """Two private messages of one name would be counted as one."""
    names = names_of_messages()

    assert set(names) == spoken()
    assert len(set(names.values())) == len(names)
    assert {"LookAgain (order)", "LookAgain (rate_limiter)"} < set(names.values())


def test_every_message_counts_unless_a_reason_says_why_not() -> None:
    assert set(OrderInbox.__args__) | set(RiskInbox.__args__) <= spoken()
    left_out = set(names_of_messages().values()) - set(possible()["messages"])
    assert left_out == {kind.__name__ for kind in exercised.UNREACHED_MESSAGES}


def test_every_reason_is_for_something_that_exists() -> None:
    assert set(exercised.UNREACHED_MESSAGES) <= spoken()
    assert set(exercised.UNREACHED_CODES) <= rejection_codes()
    assert set(exercised.UNREACHED_REASONS) <= set(CloseReason)
    assert set(exercised.UNREACHED_ROWS) <= set(TRANSITIONS)
    assert set(exercised.UNREACHED_STATUSES) <= {*exercised.FIRST_STATUSES, *POSITION_STATUSES}


def test_faults_are_counted_as_drawn_and_as_met() -> None:
    assert set(possible()["faults drawn"]) == set(STRIKES)
    assert set(FAULT_NAMES) < set(possible()["faults met"])


def test_order_statuses_are_those_of_the_table() -> None:
    table = {(before, after) for (before, _), after in TRANSITIONS.items() if before is not after}

    assert {change(one) for one in table} < set(possible()["order statuses"])
    assert "-> PENDING" in possible()["order statuses"]
    assert change((OrderStatus.OPEN, OrderStatus.FILLED)) == "OPEN -> FILLED"


def test_every_row_of_the_table_counts_by_itself() -> None:
    """A status that stays is no change of status: a late fill of an order that is over is a row all the same."""
    rows = set(possible()["rows of the order table"])

    assert rows == {in_words(row) for row in TRANSITIONS if row not in exercised.UNREACHED_ROWS}
    assert {"CANCELLED, filled in part", "EXPIRED, filled in part", "PENDING, outcome unknown"} < rows
    reached = merged(simulate(plan_of(seed, 2)).exercised for seed in range(1, 6))["rows of the order table"]
    assert reached["PENDING, accepted"] > 0
    assert set(reached) == rows


def test_rejection_codes_are_found_in_the_code() -> None:
    assert {"TRADING_HALTED", "TRADING_REDUCING", "ORDER_TOO_SMALL", "NO_PRICE", "BAD_VALUE"} <= rejection_codes()


def becomes(before: PositionStatus) -> Iterator[PositionStatus]:
    """Yield what any fill, and the beginning of an exit, makes of a position."""
    is_over = before in (PositionStatus.CLOSED, PositionStatus.LIQUIDATED)
    entry = a_fill(Side.BUY, "2", "100")
    opened = book(None, ApplyFill(fill=entry, order=an_order(OrderRole.ENTRY, entry)), trails=False)
    position = attrs.evolve(opened, status=before, exit_base=Decimal(2 if is_over else 0))
    if before is PositionStatus.OPEN:  # PositionActor begins to close nothing else.
        yield closing(position, CloseReason.MANUAL).status
    yield add_entry(position, entry).status
    for volume, is_liquidation in product(("1", "2"), (False, True)):
        fill = a_fill(Side.SELL, volume, "100", is_liquidation=is_liquidation)
        with suppress(ImpossibleFillError):
            yield apply_exit(position, fill, an_order(OrderRole.EXIT, fill)).status


def test_position_statuses_are_what_the_ledger_makes_of_positions() -> None:
    found = {(before, after) for before in PositionStatus for after in becomes(before) if after is not before}

    assert found | {(None, PositionStatus.OPEN)} == set(POSITION_STATUSES)


def test_zeros_are_told_and_go_when_they_are_reached() -> None:
    calm = simulate(attrs.evolve(plan_of(1, 1), steps=()))
    blind = zeros(calm.exercised)
    assert ("steps", "Propose") in blind
    assert ("messages", "StartEngine") not in blind

    both = merged((calm.exercised, simulate(plan_of(1, 2)).exercised))

    assert ("steps", "Propose") not in zeros(both)
    assert len(zeros(both)) < len(blind)


def test_what_was_reached_and_not_foreseen_is_shown_as_well() -> None:
    assert merged(({"codes": {"KNOWN": 0}}, {"codes": {"NEW": 2}})) == {"codes": {"KNOWN": 0, "NEW": 2}}


@pytest.mark.parametrize("group", ["steps", "faults drawn", "crashes", "messages", "rejection codes"])
def test_no_group_is_empty(group: str) -> None:
    assert len(possible()[group]) > 5

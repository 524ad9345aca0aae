"""Every row of the error table, through the real SDK: what is refused is gone, what is unknown is found out.

Each text is said once in answer to the entry's AddOrder, and for those that prove nothing it is said once with the
order placed and once without it.
"""

from __future__ import annotations

import pytest

from actors.exchange.kraken.errors import ANYTHING_ELSE, TABLE, Meaning, Verdict, judge, meaning_of
from messages.base import ProposalId
from messages.lifecycle import ExchangeRefusesUs
from messages.orders import OrderRefused, OrderRole, OrderStatus, OutcomeUnknown
from tests.wire.world import WireWorld

BTC = "BTC/USDT"
NEW = "EFuture:Something that nobody has heard of"
UNKNOWN_ROWS = [row.text for row in TABLE if row.verdict is Verdict.UNKNOWN] + [NEW]


def texts(*verdicts: Verdict) -> list[str]:
    return [row.text for row in TABLE if row.verdict in verdicts]


def answered_with(world: WireWorld, text: str, *, placed: bool = False) -> ProposalId:
    """Let the next AddOrder be answered so, propose a trade, and return it."""
    world.goes_wrong("error", text=text, endpoint="AddOrder", placed=placed)
    return world.proposes(BTC, "buy", size=500, stop=98_000)


@pytest.mark.parametrize("text", texts(Verdict.REFUSED))
def test_a_refusal_ends_the_wish(world: WireWorld, text: str) -> None:
    trade = answered_with(world, text)

    assert [refused.reason for refused in world.said(OrderRefused)] == [text]
    assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.ERROR
    assert len(world.sent("AddOrder")) == 1
    assert world.account().open_orders == ()
    assert world.violations() == ()


@pytest.mark.parametrize("text", texts(Verdict.THROTTLED))
def test_a_throttled_wish_is_made_again_after_the_pause(world: WireWorld, text: str) -> None:
    """Nothing was placed, so the same may be asked for again, but not before the exchange wants to hear it."""
    asked_us = world.now_us
    trade = answered_with(world, text)
    world.passes(minutes=20)

    pause_s = meaning_of(text).pause_s
    if pause_s > world.settings.execution.orders.permit_wait_max_s:  # Nobody wants the entry any more by then.
        assert not world.has_position(trade)
        assert len(world.sent("AddOrder")) == 1
    else:
        assert world.server.books.history.trade_count == 1
        assert world.position(trade).opened_at_us >= asked_us + pause_s * 1_000_000
    assert world.violations() == ()


@pytest.mark.parametrize("text", texts(Verdict.MAINTENANCE))
def test_maintenance_holds_entries(world: WireWorld, text: str) -> None:
    trade = answered_with(world, text)
    world.passes(seconds=14)
    assert len(world.sent("AddOrder")) == 1

    world.passes(seconds=30)

    assert world.has_position(trade)
    assert world.violations() == ()


@pytest.mark.parametrize("placed", [True, False])
@pytest.mark.parametrize("text", UNKNOWN_ROWS)
def test_an_unknown_outcome_is_found_out_and_never_sent_again(world: WireWorld, text: str, *, placed: bool) -> None:
    trade = answered_with(world, text, placed=placed)
    assert len(world.said(OutcomeUnknown)) == 1

    world.passes(minutes=3)

    entries = [request for request in world.sent("AddOrder") if "deadline" in request.params]
    client_ids = [request.params["cl_ord_id"] for request in entries]
    assert len(set(client_ids)) == len(client_ids), "an intent was sent twice"
    bought = [fill for fill in world.server.books.history.trades() if fill.side.value == "buy"]
    if placed:
        assert len(bought) == 1
        assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.FILLED
        assert world.order(trade, OrderRole.STOP).status is OrderStatus.OPEN
    else:
        assert world.orders(trade, OrderRole.ENTRY)[0].status is OrderStatus.ERROR
        assert len(bought) <= 1
    assert world.violations() == ()


def test_an_id_that_is_not_unique_lives_and_is_adopted(world: WireWorld) -> None:
    """The answer to an order was lost; somebody below us sends it again; the exchange says that it has it."""
    trade = answered_with(world, "EGeneral:Invalid arguments:cl_ord_id not unique", placed=True)
    world.passes(seconds=30)

    assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.FILLED
    assert len(world.sent("AddOrder")) == 2  # The entry, and its stop.
    assert world.violations() == ()


@pytest.mark.parametrize("text", texts(Verdict.FATAL))
def test_what_a_person_has_to_mend_stops_the_engine(world: WireWorld, text: str) -> None:
    answered_with(world, text)

    assert [said.reason for said in world.said(ExchangeRefusesUs)] == [text]
    assert world.engine.exit_code == 2
    assert text in world.engine.exit_reason
    assert len(world.sent("AddOrder")) == 1


def test_every_row_is_tested() -> None:
    tested = {*texts(Verdict.REFUSED, Verdict.THROTTLED, Verdict.MAINTENANCE, Verdict.FATAL), *UNKNOWN_ROWS}
    assert {row.text for row in TABLE} - tested == {"EGeneral:Invalid arguments:cl_ord_id not unique"}


# The table itself ---------------------------------------------------------------------------------


def test_an_error_that_is_not_in_the_table_proves_nothing() -> None:
    assert meaning_of(NEW) is ANYTHING_ELSE
    assert ANYTHING_ELSE.verdict is Verdict.UNKNOWN


def test_the_longest_row_counts() -> None:
    assert meaning_of("EOrder:Reduce only:No position exists").lacks_position
    assert not meaning_of("EOrder:Reduce only:Something else").lacks_position


def test_a_warning_is_no_error() -> None:
    assert judge(["WGeneral:Something"]) is None


@pytest.mark.parametrize("row", TABLE)
def test_of_several_errors_the_gravest_counts(row: Meaning) -> None:
    """One that leaves it open outweighs those that prove something; only what stops everything outweighs that."""
    judged = judge([row.text, "EGeneral:Internal error"])
    assert judged is not None
    assert judged.verdict is (Verdict.FATAL if row.verdict is Verdict.FATAL else Verdict.UNKNOWN)

"""The wait before a retry, the public events, and what the book remembers."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order import outbox
from actors.order.book import OrderBook, Phase
from actors.order.retry import backoff_us
from messages.base import ExternalOrderId, OrderId, ProposalId
from messages.bus import EventPriority, Topic
from messages.orders import OrderRole, OrderStatus
from messages.trades import RequestRow
from tests.order.values import ENTRY, EXIT, STOP, TARGET, a_leg, a_position, a_proposal, a_trade, an_order

# Backoff --------------------------------------------------------------------------------------------------


def test_the_wait_doubles_up_to_the_longest() -> None:
    assert [backoff_us(failures, 1_000, 30_000) // 1000 for failures in range(1, 8)] == [
        1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
    ]  # fmt: skip


@given(failures=st.integers(1, 10**6), first=st.integers(1, 10**6), longest=st.integers(1, 10**7))
def test_the_wait_never_shrinks_and_never_passes_the_longest(failures: int, first: int, longest: int) -> None:
    wait = backoff_us(failures, first, longest)
    assert 0 < wait <= longest * 1000
    assert wait <= backoff_us(failures + 1, first, longest)


# Events ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "role", "kind", "priority"),
    [
        (OrderStatus.CANCELLED, ENTRY, "order_cancelled", EventPriority.NORMAL),
        (OrderStatus.EXPIRED, ENTRY, "order_expired", EventPriority.NORMAL),
        (OrderStatus.ERROR, ENTRY, "order_failed", EventPriority.HIGH),
        (OrderStatus.ERROR, TARGET, "order_failed", EventPriority.HIGH),
        (OrderStatus.ERROR, STOP, "order_failed", EventPriority.URGENT),
        (OrderStatus.CANCELLED, STOP, "order_cancelled", EventPriority.NORMAL),
    ],
)
def test_an_end_has_its_name_and_its_urgency(
    status: OrderStatus, role: OrderRole, kind: str, priority: EventPriority
) -> None:
    event = outbox.order_ended(an_order(status, role=role, reason="because"))
    assert (event.topic, event.kind, event.priority) == (Topic.EXECUTION_EVENTS, kind, priority)
    assert dict(event.details)["reason"] == "because"


def test_an_order_event_tells_everything_as_text_and_money_in_plain_digits() -> None:
    order = an_order(external_id=ExternalOrderId("OX"), volume_base=Decimal("1E-8"), limit_price_quote=Decimal("1E+5"))
    event = outbox.order_placed(order)
    details = dict(event.details)
    assert (event.kind, event.proposal_id) == ("order_placed", "p-1")
    assert (details["volume"], details["price"], details["external_id"]) == ("0.00000001", "100000", "OX")
    assert all(isinstance(value, str) for value in details.values())
    stop = an_order(role=STOP, limit_price_quote=None, trigger_price_quote=Decimal(98_000))
    assert dict(outbox.order_placed(stop).details)["price"] == "98000"
    market = an_order(role=EXIT, limit_price_quote=None)
    assert dict(outbox.order_placed(market).details)["price"] == ""


def test_a_rejection_tells_its_codes_and_reasons() -> None:
    event = outbox.proposal_rejected(a_proposal(), ("A", "B"), ("first", "second"))
    assert (event.topic, event.kind, event.at_us) == (Topic.RISK_ALERTS, "trade_rejected", 1_000)
    assert dict(event.details) == {"symbol": "BTC/USDT", "codes": "A,B", "reasons": "first; second"}


def test_an_alert_is_urgent() -> None:
    event = outbox.alert("protection_failing", ProposalId("p-1"), 7, symbol="BTC/USDT", reason="no")
    assert (event.priority, event.topic, event.at_us) == (EventPriority.URGENT, Topic.RISK_ALERTS, 7)
    assert event.details == (("symbol", "BTC/USDT"), ("reason", "no"))


def test_a_refused_request_and_any_text_as_json() -> None:
    raw = 'no "JSON" at all\n\x00'
    assert json.loads(outbox.as_json_text(raw)) == raw
    row = RequestRow(
        id=ProposalId("r"), kind="cancel", at_us=3, symbol="", body='""', verdict="rejected",
        codes=("NOTHING_TO_DO",), reasons=("gone",),
    )  # fmt: skip
    event = outbox.request_refused(row)
    assert (event.kind, event.proposal_id) == ("request_rejected", "r")
    assert dict(event.details) == {"kind": "cancel", "codes": "NOTHING_TO_DO", "reasons": "gone"}


# The book -------------------------------------------------------------------------------------------------


def test_orders_are_found_live_and_over_and_the_oldest_are_forgotten() -> None:
    book, trade = OrderBook(history_max=2), a_trade()
    book.open_trade(trade)
    ids = [OrderId(f"o-{number}") for number in range(4)]
    for order_id in ids:
        book.add(trade, a_leg(trade, EXIT, id=order_id))
    assert [book.find(order_id) is not None for order_id in ids] == [True] * 4
    for order_id in ids[:3]:
        book.retire(book.live[order_id])
    assert [book.find(order_id) is not None for order_id in ids] == [False, True, True, True]
    assert list(book.live) == ids[3:]
    assert all(tracked.phase is Phase.OVER for tracked in book.over.values())
    newest = trade.live(EXIT)
    assert newest is not None
    assert newest.order.id == ids[3]


def test_a_trade_is_found_by_both_ids_until_it_is_closed() -> None:
    book, trade = OrderBook(history_max=2), a_trade()
    book.open_trade(trade)
    assert book.trades[trade.id] is book.by_position[trade.position_id] is trade
    book.close_trade(trade)
    book.close_trade(trade)
    assert (book.trades, book.by_position) == ({}, {})


def test_what_a_trade_holds() -> None:
    assert a_trade(position=None).held_base == 0
    assert a_trade(position=a_position(exit_base=Decimal("0.25"))).held_base == Decimal("0.75")
    trade = a_trade()
    stop, target = a_leg(trade, STOP), a_leg(trade, TARGET)
    target.phase = Phase.OVER
    assert trade.live_legs == (stop,)
    assert trade.live(TARGET) is None

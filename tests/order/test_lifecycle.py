"""The table of an order's life, walked cell by cell, and by stories that nobody thought of."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order.lifecycle import (
    EXPECTED_LATE,
    TRANSITIONS,
    Happening,
    ImpossibleTransitionError,
    OverfillError,
    advance,
    amended,
    apply_fill,
    new_order,
)
from messages.base import ExternalOrderId
from messages.orders import TERMINAL, Order, OrderStatus
from tests.order.values import a_fill, an_intent, an_order

PENDING, OPEN, PARTIALLY_FILLED = OrderStatus.PENDING, OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED
IMPOSSIBLE = {
    (OPEN, Happening.REFUSED),
    (OPEN, Happening.PROVEN_ABSENT),
    (OPEN, Happening.WITHDRAWN),
    (PARTIALLY_FILLED, Happening.REFUSED),
    (PARTIALLY_FILLED, Happening.PROVEN_ABSENT),
    (PARTIALLY_FILLED, Happening.WITHDRAWN),
}
"""What the exchange has had cannot turn out never to have been there."""
CELLS = [(status, happening) for status in OrderStatus for happening in Happening]


def as_text(cell: tuple[OrderStatus, Happening]) -> str:
    return f"{cell[0].value}-{cell[1].value}"


def of_status(status: OrderStatus) -> Order:
    filled = Decimal("0.4") if status is PARTIALLY_FILLED else Decimal(status is OrderStatus.FILLED)
    return an_order(status, filled_base=filled, ended_at_us=50 if status in TERMINAL else None)


@pytest.mark.parametrize("cell", CELLS, ids=as_text)
def test_each_cell_is_a_row_or_expected_late_or_impossible(cell: tuple[OrderStatus, Happening]) -> None:
    assert (cell in TRANSITIONS) + (cell in EXPECTED_LATE) + (cell in IMPOSSIBLE) == 1


@pytest.mark.parametrize("cell", CELLS, ids=as_text)
def test_each_cell_does_what_the_table_says(cell: tuple[OrderStatus, Happening]) -> None:
    order = of_status(cell[0])
    if cell in IMPOSSIBLE:
        with pytest.raises(ImpossibleTransitionError, match=order.id):
            advance(order, cell[1], 99)
    elif cell in EXPECTED_LATE:
        assert advance(order, cell[1], 99, reason="late") is order, "late news changes nothing"
    else:
        after = advance(order, cell[1], 99, reason="because")
        assert after.status is TRANSITIONS[cell]
        assert after.updated_at_us == 99
        assert after.reason == "because"


def test_the_table_has_no_row_out_of_a_terminal_status() -> None:
    assert all(after is before for (before, _happening), after in TRANSITIONS.items() if before in TERMINAL)
    assert not set(TRANSITIONS) & EXPECTED_LATE


def test_an_order_begins_pending_with_its_intents_volume_and_trigger() -> None:
    order = new_order(an_intent(trigger_price_quote=Decimal(98_000)))
    assert order.status is PENDING
    assert order.volume_base == 1
    assert order.trigger_price_quote == 98_000
    assert order.updated_at_us == order.intent.created_at_us
    assert order.remaining_base == 1


def test_the_external_id_that_came_first_stays() -> None:
    order = advance(of_status(PENDING), Happening.ACCEPTED, 5, external_id=ExternalOrderId("A"))
    assert (order.external_id, order.opened_at_us) == ("A", 5)
    assert advance(order, Happening.ACCEPTED, 6, external_id=ExternalOrderId("B")) is order
    late = advance(of_status(OrderStatus.CANCELLED), Happening.ACCEPTED, 7, external_id=ExternalOrderId("C"))
    assert (late.external_id, late.status) == ("C", OrderStatus.CANCELLED)


def test_the_end_is_noted_once_and_a_reason_is_not_wiped() -> None:
    order = advance(of_status(OPEN), Happening.CANCEL_CONFIRMED, 70, reason="by hand")
    assert (order.ended_at_us, order.reason) == (70, "by hand")
    after = apply_fill(order, a_fill())
    assert (after.status, after.ended_at_us, after.reason) == (OrderStatus.CANCELLED, 70, "by hand")


def test_an_amend_moves_volume_and_trigger_and_nothing_else() -> None:
    order = an_order(trigger_price_quote=Decimal(98_000), filled_base=Decimal("0.2"))
    after = amended(order, Decimal("0.7"), Decimal(99_000), 40)
    assert after.volume_base == Decimal("0.7")
    assert after.trigger_price_quote == 99_000
    assert after.updated_at_us == 40
    assert after.intent is order.intent
    assert (after.status, after.filled_base) == (order.status, order.filled_base)


# Fills ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(OrderStatus), ids=lambda status: status.value)
def test_a_fill_is_counted_in_every_status_and_terminal_ones_stay(status: OrderStatus) -> None:
    order = an_order(status, filled_base=Decimal("0.1"))
    after = apply_fill(order, a_fill(volume_base=Decimal("0.2")))
    assert after.filled_base == Decimal("0.3")
    assert after.status is (status if status in TERMINAL else PARTIALLY_FILLED)


@given(
    parts=st.lists(st.decimals("0.00000001", "0.01", places=8), min_size=1, max_size=30),
    prices=st.lists(st.decimals("0.1", "200000", places=1), min_size=30, max_size=30),
    fees=st.lists(st.decimals(0, 500, places=8), min_size=30, max_size=30),
)
def test_an_order_is_the_exact_sum_of_its_fills(
    parts: list[Decimal], prices: list[Decimal], fees: list[Decimal]
) -> None:
    order = an_order(PENDING, volume_base=sum(parts, Decimal(0)))
    for number, volume in enumerate(parts):
        assert not order.is_over
        order = apply_fill(
            order, a_fill(number, volume_base=volume, price_quote=prices[number], fee_quote=fees[number])
        )
    assert order.status is OrderStatus.FILLED
    assert order.remaining_base == 0
    used = range(len(parts))
    assert order.filled_cost_quote == sum((parts[number] * prices[number] for number in used), Decimal(0))
    assert order.fees_quote == sum((fees[number] for number in used), Decimal(0))
    assert (order.first_fill_at_us, order.ended_at_us) == (100, 100 + len(parts) - 1)


def test_a_fill_before_the_acceptance_opens_the_order_and_names_it() -> None:
    order = apply_fill(of_status(PENDING), a_fill(external_order_id=ExternalOrderId("OX")))
    assert (order.status, order.external_id, order.opened_at_us) == (PARTIALLY_FILLED, "OX", 101)
    assert apply_fill(of_status(PENDING), a_fill(external_order_id=ExternalOrderId(""))).external_id is None


def test_one_lot_too_much_is_an_overfill() -> None:
    order = an_order(OPEN, volume_base=Decimal("0.5"))
    assert apply_fill(order, a_fill(volume_base=Decimal("0.5"))).status is OrderStatus.FILLED
    with pytest.raises(OverfillError, match=r"0\.50000001"):
        apply_fill(order, a_fill(volume_base=Decimal("0.50000001")))


def test_an_order_amended_down_may_still_fill_as_it_was() -> None:
    """The fill and the amend have crossed on the way."""
    order = amended(an_order(OPEN), Decimal("0.4"), None, 20)
    assert apply_fill(order, a_fill(volume_base=Decimal(1))).status is OrderStatus.FILLED


# Stories --------------------------------------------------------------------------------------------------

HAPPENINGS = st.lists(st.one_of(st.sampled_from(list(Happening)), st.just("fill")), max_size=25)


@given(story=HAPPENINGS)
def test_no_story_changes_a_terminal_status_or_loses_a_fill(story: list[Happening | str]) -> None:
    order, fills = new_order(an_intent()), 0
    ended_as: OrderStatus | None = None
    for now_us, happening in enumerate(story, 100):
        if happening == "fill" and fills < 10:
            fills += 1
            order = apply_fill(order, a_fill(fills))
        elif isinstance(happening, Happening) and "FILLED" not in happening.name:
            if (order.status, happening) in IMPOSSIBLE:
                with pytest.raises(ImpossibleTransitionError):
                    advance(order, happening, now_us)
                continue
            order = advance(order, happening, now_us)
        ended_as = ended_as or (order.status if order.is_over else None)
        assert order.status is ended_as if ended_as else not order.is_over
        assert (order.ended_at_us is not None) == order.is_over
        assert order.filled_base == fills * Decimal("0.1")
        assert order.status is not PARTIALLY_FILLED or 0 < order.filled_base < order.volume_base
        assert order.status is not OrderStatus.FILLED or order.filled_base == order.volume_base
        assert attrs.evolve(order) == order

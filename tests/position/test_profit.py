"""Profit: exact, and the same number as the source review's formulas."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position.profit import (
    average_entry,
    average_exit,
    exposure,
    gross,
    net,
    realised,
    unrealised,
    unrealised_pct,
)
from messages.positions import PositionSide

from .values import a_position

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
D = Decimal
prices = st.decimals("0.01", "100000", places=2)
sizes = st.decimals("0.0001", "1000", places=4)


@settings(deadline=None)
@given(st.sampled_from(PositionSide), prices, prices, sizes, st.integers(1, 5))
def test_the_source_formulas_and_ours_are_the_same_number(
    side: PositionSide, entry: Decimal, price: Decimal, size: Decimal, leverage: int
) -> None:
    position = a_position(side=side, entry=entry, volume=size * leverage, leverage=leverage)
    difference = price - entry if side is LONG else entry - price

    assert gross(position, price) == difference * size * leverage
    assert unrealised(position, price) == difference * size * leverage
    assert exposure(position, price) == size * price * leverage
    expected_pct = difference / entry * 100 * leverage
    assert abs(unrealised_pct(position, price) - expected_pct) <= abs(expected_pct) * D("1e-25")


def test_an_entry_of_nothing_earns_nothing() -> None:
    free = a_position(entry="0")
    empty = a_position(volume="0")
    assert (unrealised(free, D(10)), unrealised_pct(free, D(10))) == (D(0), D(0))
    assert (unrealised(empty, D(10)), unrealised_pct(empty, D(10)), average_entry(empty)) == (D(0), D(0), D(0))
    assert average_exit(empty) is None


def test_what_has_left_and_what_is_held_add_up() -> None:
    half = a_position(entry="100", volume="2", exit_volume="1", exit_price="110", fees="0.5")

    assert gross(half, D(120)) == 10 + 20
    assert net(half, D(120)) == D("29.5")
    assert unrealised(half, D(120)) == 20
    assert exposure(half, D(120)) == 120
    assert average_exit(half) == 110


@pytest.mark.parametrize(("side", "result"), [(LONG, "8.7"), (SHORT, "-11.3")])
def test_a_closed_position_needs_no_price(side: PositionSide, result: str) -> None:
    over = a_position(side=side, entry="100", volume="1", exit_volume="1", exit_price="110", fees="1.3")
    assert realised(over) == net(over, D(7)) == D(result)

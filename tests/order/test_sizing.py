"""From own funds to volume: never more than is owned, on the lot, on the tick, and rounded to the safe side."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order.sizing import (
    entry_limit_quote,
    entry_volume_base,
    exit_level_quote,
    is_dust,
    size_problem,
    slippage_limit_quote,
    to_step,
)
from messages.trades import OrderType, Side
from tests.order.values import a_proposal, an_instrument

SIZES = st.decimals("0.01", "1000000", places=2)
PRICES = st.decimals("0.00000001", "200000", places=8)
LEVERAGES = st.integers(1, 5)
PERCENTS = st.decimals(0, 10, places=2)
STEPS = st.sampled_from([Decimal("0.1"), Decimal("0.01"), Decimal("0.00001"), Decimal("0.00000001"), Decimal(1)])
SIDES = st.sampled_from(list(Side))


def is_on(step: Decimal, value: Decimal) -> bool:
    return value % step == 0


@given(size=SIZES, price=PRICES, leverage=LEVERAGES, fee=PERCENTS, lot=STEPS)
def test_the_volume_is_never_worth_more_than_own_funds_times_leverage(
    size: Decimal, price: Decimal, leverage: int, fee: Decimal, lot: Decimal
) -> None:
    proposal, instrument = a_proposal(size_usd=size, leverage=leverage), an_instrument(lot_step_base=lot)
    volume = entry_volume_base(proposal, price, fee, instrument)
    most = size * leverage * (1 - fee / 100)
    assert volume >= 0
    assert volume * price <= most
    assert is_on(lot, volume)
    assert (volume + lot) * price > most * (1 - Decimal("1e-25")), "and one lot more would be too much"


def test_the_volume_is_the_formula_of_the_design() -> None:
    volume = entry_volume_base(a_proposal(size_usd=Decimal(1_000), leverage=3), Decimal(30_000), Decimal(1),
                               an_instrument())  # fmt: skip
    assert volume == Decimal("0.099")
    assert volume / 3 == Decimal("0.033"), "size = volume / leverage"


@given(price=PRICES.filter(lambda price: price >= 1), pct=PERCENTS, tick=STEPS, side=SIDES)
def test_a_slippage_limit_stays_inside_the_allowance(price: Decimal, pct: Decimal, tick: Decimal, side: Side) -> None:
    limit = slippage_limit_quote(side, price, pct, an_instrument(price_tick_quote=tick))
    assert is_on(tick, limit)
    if side is Side.BUY:
        assert limit <= price * (1 + pct / 100) < limit + tick
    else:
        assert limit - tick < price * (1 - pct / 100) <= limit


@given(price=PRICES, tick=STEPS, side=SIDES)
def test_an_entry_limit_is_never_worse_than_asked_for(price: Decimal, tick: Decimal, side: Side) -> None:
    limit = entry_limit_quote(side, price, an_instrument(price_tick_quote=tick))
    assert is_on(tick, limit)
    assert abs(limit - price) < tick
    assert limit <= price if side is Side.BUY else limit >= price


@given(
    price=PRICES, tick=STEPS, side=SIDES, order_type=st.sampled_from([kind for kind in OrderType if "-" in kind.value])
)
def test_a_protective_level_is_rounded_to_where_it_is_reached_earlier(
    price: Decimal, tick: Decimal, side: Side, order_type: OrderType
) -> None:
    level = exit_level_quote(order_type, side, price, an_instrument(price_tick_quote=tick))
    assert is_on(tick, level)
    assert abs(level - price) < tick
    fires_when_falling = (order_type.value.startswith("stop")) == (side is Side.SELL)
    assert level >= price if fires_when_falling else level <= price


@pytest.mark.parametrize(
    ("order_type", "side", "expected"),
    [
        (OrderType.STOP_LOSS, Side.SELL, "98000.1"),
        (OrderType.STOP_LOSS, Side.BUY, "98000.0"),
        (OrderType.TAKE_PROFIT, Side.SELL, "98000.0"),
        (OrderType.TAKE_PROFIT, Side.BUY, "98000.1"),
    ],
)
def test_levels_of_longs_and_shorts(order_type: OrderType, side: Side, expected: str) -> None:
    assert exit_level_quote(order_type, side, Decimal("98000.04"), an_instrument()) == Decimal(expected)


def test_what_is_on_the_step_stays_there() -> None:
    assert to_step(Decimal("12.30"), Decimal("0.1"), "ROUND_FLOOR") == Decimal("12.3")
    assert to_step(Decimal("12.30"), Decimal("0.1"), "ROUND_CEILING") == Decimal("12.3")


def test_the_smallest_order_and_one_lot_less() -> None:
    instrument = an_instrument(volume_min_base=Decimal("0.00005"), notional_min_quote=Decimal(0))
    assert size_problem(Decimal("0.00005"), Decimal(1), instrument) is None
    assert "minimum of 0.00005 BTC" in (size_problem(Decimal("0.00004999"), Decimal(1), instrument) or "")
    assert not is_dust(Decimal("0.00005"), Decimal(1), instrument)
    assert is_dust(Decimal("0.00004999"), Decimal(1), instrument)


def test_the_smallest_notional_and_a_little_less() -> None:
    instrument = an_instrument(volume_min_base=Decimal(0), notional_min_quote=Decimal("0.5"))
    assert size_problem(Decimal("0.005"), Decimal(100), instrument) is None
    assert "0.5 USDT" in (size_problem(Decimal("0.005"), Decimal("99.9"), instrument) or "")
    assert not is_dust(Decimal("0.005"), Decimal(100), instrument)
    assert is_dust(Decimal("0.005"), Decimal("99.9"), instrument)
    assert not is_dust(Decimal("0.005"), Decimal(0), instrument), "a price that nobody has heard excuses nothing"

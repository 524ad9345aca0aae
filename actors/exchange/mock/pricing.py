"""Prices and volumes on their grids. Where rounding is needed it is against us; nothing here is ever inexact.

Read in order: the grids, which price is worse, slippage, the share of an order that one tick fills.
"""

from __future__ import annotations

from decimal import Decimal

from messages.market import Instrument
from messages.trades import Side

PERCENT = Decimal("0.01")
HUNDRED = Decimal(100)


def is_on_grid(value: Decimal, step: Decimal) -> bool:
    """Say whether `value` is a whole number of steps."""
    return value % step == 0


def down_to(value: Decimal, step: Decimal) -> Decimal:
    """Return the highest whole number of steps that is not above `value`; counting whole steps is exact."""
    return value // step * step


def up_to(value: Decimal, step: Decimal) -> Decimal:
    """Return the lowest whole number of steps that is not below `value`."""
    floor = down_to(value, step)
    return floor if floor == value else floor + step


def worse(side: Side, one: Decimal, other: Decimal) -> Decimal:
    """Return the price that is worse for whoever trades on `side`: a buyer pays more, a seller gets less."""
    return max(one, other) if side is Side.BUY else min(one, other)


def better(side: Side, one: Decimal, other: Decimal) -> Decimal:
    """Return the price that is better for whoever trades on `side`."""
    return min(one, other) if side is Side.BUY else max(one, other)


def crosses(side: Side, limit_quote: Decimal, price_quote: Decimal) -> bool:
    """Say whether a limit order would trade at this price."""
    return price_quote <= limit_quote if side is Side.BUY else price_quote >= limit_quote


def slipped(side: Side, price_quote: Decimal, slippage_pct: Decimal, tick_quote: Decimal) -> Decimal:
    """Return the price worsened by the slippage and rounded to the tick on the worse side, never below one tick."""
    slip_quote = price_quote * slippage_pct * PERCENT
    if side is Side.BUY:
        return up_to(price_quote + slip_quote, tick_quote)
    return max(tick_quote, down_to(price_quote - slip_quote, tick_quote))


def share_of(volume_base: Decimal, share_pct: Decimal, lot_step_base: Decimal) -> Decimal:
    """Return what one tick fills at most of an order of this volume: rounded up to a lot, never less than one."""
    if share_pct >= HUNDRED:
        return volume_base
    return up_to(volume_base * share_pct * PERCENT, lot_step_base)


def fee_of(instrument: Instrument, cost_quote: Decimal, *, is_maker: bool) -> Decimal:
    """Return the fee in the quote currency, exact: nothing is rounded."""
    fee_pct = instrument.fee_maker_pct if is_maker else instrument.fee_taker_pct
    return cost_quote * fee_pct * PERCENT


def known(price_quote: Decimal | None) -> Decimal:
    """Return a price that the caller has made sure of."""
    if price_quote is None:
        raise ValueError("no price is known")
    return price_quote

"""From own funds to the volume that is sent, and the prices that go with it. Sizes down, prices on the safe side."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from messages.market import Instrument
from messages.trades import OrderType, Side, TradeProposal

ONE_HUNDRED = Decimal(100)
ONE = Decimal(1)


def to_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Return `value` as a whole number of steps."""
    return (value / step).to_integral_value(rounding=rounding) * step


def entry_volume_base(
    proposal: TradeProposal, reference_price_quote: Decimal, fee_pct: Decimal, instrument: Instrument
) -> Decimal:
    """Return own funds x leverage / price, less the fee, rounded down to the lot."""
    notional_quote = proposal.size_usd * proposal.leverage
    volume_base = notional_quote / reference_price_quote * (ONE - fee_pct / ONE_HUNDRED)
    return to_step(volume_base, instrument.lot_step_base, ROUND_FLOOR)


def size_problem(volume_base: Decimal, price_quote: Decimal, instrument: Instrument) -> str | None:
    """Say why the exchange would not take this volume; None when it would."""
    if volume_base < instrument.volume_min_base:
        return f"volume {volume_base:f} is below the minimum of {instrument.volume_min_base:f} {instrument.base}"
    if volume_base * price_quote < instrument.notional_min_quote:
        return f"notional is below the minimum of {instrument.notional_min_quote:f} {instrument.quote}"
    return None


def is_dust(volume_base: Decimal, price_quote: Decimal, instrument: Instrument) -> bool:
    """Say whether a remainder is too small for any order; a price that nobody has heard (0) excuses nothing."""
    if volume_base < instrument.volume_min_base:
        return True
    return price_quote > 0 and volume_base * price_quote < instrument.notional_min_quote


def slippage_limit_quote(
    side: Side, reference_price_quote: Decimal, slippage_pct: Decimal, instrument: Instrument
) -> Decimal:
    """Return the worst price a market entry may fill at, inside the allowance after rounding."""
    share = slippage_pct / ONE_HUNDRED
    if side is Side.BUY:
        return to_step(reference_price_quote * (ONE + share), instrument.price_tick_quote, ROUND_FLOOR)
    return to_step(reference_price_quote * (ONE - share), instrument.price_tick_quote, ROUND_CEILING)


def entry_limit_quote(side: Side, price_quote: Decimal, instrument: Instrument) -> Decimal:
    """Return a limit price on the tick that is never worse than asked for."""
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    return to_step(price_quote, instrument.price_tick_quote, rounding)


def exit_level_quote(order_type: OrderType, side: Side, price_quote: Decimal, instrument: Instrument) -> Decimal:
    """Return the trigger of a protective order on the tick, on the side that is reached earlier.

    `side` is the exit's own: a sell protects a long. A stop of a long is rounded up, its target down.
    """
    is_stop = order_type in (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
    rounding = ROUND_CEILING if is_stop == (side is Side.SELL) else ROUND_FLOOR
    return to_step(price_quote, instrument.price_tick_quote, rounding)

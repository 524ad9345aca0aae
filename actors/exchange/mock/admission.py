"""What is wrong with an order by itself, before anyone looks at the account or the price."""

from __future__ import annotations

from decimal import Decimal

from actors.exchange.mock.book_order import LIMITED_TYPES, TRIGGERED_TYPES
from actors.exchange.mock.pricing import is_on_grid
from actors.exchange.mock.refusals import (
    BAD_EXPIRY,
    BAD_LEVERAGE,
    BAD_PRICE,
    BAD_REDUCE_ONLY,
    BAD_VOLUME,
    COST_MINIMUM,
    ORDER_MINIMUM,
    TICK_SIZE,
)
from messages.market import Instrument
from messages.orders import OrderIntent, TimeInForce


def why_malformed(intent: OrderIntent, instrument: Instrument, last_quote: Decimal, now_us: int) -> str | None:
    """Return the refusal that the order deserves whoever sends it, None when it is well formed."""
    price_quote = intent.limit_price_quote or intent.trigger_price_quote or last_quote
    return (
        _wrong_arguments(intent, instrument, now_us)
        or _wrong_prices(intent, instrument)
        or why_bad_volume(intent.volume_base, price_quote, instrument)
    )


def _wrong_arguments(intent: OrderIntent, instrument: Instrument, now_us: int) -> str | None:
    if not 1 <= intent.leverage <= max(1, instrument.leverage_max):
        return BAD_LEVERAGE
    if intent.reduce_only and intent.leverage == 1:
        return BAD_REDUCE_ONLY
    if intent.time_in_force is TimeInForce.GTD and (intent.expires_at_us is None or intent.expires_at_us <= now_us):
        return BAD_EXPIRY
    return None


def _wrong_prices(intent: OrderIntent, instrument: Instrument) -> str | None:
    if intent.order_type in LIMITED_TYPES and intent.limit_price_quote is None:
        return BAD_PRICE
    if intent.order_type in TRIGGERED_TYPES and intent.trigger_price_quote is None:
        return BAD_PRICE
    for price_quote in (intent.limit_price_quote, intent.trigger_price_quote):
        if price_quote is not None and (reason := why_bad_price(price_quote, instrument)):
            return reason
    return None


def why_bad_price(price_quote: Decimal, instrument: Instrument) -> str | None:
    """Return what is wrong with a price, None when nothing is."""
    if price_quote <= 0:
        return BAD_PRICE
    return None if is_on_grid(price_quote, instrument.price_tick_quote) else TICK_SIZE


def why_bad_volume(volume_base: Decimal, price_quote: Decimal, instrument: Instrument) -> str | None:
    """Return what is wrong with a volume, or with what it costs at this price, None when nothing is."""
    if volume_base <= 0 or not is_on_grid(volume_base, instrument.lot_step_base):
        return BAD_VOLUME
    if volume_base < instrument.volume_min_base:
        return ORDER_MINIMUM
    return COST_MINIMUM if volume_base * price_quote < instrument.notional_min_quote else None

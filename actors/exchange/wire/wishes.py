"""AddOrder's parameters, checked as Kraken checks them, and what the books are asked to do.

Unknown parameters are ignored, as Kraken ignores them. What Kraken serves and this mock does not is refused by name:
trailing stops, icebergs, settling a position, fill-or-kill, orders that start later, conditional closes.

Read in order: Wish, wish_from, then each parameter; described().
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

import attrs

from actors.exchange.mock.book_order import LIMITED_TYPES, STOPS, TRIGGERED_TYPES
from actors.exchange.mock.pricing import down_to
from actors.exchange.wire.names import Pair
from actors.exchange.wire.numbers import decimals_of, instant_in, number_in, padded
from actors.exchange.wire.refusals import RefusedError, invalid
from messages.orders import TimeInForce
from messages.trades import OrderType, Side

E = TypeVar("E", Side, OrderType)
SECOND_US = 1_000_000
DEADLINE_MIN_US, DEADLINE_MAX_US = 2 * SECOND_US, 60 * SECOND_US
NO_DEADLINE_US = 10**18
EXPIRY_MIN_S, EXPIRY_MAX_S = 5, 31 * 86_400
CLIENT_ID = re.compile(r"[0-9a-f]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[a-z0-9_-]{1,18}")
OFLAGS = frozenset({"post", "fcib", "fciq", "nompp", "viqc"})
USERREF_MAX = 2**31
SECONDARY = "EOrder:Invalid price:Invalid secondary price argument"


@attrs.frozen(kw_only=True)
class Wish:
    """An order that somebody wants, well formed."""

    pair: Pair
    side: Side
    order_type: OrderType
    volume_base: Decimal
    limit_price_quote: Decimal | None
    trigger_price_quote: Decimal | None
    trigger: str
    leverage: int
    reduce_only: bool
    time_in_force: TimeInForce
    expires_at_us: int | None
    oflags: tuple[str, ...]
    post_only: bool
    deadline_us: int
    cl_ord_id: str | None
    userref: int | None
    validate_only: bool


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the meaning of a parameter depends on."""

    pair: Pair
    last_quote: Decimal | None
    signed_position_base: Decimal
    now_us: int


def wish_from(parameters: Mapping[str, Any], around: Surroundings) -> Wish:
    """Return what is wanted. Raises RefusedError."""
    side = _one_of(parameters, "type", Side)
    order_type = _one_of(parameters, "ordertype", OrderType)
    oflags = _oflags(parameters, order_type)
    leverage = _leverage(parameters)
    limit_quote, trigger_quote = _prices(parameters, side, order_type, around)
    time_in_force, expires_at_us = _time_in_force(parameters, order_type, around.now_us)
    _refuse_what_is_not_served(parameters)
    return Wish(
        pair=around.pair,
        side=side,
        order_type=order_type,
        volume_base=_volume(parameters, oflags, side, order_type, leverage, around),
        limit_price_quote=limit_quote,
        trigger_price_quote=trigger_quote,
        trigger=_trigger(parameters),
        leverage=leverage,
        reduce_only=truth(parameters, "reduce_only"),
        time_in_force=time_in_force,
        expires_at_us=expires_at_us,
        oflags=oflags,
        post_only="post" in oflags,
        deadline_us=deadline_in(parameters, around.now_us),
        **_identity(parameters),
        validate_only=truth(parameters, "validate"),
    )


# One parameter each -------------------------------------------------------------------------------


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name)
    return "" if value is None else str(value).strip()


def _one_of(parameters: Mapping[str, Any], name: str, kind: type[E]) -> E:
    try:
        return kind(_text(parameters, name))
    except ValueError:
        raise invalid(name) from None


def truth(parameters: Mapping[str, Any], name: str) -> bool:
    """Return a parameter that is true or false."""
    return _text(parameters, name).lower() in ("true", "1")


def _oflags(parameters: Mapping[str, Any], order_type: OrderType) -> tuple[str, ...]:
    flags = tuple(flag.strip() for flag in _text(parameters, "oflags").split(",") if flag.strip())
    if set(flags) - OFLAGS or ("post" in flags and order_type is not OrderType.LIMIT):
        raise invalid("oflags")
    shown = tuple(flag for flag in flags if flag != "nompp")
    return shown if {"fciq", "fcib"} & set(shown) else (*shown, "fciq")


def _leverage(parameters: Mapping[str, Any]) -> int:
    text = _text(parameters, "leverage").removesuffix(":1")
    if text in ("", "none", "0"):
        return 1
    if not (text.isascii() and text.isdigit() and int(text) >= 2):
        raise invalid("leverage")
    return int(text)


def _prices(
    parameters: Mapping[str, Any], side: Side, order_type: OrderType, around: Surroundings
) -> tuple[Decimal | None, Decimal | None]:
    """Return limit and trigger. A trigger goes in `price`, and the limit behind it in `price2`."""
    if order_type is OrderType.MARKET:
        return None, None
    first = _price(parameters, "price", around.last_quote, side, order_type, around.pair)
    if order_type is OrderType.LIMIT:
        return first, None
    if order_type not in LIMITED_TYPES:
        if number_in(_text(parameters, "price2") or "0") != 0:
            raise RefusedError(SECONDARY)
        return None, first
    if not _text(parameters, "price2"):
        raise RefusedError(SECONDARY)
    return _price(parameters, "price2", first, side, order_type, around.pair), first


def _price(
    parameters: Mapping[str, Any],
    name: str,
    from_quote: Decimal | None,
    side: Side,
    order_type: OrderType,
    pair: Pair,
) -> Decimal:
    """Return a price, which may be written as a distance: +N, -N or #N, in money or per cent."""
    text = _text(parameters, name)
    amount = number_in(text.lstrip("+-#").removesuffix("%"))
    if amount is None or amount <= 0:
        raise invalid(name)
    tick_quote = pair.instrument.price_tick_quote
    if text[0] in "+-#":
        if from_quote is None:
            raise invalid(name)
        distance_quote = from_quote * amount / 100 if text.endswith("%") else amount
        up = text[0] == "+" or (text[0] == "#" and (side is Side.BUY) is (order_type in STOPS))
        return down_to(from_quote + (distance_quote if up else -distance_quote), tick_quote)
    return on_decimals(amount, pair)


def on_decimals(price_quote: Decimal, pair: Pair) -> Decimal:
    """Return a price that has no more decimals than the pair. Raises RefusedError."""
    decimals = decimals_of(pair.instrument.price_tick_quote)
    if decimals_of(price_quote) > decimals:
        raise RefusedError(f"EOrder:Invalid price:{pair.wsname} price can only be specified up to {decimals} decimals.")
    return price_quote


def _volume(
    parameters: Mapping[str, Any],
    oflags: tuple[str, ...],
    side: Side,
    order_type: OrderType,
    leverage: int,
    around: Surroundings,
) -> Decimal:
    volume = number_in(_text(parameters, "volume"))
    if volume is None or volume < 0:
        raise invalid("volume")
    if "viqc" in oflags:
        if side is not Side.BUY or order_type is not OrderType.MARKET or leverage > 1 or around.last_quote is None:
            raise invalid("oflags")
        return down_to(volume / around.last_quote, around.pair.instrument.lot_step_base)
    if volume == 0 and leverage > 1:
        position = around.signed_position_base
        return abs(position) if position and (position > 0) is (side is Side.SELL) else volume
    return volume


def _time_in_force(parameters: Mapping[str, Any], order_type: OrderType, now_us: int) -> tuple[TimeInForce, int | None]:
    text = _text(parameters, "timeinforce").upper() or "GTC"
    if text not in TimeInForce.__members__:
        raise invalid("timeinforce")
    time_in_force = TimeInForce[text]
    expiry = _text(parameters, "expiretm")
    if time_in_force is not TimeInForce.GTD or order_type is OrderType.MARKET:
        return time_in_force, None
    return time_in_force, _expiry(expiry, now_us)


def _expiry(text: str, now_us: int) -> int:
    """Return an instant that is written as +SECONDS or as seconds since 1970."""
    number = number_in(text)
    if number is None:
        raise invalid("expiretm")
    expires_at_us = int(number * SECOND_US) + (now_us if text.startswith("+") else 0)
    if not EXPIRY_MIN_S * SECOND_US <= expires_at_us - now_us <= EXPIRY_MAX_S * SECOND_US:
        raise invalid("expiretm")
    return expires_at_us


def _trigger(parameters: Mapping[str, Any]) -> str:
    text = _text(parameters, "trigger") or "last"
    if text == "index":
        raise invalid("Index unavailable")
    if text != "last":
        raise invalid("trigger")
    return text


def deadline_in(parameters: Mapping[str, Any], now_us: int) -> int:
    """Return until when the request may be carried out: 2 to 60 s from now, or for ever. Raises RefusedError."""
    text = _text(parameters, "deadline")
    if not text:
        return NO_DEADLINE_US
    deadline_us = instant_in(text)
    if deadline_us is None:
        raise invalid("deadline")
    if deadline_us < now_us:
        raise RefusedError("EService:Deadline elapsed")
    if not DEADLINE_MIN_US <= deadline_us - now_us <= DEADLINE_MAX_US:
        raise invalid("deadline")
    return deadline_us


def _identity(parameters: Mapping[str, Any]) -> dict[str, Any]:
    cl_ord_id, userref = _text(parameters, "cl_ord_id"), _text(parameters, "userref")
    if cl_ord_id and (userref or not CLIENT_ID.fullmatch(cl_ord_id)):
        raise invalid("cl_ord_id")
    number = number_in(userref) if userref else None
    if userref and (number is None or number % 1 or not -USERREF_MAX <= number < USERREF_MAX):
        raise invalid("userref")
    return {"cl_ord_id": cl_ord_id or None, "userref": None if number is None else int(number)}


def _refuse_what_is_not_served(parameters: Mapping[str, Any]) -> None:
    if _text(parameters, "starttm") not in ("", "0"):
        raise invalid("starttm")
    if _text(parameters, "close[ordertype]") or parameters.get("close"):
        raise invalid("close")


# In words -----------------------------------------------------------------------------------------


def described(
    pair: Pair,
    side: Side,
    order_type: OrderType,
    volume_base: Decimal,
    limit_quote: Decimal | None,
    trigger_quote: Decimal | None,
    leverage: int,
) -> str:
    """Return an order as one line, as `descr.order` tells it."""
    decimals = decimals_of(pair.instrument.price_tick_quote)
    limit = "" if limit_quote is None else padded(limit_quote, decimals)
    trigger = "" if trigger_quote is None else padded(trigger_quote, decimals)
    how = order_type.value.removesuffix("-limit").replace("-", " ")
    if order_type is OrderType.LIMIT:
        how = f"limit {limit}"
    elif order_type in TRIGGERED_TYPES:
        how = f"{how} {trigger} -> limit {limit}" if limit else f"{how} {trigger}"
    volume = padded(volume_base, decimals_of(pair.instrument.lot_step_base))
    margin = f" with {leverage}:1 leverage" if leverage > 1 else ""
    return f"{side.value} {volume} {pair.altname} @ {how}{margin}"

"""How Kraken writes numbers, instants and ids, and how we read them: exactly, never through a float."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from actors.order.adoption import is_our_id
from messages.base import OrderId

ZERO = Decimal(0)
MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _no_number(text: str) -> Any:
    """Python would read NaN and Infinity as floats; JSON knows neither."""
    raise ValueError(f"{text} is no number")


READER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)
"""Made once: `json.loads` would make one for each text."""


def read_json(text: str) -> Any:
    """Return the parsed text with every fraction as a Decimal. Raises ValueError."""
    try:
        return READER.decode(text)
    except RecursionError as error:
        raise ValueError("lists within lists without an end") from error


def write_json(value: Any) -> str:
    """Return the text of a message to Kraken; Decimals, if any, must have been written as text before."""
    return json.dumps(value, separators=(",", ":"))


def number(value: Any) -> Decimal:
    """Return an amount, told as text or as a number; 0 when nothing is told. Raises ValueError and the like."""
    amount = ZERO if value is None or value == "" else Decimal(value)
    if not amount.is_finite():
        raise ValueError(f"{value} is no amount")
    return amount


def plain(value: Decimal) -> str:
    """Return an amount as Kraken reads it: no exponent, no zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def instant_us(seconds: Any) -> int:
    """Return an instant told as seconds with a fraction, as REST does."""
    return int(number(seconds) * MICROSECONDS)


def moment_us(text: str) -> int:
    """Return an instant told as RFC 3339, as the websocket does; the digits below a microsecond are dropped."""
    moment = datetime.fromisoformat(text.upper())
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def rfc3339(at_us: int) -> str:
    """Return an instant as Kraken wants a deadline: UTC, to the millisecond."""
    moment = EPOCH + timedelta(microseconds=at_us)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def whole_seconds(at_us: int) -> str:
    """Return an instant as whole seconds, later rather than earlier."""
    return str(-(-at_us // MICROSECONDS))


def client_id(order_id: OrderId) -> str:
    """Return our id as `cl_ord_id`: as it stands in our books, which is one of the forms that Kraken documents."""
    return str(order_id)


def our_id(told: Any) -> OrderId | None:
    """Return the id of ours that a `cl_ord_id` is, with its hyphens; None if it is none of ours."""
    if not isinstance(told, str):
        return None
    digits = told.lower().replace("-", "")
    order_id = OrderId("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
    return order_id if is_our_id(order_id) else None

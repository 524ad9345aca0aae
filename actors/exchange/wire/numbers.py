"""Numbers, instants and JSON as Kraken writes them: nothing here passes through a binary float.

Read in order: encode, decode, amounts, instants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from actors.runtime.clock import as_datetime, as_instant_us

MICRO_DIGITS = 6
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")


def encode(value: object) -> str:
    """Return a value as JSON; a Decimal becomes a number with exactly its digits."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return "{" + ",".join(f"{json.dumps(str(key))}:{encode(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(encode(one) for one in value) + "]"
        case None | bool() | int() | str():
            return json.dumps(value)
    raise TypeError(f"{type(value).__name__} has no JSON here")


def decode(text: str | bytes) -> Any:
    """Read JSON; every number with a fraction becomes a Decimal."""
    return json.loads(text, parse_float=Decimal)


# Amounts --------------------------------------------------------------------------------------------


def plain(value: Decimal) -> str:
    """Return a number with all its digits and no exponent."""
    return f"{value:f}"


def padded(value: Decimal, decimals: int) -> str:
    """Return a number with at least so many decimals; further digits are kept, none is ever rounded away."""
    shown = value.normalize()
    exponent = shown.as_tuple().exponent
    if isinstance(exponent, int) and -exponent < decimals:
        shown = shown.quantize(Decimal(1).scaleb(-decimals))
    return f"{shown:f}"


def decimals_of(step: Decimal) -> int:
    """Return how many decimals a grid of this step needs."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def number_in(text: object) -> Decimal | None:
    """Return the number that somebody has written, None if it is none."""
    written = str(text).strip()
    return Decimal(written) if DECIMAL.fullmatch(written) else None


# Instants -------------------------------------------------------------------------------------------


def seconds(instant_us: int) -> Decimal:
    """Return an instant as REST tells it: seconds since 1970 with a fraction."""
    return Decimal(instant_us).scaleb(-MICRO_DIGITS)


def rfc3339(instant_us: int) -> str:
    """Return an instant as the websocket tells it."""
    return as_datetime(instant_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def instant_in(text: str) -> int | None:
    """Return the instant that an RFC 3339 text names, None if it names none."""
    if not RFC3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return as_instant_us(moment if moment.tzinfo else moment.replace(tzinfo=UTC))

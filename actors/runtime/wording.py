"""Messages in words, for the log: `OrderAccepted order=1a2b3c4d external=O0000000001 at=2025-01-01T00:00:00Z`.

What says nothing is left out: None, False, empty texts and tuples. Ids are short, numbers end at their last digit.
Pure. Read in order: message_as_text(), _pairs(), _worded().
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs

from messages.base import Message
from messages.journal import RecordRequest
from messages.orders import ExchangeOrder, Fill, Order, OrderIntent
from messages.positions import Position
from messages.trades import RequestRow, TradeProposal

SHOWN: Mapping[type[Any], tuple[str, ...]] = {
    # Of what is inside a message, the part that a reader of the log asks for.
    OrderIntent: (
        "id", "role", "side", "volume_base", "symbol", "order_type", "limit_price_quote", "trigger_price_quote",
        "leverage", "reduce_only",
    ),
    Order: ("intent", "status", "filled_base", "external_id", "reason"),
    Fill: (
        "order_id", "trade_id", "side", "volume_base", "symbol", "price_quote", "fee_quote", "is_liquidation", "at_us",
    ),
    ExchangeOrder: ("order_id", "external_id", "status", "filled_base", "reason"),
    Position: ("id", "side", "entry_base", "exit_base", "symbol", "status", "stop_loss_quote", "take_profit_quote"),
    RecordRequest: ("request",),
    RequestRow: ("kind", "symbol", "verdict", "codes", "reasons"),
    TradeProposal: (
        "side", "size_usd", "symbol", "order_type", "entry_price_quote", "stop_loss_quote", "take_profit_quote",
        "leverage", "trailing",
    ),
}  # fmt: skip
OWN_ID: Mapping[type[Any], str] = {OrderIntent: "order", Position: "position", TradeProposal: "trade"}
"""What the field `id` is called when its owner is inside a message."""
UNIT = re.compile(r"_(id|us|quote|base)$")
"""Endings that say no more than the value itself."""
FULL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
SHORT_ID = 13
"""Two groups of it: all orders of a trade share the first."""
PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
TEXT_MAX = 300
"""Characters of one value; a log line is for people."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT_MAX_US = 32_503_680_000_000_000


def message_as_text(message: Message) -> str:
    """Return one line: the type of the message, then its fields as name=value."""
    words = (f"{name}={value}" if value else name for name, value in _pairs(message))
    return " ".join((type(message).__name__, *words))


def _pairs(owner: Any) -> Iterator[tuple[str, str]]:
    """Yield names and values in words, with those of inner values in their place; a bare name for True."""
    kind = type(owner)
    for name in SHOWN.get(kind) or [field.name for field in attrs.fields(kind)]:
        value = getattr(owner, name)
        if value is None or value is False or value in ("", ()):
            continue
        if attrs.has(type(value)):
            yield from _pairs(value)
        elif value is True:
            yield name, ""
        else:
            shown = OWN_ID.get(kind, name) if name == "id" else UNIT.sub("", name)
            yield shown, _instant(value) if name.endswith("_us") else _worded(value)


def _worded(value: Any) -> str:
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value, int) else str(value.value)
    if isinstance(value, Decimal):
        return number_as_text(value)
    if isinstance(value, tuple):
        is_plain = all(isinstance(item, str) for item in value)
        return _text("; ".join(value)) if is_plain else str(len(value))
    return _text(str(value))


def number_as_text(value: Decimal) -> str:
    """Return the number in digits, without zeros behind its last one."""
    if not value.is_finite():
        return str(value)
    digits = f"{value:f}"
    return (digits.rstrip("0").rstrip(".") or "0") if "." in digits else digits


def _text(text: str) -> str:
    """Return a text as one word: a short id, the text itself, or the text in quotation marks on one line."""
    if FULL_ID.fullmatch(text):
        return text[:SHORT_ID]
    short = text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}..."
    if PLAIN.fullmatch(short):
        return short
    escaped = short.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else ascii(char)[1:-1] for char in escaped) + '"'


def _instant(instant_us: int) -> str:
    if not 0 <= instant_us <= INSTANT_MAX_US:
        return str(instant_us)
    return (EPOCH + timedelta(microseconds=instant_us)).isoformat().replace("+00:00", "Z")

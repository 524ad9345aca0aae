"""The books as documents: JSON with money as strings, and back again to the last digit.

Kinds: "account" (one, the counters), "balance" (by currency), "lot", "order", "price" (by symbol), "trade".
Each class is a table of its fields and of what reads them; what is not in the table is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.margin import Lot
from messages.base import ExternalOrderId, OrderId, ProposalId, Symbol, TradeId
from messages.orders import Fill, OrderStatus, TimeInForce
from messages.trades import OrderType, Side

Reader = Callable[[Any], object]

ORDER_FIELDS: Mapping[str, Reader] = {
    "sequence": int,
    "external_id": ExternalOrderId,
    "order_id": OrderId,
    "proposal_id": ProposalId,
    "symbol": Symbol,
    "side": Side,
    "order_type": OrderType,
    "leverage": int,
    "reduce_only": bool,
    "time_in_force": TimeInForce,
    "expires_at_us": int,
    "limit_price_quote": Decimal,
    "trigger_price_quote": Decimal,
    "volume_base": Decimal,
    "opened_at_us": int,
    "first_share_pct": Decimal,
    "is_triggered": bool,
    "filled_base": Decimal,
    "status": OrderStatus,
    "reason": str,
    "ended_at_us": int,
    "ended_number": int,
}
LOT_FIELDS: Mapping[str, Reader] = {
    "number": int,
    "symbol": Symbol,
    "order_id": OrderId,
    "side": Side,
    "volume_base": Decimal,
    "price_quote": Decimal,
    "leverage": int,
}
FILL_FIELDS: Mapping[str, Reader] = {
    "trade_id": TradeId,
    "order_id": OrderId,
    "external_order_id": ExternalOrderId,
    "symbol": Symbol,
    "side": Side,
    "price_quote": Decimal,
    "volume_base": Decimal,
    "fee_quote": Decimal,
    "is_maker": bool,
    "is_liquidation": bool,
    "at_us": int,
    "is_margin": bool,
}


def written(value: object) -> object:
    """Return a field as JSON knows it."""
    if isinstance(value, Decimal):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def body_of(thing: object, fields: Mapping[str, Reader]) -> str:
    """Return the fields of a thing as a JSON object."""
    return json.dumps({name: written(getattr(thing, name)) for name in fields}, separators=(",", ":"))


def fields_of(body: str, fields: Mapping[str, Reader]) -> dict[str, Any]:
    """Return the fields that a body holds, each read by its reader; None stays None.

    A body from before a field was added lacks it: the field's default says what was true then.
    """
    raw = json.loads(body)
    return {name: None if raw[name] is None else read(raw[name]) for name, read in fields.items() if name in raw}


def order_of(body: str) -> BookOrder:
    """Return the order in a body; what is held for it is found out anew."""
    return BookOrder(**fields_of(body, ORDER_FIELDS))


def lot_of(body: str) -> Lot:
    """Return the lot in a body."""
    return Lot(**fields_of(body, LOT_FIELDS))


def fill_of(body: str) -> Fill:
    """Return the trade in a body."""
    return Fill(**fields_of(body, FILL_FIELDS))


def text_of(values: Mapping[str, object]) -> str:
    """Return names and values as a JSON object."""
    return json.dumps({name: written(value) for name, value in values.items()}, separators=(",", ":"))

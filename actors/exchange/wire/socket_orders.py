"""Orders over the websocket: the same requests as REST's, in the websocket's words.

Each request becomes the parameters of the REST endpoint that does the same.

Read in order: answer, cancellations, add_parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from actors.exchange.wire.names import Names
from actors.exchange.wire.numbers import instant_in, plain, seconds
from actors.exchange.wire.private import PRIVATE, Request
from actors.exchange.wire.refusals import RefusedError, invalid

METHODS = frozenset({"add_order", "amend_order", "cancel_order", "cancel_all", "cancel_all_orders_after"})
LEVERAGE_MAX = 5
"""What `margin` borrows with at most: there is no word for a chosen leverage."""
SAME = ("cl_ord_id", "deadline", "validate", "reduce_only")
AMENDED = ("cl_ord_id", "deadline", "order_qty", "limit_price", "trigger_price")

Carry = Callable[[Mapping[str, Any]], Request]


def answer(method: str, parameters: Mapping[str, Any], names: Names, carry: Carry) -> Any:
    """Carry out a request and return its result. Raises RefusedError."""
    match method:
        case "add_order":
            result = PRIVATE["AddOrder"](carry(add_parameters(parameters, names)))
            return _named(result.get("txid", [None])[0], parameters)
        case "amend_order":
            wanted = {name: _text(parameters[name]) for name in AMENDED if parameters.get(name) is not None}
            result = PRIVATE["AmendOrder"](carry(wanted | {"txid": parameters.get("order_id")}))
            return {"amend_id": result["amend_id"]} | _named(parameters.get("order_id"), parameters)
        case "cancel_all":
            return PRIVATE["CancelAll"](carry({}))
        case "cancel_all_orders_after":
            return PRIVATE["CancelAllOrdersAfter"](carry({"timeout": parameters.get("timeout")}))
    raise RefusedError(f"Unsupported method {method}")


def cancellations(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameters of one CancelOrder for each order that cancel_order names."""
    named = [{"txid": one} for one in parameters.get("order_id") or ()]
    named += [{"cl_ord_id": one} for one in parameters.get("cl_ord_id") or ()]
    named += [{"userref": str(one)} for one in parameters.get("order_userref") or ()]
    return named


def add_parameters(parameters: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Return what AddOrder would be asked for. Raises RefusedError."""
    pair = names.pair(str(parameters.get("symbol") or ""))
    triggers = parameters.get("triggers") or {}
    order_type = str(parameters.get("order_type") or "")
    limit, trigger = parameters.get("limit_price"), triggers.get("price")
    wanted: dict[str, Any] = {name: parameters[name] for name in SAME if name in parameters}
    wanted |= {
        "pair": parameters.get("symbol"),
        "type": parameters.get("side"),
        "ordertype": order_type,
        "volume": _text(parameters.get("order_qty")),
        "price": _text(limit if order_type == "limit" else trigger),
        "price2": None if order_type == "limit" else _text(limit),
        "trigger": triggers.get("reference"),
        "timeinforce": str(parameters.get("time_in_force") or "gtc").upper(),
        "userref": parameters.get("order_userref"),
        "oflags": "post" if parameters.get("post_only") is True else None,
    }
    if parameters.get("expire_time") is not None:
        wanted["expiretm"] = _expiry(str(parameters["expire_time"]))
    if parameters.get("margin") is True and pair is not None:
        wanted["leverage"] = str(min(LEVERAGE_MAX, pair.instrument.leverage_max))
    if parameters.get("conditional") is not None:
        wanted["close"] = True
    return {name: value for name, value in wanted.items() if value is not None}


def _expiry(text: str) -> str:
    instant_us = instant_in(text)
    if instant_us is None:
        raise invalid("expire_time")
    return plain(seconds(instant_us))


def _named(order_id: object, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return whom an answer is about."""
    named = {"order_id": order_id, "cl_ord_id": parameters.get("cl_ord_id")}
    return {name: value for name, value in named.items() if value is not None}


def _text(value: object) -> str | None:
    if value is None:
        return None
    return plain(value) if isinstance(value, Decimal) else str(value)

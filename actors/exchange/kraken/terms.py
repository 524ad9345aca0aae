"""Our wishes in Kraken's words: the parameters of AddOrder, AmendOrder and CancelOrder.

| order type | `price` | `price2` |
|---|---|---|
| market | - | - |
| limit | the limit | - |
| stop-loss, take-profit | the trigger | - |
| stop-loss-limit, take-profit-limit | the trigger | the limit |

A key without a value is left out: the SDK would sign it and not send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from actors.exchange.kraken.notation import client_id, plain, rfc3339, whole_seconds
from actors.exchange.kraken.pairs import Pair
from messages.orders import AmendOrder, CancelOrder, OrderIntent, TimeInForce
from messages.trades import OrderType

Params = Mapping[str, str]
TRIGGERED = frozenset(
    {OrderType.STOP_LOSS, OrderType.TAKE_PROFIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT}
)


def add_order(intent: OrderIntent, pair: Pair, deadline_us: int) -> Params:
    """Return the parameters that place this intent.

    Fees are asked for in the quote currency (`fciq`), so that what is bought is what is held. A trigger looks at the
    last price, as our own watch does.
    """
    params = {
        "ordertype": intent.order_type.value,
        "type": intent.side.value,
        "pair": pair.altname,
        "volume": plain(intent.volume_base),
        "cl_ord_id": client_id(intent.id),
        "deadline": rfc3339(deadline_us),
        "oflags": "fciq",
        **_prices(intent),
        **_time_in_force(intent),
    }
    if intent.leverage > 1:
        params["leverage"] = str(intent.leverage)
    if intent.reduce_only:
        params["reduce_only"] = "true"
    return params


def _prices(intent: OrderIntent) -> dict[str, str]:
    trigger, limit = intent.trigger_price_quote, intent.limit_price_quote
    if intent.order_type in TRIGGERED and trigger is not None:
        prices = {"price": plain(trigger), "trigger": "last"}
        return prices if limit is None else {**prices, "price2": plain(limit)}
    return {} if intent.order_type is OrderType.MARKET or limit is None else {"price": plain(limit)}


def _time_in_force(intent: OrderIntent) -> dict[str, str]:
    """A market order has none, and an order that is good until cancelled need not say so."""
    if intent.order_type is OrderType.MARKET or intent.time_in_force is TimeInForce.GTC:
        return {}
    if intent.time_in_force is TimeInForce.GTD and intent.expires_at_us is not None:
        return {"timeinforce": "GTD", "expiretm": whole_seconds(intent.expires_at_us)}
    return {"timeinforce": intent.time_in_force.value}


def amend_order(
    wish: AmendOrder, volume_base: Decimal | None, trigger_quote: Decimal | None, deadline_us: int
) -> Params:
    """Return the parameters that move this order: only what differs from what the exchange has."""
    params = {"txid": wish.external_id, "deadline": rfc3339(deadline_us)}
    if volume_base != wish.volume_base:
        params["order_qty"] = plain(wish.volume_base)
    if wish.trigger_price_quote is not None and trigger_quote != wish.trigger_price_quote:
        params["trigger_price"] = plain(wish.trigger_price_quote)
    return params


def cancel_order(wish: CancelOrder) -> Params:
    """Return the parameters that take this order off."""
    return {"txid": wish.external_id} if wish.external_id else {"cl_ord_id": client_id(wish.order_id)}

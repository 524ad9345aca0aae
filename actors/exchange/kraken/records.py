"""What Kraken's REST tells of orders, trades and the account, in our words.

Read in order: Known, order_of(), fill_of(), account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.kraken.notation import ZERO, instant_us, number, our_id
from actors.exchange.kraken.pairs import Pair, Pairs
from messages.base import Currency, ExternalOrderId, OrderId, Symbol, TradeId
from messages.exchange import Holding
from messages.orders import ExchangeOrder, Fill, OrderStatus, OrderTerms
from messages.trades import OrderType, Side

STATUSES = {
    "closed": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "cancelled": OrderStatus.CANCELLED,
    "expired": OrderStatus.EXPIRED,
}
"""Those that are over. `pending` and `open` are open; there is no word for partially filled."""
ORDER_TYPES = {kind.value: kind for kind in OrderType}
OTHER_TYPES = {"trailing-stop": OrderType.STOP_LOSS, "trailing-stop-limit": OrderType.STOP_LOSS_LIMIT}
"""Types that we never send and a person may: what they come closest to."""
LIMIT_IN_PRICE = frozenset({OrderType.LIMIT})
LIMIT_IN_PRICE2 = frozenset({OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
TRIGGER_IN_PRICE = frozenset(OrderType) - {OrderType.MARKET, OrderType.LIMIT}


@attrs.frozen(kw_only=True)
class OrderRow:
    """One order as REST tells it, with what the engine does not ask for but we need."""

    order: ExchangeOrder
    is_ours: bool
    """Whether its client id is one as we give them."""
    filled_base: Decimal
    opened_at_us: int
    trade_ids: tuple[TradeId, ...]


def order_of(external_id: str, row: Mapping[str, Any], pairs: Pairs) -> OrderRow | None:
    """Return an order, None for one in a pair that we do not trade. Raises KeyError and ValueError for nonsense."""
    terms = row["descr"]
    pair = pairs.named(terms["pair"])
    if pair is None:
        return None
    mine = our_id(row.get("cl_ord_id"))
    kind = terms["ordertype"]
    order_type = ORDER_TYPES.get(kind) or OTHER_TYPES.get(kind, OrderType.LIMIT)
    volume_base, filled_base = number(row["vol"]), number(row.get("vol_exec"))
    told = row["status"]
    still = OrderStatus.PARTIALLY_FILLED if filled_base else OrderStatus.OPEN
    return OrderRow(
        order=ExchangeOrder(
            order_id=OrderId(external_id) if mine is None else mine,
            external_id=ExternalOrderId(external_id),
            symbol=pair.symbol,
            status=STATUSES.get(told, still),
            volume_base=volume_base,
            filled_base=filled_base,
            trigger_price_quote=_price(terms, "price") if order_type in TRIGGER_IN_PRICE else None,
            reason=str(row.get("reason") or ""),
            terms=OrderTerms(
                side=Side(terms["type"]),
                order_type=order_type,
                limit_price_quote=_limit_of(terms, order_type),
                leverage=leverage_of(terms.get("leverage")),
                reduce_only=_is_true(row.get("reduce_only")) or "reduce only" in str(terms.get("order", "")).lower(),
                opened_at_us=instant_us(row.get("opentm")),
            ),
        ),
        is_ours=mine is not None,
        filled_base=filled_base,
        opened_at_us=instant_us(row.get("opentm")),
        trade_ids=tuple(TradeId(str(one)) for one in row.get("trades") or ()),
    )


def _price(terms: Mapping[str, Any], name: str) -> Decimal | None:
    told = str(terms.get(name) or "")
    return Decimal(told) or None if told[:1].isdigit() else None  # A relative price (+1%) is no price yet.


def _limit_of(terms: Mapping[str, Any], order_type: OrderType) -> Decimal | None:
    if order_type in LIMIT_IN_PRICE:
        return _price(terms, "price")
    return _price(terms, "price2") if order_type in LIMIT_IN_PRICE2 else None


def leverage_of(told: Any) -> int:
    """Return the leverage that is told as `5:1`, as `5`, or as `none`."""
    digits = str(told or "").partition(":")[0]
    return max(1, int(digits)) if digits.isdigit() else 1


def _is_true(told: Any) -> bool:
    return told is True or str(told).lower() == "true"


def fill_of(trade_id: str, row: Mapping[str, Any], pairs: Pairs, order_ids: Mapping[str, OrderId]) -> Fill | None:
    """Return a trade, None for one in a pair that we do not trade.

    `order_ids` says which of our ids an order has; an order that is not in it is somebody else's.
    """
    pair = pairs.named(row["pair"])
    if pair is None:
        return None
    external_id = ExternalOrderId(str(row["ordertxid"]))
    return Fill(
        trade_id=TradeId(trade_id),
        order_id=order_ids.get(external_id, OrderId(external_id)),
        external_order_id=external_id,
        symbol=pair.symbol,
        side=Side(row["type"]),
        price_quote=number(row["price"]),
        volume_base=number(row["vol"]),
        fee_quote=number(row.get("fee")),
        is_maker=_is_true(row.get("maker")),
        is_liquidation="liquidated" in str(row.get("misc") or ""),
        at_us=instant_us(row["time"]),
        is_margin=_is_margin(row),
    )


def _is_margin(row: Mapping[str, Any]) -> bool:
    """Say whether a trade opened or closed a margin position: one that closes takes no margin, and says `closing`."""
    is_told = "posstatus" in row or "closing" in str(row.get("misc") or "")
    return is_told or bool(number(row.get("margin"))) or leverage_of(row.get("leverage")) > 1


# The account --------------------------------------------------------------------------------------


def balances_of(told: Mapping[str, Any], pairs: Pairs) -> dict[Currency, Decimal]:
    """Return the balances in the currencies of our pairs; what earns something meanwhile is spent all the same."""
    balances: dict[Currency, Decimal] = {}
    for asset, amount in told.items():
        currency = pairs.currency(asset)
        if currency is not None:
            told_amount = amount.get("balance") if isinstance(amount, Mapping) else amount
            balances[currency] = balances.get(currency, ZERO) + number(told_amount)
    return balances


def holdings_of(rows: Iterable[Mapping[str, Any]], pairs: Pairs) -> tuple[Holding, ...]:
    """Return the net margin position of each pair, from the rows of OpenPositions: one for each opening trade."""
    volumes: dict[Symbol, Decimal] = {}
    costs: dict[Symbol, Decimal] = {}
    for row in rows:
        pair = pairs.named(row["pair"])
        left_base = number(row["vol"]) - number(row.get("vol_closed"))
        if pair is None or left_base <= 0:
            continue
        signed_base = left_base if row["type"] == "buy" else -left_base
        volumes[pair.symbol] = volumes.get(pair.symbol, ZERO) + signed_base
        costs[pair.symbol] = costs.get(pair.symbol, ZERO) + _cost_left(row, left_base)
    return tuple(
        Holding(symbol=symbol, volume_base=volumes[symbol], cost_quote=costs[symbol]) for symbol in sorted(volumes)
    )


def _cost_left(row: Mapping[str, Any], left_base: Decimal) -> Decimal:
    volume_base, cost_quote = number(row["vol"]), number(row.get("cost"))
    return cost_quote if left_base == volume_base else cost_quote * left_base / volume_base


def rows_of(told: Any) -> list[Mapping[str, Any]]:
    """Return the rows of OpenPositions: keyed by position, or as the list of a consolidated answer."""
    return list(told.values()) if isinstance(told, Mapping) else list(told or ())


def is_base(pair: Pair, asset: str) -> bool:
    """Say whether an asset is what is bought and sold in the pair. Fees are in the other one unless it is told."""
    return asset in (pair.base_id, pair.instrument.base)

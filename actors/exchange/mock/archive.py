"""The books to documents and back. What is kept rebuilds the books exactly; what follows from it is not kept.

Read in order: changed, everything, restore.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal

from actors.exchange.mock.account import Account
from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.documents import (
    FILL_FIELDS,
    LOT_FIELDS,
    ORDER_FIELDS,
    body_of,
    fill_of,
    lot_of,
    order_of,
    text_of,
)
from actors.exchange.mock.history import HISTORY_MAX, History
from actors.exchange.mock.levels import Market
from actors.exchange.mock.margin import Lot
from actors.exchange.mock.store import Document
from messages.base import Currency, Symbol
from messages.orders import Fill

ZERO = Decimal(0)
COUNTERS = "counters"
"""The key of the one document of kind "account"."""


def is_changed(account: Account, history: History) -> bool:
    """Say whether anything but the prices has changed since `forget`."""
    return bool(history.changed_orders or history.changed_trades or account.changed_balances or account.changed_lots)


def changed(account: Account, history: History, markets: Mapping[Symbol, Market]) -> tuple[Document, ...]:
    """Return what has changed since `forget`, the last prices included."""
    documents = [_counters(account, history)]
    documents += [_balance(account, currency) for currency in account.changed_balances]
    documents += [_lot(lot) for lot in account.changed_lots.values()]
    documents += [
        Document("order", external_id, None) if order is None else _order(order)
        for external_id, order in history.changed_orders.items()
    ]
    documents += [_trade(fill) for fill in history.changed_trades]
    documents += [_price(market) for market in markets.values() if market.has_moved]
    return tuple(documents)


def forget(account: Account, history: History, markets: Mapping[Symbol, Market]) -> None:
    """Take everything as saved."""
    history.changed_orders.clear()
    history.changed_trades.clear()
    account.changed_balances.clear()
    account.changed_lots.clear()
    for market in markets.values():
        market.has_moved = False


def everything(account: Account, history: History, markets: Mapping[Symbol, Market]) -> tuple[Document, ...]:
    """Return the whole books: two books with the same documents are the same books."""
    documents = [_counters(account, history)]
    documents += [_balance(account, currency) for currency in account.balances]
    documents += [_lot(lot) for position in account.positions.values() for lot in position.lots]
    documents += [_order(order) for order in history.orders()]
    documents += [_trade(fill) for fill in history.trades()]
    documents += [_price(market) for market in markets.values() if market.last_quote is not None]
    return tuple(sorted(documents, key=lambda document: (document.kind, document.key)))


def _counters(account: Account, history: History) -> Document:
    counters = {
        "orders": history.order_count,
        "trades": history.trade_count,
        "ended": history.ended_count,
        "lots": account.lot_count,
    }
    return Document("account", COUNTERS, text_of(counters))


def _balance(account: Account, currency: Currency) -> Document:
    return Document(
        "balance", currency, text_of({"amount": account.balances[currency], "moved": account.moved.get(currency, ZERO)})
    )


def _lot(lot: Lot) -> Document:
    return Document("lot", f"L{lot.number:010d}", body_of(lot, LOT_FIELDS) if lot.volume_base else None)


def _order(order: BookOrder) -> Document:
    return Document("order", order.external_id, body_of(order, ORDER_FIELDS))


def _trade(fill: Fill) -> Document:
    return Document("trade", fill.trade_id, body_of(fill, FILL_FIELDS))


def _price(market: Market) -> Document:
    price = {"last": market.last_quote, "at_us": market.at_us, "sequence": market.sequence}
    return Document("price", market.instrument.symbol, text_of(price))


# Back again ---------------------------------------------------------------------------------------


def restore(
    documents: Iterable[Document], account: Account, history: History, markets: Mapping[Symbol, Market]
) -> bool:
    """Fill empty books from documents. Returns whether there were any."""
    bodies: dict[str, dict[str, str]] = {}
    for document in documents:
        if document.body is not None:
            bodies.setdefault(document.kind, {})[document.key] = document.body
    if not bodies:
        return False
    _restore_prices(bodies.get("price", {}), markets)
    _restore_counters(bodies["account"][COUNTERS], account, history)
    for currency, body in bodies.get("balance", {}).items():
        fields = json.loads(body)
        account.balances[Currency(currency)] = Decimal(fields["amount"])
        account.moved[Currency(currency)] = Decimal(fields.get("moved", 0))  # Not known in older books.
    for body in _by_key(bodies.get("lot", {})):
        account.restore_lot(lot_of(body))
    _restore_orders(bodies.get("order", {}), account, history, markets)
    trades = [fill_of(body) for body in _by_key(bodies.get("trade", {}))][-HISTORY_MAX:]
    for number, fill in enumerate(trades, start=history.trade_count - len(trades) + 1):
        history.restore_trade(number, fill)
    return True


def _by_key(bodies: Mapping[str, str]) -> list[str]:
    return [bodies[key] for key in sorted(bodies)]


def _restore_prices(bodies: Mapping[str, str], markets: Mapping[Symbol, Market]) -> None:
    for symbol, body in bodies.items():
        market = markets.get(Symbol(symbol))
        if market is not None:
            price = json.loads(body)
            market.last_quote = Decimal(price["last"])
            market.at_us, market.sequence = int(price["at_us"]), int(price["sequence"])


def _restore_counters(body: str, account: Account, history: History) -> None:
    counters = json.loads(body)
    history.order_count, history.trade_count = int(counters["orders"]), int(counters["trades"])
    history.ended_count, account.lot_count = int(counters["ended"]), int(counters["lots"])


def _restore_orders(
    bodies: Mapping[str, str], account: Account, history: History, markets: Mapping[Symbol, Market]
) -> None:
    orders = [order_of(body) for body in _by_key(bodies)]
    # Those that are over go first and in the order of their ends: an id that was used again means the open order.
    for order in sorted(orders, key=lambda order: (order.is_open, order.ended_number, order.sequence)):
        history.add_order(order)
        if order.is_open:
            markets[order.symbol].add(order)
            account.hold(order)

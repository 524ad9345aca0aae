"""What the owner of a key may ask and do, one function for each of Kraken's private endpoints.

Read in order: Request; trading; orders and trades; the account; the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.mock.margin import MARGIN_SCALE
from actors.exchange.mock.refusals import UNKNOWN_ORDER, UNKNOWN_PAIR
from actors.exchange.wire import ids
from actors.exchange.wire.exchange import WireExchange
from actors.exchange.wire.names import asset_id
from actors.exchange.wire.numbers import number_in, padded, plain, rfc3339
from actors.exchange.wire.public import pairs_in
from actors.exchange.wire.refusals import INVALID_ORDER, RefusedError, invalid
from actors.exchange.wire.registry import OrderNote
from actors.exchange.wire.rows import Rows
from actors.exchange.wire.wishes import Surroundings, Wish, deadline_in, described, on_decimals, truth, wish_from
from messages.base import Currency
from messages.orders import Fill

SECOND_US = 1_000_000
PAGE = 50
QUERY_ORDERS_MAX, QUERY_TRADES_MAX, BATCH_MAX = 50, 20, 50
BATCH_ADD_MIN, BATCH_ADD_MAX = 2, 15
SWITCH_MAX_S = 86_400
FUNDS, OPEN, CLOSED = "query-funds", "query-open-trades", "query-closed-trades"
MODIFY, CLOSE, SOCKETS = "modify-trades", "close-trades", "websockets"
ALL_PERMISSIONS = frozenset({FUNDS, OPEN, CLOSED, MODIFY, CLOSE, SOCKETS})
WITHDRAW = "withdraw-funds"
ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Request:
    """One private request, and what the world is like when it is handled."""

    parameters: Mapping[str, Any]
    exchange: WireExchange
    rows: Rows
    now_us: int
    """When it is carried out."""
    arrived_us: int
    until_us: int
    """REST may lag: orders and trades are seen as they were then."""
    first_share_pct: Decimal | None = None

    def text(self, name: str) -> str:
        """Return a parameter as text, empty if it is missing."""
        value = self.parameters.get(name)
        return "" if value is None else str(value).strip()

    def words(self, name: str) -> list[str]:
        """Return a parameter that is a list, or text with commas."""
        value = self.parameters.get(name)
        parts = value if isinstance(value, list) else str(value or "").split(",")
        return [str(part).strip() for part in parts if str(part).strip()]

    def amount(self, name: str) -> Decimal | None:
        """Return a parameter that is a number, None if it is missing. Raises RefusedError."""
        text = self.text(name)
        number = number_in(text) if text else None
        if text and number is None:
            raise invalid(name)
        return number

    def offset(self) -> int:
        """Return where the page begins."""
        return max(0, int(self.amount("ofs") or 0))

    def instant(self, name: str) -> int | None:
        """Return a parameter that is an instant in seconds, or the id of an order or a trade."""
        text = self.text(name)
        note, fill = self.exchange.registry.named(text), self.exchange.registry.trade(text)
        if note is not None:
            return note.order.opened_at_us
        if fill is not None:
            return fill.at_us
        number = self.amount(name)
        return None if number is None or (name == "end" and not number) else int(number * SECOND_US)


# Trading ------------------------------------------------------------------------------------------


def add_order(request: Request) -> dict[str, Any]:
    """Serve AddOrder."""
    return _add(request, request.parameters)


def _wish(request: Request, parameters: Mapping[str, Any]) -> Wish:
    exchange = request.exchange
    pair = exchange.names.pair(str(parameters.get("pair") or ""))
    if pair is None:
        raise RefusedError(UNKNOWN_PAIR)
    around = Surroundings(
        pair=pair,
        last_quote=exchange.last_quote(pair),
        signed_position_base=exchange.signed_position(pair.symbol),
        now_us=request.arrived_us,
    )
    return wish_from(parameters, around)


def _add(request: Request, parameters: Mapping[str, Any]) -> dict[str, Any]:
    wish = _wish(request, parameters)
    note = request.exchange.place(wish, request.now_us, request.first_share_pct)
    order = described(
        wish.pair,
        wish.side,
        wish.order_type,
        wish.volume_base,
        wish.limit_price_quote,
        wish.trigger_price_quote,
        wish.leverage,
    )
    return {"descr": {"order": order}} | ({} if note is None else {"txid": [note.txid]})


def add_order_batch(request: Request) -> dict[str, Any]:
    """Serve AddOrderBatch: malformed orders refuse it whole, the books refuse one by one."""
    orders = request.parameters.get("orders")
    if not isinstance(orders, list) or not BATCH_ADD_MIN <= len(orders) <= BATCH_ADD_MAX:
        raise invalid("orders")
    common = {name: request.parameters.get(name) for name in ("pair", "deadline", "validate")}
    wholes = [{**order, **common} for order in orders]
    for whole in wholes:
        _wish(request, whole)
    answers: list[dict[str, Any]] = []
    for whole in wholes:
        try:
            answer = _add(request, whole)
        except RefusedError as refusal:
            answers.append({"error": refusal.text})
        else:
            answers.append({"descr": answer["descr"]} | ({"txid": answer["txid"][0]} if "txid" in answer else {}))
    return {"orders": answers}


def amend_order(request: Request) -> dict[str, Any]:
    """Serve AmendOrder."""
    [note] = _targets(request, [request.text("txid")], [request.text("cl_ord_id")])
    pair = request.exchange.names.pairs[note.order.symbol]
    volume_base = request.amount("order_qty")
    limit_quote, trigger_quote = request.amount("limit_price"), request.amount("trigger_price")
    if volume_base is None and limit_quote is None and trigger_quote is None:
        raise invalid("order_qty")
    if volume_base is not None and volume_base <= 0:
        raise invalid("order_qty")
    for price_quote in (limit_quote, trigger_quote):
        if price_quote is not None:
            on_decimals(price_quote, pair)
    if not note.order.is_open:
        raise RefusedError(UNKNOWN_ORDER)
    deadline_us = deadline_in(request.parameters, request.arrived_us)
    request.exchange.amend(note, volume_base, limit_quote, trigger_quote, deadline_us, request.now_us)
    return {"amend_id": ids.written(f"T{request.now_us % 10**10:010d}")}


def edit_order(_request: Request) -> dict[str, Any]:
    """Refuse EditOrder: it changes ids, and amending does not."""
    raise RefusedError("EGeneral:Invalid arguments:EditOrder is not served, use AmendOrder")


def cancel_order(request: Request) -> dict[str, Any]:
    """Serve CancelOrder: by id, client id or reference."""
    txid, userref = request.text("txid"), request.text("userref") or request.text("txid")
    if not txid.startswith("O") and userref and number_in(userref) is not None:
        orders = [one for one in _open_notes(request.exchange) if one.userref == int(userref)]
    else:
        orders = _targets(request, [txid], [request.text("cl_ord_id")])
    if not orders:
        raise RefusedError(UNKNOWN_ORDER)
    for note in orders:
        request.exchange.cancel(note, request.now_us)
    return {"count": len(orders)}


def cancel_order_batch(request: Request) -> dict[str, Any]:
    """Serve CancelOrderBatch: whatever of it is still open."""
    names = [str(one) for one in request.parameters.get("orders") or ()]
    clients = [str(one) for one in request.parameters.get("cl_ord_ids") or ()]
    if not 1 <= len(names) + len(clients) <= BATCH_MAX:
        raise invalid("orders")
    open_notes = {note.txid: note for note in _open_notes(request.exchange)}
    by_client = {note.cl_ord_id: note for note in open_notes.values()}
    found = [open_notes.get(name) for name in names] + [by_client.get(client) for client in clients]
    cancelled = [note for note in found if note is not None]
    for note in cancelled:
        request.exchange.cancel(note, request.now_us, in_batch=True)
    return {"count": len(cancelled)}


def cancel_all(request: Request) -> dict[str, Any]:
    """Serve CancelAll."""
    return {"count": request.exchange.cancel_all(request.now_us)}


def cancel_all_orders_after(request: Request) -> dict[str, Any]:
    """Serve CancelAllOrdersAfter: the dead man's switch."""
    timeout_s = request.amount("timeout")
    if timeout_s is None or not 0 <= timeout_s < SWITCH_MAX_S:
        raise invalid("timeout")
    now_us, exchange = request.now_us, request.exchange
    exchange.switch_fires_at_us = now_us + int(timeout_s * SECOND_US) if timeout_s else None
    fires = "0" if exchange.switch_fires_at_us is None else rfc3339(exchange.switch_fires_at_us)[:19] + "Z"
    return {"currentTime": rfc3339(now_us)[:19] + "Z", "triggerTime": fires}


def _targets(request: Request, txids: Sequence[str], clients: Sequence[str]) -> list[OrderNote]:
    """Return the orders that are meant. Raises RefusedError for what never was, or is not open under that name."""
    registry = request.exchange.registry
    found: list[OrderNote] = []
    for txid in filter(None, txids):
        note = registry.named(txid)
        if note is None:
            raise RefusedError(INVALID_ORDER)
        found.append(note)
    for client in filter(None, clients):
        notes = registry.of_client(client)
        if not notes:
            raise RefusedError(UNKNOWN_ORDER)
        found.append(notes[-1])
    if not found:
        raise invalid("txid")
    return found[:1]


# Orders and trades --------------------------------------------------------------------------------


def _open_notes(exchange: WireExchange) -> list[OrderNote]:
    notes = (exchange.registry.order(order.external_id) for order in exchange.books.history.open.values())
    return [note for note in notes if note is not None]


def _open_at(request: Request) -> Iterable[OrderNote]:
    """Yield the orders that were open at the horizon, newest first."""
    notes = _open_notes(request.exchange)
    notes += [
        note
        for note in request.exchange.registry.newest_ended(request.until_us + 1, request.now_us)
        if note.order.opened_at_us <= request.until_us
    ]
    seen = [note for note in notes if note.order.opened_at_us <= request.until_us]
    return sorted(seen, key=lambda note: (note.order.opened_at_us, note.order.sequence), reverse=True)


def _filtered(request: Request, notes: Iterable[OrderNote]) -> list[OrderNote]:
    client, userref = request.text("cl_ord_id"), request.amount("userref")
    return [
        note
        for note in notes
        if (not client or note.cl_ord_id == client) and (userref is None or note.userref == userref)
    ]


def _rows(request: Request, notes: Iterable[OrderNote]) -> dict[str, Any]:
    with_trades = truth(request.parameters, "trades")
    return {note.txid: request.rows.order(note, request.until_us, with_trades=with_trades) for note in notes}


def open_orders(request: Request) -> dict[str, Any]:
    """Serve OpenOrders."""
    return {"open": _rows(request, _filtered(request, _open_at(request)))}


def closed_orders(request: Request) -> dict[str, Any]:
    """Serve ClosedOrders: 50 a page, newest first."""
    closetime = request.text("closetime") or "both"
    if closetime not in ("open", "close", "both"):
        raise invalid("closetime")
    start_us, end_us = request.instant("start"), request.instant("end")
    notes = [
        note
        for note in request.exchange.registry.newest_ended(start_us or 0, request.until_us)
        if _is_within(note, closetime, start_us, end_us)
    ]
    notes = _filtered(request, notes)
    ofs = request.offset()
    answer: dict[str, Any] = {"closed": _rows(request, notes[ofs : ofs + PAGE])}
    return answer if truth(request.parameters, "without_count") else answer | {"count": len(notes)}


def _is_within(note: OrderNote, closetime: str, start_us: int | None, end_us: int | None) -> bool:
    instants = {
        "open": (note.order.opened_at_us,),
        "close": (note.order.ended_at_us or 0,),
        "both": (note.order.opened_at_us, note.order.ended_at_us or 0),
    }[closetime]
    return any(
        (start_us is None or instant_us > start_us) and (end_us is None or instant_us <= end_us)
        for instant_us in instants
    )


def query_orders(request: Request) -> dict[str, Any]:
    """Serve QueryOrders: up to 50 ids, of which unknown ones refuse the request."""
    txids = request.words("txid")
    if not 1 <= len(txids) <= QUERY_ORDERS_MAX:
        raise invalid("txid")
    notes = [request.exchange.registry.named(txid) for txid in txids]
    if None in notes:
        raise RefusedError(INVALID_ORDER)
    seen = [note for note in notes if note is not None and note.order.opened_at_us <= request.until_us]
    return _rows(request, _filtered(request, seen))


def trades_history(request: Request) -> dict[str, Any]:
    """Serve TradesHistory: 50 a page, newest first."""
    kind = request.text("type") or "all"
    if kind not in ("all", "any position", "closed position", "closing position", "no position"):
        raise invalid("type")
    end_us = request.instant("end")
    until_us = request.until_us if end_us is None else min(end_us, request.until_us)
    between = request.exchange.registry.trades_between(request.instant("start"), until_us)
    fills = [fill for fill in reversed(between) if _is_of_kind(request, fill, kind)]
    ofs = request.offset()
    page = {ids.written(fill.trade_id): request.rows.trade(fill) for fill in fills[ofs : ofs + PAGE]}
    answer: dict[str, Any] = {"trades": page}
    return answer if truth(request.parameters, "without_count") else answer | {"count": len(fills)}


def _is_of_kind(request: Request, fill: Fill, kind: str) -> bool:
    lot = request.exchange.registry.lot_of_trade.get(fill.trade_id)
    match kind:
        case "any position":
            return lot is not None
        case "closed position":
            return lot is not None and not lot.lot.volume_base
        case "closing position":
            return fill.is_margin and lot is None
        case "no position":
            return not fill.is_margin
    return True


def query_trades(request: Request) -> dict[str, Any]:
    """Serve QueryTrades: up to 20 ids."""
    txids = request.words("txid")
    if not 1 <= len(txids) <= QUERY_TRADES_MAX:
        raise invalid("txid")
    fills = [request.exchange.registry.trade(txid) for txid in txids]
    if None in fills:
        raise RefusedError("EOrder:Invalid trade")
    return {
        ids.written(fill.trade_id): request.rows.trade(fill)
        for fill in fills
        if fill is not None and fill.at_us <= request.until_us
    }


# The account --------------------------------------------------------------------------------------


def balance(request: Request) -> dict[str, str]:
    """Serve Balance."""
    balances = request.exchange.books.account.balances
    return {asset_id(currency): padded(amount, 10) for currency, amount in sorted(balances.items())}


def balance_ex(request: Request) -> dict[str, dict[str, str]]:
    """Serve BalanceEx: holds are of spot orders that rest."""
    account = request.exchange.books.account
    return {
        asset_id(currency): {"balance": padded(amount, 10), "hold_trade": padded(account.held(currency), 10)}
        for currency, amount in sorted(account.balances.items())
    }


def trade_balance(request: Request) -> dict[str, str]:
    """Serve TradeBalance, in account money."""
    exchange = request.exchange
    account = exchange.books.account
    gauge = account.gauge()
    cost, value = ZERO, ZERO
    for symbol, position in account.positions.items():
        rate = exchange.books.usd_per(Currency(exchange.names.pairs[symbol].instrument.quote)) or ZERO
        last_quote = exchange.books.market(symbol).last_quote or ZERO
        cost += position.cost_quote * rate
        value += position.volume_base * last_quote * rate
    profit = value - cost
    margin = gauge.scaled_margin_usd / MARGIN_SCALE
    row = {
        "eb": gauge.equity_usd - profit,
        "tb": gauge.equity_usd - profit,
        "m": margin,
        "uv": ZERO,
        "n": profit,
        "c": abs(cost),
        "v": abs(value),
        "e": gauge.equity_usd,
        "mf": gauge.equity_usd - margin,
        "mfo": gauge.equity_usd - margin,
    }
    if margin:
        row["ml"] = gauge.equity_usd / margin * 100
    return {name: plain(amount.quantize(Decimal("0.0001"))) for name, amount in row.items()}


def open_positions(request: Request) -> Any:
    """Serve OpenPositions: each by its id, or a list by market."""
    exchange = request.exchange
    is_priced = truth(request.parameters, "docalcs")
    lasts: dict[str, Decimal | None] = {
        symbol: exchange.last_quote(pair) if is_priced else None for symbol, pair in exchange.names.pairs.items()
    }
    if request.text("consolidation"):
        if request.text("consolidation") != "market":
            raise invalid("consolidation")
        return request.rows.merged_positions(lasts)
    wanted = set(request.words("txid"))
    lots = [note for note in exchange.registry.lots.values() if note.lot.volume_base]
    rows = {ids.written(note.fill.trade_id): request.rows.position(note, lasts[note.lot.symbol]) for note in lots}
    return {txid: row for txid, row in rows.items() if not wanted or txid in wanted}


def trade_volume(request: Request) -> dict[str, Any]:
    """Serve TradeVolume: what this account pays."""
    pairs = pairs_in(request.exchange, request.parameters)
    answer: dict[str, Any] = {"currency": "ZUSD", "volume": padded(ZERO, 4)}
    for name, is_maker in (("fees", False), ("fees_maker", True)):
        answer[name] = {}
        for pair in pairs:
            fee_pct = pair.instrument.fee_maker_pct if is_maker else pair.instrument.fee_taker_pct
            fee = padded(fee_pct, 4)
            answer[name][pair.id] = {
                "fee": fee,
                "minfee": fee,
                "maxfee": fee,
                "nextfee": None,
                "nextvolume": None,
                "tiervolume": padded(ZERO, 4),
            }
    return answer


PRIVATE: Mapping[str, Callable[[Request], Any]] = {
    "AddOrder": add_order,
    "AddOrderBatch": add_order_batch,
    "AmendOrder": amend_order,
    "EditOrder": edit_order,
    "CancelOrder": cancel_order,
    "CancelOrderBatch": cancel_order_batch,
    "CancelAll": cancel_all,
    "CancelAllOrdersAfter": cancel_all_orders_after,
    "OpenOrders": open_orders,
    "ClosedOrders": closed_orders,
    "QueryOrders": query_orders,
    "TradesHistory": trades_history,
    "QueryTrades": query_trades,
    "Balance": balance,
    "BalanceEx": balance_ex,
    "TradeBalance": trade_balance,
    "OpenPositions": open_positions,
    "TradeVolume": trade_volume,
}
TRADING = frozenset({"AddOrder", "AddOrderBatch", "AmendOrder", "EditOrder"})
WITHDRAWING: Mapping[str, str] = {
    "WithdrawMethods": WITHDRAW,
    "WithdrawAddresses": WITHDRAW,
    "WithdrawInfo": WITHDRAW,
    "WithdrawStatus": WITHDRAW,
    "Withdraw": WITHDRAW,
}
"""What needs a permission that a key for trading should not have."""
NEEDED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("AddOrder", "AddOrderBatch", "AmendOrder", "EditOrder"), (MODIFY,)),
    **dict.fromkeys(("CancelOrder", "CancelOrderBatch", "CancelAll", "CancelAllOrdersAfter"), (MODIFY, CLOSE)),
    **dict.fromkeys(("OpenOrders", "OpenPositions"), (OPEN,)),
    **dict.fromkeys(("ClosedOrders", "TradesHistory", "QueryTrades"), (CLOSED,)),
    "QueryOrders": (OPEN, CLOSED),
    **dict.fromkeys(("Balance", "BalanceEx", "TradeBalance", "TradeVolume"), (FUNDS,)),
    "GetWebSocketsToken": (SOCKETS,),
    **{endpoint: (permission,) for endpoint, permission in WITHDRAWING.items()},
}
"""The permissions of which a key needs one."""

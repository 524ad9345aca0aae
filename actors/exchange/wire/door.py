"""The control door, /mock/...: for tests and soaks that run in other processes. Loopback only, and no key.

GET books tells the whole truth, faults or not, and GET tokens every token that was given out. POST faults adds rules,
DELETE faults ends them, or those of one fault; POST acts lets somebody else do something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from aiohttp import web

from actors.exchange.wire import ids
from actors.exchange.wire.exchange import WireExchange
from actors.exchange.wire.faults import FaultError, WireFaults
from actors.exchange.wire.names import Pair
from actors.exchange.wire.numbers import decode, encode, number_in, padded
from actors.exchange.wire.refusals import RefusedError
from actors.exchange.wire.registry import OrderNote
from actors.exchange.wire.tokens import Tokens
from actors.exchange.wire.wishes import Surroundings, wish_from
from messages.trades import Side

LOOPBACK = frozenset({"127.0.0.1", "::1"})
ZERO = Decimal(0)


class ActError(ValueError):
    """An act cannot be understood, or is impossible now."""


class Door:
    """Answers whoever runs the test."""

    def __init__(self, exchange: WireExchange, faults: WireFaults, tokens: Tokens) -> None:
        self._exchange = exchange
        self._faults = faults
        self._tokens = tokens
        self._acts: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "set_price": self._set_price,
            "trade_by_hand": self._trade_by_hand,
            "order_by_hand": self._order_by_hand,
            "close_by_hand": self._close_by_hand,
            "cancel_by_hand": self._cancel_by_hand,
            "move_funds": self._move_funds,
            "liquidate": self._liquidate,
        }

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a request at the door."""
        if request.remote not in LOOPBACK:
            return web.Response(status=403, text="loopback only")
        try:
            return _answer(self._served(request.method, request.match_info["what"], await request.read()))
        except (ActError, FaultError, RefusedError, ValueError, TypeError) as error:
            return _answer({"error": str(error)}, status=400)

    def _served(self, method: str, what: str, body: bytes) -> Any:
        match method, what:
            case "GET", "books":
                return self.books()
            case "GET", "tokens":
                return {"tokens": self._tokens.given}
            case "GET", "faults":
                return self._struck() | {"rules": [rule.fault for rule in self._faults.rules]}
            case "POST", "faults":
                written = decode(body)
                self._faults.read_all(written if isinstance(written, list) else [written])
                return {"rules": [rule.fault for rule in self._faults.rules]}
            case "DELETE", "faults":
                written = decode(body) if body else None
                self._faults.clear(str(written["fault"]) if written else None)
                return {"rules": [rule.fault for rule in self._faults.rules]}
            case "POST", "acts":
                written = decode(body)
                return [self.act(one) for one in (written if isinstance(written, list) else [written])]
        raise ActError(f"there is no {method} {what} here")

    # The truth ------------------------------------------------------------------------------------

    def books(self) -> dict[str, Any]:
        """Return everything that is in the books."""
        now_us = self._exchange.now_us()
        exchange, registry = self._exchange, self._exchange.registry
        account = exchange.books.account
        return {
            "now_us": now_us,
            "orders": [_order(note) for note in registry.orders()],
            "trades": [
                {
                    "txid": ids.written(fill.trade_id),
                    "ordertxid": ids.written(fill.external_order_id),
                    "symbol": fill.symbol,
                    "side": fill.side.value,
                    "price": _plain(fill.price_quote),
                    "vol": _plain(fill.volume_base),
                    "fee": _plain(fill.fee_quote),
                    "is_liquidation": fill.is_liquidation,
                    "at_us": fill.at_us,
                }
                for fill in registry.trades
            ],
            "balances": {currency: _plain(amount) for currency, amount in sorted(account.balances.items())},
            "moved": {currency: _plain(amount) for currency, amount in sorted(account.moved.items())},
            "positions": {
                symbol: {"vol": _plain(position.volume_base), "cost": _plain(position.cost_quote)}
                for symbol, position in sorted(account.positions.items())
            },
            "prices": {
                symbol: _plain(last_quote)
                for symbol, pair in exchange.names.pairs.items()
                if (last_quote := exchange.last_quote(pair)) is not None
            },
            "equity": _plain(account.gauge().equity_usd),
            **self._struck(),
        }

    def _struck(self) -> dict[str, Any]:
        return {"struck": dict(self._faults.struck), "struck_by_name": dict(self._faults.struck_by_name)}

    # Acts -----------------------------------------------------------------------------------------

    def act(self, written: Mapping[str, Any]) -> Any:
        """Let something happen. Raises ActError or RefusedError."""
        deed = self._acts.get(str(written.get("act")))
        if deed is None:
            raise ActError(f"no act is called {written.get('act')!r}; there are {', '.join(self._acts)}")
        return deed(written)

    def _set_price(self, written: Mapping[str, Any]) -> Any:
        price_quote = _amount(written, "price")
        low_quote = number_in(written.get("low", price_quote)) or price_quote
        high_quote = number_in(written.get("high", price_quote)) or price_quote
        self._exchange.tick(self._pair(written).symbol, price_quote, low_quote, high_quote)
        return {"price": _plain(price_quote)}

    def _trade_by_hand(self, written: Mapping[str, Any]) -> Any:
        leverage = int(_amount(written, "leverage")) if "leverage" in written else 1
        side = Side(str(written.get("side")))
        volume_base = _amount(written, "volume")
        return _order(self._exchange.trade_by_hand(self._pair(written), side, volume_base, leverage))

    def _order_by_hand(self, written: Mapping[str, Any]) -> Any:
        """Place any order with AddOrder's own parameters."""
        pair = self._pair(written)
        exchange = self._exchange
        around = Surroundings(
            pair=pair,
            last_quote=exchange.last_quote(pair),
            signed_position_base=exchange.signed_position(pair.symbol),
            now_us=exchange.now_us(),
        )
        return _order(exchange.order_by_hand(wish_from(written, around)))

    def _close_by_hand(self, written: Mapping[str, Any]) -> Any:
        return _order(self._exchange.close_by_hand(self._pair(written)))

    def _cancel_by_hand(self, written: Mapping[str, Any]) -> Any:
        registry = self._exchange.registry
        of_client = registry.of_client(str(written.get("cl_ord_id")))
        note = registry.named(str(written.get("txid"))) or (of_client[-1] if of_client else None)
        if note is None or not note.order.is_open:
            raise ActError("no such order is open")
        self._exchange.cancel_by_hand(note)
        return _order(note)

    def _move_funds(self, written: Mapping[str, Any]) -> Any:
        currency = self._exchange.names.currency(str(written.get("currency")))
        if currency is None:
            raise ActError(f"no currency is called {written.get('currency')!r}")
        self._exchange.move_funds(currency, _amount(written, "amount"))
        return {"balance": _plain(self._exchange.books.account.balances[currency])}

    def _liquidate(self, _written: Mapping[str, Any]) -> Any:
        self._exchange.liquidate()
        return {}

    def _pair(self, written: Mapping[str, Any]) -> Pair:
        name = str(written.get("symbol") or written.get("pair"))
        pair = self._exchange.names.pair(name)
        if pair is None:
            raise ActError(f"no pair is called {name!r}")
        return pair


def _amount(written: Mapping[str, Any], name: str) -> Decimal:
    number = number_in(written.get(name))
    if number is None:
        raise ActError(f"{name} is {written.get(name)!r}; give a number")
    return number


def _order(note: OrderNote) -> dict[str, Any]:
    order = note.order
    return {
        "txid": note.txid,
        "cl_ord_id": note.cl_ord_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "ordertype": order.order_type.value,
        "status": note.status_at(order.ended_at_us or order.opened_at_us),
        "reason": order.reason,
        "vol": _plain(order.volume_base),
        "vol_exec": _plain(sum((fill.volume_base for fill in note.fills), ZERO)),
        "limit_price": None if order.limit_price_quote is None else _plain(order.limit_price_quote),
        "trigger_price": None if order.trigger_price_quote is None else _plain(order.trigger_price_quote),
        "leverage": order.leverage,
        "reduce_only": order.reduce_only,
        "is_liquidation": note.is_liquidation,
        "opened_at_us": order.opened_at_us,
        "ended_at_us": order.ended_at_us,
    }


def _plain(value: Decimal) -> str:
    """Return a number with the digits that it needs."""
    return padded(value, 0)


def _answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(text=encode(value), status=status, content_type="application/json")

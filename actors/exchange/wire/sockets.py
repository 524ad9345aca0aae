"""Kraken's websocket v2: connections, subscriptions, and what is pushed on them.

Each subscription numbers its messages from 1. A message is built once for each subscriber and queued; a writer sends
what is queued, so that nobody who reads slowly keeps anybody else waiting.

Read in order: Subscription, Connection, Sockets (requests, subscriptions, pushes, faults).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import WSMsgType, web

from actors.exchange.wire.exchange import BalanceMoved, Told, WireExchange
from actors.exchange.wire.executions import Executions
from actors.exchange.wire.faults import Rule, WireFaults
from actors.exchange.wire.names import Pair
from actors.exchange.wire.numbers import decimals_of, decode, encode, rfc3339
from actors.exchange.wire.private import PRIVATE, Request
from actors.exchange.wire.refusals import INVALID_SESSION, RefusedError
from actors.exchange.wire.rows import Rows
from actors.exchange.wire.socket_orders import METHODS, answer, cancellations
from actors.exchange.wire.tokens import Tokens
from messages.base import Symbol

HEARTBEAT_S = 1
SNAPSHOT_TRADES = 50
PRIVATE_CHANNELS = frozenset({"executions", "balances"})
PUBLIC_CHANNELS = frozenset({"ticker", "trade"})
CHANNELS = PRIVATE_CHANNELS | PUBLIC_CHANNELS | {"instrument"}
UNLIMITED = 125
TICK_VOLUME = Decimal("0.001")
"""What a tick is told to have traded: the prices that a mock is fed with do not say."""
NEVER_SILENCED = frozenset({"heartbeat", "pong"})


@attrs.define(eq=False, kw_only=True)
class Subscription:
    """One channel on one connection; of a public one, one symbol."""

    channel: str
    symbol: Symbol | None = None
    token: str = ""
    every_status: bool = True
    sequence: int = 0


class Connection:
    """One client."""

    def __init__(self, socket: web.WebSocketResponse, abort: Callable[[], None], number: int) -> None:
        self.socket = socket
        self.abort = abort
        self.number = number
        self.subscriptions: dict[tuple[str, Symbol | None], Subscription] = {}
        self.outgoing: asyncio.Queue[str] = asyncio.Queue()
        self.silence: Rule | None = None
        self.parked: list[str] = []
        """Messages that are to come after the next one."""
        self.has_spoken = False
        """Whether anything was sent since the last heartbeat was due."""
        self.said = 0
        self.heard = 0

    def say(self, kind: str, message: Mapping[str, Any]) -> None:
        """Send a message, unless the connection has fallen silent."""
        self.say_text(kind, encode(message))

    def say_text(self, kind: str, text: str) -> None:
        """Send a message that is written already."""
        if self.silence is not None and not (self.silence.heartbeats and kind in NEVER_SILENCED):
            return
        self.has_spoken = True
        self.said += 1
        self.outgoing.put_nowait(text)

    def has_channel(self, channel: str | None) -> bool:
        """Say whether it is subscribed to a channel, or to anything."""
        return channel is None or any(one.channel == channel for one in self.subscriptions.values())

    async def write(self) -> None:
        """Send what is queued, in order, as long as there is somebody."""
        with contextlib.suppress(ConnectionResetError):  # The reader notices as well, and ends the connection.
            while True:
                await self.socket.send_str(await self.outgoing.get())


class Sockets:
    """All connections."""

    def __init__(self, exchange: WireExchange, faults: WireFaults, tokens: Tokens) -> None:
        self._exchange = exchange
        self._faults = faults
        self._tokens = tokens
        self._executions = Executions(exchange.names)
        self._numbers = 0
        self._status = exchange.status
        self.connections: list[Connection] = []
        exchange.listeners.append(self._push)
        faults.on_connections = self.strike
        faults.on_clear = self.end_silence

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Talk with a client until it leaves."""
        refused = self._faults.strike("ws_refuse")
        if refused is not None:
            return web.Response(status=refused.status if refused.status != 502 else 503, text="unavailable")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._numbers += 1
        transport = request.transport
        connection = Connection(socket, (lambda: None) if transport is None else transport.abort, self._numbers)
        self.connections.append(connection)
        writer = asyncio.ensure_future(connection.write())
        try:
            connection.say("status", self._status_message(connection))
            await self._listen(connection)
        finally:
            writer.cancel()
            self._forget(connection)
        return socket

    async def _listen(self, connection: Connection) -> None:
        async for message in connection.socket:
            if message.type is WSMsgType.TEXT:
                connection.heard += 1
                self._on_text(connection, message.data)

    def _forget(self, connection: Connection) -> None:
        for subscription in connection.subscriptions.values():
            self._tokens.leave(subscription.token)
        connection.subscriptions.clear()
        self.connections.remove(connection)

    async def close(self) -> None:
        """End all connections."""
        for connection in list(self.connections):
            await connection.socket.close(code=1001)

    # Requests -------------------------------------------------------------------------------------

    def _on_text(self, connection: Connection, text: str) -> None:
        time_in = rfc3339(self._exchange.now_us())
        try:
            request = decode(text)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            connection.say("error", {"error": "Malformed request", "success": False})
            return
        method = request.get("method")
        parameters = request.get("params") or {}
        echo = {"req_id": request["req_id"]} if "req_id" in request else {}
        if method == "ping":
            connection.say("pong", {"method": "pong", **echo, **self._times(time_in)})
        elif method in ("subscribe", "unsubscribe"):
            for symbol in self._symbols(parameters):
                self._on_subscription(connection, str(method), parameters, symbol, echo, time_in)
        elif method in METHODS:
            self._on_order(connection, str(method), parameters, echo, time_in)
        else:
            error = {"error": f"Unsupported method {method}", "success": False}
            connection.say("error", {"method": method, **echo, **error, **self._times(time_in)})

    # Orders ---------------------------------------------------------------------------------------

    def _on_order(
        self, connection: Connection, method: str, parameters: Mapping[str, Any], echo: dict[str, Any], time_in: str
    ) -> None:
        """Carry out a request about orders; a cancel of several is answered one by one. Lost answers stay lost."""
        if self._faults.strike("request_lost", method) is not None:
            return
        for one in cancellations(parameters) if method == "cancel_order" else [parameters]:
            outcome = self._outcome(method, one, str(parameters.get("token") or ""))
            if self._faults.strike("answer_lost", method) is None:
                connection.say("ack", {"method": method, **echo, **outcome, **self._times(time_in)})

    def _outcome(self, method: str, parameters: Mapping[str, Any], token: str) -> dict[str, Any]:
        now_us = self._exchange.now_us()
        if not self._tokens.is_good(token, now_us):
            return {"success": False, "error": INVALID_SESSION}
        try:
            if method == "cancel_order":
                PRIVATE["CancelOrder"](self._request(parameters))
                named = {"txid": "order_id", "cl_ord_id": "cl_ord_id", "userref": "order_userref"}
                return {"success": True, "result": {named[name]: value for name, value in parameters.items()}}
            return {"success": True, "result": answer(method, parameters, self._exchange.names, self._request)}
        except RefusedError as refusal:
            return {"success": False, "error": refusal.text}

    def _request(self, parameters: Mapping[str, Any]) -> Request:
        now_us = self._exchange.now_us()
        rows = Rows(self._exchange.names, self._exchange.registry)
        return Request(
            parameters=parameters,
            exchange=self._exchange,
            rows=rows,
            now_us=now_us,
            arrived_us=now_us,
            until_us=now_us,
        )

    def _times(self, time_in: str) -> dict[str, str]:
        return {"time_in": time_in, "time_out": rfc3339(self._exchange.now_us())}

    def _symbols(self, parameters: Mapping[str, Any]) -> list[str | None]:
        if parameters.get("channel") not in PUBLIC_CHANNELS:
            return [None]
        return list(parameters.get("symbol") or [None])

    # Subscriptions --------------------------------------------------------------------------------

    def _on_subscription(
        self,
        connection: Connection,
        method: str,
        parameters: Mapping[str, Any],
        symbol: str | None,
        echo: dict[str, Any],
        time_in: str,
    ) -> None:
        channel = str(parameters.get("channel"))
        if method == "subscribe" and self._faults.strike("ws_lost_ack", channel) is not None:
            return
        key = (channel, None if symbol is None else Symbol(symbol))
        error = self._why_not(connection, method, parameters, key)
        result: dict[str, Any] = {"channel": channel} | ({} if symbol is None else {"symbol": symbol})
        if error is not None:
            answer = {"method": method, **echo, "success": False, "error": error}
            answer |= {} if symbol is None else {"symbol": symbol}
            connection.say("ack", answer | self._times(time_in))
            return
        subscription = None
        if method == "subscribe":
            subscription = self._subscribe(connection, key, parameters)
            result |= self._acknowledged(channel, parameters)
        else:
            self._tokens.leave(connection.subscriptions.pop(key).token)
        connection.say("ack", {"method": method, **echo, "result": result, "success": True, **self._times(time_in)})
        if subscription is not None:
            self._snapshot(connection, subscription, parameters)

    def _why_not(
        self, connection: Connection, method: str, parameters: Mapping[str, Any], key: tuple[str, Symbol | None]
    ) -> str | None:
        channel, symbol = key
        if channel not in CHANNELS:
            return "Unsupported channel"
        if method == "unsubscribe":
            return None if key in connection.subscriptions else "Subscription Not Found"
        if channel in PRIVATE_CHANNELS:
            token = str(parameters.get("token") or "")
            is_stale = self._faults.strike("ws_stale_token", channel) is not None
            if is_stale or not self._tokens.is_good(token, self._exchange.now_us()):
                return INVALID_SESSION
        if channel in PUBLIC_CHANNELS and (symbol is None or symbol not in self._exchange.names.pairs):
            return f"Currency pair not supported {symbol}"
        return "Already subscribed" if key in connection.subscriptions else None

    def _subscribe(
        self, connection: Connection, key: tuple[str, Symbol | None], parameters: Mapping[str, Any]
    ) -> Subscription:
        channel, symbol = key
        subscription = Subscription(
            channel=channel,
            symbol=symbol,
            token=str(parameters.get("token") or ""),
            every_status=parameters.get("order_status", True) is not False,
        )
        self._tokens.use(subscription.token)
        connection.subscriptions[key] = subscription
        return subscription

    def _acknowledged(self, channel: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an acknowledgement says beside the channel."""
        if channel == "executions":
            tier = self._exchange.limits.tier
            return {
                "maxratecount": UNLIMITED if tier is None else tier.engine_max,
                "snap_orders": parameters.get("snap_orders", True) is not False,
                "snap_trades": parameters.get("snap_trades", False) is True,
                "warnings": [],
            }
        if channel == "ticker":
            return {"event_trigger": parameters.get("event_trigger", "trades"), "snapshot": _wants(parameters)}
        return {"snapshot": _wants(parameters)}

    def _snapshot(self, connection: Connection, subscription: Subscription, parameters: Mapping[str, Any]) -> None:
        exchange = self._exchange
        match subscription.channel:
            case "executions":
                rows = self._executions_snapshot(parameters)
                if rows is not None:
                    self._send(connection, subscription, "snapshot", rows)
            case "balances":
                if _wants(parameters):
                    balances = exchange.books.account.balances
                    held = [_balance_row(currency, amount) for currency, amount in sorted(balances.items())]
                    self._send(connection, subscription, "snapshot", held)
            case "ticker":
                row = self._ticker_row(subscription.symbol)
                if row is not None and _wants(parameters):
                    self._send(connection, subscription, "snapshot", [row])
            case "instrument":
                self._send(connection, subscription, "snapshot", self._instruments())

    def _executions_snapshot(self, parameters: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        exchange = self._exchange
        wants_orders = parameters.get("snap_orders", True) is not False
        wants_trades = parameters.get("snap_trades", False) is True
        if not wants_orders and not wants_trades:
            return None
        rows: list[dict[str, Any]] = []
        if wants_orders:
            open_notes = (exchange.registry.order(one.external_id) for one in exchange.books.history.open.values())
            rows += self._executions.open_orders(note for note in open_notes if note is not None)
        if wants_trades:
            for fill in exchange.registry.trades[-SNAPSHOT_TRADES:]:
                note = exchange.registry.order(fill.external_order_id)
                if note is not None:
                    rows.append(self._executions.trade_row(note, fill, exchange.registry.number_of(fill)))
        return rows

    # Pushes ---------------------------------------------------------------------------------------

    def _push(self, told: Told) -> None:
        for connection in list(self.connections):
            for subscription in list(connection.subscriptions.values()):
                self._push_on(connection, subscription, told)

    def _push_on(self, connection: Connection, subscription: Subscription, told: Told) -> None:
        match subscription.channel:
            case "executions":
                for delta in told.deltas:
                    row = delta.shown(every_status=subscription.every_status)
                    if row is not None:
                        self._send(connection, subscription, "update", [row])
            case "balances":
                for number, moved in enumerate(told.balances):
                    row = self._balance_moved(moved, told, number)
                    self._send(connection, subscription, "update", [row])
            case "ticker" if told.ticked == subscription.symbol:
                row = self._ticker_row(subscription.symbol)
                if row is not None:
                    self._send(connection, subscription, "update", [row])
            case "trade" if told.ticked == subscription.symbol:
                self._send(connection, subscription, "update", [self._tick_row(subscription.symbol)])

    def _send(self, connection: Connection, subscription: Subscription, kind: str, data: Any) -> None:
        """Put a message on its way, and let happen to it what the faults want."""
        subscription.sequence += 1
        message: dict[str, Any] = {"channel": subscription.channel, "type": kind, "data": data}
        if subscription.channel in PRIVATE_CHANNELS:
            message["sequence"] = subscription.sequence
        text = encode(message)
        channel = subscription.channel
        if kind == "update" and self._faults.rules:
            if self._faults.strike("ws_gap", channel) is not None:
                return
            if self._faults.strike("ws_reorder", channel) is not None:
                connection.parked.append(text)
                return
            if self._faults.strike("ws_duplicate", channel) is not None:
                connection.say_text(channel, text)
        connection.say_text(channel, text)
        while connection.parked:
            connection.say_text(channel, connection.parked.pop(0))

    def beat(self) -> None:
        """Tell whoever has heard nothing for a second that we are there, and all of another state of the exchange."""
        self._exchange.now_us()
        if self._exchange.status != self._status:
            self._status = self._exchange.status
            for connection in self.connections:
                connection.say("status", self._status_message(connection))
        for connection in self.connections:
            if connection.subscriptions and not connection.has_spoken:
                connection.say("heartbeat", {"channel": "heartbeat"})
            connection.has_spoken = False

    def strike(self, rule: Rule) -> None:
        """Let a fault strike the connections there are."""
        for connection in list(self.connections):
            if not connection.has_channel(rule.channel):
                continue
            self._faults.count(rule)
            if rule.fault == "ws_drop":
                connection.abort()
            else:
                connection.silence = rule

    def end_silence(self) -> None:
        """Let silent connections speak again; what they did not say stays unsaid."""
        for connection in self.connections:
            connection.silence = None

    # Rows -----------------------------------------------------------------------------------------

    def _status_message(self, connection: Connection) -> dict[str, Any]:
        about = {
            "version": "2.0.10",
            "system": self._exchange.status,
            "api_version": "v2",
            "connection_id": connection.number,
        }
        return {"channel": "status", "type": "update", "data": [about]}

    def _ticker_row(self, symbol: Symbol | None) -> dict[str, Any] | None:
        pair = None if symbol is None else self._exchange.names.pairs.get(symbol)
        last_quote = None if pair is None else self._exchange.last_quote(pair)
        if last_quote is None:
            return None
        zero = Decimal(0)
        return {
            "symbol": symbol,
            "bid": last_quote,
            "bid_qty": TICK_VOLUME,
            "ask": last_quote,
            "ask_qty": TICK_VOLUME,
            "last": last_quote,
            "volume": zero,
            "vwap": last_quote,
            "low": last_quote,
            "high": last_quote,
            "change": zero,
            "change_pct": zero,
            "timestamp": rfc3339(self._exchange.now_us()),
        }

    def _tick_row(self, symbol: Symbol | None) -> dict[str, Any]:
        market = self._exchange.books.market(Symbol(symbol or ""))
        return {
            "symbol": symbol,
            "side": "buy",
            "price": market.last_quote,
            "qty": TICK_VOLUME,
            "ord_type": "market",
            "trade_id": market.sequence,
            "timestamp": rfc3339(market.at_us),
        }

    def _balance_moved(self, moved: BalanceMoved, told: Told, number: int) -> dict[str, Any]:
        kind = "trade" if told.trades else "deposit" if moved.now > moved.before else "withdrawal"
        row = _balance_row(moved.currency, moved.now)
        return {
            "ledger_id": f"L-{self._exchange.now_us()}-{number}",
            "type": kind,
            "category": kind,
            "amount": moved.now - moved.before,
            "fee": Decimal(0),
            "wallet_type": "spot",
            "wallet_id": "main",
            "timestamp": rfc3339(self._exchange.now_us()),
        } | {name: row[name] for name in ("asset", "asset_class", "balance")}

    def _instruments(self) -> dict[str, Any]:
        names = self._exchange.names
        assets = [{"id": one, "status": "enabled", "precision": 10, "borrowable": True} for one in names.currencies]
        return {"assets": assets, "pairs": [self._instrument(pair) for pair in names.pairs.values()]}

    def _instrument(self, pair: Pair) -> dict[str, Any]:
        one = pair.instrument
        return {
            "symbol": one.symbol,
            "base": one.base,
            "quote": one.quote,
            "status": self._exchange.status,
            "qty_precision": decimals_of(one.lot_step_base),
            "qty_increment": one.lot_step_base,
            "qty_min": one.volume_min_base,
            "price_precision": decimals_of(one.price_tick_quote),
            "price_increment": one.price_tick_quote,
            "tick_size": one.price_tick_quote,
            "cost_min": one.notional_min_quote,
            "marginable": one.leverage_max > 1,
        }


def _wants(parameters: Mapping[str, Any]) -> bool:
    return parameters.get("snapshot", True) is not False


def _balance_row(currency: str, amount: Decimal) -> dict[str, Any]:
    wallet = {"type": "spot", "id": "main", "balance": amount}
    return {"asset": currency, "asset_class": "currency", "balance": amount, "wallets": [wallet]}

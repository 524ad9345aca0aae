"""A wire mock on a loop of its own in a thread, a clock that stands still, and unmodified clients in front of it.

Read in order: Stage, its clients, Ear (a plain websocket), wait_for.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import requests
from kraken.spot import Market, SpotClient, Trade, User
from websockets.sync.client import ClientConnection, connect

from actors.exchange.wire.server import WireServer
from actors.exchange.wire.signing import sign
from actors.runtime.clock import MICROSECONDS, SteppedClock, as_datetime, as_instant_us
from messages.base import Currency
from tests.exchange.desk import INSTRUMENTS

D = Decimal
T = TypeVar("T")
PATIENCE_S = 60
BTC_USDT = "BTC/USDT"
SECOND_KEY = ("a second key of the same account", "c2Vjb25k")
BALANCES = {Currency("USDT"): D(50_000), Currency("BTC"): D(1)}


class Stage:
    """One server. Whatever touches it from here runs on its loop."""

    def __init__(self, **settings: Any) -> None:
        self.clock = SteppedClock(as_instant_us(datetime.now(UTC)))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        defaults: dict[str, Any] = {"instruments": INSTRUMENTS, "balances": BALANCES, "tier": None}
        self.server = self.on_loop(
            lambda: WireServer(clock=self.clock, more_keys=(SECOND_KEY,), **(defaults | settings))
        )
        self.run(self.server.start())
        self._nonce = time.time_ns()
        self._sessions: list[requests.Session] = [requests.Session()]
        self._sessions[0].trust_env = False

    def close(self) -> None:
        for session in self._sessions:
            session.close()
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # On its loop ----------------------------------------------------------------------------------

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def on_loop(self, deed: Callable[[], T]) -> T:
        async def call() -> T:
            return deed()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE_S)

    def tick(self, price: str, symbol: str = BTC_USDT, low: str | None = None, high: str | None = None) -> None:
        extremes = [None if one is None else D(one) for one in (low, high)]
        self.run(self.server.tick(symbol, D(price), *extremes))

    def passes(self, seconds: int | str) -> None:
        """Let time pass on the exchange's clock, and what is due by then happen."""
        self.clock.advance_to(self.clock.now_us() + int(D(seconds) * MICROSECONDS))
        self.on_loop(self.server.exchange.now_us)

    def fault(self, name: str, **terms: Any) -> None:
        self.on_loop(lambda: self.server.faults.add(name, **terms))

    @property
    def struck(self) -> Mapping[str, int]:
        return self.server.faults.struck

    def books(self) -> dict[str, Any]:
        """Return the truth."""
        return self.on_loop(self.server.door.books)

    def orders(self) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = self.books()["orders"]
        return orders

    # Clients --------------------------------------------------------------------------------------

    def _sdk(self, client: Any) -> Any:
        self._sessions.append(client._SpotClient__session)
        self._sessions[-1].trust_env = False
        return client

    def trade_client(self) -> Trade:
        trade = Trade(self.server.key, self.server.secret, url=self.server.rest_url)
        self._sessions.append(vars(trade)["_Trade__market"]._SpotClient__session)
        client: Trade = self._sdk(trade)
        return client

    def user_client(self) -> User:
        client: User = self._sdk(User(self.server.key, self.server.secret, url=self.server.rest_url))
        return client

    def market_client(self) -> Market:
        client: Market = self._sdk(Market(url=self.server.rest_url))
        return client

    def raw_client(self) -> SpotClient:
        """Return the SDK's own generic client: it gives back the response as it is."""
        url = self.server.rest_url
        client: SpotClient = self._sdk(
            SpotClient(self.server.key, self.server.secret, url=url, use_custom_exceptions=False)
        )
        return client

    def nonce(self) -> str:
        self._nonce += 1
        return str(self._nonce)

    def post(self, endpoint: str, *, patience_s: float = PATIENCE_S, **parameters: Any) -> requests.Response:
        """Send a private request with a nonce that never collides."""
        path = f"/0/private/{endpoint}"
        body = json.dumps({"nonce": self.nonce(), **parameters})
        nonce = json.loads(body)["nonce"]
        signature = sign(path, nonce, body.encode(), self.server.secret)
        headers = {"API-Key": self.server.key, "API-Sign": signature, "Content-Type": "application/json"}
        return self._sessions[0].post(self.server.rest_url + path, data=body, headers=headers, timeout=patience_s)

    def ask(self, endpoint: str, **parameters: Any) -> Any:
        """Return the result of a private request that succeeds."""
        answer = self.post(endpoint, **parameters).json(parse_float=Decimal)
        assert answer["error"] == [], answer
        return answer["result"]

    def refused(self, endpoint: str, **parameters: Any) -> str:
        """Return the error of a private request that fails."""
        answer = self.post(endpoint, **parameters).json()
        [error] = answer["error"]
        assert "result" not in answer
        return str(error)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self._sessions[0].get(self.server.rest_url + path, params=parameters, timeout=PATIENCE_S)
        return answer.json(parse_float=Decimal)

    def send(self, method: str, path: str, body: object = None) -> requests.Response:
        url = self.server.rest_url + path
        return self._sessions[0].request(method, url, data=json.dumps(body), timeout=PATIENCE_S)

    def places(self, **parameters: Any) -> str:
        """Place an order and return its id."""
        order = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "99000"}
        [txid] = self.ask("AddOrder", **{k: v for k, v in (order | parameters).items() if v is not None})["txid"]
        return str(txid)

    @contextmanager
    def hears(self, *channels: str, path: str = "/v2", **parameters: Any) -> Iterator[Ear]:
        """Listen to private channels."""
        with connect(self.server.websocket_url + path, proxy=None) as socket:
            ear = Ear(socket)
            for channel in channels:
                token = self.ask("GetWebSocketsToken")["token"]
                ear.says(method="subscribe", params={"channel": channel, "token": token, **parameters})
                assert ear.next(lambda message: message.get("method") == "subscribe")["success"]
            yield ear

    def deadline(self, seconds: int) -> str:
        return as_datetime(self.clock.now_us() + seconds * MICROSECONDS).isoformat()


class Ear:
    """One websocket, read message by message."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._number = 0

    def says(self, **message: Any) -> None:
        self._number += 1
        self.socket.send(json.dumps({"req_id": self._number, **message}))

    def next(self, wanted: Callable[[dict[str, Any]], bool], timeout: float = PATIENCE_S) -> dict[str, Any]:
        """Return the next message that is wanted; others are passed over."""
        until = time.monotonic() + timeout
        passed: list[Any] = []
        while time.monotonic() < until:
            message = json.loads(self.socket.recv(timeout), parse_float=Decimal)
            if wanted(message):
                return dict(message)
            passed.append(message)
        raise AssertionError(f"not heard within {timeout} s, only {passed}")

    def data(self, channel: str = "executions") -> dict[str, Any]:
        """Return the next message on a channel."""
        return self.next(lambda message: message.get("channel") == channel)

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Return the next rows of executions."""
        return [row for _ in range(count) for row in self.data()["data"]]


def wait_for(condition: Callable[[], T], what: str = "it") -> T:
    """Return what the condition returns once it is true."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        result = condition()
        if result:
            return result
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {PATIENCE_S} s")

"""The wire mock: Kraken's face in front of the books, on one port.

    server = WireServer(instruments=..., balances=..., clock=...)
    await server.start()          # 127.0.0.1, on a free port unless told otherwise
    server.rest_url, server.websocket_url, server.books, server.faults
    await server.tick(symbol, price)
    await server.stop()

It is no actor: whoever starts it lends it a running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from decimal import Decimal

from aiohttp import web

from actors.exchange.mock.books import Books
from actors.exchange.wire.counters import STARTER, Tier
from actors.exchange.wire.door import Door
from actors.exchange.wire.exchange import WireExchange
from actors.exchange.wire.faults import WireFaults
from actors.exchange.wire.private import ALL_PERMISSIONS
from actors.exchange.wire.rest import Rest
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET, Doorman
from actors.exchange.wire.sockets import HEARTBEAT_S, Sockets
from actors.exchange.wire.tokens import Tokens
from actors.runtime.clock import Clock
from messages.base import Currency, Symbol
from messages.market import Instrument

LOOPBACK = "127.0.0.1"
LOOKS_PER_S = 10
"""How often it is looked whether an order has expired or a heartbeat is due."""
SHUTDOWN_S = 1


class WireServer:
    """One exchange with one account, for whoever talks Kraken."""

    def __init__(
        self,
        *,
        instruments: Mapping[Symbol, Instrument],
        balances: Mapping[Currency, Decimal],
        clock: Clock,
        usd_equivalents: tuple[Currency, ...] = (Currency("USD"), Currency("USDT")),
        tier: Tier | None = STARTER,
        slippage_pct: Decimal = Decimal(0),
        fill_share_pct: Decimal = Decimal(100),
        liquidation_level_pct: Decimal = Decimal(40),
        key: str = PAPER_KEY,
        secret: str = PAPER_SECRET,
        more_keys: tuple[tuple[str, str], ...] = (),
        permissions: frozenset[str] = ALL_PERMISSIONS,
        seed: int = 0,
        speed: int = 1,
    ) -> None:
        self.exchange = WireExchange(
            instruments=instruments,
            balances=balances,
            usd_equivalents=usd_equivalents,
            clock=clock,
            tier=tier,
            slippage_pct=slippage_pct,
            fill_share_pct=fill_share_pct,
            liquidation_level_pct=liquidation_level_pct,
        )
        self.key, self.secret = key, secret
        self._speed = speed
        """How much faster than the wall the clock runs: heartbeats and what is told from time to time keep pace."""
        self.faults = WireFaults(seed)
        self.exchange.state_of = self.faults.state
        self.tokens = Tokens(seed)
        self.door = Door(self.exchange, self.faults, self.tokens)
        self._rest = Rest(self.exchange, self.faults, Doorman(((key, secret), *more_keys)), self.tokens, permissions)
        self.sockets = Sockets(self.exchange, self.faults, self.tokens)
        self._runner: web.AppRunner | None = None
        self._pulse: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def books(self) -> Books:
        """The books themselves: the truth, faults or not."""
        return self.exchange.books

    @property
    def rest_url(self) -> str:
        """Where REST is, as the SDK wants it."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """Where the websocket is; the SDK puts /v2 behind it."""
        return f"ws://{LOOPBACK}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/0/public/{endpoint}", self._rest.public)
        app.router.add_post("/0/private/{endpoint}", self._rest.private)
        app.router.add_route("*", "/mock/{what}", self.door.serve)
        app.router.add_get("/v2", self.sockets.serve)
        app.router.add_get("/{face}/v2", self.sockets.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._pulse = asyncio.ensure_future(self._beat())

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        self._rest.is_stopping = True
        if self._pulse is not None:
            self._pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pulse
        await self.sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def tick(self, symbol: str, price: Decimal, low: Decimal | None = None, high: Decimal | None = None) -> None:
        """Move a price; what trades on it is on its way to the websockets when this returns."""
        self.exchange.tick(Symbol(symbol), price, price if low is None else low, price if high is None else high)
        await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Let time bring about what it does, and heartbeats."""
        while True:
            for _look in range(LOOKS_PER_S * HEARTBEAT_S):
                await asyncio.sleep(1 / LOOKS_PER_S / self._speed)
                self.exchange.now_us()
            self.sockets.beat()

"""The engine and Kraken's face on one machine: real HTTP and websockets over loopback, a clock that the story moves.

A `WireWorld` is a harness whose exchange is KrakenActor, the SDK, and the wire mock behind them. Time passes when the
story says so; before it does, everything that is on the wire has arrived: each side counts what it has sent and heard.
Only what a client waits for in vain takes time of the wall: `patience` of it for every second of the settings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any, Self

import attrs

from actors.exchange.kraken.links import Answer, LineClosed, LineNews, LineSaid, Request
from actors.exchange.kraken.notation import our_id
from actors.exchange.kraken.rest import Nonces, Rest
from actors.exchange.kraken.shell.calling import Reply, read_answer
from actors.exchange.kraken.socket import Line, address
from actors.exchange.kraken.venue import Venue
from actors.exchange.wire.faults import Rule
from actors.exchange.wire.server import WireServer
from actors.harness import Harness, T
from actors.runtime.ids import seeded_ids
from actors.system import World
from config.loader import load_settings
from config.settings import KrakenSettings, Settings
from messages.base import Currency, OrderId, Symbol
from messages.exchange import AccountReported
from messages.market import Tick
from scripts.live import Wires, found

PATIENCE = 20
"""How many seconds of the settings one second of the wall is, for whoever waits in vain."""
STILL_TRIES = 20_000
LOOK_EVERY_S = 0.001
BUSY_LOOKS = 100
"""Both ends are on one loop: what is on the wire arrives within a few of its rounds, unless somebody waits in vain."""


class CountingWires(Wires):
    """The real wires; every call is kept, so that a test can see what was sent, and what is pushed passes by it."""

    def __init__(self, rest: Rest, line: Line) -> None:
        super().__init__(rest, line)
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.is_line_up = False
        self.pushed: Callable[[str], Iterable[str]] = lambda text: (text,)
        """What the engine hears now of a message that has come over the line."""
        self.tell: Callable[[str], None] = lambda text: None
        """Tells the engine a message as if it came over the line."""

    async def call(self, request: Request) -> Answer:
        """Send one request."""
        self.requests.append(request)
        answer = await super().call(request)
        self.answers.append(answer)
        return answer

    def open_line(self, line: int, tell: Callable[[LineNews], None]) -> None:
        """Open the line."""
        self.is_line_up = True

        def note(news: LineNews) -> None:
            if isinstance(news, LineSaid):
                for text in self.pushed(news.text):
                    self.tell(text)
                return
            if isinstance(news, LineClosed):
                self.is_line_up = False
            tell(news)

        self.tell = lambda text: tell(LineSaid(line=line, text=text))
        super().open_line(line, note)

    def close_line(self) -> None:
        """Close the line."""
        self.is_line_up = False
        super().close_line()


def wire_settings(**kraken: Any) -> Settings:
    """Return the packaged settings with these of `kraken` changed."""
    settings = load_settings()
    execution = settings.execution
    execution = attrs.evolve(execution, kraken=attrs.evolve(execution.kraken, **kraken))
    return attrs.evolve(settings, execution=execution)


class WireWorld(Harness):
    """One account at the wire mock, and the engine that trades on it."""

    def __init__(self, settings: Settings | None = None, *, dispatcher: str = "shared", **server: Any) -> None:
        super().__init__(settings, dispatcher=dispatcher)
        self._server_options = {"tier": None, "instruments": self.settings.execution.instruments, **server}
        self.wall_ns: Callable[[], int] = time.time_ns
        """The wall's clock, which nonces are made of."""
        self._server: WireServer | None = None
        self._wires: CountingWires | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the engine, and then the exchange."""

        async def stop() -> None:
            await self.engine.close()
            await self._hang_up()
            await self.server.stop()

        self._do(stop)
        self._runner.close()

    def __enter__(self) -> Self:
        """Start the exchange, then the engine, and wait until it takes proposals."""
        super().__enter__()
        self.passes(seconds=2)
        return self

    @property
    def server(self) -> WireServer:
        """The wire mock."""
        if self._server is None:
            raise RuntimeError("the world has not been entered: use it with `with`")
        return self._server

    @property
    def wires(self) -> CountingWires:
        """What the engine's calls go through at present."""
        if self._wires is None:
            raise RuntimeError("the world has not been entered: use it with `with`")
        return self._wires

    @property
    def kraken(self) -> KrakenSettings:
        """How patient the client is."""
        return self.settings.execution.kraken

    async def _world(self) -> World:
        execution = self.settings.execution
        if self._server is None:
            self._server = WireServer(
                balances=execution.paper.balances,
                usd_equivalents=execution.usd_equivalents,
                clock=self._clock,
                **self._server_options,
            )
            await self._server.start()
        server = self._server
        nonces = Nonces(self.wall_ns)
        rest = Rest(url=server.rest_url, key=server.key, secret=server.secret, speed=PATIENCE, nonces=nonces)
        self._wires = wires = CountingWires(rest, Line(address(server.websocket_url)))
        there = await found(execution, wires, speed=PATIENCE)
        venue = Venue(links=wires, pairs=there.venue.pairs, clock_ahead_us=0)
        balances = await self.journal.open_account(there.balances, self._clock.now_us())
        return World(
            settings=there.settled(self.settings),
            clock=self._clock,
            new_id=seeded_ids(f"run {next(self._runs)}"),
            journal=self.journal,
            equity_start_usd=execution.in_account_money(balances),
            book_store=None,
            venue=venue,
            is_repeatable=False,
        )

    async def _hang_up(self) -> None:
        await self.wires.line.closed()
        await self.wires.rest.close()

    async def _quiet(self) -> None:
        """Return when the engine is quiet and nothing is on the wire any more."""
        for look in range(STILL_TRIES):
            await self.engine.until_quiet()
            if self._is_wire_still():
                await asyncio.sleep(0)
                if self.engine.settle() and self._is_wire_still():
                    return
            await asyncio.sleep(0 if look < BUSY_LOOKS else LOOK_EVERY_S)
        raise TimeoutError("the wire does not come to rest")

    def _is_wire_still(self) -> bool:
        connections = self.server.sockets.connections
        if not self.wires.is_line_up:
            return not connections
        if len(connections) != 1:
            return False
        here, there = self.wires.line, connections[0]
        return here.said == there.heard and here.heard == there.said

    def crashes(self) -> None:
        """The process dies and is started again: journal and exchange are all that is left."""

        async def die() -> None:
            await self.engine.close()
            await self._hang_up()
            await self._start()

        self._do(die)
        self.passes(seconds=2)

    # The market -----------------------------------------------------------------------------------

    def prices(self, prices: Any) -> None:
        """Trades happen: at the exchange first, and then the engine hears of them."""
        for symbol, price in prices.items():
            self._do(partial(self.server.tick, symbol, Decimal(price)))
            tick = Tick(
                symbol=Symbol(symbol),
                price_quote=Decimal(price),
                at_us=self._clock.now_us(),
                sequence=next(self._sequence),
            )
            self.tell(tick)

    def goes_wrong(self, fault: str, **terms: Any) -> Rule:
        """Let something go wrong on the wire from now on."""

        async def add() -> Rule:
            rule = self.server.faults.add(fault, **terms)
            await self._quiet()
            return rule

        return self._do(add)

    def acts(self, act: str, **terms: Any) -> Any:
        """Let somebody else do something on the account, as the mock's control door would."""

        async def do() -> Any:
            done = self.server.door.act({"act": act, **terms})
            await self._quiet()
            return done

        return self._do(do)

    def is_down_while(self, *acts: Mapping[str, Any]) -> None:
        """The process dies, others act at the exchange, as through the mock's control door, and it is started again."""

        async def die() -> None:
            await self.engine.close()
            await self._hang_up()
            for act in acts:
                self.server.door.act(act)
            await self._start()

        self._do(die)
        self.passes(seconds=2)

    def hears(self, *texts: str) -> None:
        """Let the engine hear messages as if they came over the line."""

        async def tell() -> None:
            for text in texts:
                self.wires.tell(text)
            await self._quiet()

        self._do(tell)

    def does(self, what: Callable[[], Awaitable[T]]) -> T:
        """Do something on the world's own loop."""
        return self._do(what)

    def says(self, text: str) -> None:
        """Let the exchange say something of its own over the line."""

        async def say() -> None:
            for connection in self.server.sockets.connections:
                connection.say_text("something", text)
            await self._quiet()

        self._do(say)

    def heals(self) -> None:
        """End everything that goes wrong."""
        self.server.faults.clear()

    # What one can see -----------------------------------------------------------------------------

    def account(self) -> AccountReported:
        """Return the account by the exchange's own books, as they are now."""
        told = self.server.books.report(self._clock.now_us())
        orders = tuple(
            attrs.evolve(order, order_id=our_id(order.order_id) or OrderId(order.external_id))
            for order in told.open_orders
        )
        return attrs.evolve(told, open_orders=orders)

    def balance(self, currency: str) -> Decimal:
        """Return what we own of a currency, by the exchange's own books."""
        return self.server.books.account.balances.get(Currency(currency), Decimal(0))

    def sent(self, path: str) -> list[Request]:
        """Return what was sent to one endpoint, in order."""
        return [request for request in self.wires.requests if request.path.endswith(f"/{path}")]

    def asks_kraken(self, path: str, **params: str) -> Reply:
        """Ask the exchange as somebody would who has the key, and return what it says; nothing of it is kept."""

        async def ask() -> Reply:
            request = Request(path=f"/0/private/{path}", params=params, is_private=True, timeout_ms=5_000)
            return read_answer(await self.wires.rest.call(request))

        return self._do(ask)

"""An order at the exchange and back: through the engine, and by the bare SDK.

Both talk to a wire mock of their own, each in a process of its own, and take turns: one order of ours, one of the bare
SDK, one bare committed row. Each order rests far below the price and is taken off again, which is not measured.
Both mocks push what happens: to our engine, which reads it, and beside the bare SDK to a socket that only takes it.
Ours has come back with the first OrderAccepted, which the answer brings or the websocket, whichever is sooner.
Read in order: measure(), Ours, Bare, exchange().
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Self
from uuid import uuid4

import aiohttp
import attrs
from kraken.spot import SpotAsyncClient
from websockets.asyncio.client import ClientConnection, connect

from actors.engine import Engine
from actors.exchange.kraken.actor import KrakenReport, LineState
from actors.exchange.kraken.notation import rfc3339, write_json
from actors.exchange.kraken.rest import Rest
from actors.exchange.kraken.socket import Line, address
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ids import random_ids
from actors.system import World
from messages.base import Message, ProposalId
from messages.market import Tick
from messages.orders import OrderAccepted, OrderEnded, PlaceOrder
from messages.trades import CancelTrade, ExecuteTrade, OrderType, Side, TradeProposal
from persistence.protocol import Journal
from scripts.benchmarks import bare
from scripts.benchmarks.command import HOUSE
from scripts.benchmarks.figures import Outcome, percentile
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import PRICE, SYMBOL, postgres_journal, server, unlimited
from scripts.live import Wires, found, wall_us

ENTRY = Decimal(90_000)
WARM_UP = 50
RATIO_MAX = 1.3
"""Of the bare SDK's round trip."""
HEARD_TWICE = 2
"""That an order was taken is told by the answer, and over the websocket."""
LOOK_EVERY_S = 0.01
NS_PER_US = 1_000


@attrs.define
class Times:
    """Microseconds of each order, in order."""

    proposal_us: list[float] = attrs.field(factory=list)
    """From the proposal, with the commit of the intent on the way."""
    wish_us: list[float] = attrs.field(factory=list)
    """From the wish told to KrakenActor."""
    everything_us: list[float] = attrs.field(factory=list)
    """The same, until the answer and the websocket have both told it."""
    sdk_us: list[float] = attrs.field(factory=list)
    insert_us: list[float] = attrs.field(factory=list)


async def measure(options: Options) -> Outcome:
    """Place orders by turns."""
    count = options.size(1_000, 5)
    async with server() as database, postgres_journal(database) as journal, exchange() as here, exchange() as there:
        connection = await database.connect()
        await bare.prepare(connection)
        async with Ours.opened(*here, journal) as ours, Bare.opened(*there) as theirs:
            await _by_turns(options.size(WARM_UP, 2), ours, theirs, connection)
            times = await _by_turns(count, ours, theirs, connection)
        await connection.close()
    return _outcome(count, times)


async def _by_turns(count: int, ours: Ours, theirs: Bare, connection: Any) -> Times:
    times = Times()
    for _ in range(count):
        await ours.place(times)
        times.sdk_us.append(await theirs.place_us())
        times.insert_us.append(await bare.insert_us(connection))
    return times


def _outcome(count: int, times: Times) -> Outcome:
    sdk_us, insert_us = percentile(times.sdk_us, 50), percentile(times.insert_us, 50)
    proposal_us, wish_us = percentile(times.proposal_us, 50), percentile(times.wish_us, 50)
    sdk_p99_us, wish_p99_us = percentile(times.sdk_us, 99), percentile(times.wish_us, 99)
    return Outcome(
        name="order_round_trip",
        figures={
            "orders": count,
            "p50_us": wish_us,
            "p99_us": wish_p99_us,
            "p99_ratio": wish_p99_us / sdk_p99_us,
            "everything_p50_us": percentile(times.everything_us, 50),
            "proposal_p50_us": proposal_us,
            "proposal_p99_us": percentile(times.proposal_us, 99),
            "proposal_ratio": (proposal_us - insert_us) / sdk_us,
        },
        floor={"sdk_p50_us": sdk_us, "sdk_p99_us": sdk_p99_us, "insert_p50_us": insert_us},
        ratio=wish_us / sdk_us,
        aim=f"p50 at most {RATIO_MAX} times the bare SDK's; from the proposal on, one committed insert more",
        met=wish_us <= RATIO_MAX * sdk_us and proposal_us <= RATIO_MAX * sdk_us + insert_us,
    )


class Ours:
    """The whole engine, trading at a wire mock. Its clock is the wall's, and no timer fires: nothing else is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._new_id = random_ids()

    @classmethod
    @asynccontextmanager
    async def opened(cls, rest_url: str, websocket_url: str, journal: Journal) -> AsyncIterator[Self]:
        """Start the engine, and wait until its line is live and it has heard a price."""
        settings = unlimited()
        rest = Rest(url=rest_url, key=PAPER_KEY, secret=PAPER_SECRET)
        line = Line(address(websocket_url))
        there = await found(settings.execution, Wires(rest, line), 1)
        balances = await journal.open_account(there.balances, wall_us())
        engine = Engine(
            World(
                settings=there.settled(settings),
                clock=there.clock,
                new_id=random_ids(),
                journal=journal,
                equity_start_usd=settings.execution.in_account_money(balances),
                book_store=None,
                venue=there.venue,
                is_repeatable=False,
            )
        )
        engine.start()
        try:
            while not _is_live(engine):  # noqa: ASYNC110 - The line says so to its actor alone.
                await asyncio.sleep(LOOK_EVERY_S)
            await engine.until_quiet()
            engine.tell(Tick(symbol=SYMBOL, price_quote=PRICE, at_us=engine.clock.now_us(), sequence=1))
            await engine.until_quiet()
            yield cls(engine)
        finally:
            await engine.close()
            await line.closed()
            await rest.close()

    async def place(self, times: Times) -> None:
        """Hand in a proposal, wait until its entry rests, note how long it took, and take it off."""
        placed_ns = 0
        heard_ns: list[int] = []
        is_there, is_gone = asyncio.Event(), asyncio.Event()

        def look(message: Message) -> None:
            nonlocal placed_ns
            if type(message) is PlaceOrder:
                placed_ns = time.perf_counter_ns()
            elif type(message) is OrderAccepted:
                heard_ns.append(time.perf_counter_ns())
                if len(heard_ns) == HEARD_TWICE:
                    is_there.set()
            elif type(message) is OrderEnded:
                is_gone.set()

        proposal = self._proposal()
        self._engine.switchboard.tap(look)
        began_ns = time.perf_counter_ns()
        self._engine.tell(ExecuteTrade(proposal=proposal), proposal.id)
        await is_there.wait()
        times.proposal_us.append((heard_ns[0] - began_ns) / NS_PER_US)
        times.wish_us.append((heard_ns[0] - placed_ns) / NS_PER_US)
        times.everything_us.append((heard_ns[-1] - placed_ns) / NS_PER_US)
        self._engine.tell(CancelTrade(request_id=ProposalId(self._new_id()), target_id=proposal.id), proposal.id)
        await is_gone.wait()
        await self._engine.until_quiet()
        self._engine.switchboard.untap(look)

    def _proposal(self) -> TradeProposal:
        return TradeProposal(
            id=ProposalId(self._new_id()),
            at_us=self._engine.clock.now_us(),
            symbol=SYMBOL,
            side=Side.BUY,
            size_usd=Decimal(500),
            order_type=OrderType.LIMIT,
            entry_price_quote=ENTRY,
            stop_loss_quote=None,
            take_profit_quote=None,
            leverage=1,
            trailing=False,
        )


def _is_live(engine: Engine) -> bool:
    report: KrakenReport = engine.actors["exchange"].describe()  # type: ignore[assignment]
    return report.line is LineState.LIVE and engine.is_ready


class Bare:
    """python-kraken-sdk and nothing else."""

    def __init__(self, client: SpotAsyncClient) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def opened(cls, rest_url: str, websocket_url: str) -> AsyncIterator[Self]:
        """Open a client, and a websocket to which the mock has as much to say as to ours."""
        client = SpotAsyncClient(key=PAPER_KEY, secret=PAPER_SECRET, url=rest_url)
        try:
            told: Any = await client.request("POST", "/0/private/GetWebSocketsToken")
            async with connect(address(websocket_url), compression=None, proxy=None) as socket:
                for channel in ("executions", "balances"):
                    params = {"channel": channel, "token": told["token"]}
                    await socket.send(write_json({"method": "subscribe", "params": params}))
                taking = asyncio.create_task(_take(socket))
                yield cls(client)
                taking.cancel()
        finally:
            await client.close()

    async def place_us(self) -> float:
        """Place the same order as ours, return how long that took, and take it off."""
        params = {
            "ordertype": "limit",
            "type": "buy",
            "pair": "XBTUSDT",
            "volume": "0.00554111",
            "cl_ord_id": uuid4().hex,
            "deadline": rfc3339(wall_us() + 10 * MICROSECONDS),
            "oflags": "fciq",
            "price": f"{ENTRY:f}",
            "timeinforce": "GTD",
            "expiretm": str(wall_us() // MICROSECONDS + 86_400),
        }
        began_ns = time.perf_counter_ns()
        placed: Any = await self._client.request("POST", "/0/private/AddOrder", params=params)
        took_us = (time.perf_counter_ns() - began_ns) / NS_PER_US
        gone: Any = await self._client.request("POST", "/0/private/CancelOrder", params={"txid": placed["txid"][0]})
        if gone["count"] != 1:
            raise RuntimeError(f"the order was not taken off: {gone}")
        return took_us


async def _take(socket: ClientConnection) -> None:
    async for _message in socket:
        pass


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[str, str]]:
    """Run a wire mock without rate limits, and return where its REST and its websocket are."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.triplegain", "mock-exchange", "--prices", "none", "--tier", "none"),
        env=dict(os.environ) | {"PYTHONPATH": str(HOUSE)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the command was started without a pipe")
        words = (await process.stdout.readline()).decode().split()
        rest_url, websocket_url = words[words.index("rest") + 1], words[words.index("websocket") + 1]
        async with aiohttp.ClientSession() as session:
            act = {"act": "set_price", "symbol": SYMBOL, "price": str(PRICE)}
            async with session.post(f"{rest_url}/mock/acts", json=act) as answer:
                answer.raise_for_status()
        yield rest_url, websocket_url
    finally:
        process.terminate()
        await process.wait()

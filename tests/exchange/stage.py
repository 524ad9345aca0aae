"""The mock exchange on a stage of its own: real runtime, stepped clock, and one actor that hears all it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

import pykka

from actors.exchange.mock.actor import MockExchangeActor, MockExchangeReport
from actors.exchange.mock.faults import Faults
from actors.exchange.mock.store import BookChanges, BookStore, Document, MemoryStore
from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import SharedDispatcher
from actors.runtime.ports import Ports
from actors.runtime.switchboard import Switchboard
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import PaperSettings
from messages.base import UNSTAMPED, Currency, ExternalOrderId, Message, OrderId, ProposalId, Symbol, TradeId
from messages.exchange import GetAccount
from messages.market import PriceMoved
from messages.orders import AmendOrder, CancelOrder, LookUpOrder, PlaceOrder, PollOrders
from messages.protocols import ExchangeOutbox
from messages.trades import OrderType, Side
from tests.exchange.desk import (
    BTC,
    BTC_USDT,
    INSTRUMENTS,
    LATER_US,
    USD,
    USDT,
    D,
    intent,
)

M = TypeVar("M", bound=Message)
START_US = 1_700_000_000_000_000
TRADE = ProposalId("the trade")
BALANCES: Mapping[Currency, Decimal] = {USDT: D(10_000), BTC: D(10)}


class Probe(TypedActor):
    """Keeps what it hears."""

    role = "probe"
    accepts = kinds(ExchangeOutbox)
    emits = frozenset()

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.heard: list[Any] = []
        self.heard_at_us: list[int] = []

    def on_receive(self, message: Message) -> None:
        self.heard.append(message)
        self.heard_at_us.append(self.now_us)


class Theatre:
    """One engine's world, which can be torn down and built again around the same store."""

    def __init__(self, store: BookStore | None, faults: Faults, paper: PaperSettings) -> None:
        self.clock = SteppedClock(START_US)
        self.timers = Timers()
        self.failures: list[BaseException] = []
        self._dispatcher = SharedDispatcher(ordered_io=True)
        self._switchboard = Switchboard()
        ids = count(1)
        self._ports = Ports(
            clock=self.clock,
            new_id=lambda: f"id {next(ids)}",
            timers=self.timers,
            io=self._dispatcher,
            switchboard=self._switchboard,
            report_failure=lambda _role, error: self.failures.append(error),
        )
        self.faults = faults
        self._sequences = count(1)
        self._ids = count(1)
        runnable: Any = self._dispatcher.runnable
        self.probe: Any = runnable(Probe)(self._ports)
        self.exchange: Any = runnable(MockExchangeActor)(
            self._ports,
            instruments=INSTRUMENTS,
            paper=paper,
            usd_equivalents=(USD, USDT),
            store=store,
            faults=faults,
        )
        actors = {"probe": self.probe, "exchange": self.exchange}
        self._switchboard.connect(actors, self._dispatcher.post_of)
        for actor in actors.values():
            pykka.ActorRegistry.register(actor.actor_ref)
            actor._start_actor_loop()

    # What the engine may say ------------------------------------------------------------------------

    def say(self, message: Message) -> None:
        self._switchboard.route(message, UNSTAMPED, TRADE)

    def tick(
        self, price: str, symbol: Symbol = BTC_USDT, sequence: int | None = None, at_us: int | None = None
    ) -> None:
        at_us = self.clock.now_us() if at_us is None else at_us
        sequence = next(self._sequences) if sequence is None else sequence
        moved = PriceMoved(
            symbol=symbol, last_quote=D(price), low_quote=D(price), high_quote=D(price), at_us=at_us, sequence=sequence
        )
        self._switchboard.route(moved, UNSTAMPED, None)

    def place(self, side: Side, volume: str, order_type: OrderType = OrderType.MARKET, **terms: Any) -> OrderId:
        deadline_us = terms.pop("deadline_us", LATER_US * 10)
        order_id = terms.pop("order_id", None) or f"order {next(self._ids)}"
        prices = {name: D(terms.pop(short)) for short, name in PRICES.items() if short in terms}
        wish = intent(order_id, side, volume, order_type, **prices, **terms)
        self.say(PlaceOrder(intent=wish, deadline_us=deadline_us))
        return wish.id

    def cancel(self, order_id: OrderId) -> None:
        self.say(CancelOrder(order_id=order_id, external_id=ExternalOrderId("O"), symbol=BTC_USDT))

    def amend(self, order_id: OrderId, volume: str, trigger: str | None) -> None:
        self.say(
            AmendOrder(
                order_id=order_id,
                external_id=ExternalOrderId("O"),
                symbol=BTC_USDT,
                volume_base=D(volume),
                trigger_price_quote=None if trigger is None else D(trigger),
                deadline_us=LATER_US * 10,
            )
        )

    def look_up(self, order_id: OrderId) -> None:
        self.say(LookUpOrder(order_id=order_id, symbol=BTC_USDT, sent_at_us=0))

    def poll(self, *order_ids: OrderId, after: str | None = None) -> None:
        self.say(PollOrders(order_ids=order_ids, after_trade=None if after is None else TradeId(after)))

    def ask_account(self) -> None:
        self.say(GetAccount())

    # What became of it ------------------------------------------------------------------------------

    async def settle(self) -> None:
        await self._dispatcher.until_quiet()
        if self.failures:
            raise self.failures[0]

    async def advance(self, by_us: int) -> None:
        until_us = self.clock.now_us() + by_us
        await self.settle()
        while (due_us := self.timers.next_due_us()) is not None and due_us <= until_us:
            self.clock.advance_to(due_us)
            self.timers.fire_next()
            await self.settle()
        self.clock.advance_to(until_us)

    @property
    def heard(self) -> list[Any]:
        return list(self.probe.heard)

    @property
    def heard_at_us(self) -> list[int]:
        """When it was heard, message by message."""
        return list(self.probe.heard_at_us)

    @property
    def names(self) -> list[str]:
        """The types of what was heard, in order."""
        return [type(message).__name__ for message in self.probe.heard]

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.probe.heard if type(message) is kind]

    @property
    def documents(self) -> tuple[Document, ...]:
        found: tuple[Document, ...] = self.exchange._books.documents()
        return found

    @property
    def report(self) -> MockExchangeReport:
        found: MockExchangeReport = self.exchange.describe()
        return found

    async def leave(self) -> None:
        for actor in (self.exchange, self.probe):
            if actor.actor_ref.is_alive():
                actor.actor_ref.stop(block=False)
        self._dispatcher.drain()
        await self._dispatcher.close()


PRICES = {"limit": "limit_price_quote", "trigger": "trigger_price_quote"}
Scene = Callable[[Theatre], Awaitable[None]]


async def _played(scene: Scene, store: BookStore | None, faults: Faults, paper: PaperSettings) -> None:
    theatre = Theatre(store, faults, paper)
    try:
        await scene(theatre)
    finally:
        await theatre.leave()


def play(scene: Scene, store: BookStore | None = None, **paper: Any) -> None:
    """Play one scene, from an empty stage; with the same store, the books go on where they were."""
    settings = PaperSettings(**({"balances": BALANCES} | paper))
    asyncio.run(_played(scene, store, Faults(), settings))


class SlowStore(MemoryStore):
    """A store whose saves wait until they are let through, and which fails as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.failures = 0
        self.load_failures = 0
        self.saves: list[BookChanges] = []

    async def save(self, changes: BookChanges) -> None:
        self.saves.append(changes)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        await self.gate.wait()
        await super().save(changes)

    async def load(self) -> tuple[Document, ...]:
        if self.load_failures:
            self.load_failures -= 1
            raise ConnectionError("the database is away")
        return await super().load()

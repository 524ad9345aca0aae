"""The engine in a box: virtual clock, journal in memory, the mock exchange, and a vocabulary to tell stories with.

For the scenario tests and for strategy authors' own. Nothing in it waits: time passes when the story says so.

    with Harness() as world:
        world.price("BTC/USDT", "100000")
        trade = world.proposes("BTC/USDT", "buy", size="500", stop="98000")
        world.price("BTC/USDT", "97900")
        assert world.position(trade).close_reason is CloseReason.STOP_LOSS

Read in order: Harness, then its sections: the strategy, the market, time, what one can see.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs

from actors.audit import Books, Flow, Violation, audit
from actors.engine import Engine
from actors.exchange.mock.actor import MockExchangeReport
from actors.exchange.mock.faults import Faults
from actors.exchange.mock.store import BookStore, MemoryStore
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from actors.runtime.clock import MICROSECONDS, SteppedClock
from actors.runtime.ids import seeded_ids
from actors.system import World
from config.loader import load_settings
from config.settings import Settings
from messages.base import Currency, Message, ProposalId, Symbol
from messages.exchange import AccountReported, CompareAccount
from messages.market import Tick
from messages.orders import Fill, Order, OrderRole
from messages.positions import Position
from messages.risk import SetTradingState, TradingState
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    OrderType,
    Side,
    TradeProposal,
)
from persistence.memory import MemoryJournal

T = TypeVar("T")
START_US = 1_750_000_000 * MICROSECONDS
Amount = Decimal | str | int


class Harness:
    """One account, one engine, one exchange, and the hands of whoever tells the story."""

    def __init__(self, settings: Settings | None = None, *, dispatcher: str = "shared") -> None:
        chosen = settings or load_settings()
        actors = attrs.evolve(chosen.execution.actors, dispatcher=dispatcher)
        self.settings = attrs.evolve(chosen, execution=attrs.evolve(chosen.execution, actors=actors))
        self.journal = MemoryJournal()
        self.books: BookStore = MemoryStore()
        self.exchange = Faults()
        """What goes wrong at the exchange: the door to its faults."""
        self.heard: list[Message] = []
        """Every message that has passed the switchboard, in order."""
        self._clock = SteppedClock(START_US)
        self._sequence = itertools.count(1)
        self._runs = itertools.count(1)
        self._names = seeded_ids("harness")
        self._runner = asyncio.Runner()
        self._engine: Engine | None = None
        self._dies_after: int | None = None

    def __enter__(self) -> Self:
        """Start the engine and wait until it takes proposals."""
        self._do(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the engine."""
        self._do(self.engine.close)
        self._runner.close()

    @property
    def engine(self) -> Engine:
        """The engine that runs now."""
        if self._engine is None:
            raise RuntimeError("the harness has not been entered: use it with `with`")
        return self._engine

    def _do(self, what: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await what()

        return self._runner.run(run())

    async def _start(self) -> None:
        self._engine = Engine(await self._world())
        self._engine.switchboard.tap(self.heard.append)
        if self._dies_after is not None:
            self.dies_after(self._dies_after)
        self._engine.start()
        await self._quiet()

    async def _world(self) -> World:
        """Return what the engine of this run is made with."""
        execution = self.settings.execution
        balances = await self.journal.open_account(execution.paper.balances, self._clock.now_us())
        return World(
            settings=self.settings,
            clock=self._clock,
            new_id=seeded_ids(f"run {next(self._runs)}"),
            journal=self.journal,
            equity_start_usd=execution.in_account_money(balances),
            book_store=self.books,
            faults=self.exchange,
            is_repeatable=True,
            io_suspends=False,
        )

    async def _quiet(self) -> None:
        await self.engine.until_quiet()

    def tell(self, message: Message, proposal_id: ProposalId | None = None) -> None:
        """Say anything from outside, and let everything follow from it that follows without time passing."""

        async def say() -> None:
            self.engine.tell(message, proposal_id)
            await self._quiet()

        self._do(say)

    # The strategy -------------------------------------------------------------------------------------

    def proposal(
        self,
        symbol: str,
        side: str,
        *,
        size: Amount = 500,
        entry: Amount | None = None,
        stop: Amount | None = None,
        target: Amount | None = None,
        leverage: int = 1,
        trailing: bool = False,
        id: str | None = None,  # noqa: A002  # The field's own name.
    ) -> TradeProposal:
        """Return a proposal; with an entry price it is a limit order, without one it is a market order."""
        return TradeProposal(
            id=ProposalId(id or self._names()),
            at_us=self._clock.now_us(),
            symbol=Symbol(symbol),
            side=Side(side),
            size_usd=Decimal(size),
            order_type=OrderType.MARKET if entry is None else OrderType.LIMIT,
            entry_price_quote=_decimal(entry),
            stop_loss_quote=_decimal(stop),
            take_profit_quote=_decimal(target),
            leverage=leverage,
            trailing=trailing,
        )

    def proposes(self, symbol: str, side: str, **wishes: Any) -> ProposalId:
        """Hand in a proposal (see `proposal`) and return its id."""
        return self.hands_in(self.proposal(symbol, side, **wishes))[0]

    def hands_in(self, *proposals: TradeProposal) -> tuple[ProposalId, ...]:
        """Hand in proposals in the same instant, before anything can follow from the first."""

        async def say() -> None:
            for proposal in proposals:
                self.engine.tell(ExecuteTrade(proposal=proposal), proposal.id)
            await self._quiet()

        self._do(say)
        return tuple(proposal.id for proposal in proposals)

    def cancels(self, trade: ProposalId) -> None:
        """Cancel what is unfilled of a trade's entry."""
        self.tell(CancelTrade(request_id=ProposalId(self._names()), target_id=trade), trade)

    def closes(self, trade: ProposalId) -> None:
        """Close a trade's position."""
        self.tell(CloseTrade(request_id=ProposalId(self._names()), target_id=trade), trade)

    def protects(
        self,
        trade: ProposalId,
        *,
        stop: Amount | None = None,
        target: Amount | None = None,
        trailing: bool | None = None,
    ) -> None:
        """Change the levels of a trade's position."""
        self.tell(
            ChangeProtection(
                request_id=ProposalId(self._names()),
                target_id=trade,
                stop_loss_quote=_decimal(stop),
                take_profit_quote=_decimal(target),
                trailing=trailing,
            ),
            trade,
        )

    def halts(self, reason: str = "the story says so") -> None:
        """Stop openings."""
        self.tell(SetTradingState(state=TradingState.HALTED, reason=reason, operator="story"))

    def compares(self) -> None:
        """Have the account compared with the books."""
        self.tell(CompareAccount())

    # The market ---------------------------------------------------------------------------------------

    def price(self, symbol: str, price: Amount) -> None:
        """A trade happens at this price: the last price of the symbol moves there."""
        self.prices({symbol: price})

    def prices(self, prices: Mapping[str, Amount]) -> None:
        """Trades happen in several symbols."""
        for symbol, price in prices.items():
            self.tell(
                Tick(
                    symbol=Symbol(symbol),
                    price_quote=Decimal(price),
                    at_us=self._clock.now_us(),
                    sequence=next(self._sequence),
                )
            )

    # Time ---------------------------------------------------------------------------------------------

    def passes(self, *, seconds: int = 0, minutes: int = 0, hours: int = 0, ms: int = 0) -> None:
        """Let time pass: every timer fires at its own instant, and everything follows from it."""
        until_us = self._clock.now_us() + (seconds + 60 * minutes + 3_600 * hours) * MICROSECONDS + ms * 1_000

        async def run() -> None:
            timers = self.engine.timers
            while (due_us := timers.next_due_us()) is not None and due_us <= until_us:
                self._clock.advance_to(due_us)
                timers.fire_next()
                await self._quiet()
            self._clock.advance_to(until_us)

        self._do(run)

    def crashes(self) -> None:
        """The process dies between two messages and is started again: journal and exchange are all that is left."""

        async def die() -> None:
            await self.engine.close()
            await self._start()

        self._do(die)

    def backs_up(self) -> MemoryJournal:
        """Return a copy of the journal as it is now. The exchange has no part in it."""
        return self.journal.copy()

    def restores(self, backup: MemoryJournal, *, dies_after: int | None = None) -> None:
        """The process ends and starts again on a journal of the past, beside the exchange of the present.

        With `dies_after` it dies again once so many messages have passed.
        """
        self.journal = backup.copy()
        self._dies_after = dies_after
        self.crashes()
        self._dies_after = None

    def dies_after(self, messages: int) -> None:
        """Let the process die once so many more messages have passed: nobody handles another one."""
        left = itertools.count(messages, -1)

        def listen(_message: Message) -> None:
            if next(left) == 0:
                for actor in self.engine.actors.values():
                    actor.actor_stopped.set()

        self.engine.switchboard.tap(listen)

    # What one can see -----------------------------------------------------------------------------------

    def asks(self, role: str, question: Message) -> Any:
        """Ask an actor from outside, and return its answer."""
        return self._do(lambda: self.engine.ask(role, question))

    @property
    def now_us(self) -> int:
        """The present instant."""
        return self._clock.now_us()

    def position(self, trade: ProposalId) -> Position:
        """Return the position of a trade, as the journal keeps it."""
        return next(position for position in self.journal.positions.values() if position.proposal_id == trade)

    def has_position(self, trade: ProposalId) -> bool:
        """Say whether a trade has ever had a position."""
        return any(position.proposal_id == trade for position in self.journal.positions.values())

    def orders(self, trade: ProposalId, role: OrderRole | None = None) -> tuple[Order, ...]:
        """Return the orders of a trade in the order of their making, as the journal keeps them."""
        return tuple(
            order
            for order in self.journal.orders.values()
            if order.intent.proposal_id == trade and role in (None, order.intent.role)
        )

    def order(self, trade: ProposalId, role: OrderRole) -> Order:
        """Return the newest order of this role."""
        return self.orders(trade, role)[-1]

    def fills(self, trade: ProposalId) -> tuple[Fill, ...]:
        """Return the fills of a trade."""
        ids = {order.id for order in self.orders(trade)}
        return tuple(fill for fill in self.journal.fills.values() if fill.order_id in ids)

    def codes(self, trade: ProposalId) -> tuple[str, ...]:
        """Return why a request was rejected; nothing when it was not."""
        return self.journal.requests[trade].codes

    def said(self, kind: type[Message]) -> list[Any]:
        """Return every message of a type that has passed the switchboard."""
        return [message for message in self.heard if type(message) is kind]

    def events(self, kind: str) -> list[Any]:
        """Return the public events of a kind, as they were committed."""
        return [numbered.event for numbered in self.journal.events if numbered.event.kind == kind]

    def account(self) -> AccountReported:
        """Return the account by the exchange's own books, as they are now."""
        exchange: MockExchangeReport = self.engine.actors["exchange"].describe()  # type: ignore[assignment]
        return exchange.account

    def balance(self, currency: str) -> Decimal:
        """Return what we own of a currency, by the exchange's own books."""
        return dict(self.account().balances).get(Currency(currency), Decimal(0))

    def violations(self) -> tuple[Violation, ...]:
        """Return every broken invariant at this instant: the exchange's books are the truth."""
        orders: OrderSummary = self.engine.actors["order"].describe()  # type: ignore[assignment]
        book: BookSummary = self.engine.actors["position"].describe()  # type: ignore[assignment]
        return audit(
            Books(
                account=self.account(),
                initial_balances=self.settings.execution.paper.balances,
                instruments=self.settings.execution.instruments,
                flows=tuple(flow_of(fill) for fill in self.journal.fills.values()),
                live_orders=orders.live,
                open_positions=book.positions,
                closed_net={Currency(quote): net for quote, net in self.journal.realised_by_quote()},
                alerted=orders.alerted,
            )
        )


def flow_of(fill: Fill) -> Flow:
    """Return what one fill moved."""
    return Flow(
        symbol=fill.symbol,
        side=fill.side,
        volume_base=fill.volume_base,
        cost_quote=fill.price_quote * fill.volume_base,
        fees_quote=fill.fee_quote,
    )


def _decimal(value: Amount | None) -> Decimal | None:
    return None if value is None else Decimal(value)

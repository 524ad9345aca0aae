"""Where a story is acted out: the engine of the moment, the exchange and the database that outlive it, and the clock.

Read in order: Stage, its steps, how it dies and comes back, then the machines.
"""

from __future__ import annotations

import sys
from collections import Counter
from decimal import Decimal
from random import Random
from typing import assert_never

import attrs

from actors.exchange.mock.actor import MockExchangeActor
from actors.exchange.mock.faults import Faults
from actors.order.actor import OrderActor
from actors.order.lifecycle import Happening
from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import run_at_once
from actors.runtime.ids import seeded_ids
from actors.runtime.simulation.pace import SECOND_US
from actors.runtime.simulation.scheduler import Hear, SeededScheduler
from actors.runtime.switchboard import Switchboard
from actors.simulator.faults import STRIKES, Surroundings, give_back, heal
from actors.simulator.machines import ExchangeAlone, SimulatedMachine
from actors.simulator.plan import (
    BPS,
    Cancel,
    Close,
    Crash,
    Flaw,
    Heal,
    Jump,
    Plan,
    PriceMoves,
    Propose,
    Protect,
    Restart,
    SetState,
    Step,
    Strike,
)
from actors.simulator.store import UnreliableStore
from actors.simulator.watch import Watch
from actors.system import World
from messages.base import ProposalId, Symbol
from messages.market import Tick
from messages.orders import OrderStatus
from messages.risk import SetTradingState
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    OrderType,
    RejectRequest,
    Side,
    TradeProposal,
)
from persistence.memory import MemoryJournal
from persistence.unreliable import Outage, UnreliableJournal

EPOCH_US = 1_750_000_000 * SECOND_US
SPREAD_US = 14 * 86_400 * SECOND_US
"""Stories begin anywhere in two weeks, so that days and weeks turn in some of them."""
PRICES = {
    Symbol("BTC/USDT"): Decimal(100_000),
    Symbol("XRP/USDT"): Decimal("0.5"),
    Symbol("XRP/BTC"): Decimal("0.000005"),
}
XRP_BTC_SHARE = 100_000
"""A size in dollars becomes one in bitcoin."""
NEVER = sys.maxsize
STARTS_MAX = 3
"""So many starts may fail because the database is away; then it comes back."""
DRAIN_US = 15 * SECOND_US


class Stage:
    """One story being acted out. `watch.broken` says what went wrong first."""

    def __init__(self, plan: Plan, hear: Hear | None = None) -> None:
        self.plan = plan
        chance = Random(f"{plan.seed} on stage")  # noqa: S311 - A story, no secret.
        self._bits = chance.getrandbits
        self.began_us = EPOCH_US + chance.randrange(SPREAD_US)
        self.clock = SteppedClock(self.began_us)
        self.kept = MemoryJournal()
        self.outage = Outage()
        self.exchange = Faults()
        self.store = UnreliableStore()
        self.around = Surroundings(exchange=self.exchange, database=self.outage, store=self.store, bits=self._bits)
        self.scheduler = SeededScheduler(chance, self.clock, hear)
        self.scheduler.pace = plan.pace
        self.watch = Watch(plan.settings, self.kept, self.clock)
        self.struck: Counter[str] = Counter()
        """How often each step, fault and kind of crash came to pass."""
        self._happened: Counter[tuple[OrderStatus, Happening]] = Counter()
        """To the orders of engines that are gone."""
        self.trades: list[TradeProposal] = []
        self.audits = 0
        """How often the books were compared in its quiet moments."""
        self.asleep_us = 0
        """For how long in all the machine has slept."""
        self._names = seeded_ids(f"{plan.seed} names")
        self._prices = dict(PRICES)
        self._ticks = 0
        self._runs = 0
        self._dies_at = NEVER
        self._crash: Crash | None = None
        self._again: list[int] = []
        self.kept.note = self.watch.committed
        self._start()

    def close(self) -> None:
        """The story is over: what is still under way never happens."""
        self.scheduler.crash(lambda _operation: False)

    @property
    def handled(self) -> int:
        """How many messages have been read."""
        return len(self.scheduler.trace) // 2

    @property
    def books_of_exchange(self) -> MockExchangeActor:
        """The exchange of the machine that runs now."""
        return self.machine.actors["exchange"]  # type: ignore[return-value]

    @property
    def happened(self) -> Counter[tuple[OrderStatus, Happening]]:
        """How often each thing has happened to orders of each status, whichever engine had them."""
        orders = self.machine.actors.get("order")
        return self._happened + orders.happened if isinstance(orders, OrderActor) else self._happened

    # Time -----------------------------------------------------------------------------------------

    def passes(self, by_us: int) -> None:
        """Let everything happen that happens in the next `by_us`; stop at the first thing that is wrong."""
        self._run_to(self.clock.now_us() + by_us)

    def _run_to(self, until_us: int) -> None:
        step, trace, watch = self.scheduler.step, self.scheduler.trace, self.watch
        while watch.broken is None:
            machine = self.machine
            while machine.exit_code is None and watch.broken is None and len(trace) < self._dies_at and step(until_us):
                pass
            if machine.exit_code is not None:
                self._exit(machine)
            elif len(trace) >= self._dies_at:
                self._die()
            else:
                self.clock.advance_to(until_us)
                return

    # Steps ----------------------------------------------------------------------------------------

    def act(self, step: Step) -> None:
        """Do the step, unless something is wrong already."""
        if self.watch.broken is None:
            self.struck[type(step).__name__] += 1
            self._do(step)

    def _do(self, step: Step) -> None:  # noqa: C901, PLR0912  # One case a kind of step.
        match step:
            case PriceMoves():
                self._move_price(step.symbol, step.move_bps)
            case Propose():
                self._propose(step)
            case Cancel():
                self._cancel(step)
            case Close():
                trade = self._trade(step.trade)
                if trade is not None:
                    self.machine.tell(CloseTrade(request_id=self._name(), target_id=trade.id), trade.id)
            case Protect():
                self._protect(step)
            case SetState():
                self.machine.tell(SetTradingState(state=step.state, reason="the story says so", operator="story"))
            case Strike():
                self.around.resting[:] = [
                    order.order_id for order in self.books_of_exchange.books.history.open.values()
                ]
                STRIKES[step.fault](self.around, step.amount)
            case Heal():
                heal(self.around)
                give_back(self.around, self.books_of_exchange.books.account.moved)
            case Crash():
                self._crash, self._again = step, list(step.again)
                self._dies_at = len(self.scheduler.trace) + 2 * step.messages
            case Restart():
                self.machine.drain()
                self.passes(DRAIN_US)
            case Jump():
                self.asleep_us += step.by_us
                self.clock.advance_to(self.clock.now_us() + step.by_us)
            case _:
                raise TypeError(f"{type(step).__name__} is no step")

    def _move_price(self, symbol: Symbol, move_bps: int) -> None:
        tick = self.plan.settings.execution.instruments[symbol].price_tick_quote
        price = self._prices[symbol] * (BPS + move_bps) / BPS
        self._prices[symbol] = max(price // tick * tick, tick)
        self.tick(symbol)

    def tick(self, symbol: Symbol) -> None:
        """A trade happens at the price of the moment."""
        self._ticks += 1
        self.machine.tell(
            Tick(
                symbol=symbol,
                price_quote=self._prices[symbol],
                at_us=self.clock.now_us(),
                sequence=self._ticks,
            )
        )

    def tick_all(self) -> None:
        """A trade happens in every symbol."""
        for symbol in PRICES:
            self.tick(symbol)

    def _trade(self, number: int) -> TradeProposal | None:
        return self.trades[number % len(self.trades)] if self.trades else None

    def _name(self) -> ProposalId:
        return ProposalId(self._names())

    def _propose(self, step: Propose) -> None:
        if step.flaw is Flaw.UNREADABLE:
            self.machine.tell(RejectRequest(request_id=self._name(), code="UNREADABLE", reason="no JSON", raw="{"))
            return
        proposal = self._proposal(step)
        self.trades.append(proposal)
        self.machine.tell(ExecuteTrade(proposal=proposal), proposal.id)

    def _proposal(self, step: Propose) -> TradeProposal:
        price = self._prices[step.symbol]
        sign = 1 if step.side is Side.BUY else -1
        size = Decimal(step.size_usd) / (XRP_BTC_SHARE if step.symbol == "XRP/BTC" else 1)
        proposal = TradeProposal(
            id=self._name(),
            at_us=self.clock.now_us(),
            symbol=step.symbol,
            side=step.side,
            size_usd=size,
            order_type=OrderType.MARKET if step.entry_bps is None else OrderType.LIMIT,
            entry_price_quote=_beside(price, None if step.entry_bps is None else -sign * step.entry_bps),
            stop_loss_quote=_beside(price, None if step.stop_bps is None else -sign * step.stop_bps),
            take_profit_quote=_beside(price, None if step.target_bps is None else sign * step.target_bps),
            leverage=step.leverage,
            trailing=step.trailing,
        )
        return self._flawed(proposal, step.flaw, price)

    def _flawed(self, proposal: TradeProposal, flaw: Flaw, price: Decimal) -> TradeProposal:
        earlier = self._trade(self._bits(8)) or proposal
        match flaw:
            case Flaw.NONE | Flaw.UNREADABLE:
                return proposal
            case Flaw.NEGATIVE_SIZE:
                return attrs.evolve(proposal, size_usd=-proposal.size_usd)
            case Flaw.UNKNOWN_SYMBOL:
                return attrs.evolve(proposal, symbol=Symbol("DOGE/USDT"))
            case Flaw.STOP_ON_THE_WRONG_SIDE:
                return attrs.evolve(
                    proposal, stop_loss_quote=price * (2 if proposal.side is Side.BUY else 1) / 2 + price
                )
            case Flaw.NO_LEVERAGE:
                return attrs.evolve(proposal, leverage=0)
            case Flaw.TOO_SMALL:
                return attrs.evolve(proposal, size_usd=proposal.size_usd / 1_000_000)
            case Flaw.TOO_LARGE:
                return attrs.evolve(proposal, size_usd=proposal.size_usd * 1_000)
            case Flaw.SAME_AGAIN:
                return earlier
            case Flaw.CONTRADICTS:
                return attrs.evolve(earlier, size_usd=earlier.size_usd * 2, side=earlier.side.opposite)
            case _:
                assert_never(flaw)

    def _cancel(self, step: Cancel) -> None:
        trade = self._trade(step.trade)
        if trade is not None:
            message = CancelTrade(request_id=self._name(), target_id=trade.id)
            for _ in range(2 if step.is_said_twice else 1):
                self.machine.tell(attrs.evolve(message), trade.id)

    def _protect(self, step: Protect) -> None:
        trade = self._trade(step.trade)
        if trade is None or trade.symbol not in self._prices:
            return
        price = self._prices[trade.symbol]
        sign = 1 if trade.side is Side.BUY else -1
        self.machine.tell(
            ChangeProtection(
                request_id=self._name(),
                target_id=trade.id,
                stop_loss_quote=_beside(price, None if step.stop_bps is None else -sign * step.stop_bps),
                take_profit_quote=_beside(price, None if step.target_bps is None else sign * step.target_bps),
                trailing=step.trailing,
            ),
            trade.id,
        )

    # Dying and coming back ------------------------------------------------------------------------

    def _start(self) -> None:
        self._runs += 1
        journal = UnreliableJournal(self.kept, self.outage)
        execution = self.plan.settings.execution
        run_at_once(self.kept.open_account(execution.paper.balances, self.clock.now_us()))
        world = World(
            settings=self.plan.settings,
            clock=self.clock,
            new_id=seeded_ids(f"{self.plan.seed} run {self._runs}"),
            journal=journal,
            equity_start_usd=execution.in_account_money(execution.paper.balances),
            book_store=self.store,
            faults=self.exchange,
            is_repeatable=True,
        )
        self._world = world
        self.machine = SimulatedMachine(world, self.scheduler, self.scheduler.timers, Switchboard(logs=False))
        self.machine.switchboard.tap(self.watch.see)
        self.machine.start()
        self.watch.books = self.books_of_exchange.books
        if self._bits(1):
            self.tick_all()

    def _exit(self, machine: SimulatedMachine) -> None:
        """The process has ended by itself: drained, or because of something unexpected."""
        if machine.exit_code != 0 and not machine.is_without_database:
            self.watch.breaks("crash-only", machine.exit_reason)
            return
        self.struck["drained" if machine.exit_code == 0 else "no start without a database"] += 1
        if self.outage.is_away and self.struck["no start without a database"] % STARTS_MAX == 0:
            self.outage.is_away = False
        self._happened = self.happened
        self.scheduler.crash(self._survives)
        self._dies_at = NEVER
        self._start()

    def _die(self) -> None:
        crash = self._crash
        if crash is None:
            raise RuntimeError("nobody has asked for a crash")
        self.struck["crash while it starts" if not self.machine.is_ready else "crash"] += 1
        self._happened = self.happened
        self.scheduler.crash(self._survives)
        self._dies_at = NEVER
        self._be_away(crash)
        self._start()
        if self._again:
            self._dies_at = len(self.scheduler.trace) + 2 * self._again.pop()

    def _survives(self, operation: str) -> bool:
        """Say whether I/O under way at a crash has happened: the seed decides."""
        survives = bool(self._bits(1))
        self.struck[f"{operation} {'survived' if survives else 'died'}"] += 1
        return survives

    def _be_away(self, crash: Crash) -> None:
        """The exchange goes on without us: prices move, orders fill, and nobody hears of it."""
        if not crash.downtime_us:
            return
        self.machine = ExchangeAlone(self._world, self.scheduler, self.scheduler.timers, Switchboard(logs=False))
        self.machine.start()
        for move_bps in crash.moves_bps:
            self.passes(crash.downtime_us // (len(crash.moves_bps) + 1))
            self._move_price(Symbol("BTC/USDT"), move_bps)
        self.passes(crash.downtime_us // (len(crash.moves_bps) + 1))
        while not self.books_of_exchange.is_settled():
            self.passes(SECOND_US)
        self.scheduler.crash(lambda _operation: True)


def _beside(price: Decimal, move_bps: int | None) -> Decimal | None:
    """Return the price so far away, None for none."""
    return None if move_bps is None else price * (BPS + move_bps) / BPS

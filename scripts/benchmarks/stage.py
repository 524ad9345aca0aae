"""An engine without limits to measure in: real actors, a mock exchange, and the journal that the benchmark chooses.

Rate limits, position limits and cooldowns are configured away: they exist to slow trading down.
Read in order: unlimited(), Stage, server().
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from uuid import uuid4

import attrs
from loguru import logger

from actors.engine import Engine
from actors.exchange.mock.store import BookStore
from actors.runtime.clock import MICROSECONDS, SteppedClock
from actors.runtime.ids import seeded_ids
from actors.system import World
from config.loader import load_settings
from config.settings import CooldownSettings, LimitSettings, RateLimitSettings, RiskSettings, Settings
from messages.base import Currency, ProposalId, Symbol
from messages.bus import NumberedEvent
from messages.journal import RecordSnapshots, RecordUnit
from messages.market import Tick
from messages.trades import ExecuteTrade, OrderType, Side, TradeProposal
from persistence.database import Database
from persistence.journal import PostgresJournal
from persistence.memory import MemoryJournal
from persistence.protocol import Journal

START_US = 1_750_000_000 * MICROSECONDS
SYMBOL = Symbol("BTC/USDT")
PRICE = Decimal(100_000)
LEVERAGE = 2
ENDLESS = 10**9
BALANCES = {Currency("USDT"): Decimal(10) ** 12, Currency("BTC"): Decimal(0)}


def unlimited() -> Settings:
    """Return the default settings with nothing in the way of trading as fast as it goes."""
    chosen = load_settings()
    execution = attrs.evolve(
        chosen.execution,
        rate_limits=RateLimitSettings(
            api_per_minute=ENDLESS,
            api_burst=ENDLESS,
            orders_per_minute=ENDLESS,
            orders_burst=ENDLESS,
            kraken_tier="none",
        ),
        paper=attrs.evolve(chosen.execution.paper, balances=BALANCES),
    )
    limits = LimitSettings(
        positions_per_symbol_max=ENDLESS, positions_total_max=ENDLESS, exposure_max_pct=Decimal(ENDLESS)
    )
    cooldowns = CooldownSettings(after_win_s=0, after_loss_s=0, after_3_losses_s=0, after_5_losses_s=0)
    return Settings(execution=execution, risk=RiskSettings(limits=limits, cooldowns=cooldowns))


class ForgetfulJournal(MemoryJournal):
    """Numbers the events and keeps nothing, for measurements in which the journal's memory would be in the way."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Number the events."""
        events = (event for unit in units if not isinstance(unit, RecordSnapshots) for event in unit.events)
        return tuple(NumberedEvent(sequence=next(self._numbers), event=event) for event in events)


class Stage:
    """A started engine, and the hands of whoever measures it. Its clock stands still: no timer fires unasked."""

    def __init__(self, engine: Engine, clock: SteppedClock) -> None:
        self.engine = engine
        self.clock = clock
        self._sequence = count(1)
        self._new_id = seeded_ids(str(uuid4()))

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        journal: Journal,
        *,
        settings: Settings | None = None,
        book_store: BookStore | None = None,
        is_repeatable: bool = True,
        starts_at_us: int = START_US,
    ) -> AsyncIterator[Stage]:
        """Start an engine that has heard one price."""
        chosen = settings or unlimited()
        balances = await journal.open_account(chosen.execution.paper.balances)
        clock = SteppedClock(starts_at_us)
        engine = Engine(
            World(
                settings=chosen,
                clock=clock,
                new_id=seeded_ids(str(uuid4())),
                journal=journal,
                equity_start_usd=sum(balances.values(), Decimal(0)),
                book_store=book_store,
                is_repeatable=is_repeatable,
                io_suspends=isinstance(journal, PostgresJournal),
            )
        )
        stage = cls(engine, clock)
        engine.start()
        try:
            await engine.until_quiet()
            if not engine.is_ready:
                raise RuntimeError(f"the engine did not come up: {engine.exit_reason}")
            engine.tell(stage.tick(PRICE))
            await engine.until_quiet()
            yield stage
        finally:
            await engine.close()

    def tick(self, price_quote: Decimal) -> Tick:
        """Return the next tick of the symbol."""
        return Tick(symbol=SYMBOL, price_quote=price_quote, at_us=self.clock.now_us(), sequence=next(self._sequence))

    def ticks(self, prices_quote: list[Decimal]) -> list[Tick]:
        """Return ticks at these prices, one after the other."""
        return [self.tick(price_quote) for price_quote in prices_quote]

    def proposal(
        self,
        *,
        stop: Decimal | None = None,
        target: Decimal | None = None,
        trailing: bool = False,
    ) -> ExecuteTrade:
        """Return a market buy for 500 USDT on margin, where stop and target both rest on the exchange."""
        return ExecuteTrade(
            proposal=TradeProposal(
                id=ProposalId(self._new_id()),
                at_us=self.clock.now_us(),
                symbol=SYMBOL,
                side=Side.BUY,
                size_usd=Decimal(500),
                order_type=OrderType.MARKET,
                stop_loss_quote=stop,
                take_profit_quote=target,
                leverage=LEVERAGE,
                trailing=trailing,
            )
        )

    def hand_in(self, command: ExecuteTrade) -> None:
        """Hand a proposal in as a strategy does."""
        self.engine.tell(command, command.proposal.id)

    def feed(self, ticks: list[Tick]) -> float:
        """Tell the ticks one by one, each fully handled before the next; return microseconds a tick."""
        tell, settle = self.engine.tell, self.engine.settle
        began_ns = time.perf_counter_ns()
        for tick in ticks:
            tell(tick)
            settle()
        return (time.perf_counter_ns() - began_ns) / 1_000 / len(ticks)


@contextmanager
def state_directory() -> Iterator[Path]:
    """Lend an empty state directory, with a path that every user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="triplegain-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def server() -> AsyncIterator[Database]:
    """Run an embedded PostgreSQL of its own, with our tables: what is measured is durable, and nobody shares it."""
    with state_directory() as directory:
        database = await Database.open(None, directory)
        try:
            yield database
        finally:
            await database.stop()


@asynccontextmanager
async def postgres_journal(database: Database) -> AsyncIterator[PostgresJournal]:
    """Lend the journal of a fresh account."""
    journal = PostgresJournal(database.connect, f"bench-{uuid4()}")
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def quiet_logs() -> None:
    """Show errors alone: what a log line costs is its terminal's or file's, not the engine's."""
    logger.remove()
    logger.add(sys.stderr, level="ERROR")

"""One run, from its arguments to its exit code: settings, database, engine, prices, end, report.

Read in order: trade_until_done(), Session.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import TypeVar

import attrs
from loguru import logger

from actors.engine import Engine
from actors.exchange.mock.store import Progress
from actors.market.files import PriceFileError
from actors.market.sources import LIVE, PriceStream, open_prices
from actors.runtime.clock import MICROSECONDS, Clock, PacedClock, SteppedClock, as_datetime
from actors.runtime.ids import random_ids, seeded_ids
from actors.runtime.pacer import Ending, Pacer
from actors.supervisor.policy import EXIT_FAILED, EXIT_REFUSED
from actors.system import World
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings, TradingMode
from messages.base import Symbol
from messages.market import Tick
from messages.trades import ExecuteTrade
from persistence.database import SERVER_ERRORS, Connection, Database, disconnect, is_outage
from persistence.errors import AccountHeldError, DatabaseUnreachableError, SchemaError
from persistence.journal import PostgresJournal
from persistence.paper import PostgresBookStore
from persistence.partitions import drop_old_partitions
from persistence.protocol import Journal, JournalUnavailableError
from persistence.runs import Run, begin_run, end_run
from persistence.waiting import WaitingJournal
from scripts.arguments import Arguments
from scripts.demo import DemoStrategy
from scripts.live import LiveError, Opened, is_real, opened, refuse_unless_allowed, wall_us
from scripts.live_prices import LivePrices, kept_open
from scripts.logs import configure_logging
from scripts.proposals import ProposalFileError, TimedRequest, read_requests
from scripts.run_report import RunReport, Wall, as_json, as_log_line, as_text, make_report
from scripts.view.live import LiveView

EXIT_DONE = 0
EXIT_CONFIGURATION = 2
EXIT_DATABASE = 3
SETTLE_MAX_US = 180 * MICROSECONDS
"""After the end of the prices, what is under way may take so long on their clock."""
TICKS_PER_TURN = 65_536
"""While known ticks are passed over, the event loop looks after signals so often."""
PATIENCE_TICKS = 16 * TICKS_PER_TURN
"""Passing over more takes a second or more, so it is said."""
AWAY_MAX_S = 10
"""A run that is to stop does not wait any longer than this for a database that is away."""
LOOK_EVERY_S = 0.1
END_RETRY_S = 1
REPLAY_SNAPSHOTS_TOGETHER = 60
"""A replay at full speed photographs thousands of times a second: the photographs are written in groups."""

T = TypeVar("T")


class UsageError(Exception):
    """The arguments do not fit together or do not fit what is kept. The text says what to do."""


def trade_until_done(arguments: Arguments) -> int:
    """Trade, and return the exit code: 0 done, 2 bad usage or configuration, 3 no database, 70 an actor failed."""
    try:
        settings = load_settings(arguments.config)
        refuse_unless_allowed(settings)
        return asyncio.run(_trade(arguments, settings))
    except (ConfigurationError, PriceFileError, ProposalFileError, UsageError, LiveError, AccountHeldError) as error:
        return _say(error, EXIT_CONFIGURATION)
    except (DatabaseUnreachableError, JournalUnavailableError, SchemaError) as error:
        return _say(error, EXIT_DATABASE)
    except (*SERVER_ERRORS, ConnectionError, TimeoutError) as error:
        if not is_outage(error):
            raise
        return _say(DatabaseUnreachableError(f"the database went away: {error}"), EXIT_DATABASE)


def _say(error: Exception, exit_code: int) -> int:
    print(f"triplegain: {' '.join(str(error).split())}", file=sys.stderr)
    return exit_code


async def _trade(arguments: Arguments, settings: Settings) -> int:
    stop = stop_on_signals()
    stream = open_prices(arguments.prices, settings.execution.instruments)
    refuse_contradictions(arguments, stream, settings)
    requests = list(read_requests(arguments.proposals)) if arguments.proposals is not None else []
    is_on_screen = sys.stdout.isatty() and not arguments.log_json
    configure_logging(
        as_json=arguments.log_json,
        level="WARNING" if is_on_screen else arguments.log_level,
        stream=sys.stderr if is_on_screen else sys.stdout,
    )
    database = await _open_database(arguments.state)
    try:
        async with _exchange(arguments, settings) as exchange:
            if exchange is not None:
                settings = exchange.settled(settings)
            session = Session(arguments, _for_speed(settings, arguments), stream, requests, database, stop, exchange)
            return await session.run(is_on_screen=is_on_screen)
    finally:
        await database.stop()


@asynccontextmanager
async def _exchange(arguments: Arguments, settings: Settings) -> AsyncIterator[Opened | None]:
    """Open Kraken for live trading; None for paper."""
    if settings.execution.trading_mode is TradingMode.PAPER:
        yield None
        return
    async with opened(settings.execution, arguments.speed or 1) as exchange:
        yield exchange


def stop_on_signals() -> asyncio.Event:
    """Return the event that the first Ctrl-C or SIGTERM sets; a second one is left to Python's own way."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def note(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, note, number)
    return stop


def refuse_contradictions(arguments: Arguments, stream: PriceStream, settings: Settings) -> None:
    """Raise UsageError for what would go on for ever, be lost at the end, or trade on another world's prices."""
    is_live = settings.execution.trading_mode is TradingMode.LIVE
    if is_live and not stream.is_live:
        raise UsageError(f"trading_mode is live: prices must be {LIVE}, not {' '.join(arguments.prices)}")
    if stream.is_live and arguments.speed is None:
        raise UsageError(f"--speed max: prices {LIVE} come as fast as they come; leave --speed out")
    if is_live and arguments.speed != 1 and is_real(settings.execution.kraken):
        raise UsageError(f"--speed {arguments.speed}: at Kraken itself time goes as fast as everywhere; leave it out")
    if arguments.until_prices_end and not stream.has_end and arguments.for_seconds is None:
        raise UsageError("--until-prices-end: random prices have no end; say how long with --for SECONDS")
    report = arguments.report
    if report is not None and (report.is_dir() or not _is_writable(report)):
        raise UsageError(f"--report {report}: cannot be written; name a file in a directory that exists")


def _is_writable(path: Path) -> bool:
    return os.access(path if path.exists() else path.parent, os.W_OK)


async def _open_database(state: Path) -> Database:
    url = os.environ.get("DATABASE_URL") or None
    try:
        return await Database.open(url, state)
    except OSError as error:
        if url is not None:
            raise
        raise UsageError(f"--state {state}: cannot be used: {error.strerror or error}") from error


def _for_speed(settings: Settings, arguments: Arguments) -> Settings:
    """Write photographs together in a replay; let the journal's timers run on the wall clock, as its server does."""
    if arguments.speed is not None:
        journal = settings.execution.journal
        journal = attrs.evolve(
            journal,
            retry_ms=journal.retry_ms * arguments.speed,
            commit_slow_ms=journal.commit_slow_ms * arguments.speed,
        )
        return attrs.evolve(settings, execution=attrs.evolve(settings.execution, journal=journal))
    snapshots = settings.execution.snapshots
    together = max(snapshots.write_every, REPLAY_SNAPSHOTS_TOGETHER)
    snapshots = attrs.evolve(snapshots, write_every=together)
    return attrs.evolve(settings, execution=attrs.evolve(settings.execution, snapshots=snapshots))


class Session:
    """One run on an open database."""

    def __init__(
        self,
        arguments: Arguments,
        settings: Settings,
        stream: PriceStream,
        requests: list[TimedRequest],
        database: Database,
        stop: asyncio.Event,
        exchange: Opened | None,
    ) -> None:
        self._arguments = arguments
        self._settings = settings
        self._stream = stream
        self._requests = requests
        self._database = database
        self._account = settings.execution.account
        self._stop = stop
        self._exchange = exchange
        self._ends_late_because = ""
        """Why the end of the run waits for the database; empty when it does not."""
        self._began_ns = time.monotonic_ns()

    async def run(self, *, is_on_screen: bool) -> int:
        """Take the account, trade, and give everything back."""
        impatient = self._database.answering_within(self._settings.execution.journal.commit_timeout_s)
        journal = PostgresJournal(impatient.connect, self._account, self._settings.execution.journal)
        store = PostgresBookStore(impatient.connect, self._account)
        try:
            if not await self._take_account(journal):
                return EXIT_DONE
            waiting = WaitingJournal(journal, retry_ms=self._settings.execution.journal.retry_ms)
            work = self._run_with(journal, waiting, store, is_on_screen=is_on_screen)
            return await self._unless_in_vain(work, lambda: self._is_away(waiting, store))
        finally:
            await journal.close()
            await store.close()

    async def _take_account(self, journal: PostgresJournal) -> bool:
        """Return whether we have it: another engine may own it, and we may be told to stop while we wait."""
        opening = asyncio.create_task(journal.open())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait((opening,))
            logger.info("stopped while the account {} was waited for", self._account)
            return False
        opening.result()
        return True

    async def _unless_in_vain(self, work: Coroutine[object, object, int], why_away: Callable[[], str]) -> int:
        """Return what the work returns; give it up when it is to stop and the database stays away."""
        working = asyncio.create_task(work)
        away = asyncio.create_task(self._stay_away(why_away))
        try:
            await asyncio.wait((working, away), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise DatabaseUnreachableError(
                f"stopped while the database was away ({away.result()}): start again, and it goes on from what is kept"
            )
        finally:
            away.cancel()
            working.cancel()
            await asyncio.wait((working,))

    async def _stay_away(self, why_away: Callable[[], str]) -> str:
        """Return why the database is away, once it has been so for too long for a run that is to stop."""
        await self._stop.wait()
        looks = 0
        while True:
            reason = why_away()
            looks = looks + 1 if reason else 0
            if looks * LOOK_EVERY_S >= AWAY_MAX_S:
                return reason
            await asyncio.sleep(LOOK_EVERY_S)

    def _is_away(self, waiting: WaitingJournal, store: PostgresBookStore) -> str:
        return waiting.waits_because or store.waits_because or self._ends_late_because

    async def _run_with(
        self, journal: PostgresJournal, waiting: WaitingJournal, store: PostgresBookStore, *, is_on_screen: bool
    ) -> int:
        connection = await self._database.connect()
        try:
            return await self._run_from(connection, journal, waiting, store, is_on_screen=is_on_screen)
        finally:
            await disconnect(connection)

    async def _run_from(
        self,
        connection: Connection,
        journal: PostgresJournal,
        waiting: WaitingJournal,
        store: PostgresBookStore,
        *,
        is_on_screen: bool,
    ) -> int:
        progress = await store.progress()
        ticks, starts_at_us = await self._beginning(progress)
        run = await begin_run(connection, self._account, self._until_us(starts_at_us), self._arguments.identity)
        months = self._settings.execution.journal.retention_months
        await drop_old_partitions(connection, self._account, months=months, now_us=starts_at_us)
        given = self._settings.execution.paper.balances if self._exchange is None else self._exchange.balances
        balances = await journal.open_account(given, starts_at_us)
        equity_start_usd = self._settings.execution.in_account_money(balances)
        kept_by: Journal = waiting if self._arguments.speed is None else journal
        # After a restore the run has the number of one that the exchange remembers: its ids must not come again.
        seed = f"{self._account} {run.number} after {progress.sequence}"
        engine = Engine(self._world(kept_by, store, seed, starts_at_us, equity_start_usd))
        try:
            requests = await self._unknown_requests(journal)
            self._watch = asyncio.create_task(self._stop_with(engine))
            self._start_demo(engine, run)
            engine.start()
            spare_the_collector()
            if self._exchange is None:
                await engine.until_quiet()  # Kraken's answers take their time, and timers must run meanwhile.
            logger.info(
                "{} run {} of account {} at {}",
                "resuming" if run.resumed else "starting", run.number, self._account, as_datetime(starts_at_us),
            )  # fmt: skip
            prices = self._live_prices(engine, progress, requests)
            pacer = Pacer(
                engine=engine,
                ticks=ticks,
                requests=requests,
                stop=self._stop,
                until_us=run.until_us,
                until_prices_end=self._arguments.until_prices_end,
                may_request=None if prices is None else prices.are_known,
            )
            view = LiveView(
                engine=engine,
                pacer=pacer,
                stream=self._stream,
                arguments=self._arguments,
                settings=self._settings,
                equity_start_usd=equity_start_usd,
                until_us=run.until_us,
                connection=connection,
                is_on_screen=is_on_screen,
            )
            async with AsyncExitStack() as during:
                if prices is not None:
                    await during.enter_async_context(kept_open(prices))
                await during.enter_async_context(view)
                await disconnect(connection)  # It would hardly outlive the run: who needs one at the end opens it.
                ending = await pacer.run()
                await self._end(engine, ending)
            code = engine.exit_code
            if code == EXIT_FAILED:
                return _say(RuntimeError(f"stopped: {engine.exit_reason}"), EXIT_FAILED)
            if code == EXIT_REFUSED:
                return _say(RuntimeError(f"stopped: {engine.exit_reason}"), EXIT_REFUSED)
            report = await self._report(engine, journal, store, run, prices)
            self._show(report)
            return code if code is not None else EXIT_DONE
        finally:
            await engine.close()

    async def _beginning(self, progress: Progress) -> tuple[Iterator[Tick], int]:
        """Return the ticks to hand in, and when the clock begins."""
        if self._stream.is_live:
            now_us = wall_us() if self._exchange is None else self._exchange.clock.now_us()
            return iter(()), max(progress.at_us, now_us)
        ticks, first = await self._ticks_after(progress)
        return ticks, max(progress.at_us, self._stream.starts_at_us if first is None else first.at_us)

    def _live_prices(self, engine: Engine, progress: Progress, requests: list[TimedRequest]) -> LivePrices | None:
        if not self._stream.is_live:
            return None
        kraken, speed = self._settings.execution.kraken, self._arguments.speed or 1
        proposals = (request.message.proposal for request in requests if isinstance(request.message, ExecuteTrade))
        needed = frozenset(proposal.symbol for proposal in proposals)
        return LivePrices(
            engine, kraken, tuple(self._settings.execution.instruments), progress.sequence + 1, speed, needed
        )

    async def _report(
        self,
        engine: Engine,
        journal: PostgresJournal,
        store: PostgresBookStore,
        run: Run,
        prices: LivePrices | None,
    ) -> RunReport:
        """Sum up, with timers running where the exchange's answers wait for them."""

        async def sum_up(connection: Connection) -> RunReport:
            ticks = (await store.progress()).sequence if prices is None else prices.told
            return await self._sum_up(connection, engine, journal, run, ticks)

        pump = asyncio.create_task(_fire_paced(engine, engine.clock)) if self._exchange is not None else None
        try:
            return await self._at_the_database(sum_up)
        finally:
            if pump is not None:
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)

    async def _sum_up(
        self, connection: Connection, engine: Engine, journal: PostgresJournal, run: Run, ticks: int
    ) -> RunReport:
        """Note that the run has ended by itself, and report."""
        await end_run(connection, self._account, run.number)
        return await make_report(
            engine=engine,
            journal=journal,
            connection=connection,
            settings=self._settings,
            account=self._account,
            ticks=ticks,
            wall=Wall(began_ns=self._began_ns),
        )

    async def _at_the_database(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do the work on a connection of its own; when the database is away, try again until it is back."""
        while True:
            connection: Connection | None = None
            try:
                connection = await self._database.connect()
                result = await work(connection)
            except (*SERVER_ERRORS, OSError, TimeoutError, DatabaseUnreachableError) as error:
                if not is_outage(error):
                    raise
                self._ends_late_because = str(error) or type(error).__name__
                logger.warning("The end of the run waits for the database: {}", self._ends_late_because)
                await asyncio.sleep(END_RETRY_S)
            else:
                self._ends_late_because = ""
                return result
            finally:
                await disconnect(connection)

    async def _ticks_after(self, progress: Progress) -> tuple[Iterator[Tick], Tick | None]:
        """Return the ticks to hand in, and the first of those that the account has not seen.

        Before them comes the last known tick of each symbol: nothing trades on it again, but everybody knows a price.
        """
        seen = (progress.at_us, progress.sequence)
        last: dict[Symbol, Tick] = {}
        first = None
        for passed, tick in enumerate(self._stream.ticks, start=1):
            if (tick.at_us, tick.sequence) > seen:
                first = tick
                break
            last[tick.symbol] = tick
            if passed % TICKS_PER_TURN == 0:
                if passed == PATIENCE_TICKS:
                    logger.info("passing over prices up to {}, which the account knows", as_datetime(progress.at_us))
                await asyncio.sleep(0)
                if self._stop.is_set():
                    break
        known = _newest_first(last.values())
        if first is not None:
            return chain(known, (first,), self._stream.ticks, self._note_end()), first
        if not self._stop.is_set() and known[-1].at_us < progress.at_us:
            raise UsageError(
                f"the prices end at {as_datetime(known[-1].at_us)}, but the account {self._account} has come to "
                f"{as_datetime(progress.at_us)}: give later prices, another --state, or another account"
            )
        return chain(known, self._note_end()), None

    def _note_end(self) -> Iterator[Tick]:
        """Say that the prices have ended, to those who wait: comes after the last tick."""
        if not self._arguments.until_prices_end:
            logger.info("the prices have ended; --until-prices-end would end the run here")
        yield from ()

    def _until_us(self, starts_at_us: int) -> int | None:
        seconds = self._arguments.for_seconds
        return None if seconds is None else starts_at_us + seconds * MICROSECONDS

    def _world(
        self, journal: Journal, store: PostgresBookStore, seed: str, starts_at_us: int, equity_usd: Decimal
    ) -> World:
        speed = self._arguments.speed
        exchange = self._exchange
        clock = SteppedClock(starts_at_us) if speed is None else PacedClock(starts_at_us, speed)
        return World(
            settings=self._settings,
            clock=clock if exchange is None else exchange.clock,
            new_id=seeded_ids(seed) if speed is None else random_ids(),
            journal=journal,
            equity_start_usd=equity_usd,
            book_store=store if exchange is None else None,
            venue=None if exchange is None else exchange.venue,
            is_repeatable=speed is None,
        )

    async def _unknown_requests(self, journal: PostgresJournal) -> list[TimedRequest]:
        """Return the requests that no earlier run has kept: those are done, the others are due, late or not."""
        ids = {request.request_id for request in self._requests}
        known = await journal.known_requests(ids)
        return [request for request in self._requests if request.request_id not in known]

    async def _stop_with(self, engine: Engine) -> None:
        await engine.until_ended()
        self._stop.set()

    def _start_demo(self, engine: Engine, run: Run) -> None:
        if not self._arguments.demo:
            return
        execution = self._settings.execution
        seed = f"demo {self._account} {run.number}"
        demo = DemoStrategy(
            settings=execution.demo,
            instruments=execution.instruments,
            usd_equivalents=execution.usd_equivalents,
            new_id=seeded_ids(seed),
            seed=seed,
            tell=engine.tell,
        )
        engine.switchboard.tap(demo.listen)

    async def _end(self, engine: Engine, ending: Ending) -> None:
        """Let what is under way settle, then drain: on a stepped clock, time has to be moved for that."""
        if engine.failed:
            return
        logger.info("draining: {}", ending.value)
        clock = engine.clock
        if isinstance(clock, SteppedClock):
            await _step_until(engine, clock, engine.is_drained)
            engine.drain()
            await _step_until(engine, clock, lambda: engine.failed)
        else:
            pump = asyncio.create_task(_fire_paced(engine, clock))
            engine.drain()
            await engine.until_ended()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def _show(self, report: RunReport) -> None:
        """Write the report first: whoever reads the summary may go away."""
        if self._arguments.report is not None:
            try:
                self._arguments.report.write_text(as_json(report) + "\n", encoding="utf-8")
            except OSError as error:
                raise UsageError(f"--report {self._arguments.report}: cannot be written: {error.strerror}") from error
        print(as_log_line(report) if self._arguments.log_json else as_text(report))


def _newest_first(ticks: Iterable[Tick]) -> list[Tick]:
    """Return the ticks so that no request comes between them, and the newest at the end once more."""
    newest_first = sorted(ticks, key=lambda tick: tick.sequence, reverse=True)
    return newest_first + newest_first[:1]


async def _step_until(engine: Engine, clock: SteppedClock, is_done: Callable[[], bool]) -> None:
    """Fire timers, each at its instant, until it is done or SETTLE_MAX_US has passed on the prices' clock."""
    await engine.until_quiet()
    until_us = clock.now_us() + SETTLE_MAX_US
    while not is_done() and not engine.failed:
        due_us = engine.timers.next_due_us()
        if due_us is None or due_us > until_us:
            return
        clock.advance_to(due_us)
        engine.timers.fire_next()
        await engine.until_quiet()


async def _fire_paced(engine: Engine, clock: Clock) -> None:
    """Fire timers when they are due, looking every 10 ms."""
    while True:
        while (due_us := engine.timers.next_due_us()) is not None and due_us <= clock.now_us():
            engine.timers.fire_next()
        await asyncio.sleep(0.01)


def spare_the_collector() -> None:
    """Messages are frozen values without cycles: look for garbage seldom, and never among what the start has made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)

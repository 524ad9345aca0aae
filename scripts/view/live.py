"""What a person sees on a terminal while the engine runs. In a pipe there is nothing to see: log lines say it.

Drawn four times a second on the wall clock, as a task on the engine's own loop, from what the actors show to those who
look in: nothing is counted or copied while a message is handled. It is drawn in place and not on the alternate screen:
warnings scroll off above it and stay in the terminal's history, and the last picture stays above the summary.
A view that fails ends itself, never the trading. Read in order: Lookout, LiveView.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from loguru import logger
from rich.console import Console, ConsoleDimensions
from rich.live import Live

from actors.bus.subscription import Subscription
from actors.engine import Engine
from actors.market.sources import PriceStream
from actors.position.portfolio import quote_of
from actors.position.view import BookSummary
from actors.runtime.clock import MICROSECONDS
from actors.runtime.pacer import Pacer
from actors.runtime.statistics import ActorReport
from actors.supervisor.actor import SupervisorReport
from actors.supervisor.policy import EXIT_DRAINED
from config.settings import Settings
from messages.base import Currency
from messages.bus import Subscribe, Topic
from persistence.database import Connection
from persistence.sums import fill_sums
from scripts.logs import configure_logging
from scripts.view.events import News, fees_in, folded
from scripts.view.lines import Size
from scripts.view.panels import Progress, Sight, draw, worth_of_quotes
from scripts.view.terminal import AsWritten, LogLines, Terminal

if TYPE_CHECKING:
    from loguru import Message

    from scripts.arguments import Arguments

FRAME_S = 0.25
FRAMES_PER_LOOK_AT_ACTORS = 4
"""Their percentiles cost a sort each, and nobody reads them four times a second."""
PACE_FRAMES = 12
"""Over so many frames the speed is averaged."""
NEWS_KEPT = 64
CAPACITY = 10_000
"""Events that may wait between two frames."""
LOG_LEVEL = "WARNING"


class Lookout:
    """Looks at the engine from outside, and remembers what one look does not show: news, fees, pace."""

    def __init__(
        self,
        *,
        engine: Engine,
        pacer: Pacer,
        settings: Settings,
        speed: int | None,
        equity_start_usd: Decimal,
        begins_at_us: int,
        ends_at_us: int | None,
    ) -> None:
        self._engine = engine
        self._pacer = pacer
        self._settings = settings
        self._speed = speed
        self._equity_start_usd = equity_start_usd
        self._begins_at_us = begins_at_us
        self._ends_at_us = ends_at_us
        self._subscription: Subscription | None = None
        self._news: tuple[News, ...] = ()
        self._lost = 0
        self._fees: dict[Currency, Decimal] = {}
        self._rates = dict.fromkeys(settings.execution.usd_equivalents, Decimal(1))
        self._pace: deque[tuple[float, int, int]] = deque(maxlen=PACE_FRAMES)
        self._actors: tuple[ActorReport, ...] = ()
        self._looks = 0
        self.trouble = ""
        self.warnings = 0

    async def begin(self, fees_quote: Mapping[Currency, Decimal]) -> None:
        """Subscribe to all topics; the fees are those of earlier runs."""
        self._fees.update(fees_quote)
        await self.subscribe()

    async def subscribe(self) -> None:
        """Hear the public events, again where the bus was restarted."""
        if self._subscription is not None and not self._subscription.ended:
            return
        capacity = min(CAPACITY, self._settings.execution.bus.capacity_max)
        wish = Subscribe(name="live view", topics=frozenset(Topic), capacity=capacity)
        self._subscription = await self._engine.ask("bus", wish)

    def look(self) -> Sight:
        """Return what is to be seen now. Raises RuntimeError when an actor's own thread changed it meanwhile."""
        execution = self._settings.execution
        book: BookSummary = self._shown_by("position")
        supervisor: SupervisorReport = self._shown_by("supervisor")
        self._hear()
        if self._looks % FRAMES_PER_LOOK_AT_ACTORS == 0 or self._engine.failed:
            self._actors = self._engine.reports()
        self._looks += 1
        for symbol, rate in worth_of_quotes(book).items():
            self._rates[quote_of(symbol)] = rate
        return Sight(
            mode=execution.trading_mode,
            account=execution.account,
            speed=self._speed,
            now_us=self._engine.clock.now_us(),
            zone=None,
            phase="drained" if self._engine.exit_code == EXIT_DRAINED else supervisor.phase.value,
            instruments=execution.instruments,
            equity_start_usd=self._equity_start_usd,
            fees_usd=sum(
                (fee * self._rates[held] for held, fee in self._fees.items() if held in self._rates), Decimal(0)
            ),
            fees_unvalued=tuple((held, fee) for held, fee in self._fees.items() if fee and held not in self._rates),
            slots_max=self._settings.risk.limits.positions_total_max,
            book=book,
            orders=self._shown_by("order"),
            risk=self._shown_by("risk"),
            news=self._news,
            news_lost=self._lost,
            actors=self._actors,
            progress=self._progress(),
            trouble=self.trouble or supervisor.last_trouble,
            warnings=self.warnings,
        )

    def _shown_by(self, role: str) -> Any:
        return self._engine.actors[role].describe()

    def _hear(self) -> None:
        if self._subscription is None:
            return
        events = self._subscription.take(CAPACITY)
        self._lost = self._subscription.lost
        self._news = folded(self._news, events, NEWS_KEPT)
        for quote, fee in fees_in(events).items():
            self._fees[Currency(quote)] = self._fees.get(Currency(quote), Decimal(0)) + fee

    def _progress(self) -> Progress:
        """Measure the pace over the last few looks."""
        wall_s, now_us = time.monotonic(), self._engine.clock.now_us()
        ticks = 0 if self._pacer.last_tick is None else self._pacer.last_tick.sequence
        self._pace.append((wall_s, now_us, self._pacer.ticks_told))
        then_s, then_us, then_ticks = self._pace[0]
        took_s = wall_s - then_s
        left_s = None
        if self._ends_at_us is not None and now_us > then_us:
            left_s = round((self._ends_at_us - now_us) * took_s / (now_us - then_us))
        return Progress(
            begins_at_us=self._begins_at_us,
            ends_at_us=self._ends_at_us,
            ticks=ticks,
            ticks_per_s=round((self._pacer.ticks_told - then_ticks) / took_s) if took_s > 0 else 0,
            wall_left_s=left_s,
        )


class LiveView:
    """Redrawn a few times a second on a terminal; silent elsewhere."""

    def __init__(
        self,
        *,
        engine: Engine,
        pacer: Pacer,
        stream: PriceStream,
        arguments: Arguments,
        settings: Settings,
        equity_start_usd: Decimal,
        until_us: int | None,
        connection: Connection,
        is_on_screen: bool,
    ) -> None:
        begins_at_us, ends_at_us = span(stream, arguments, until_us)
        self._lookout = Lookout(
            engine=engine,
            pacer=pacer,
            settings=settings,
            speed=arguments.speed,
            equity_start_usd=equity_start_usd,
            begins_at_us=begins_at_us,
            ends_at_us=ends_at_us,
        )
        self._connection = connection
        self._account = settings.execution.account
        self._screen = Screen(self._lookout) if is_on_screen else None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to draw."""
        if self._screen is not None:
            await self._lookout.begin(await _fees_so_far(self._connection, self._account))
            self._screen.begin()
            self._task = asyncio.create_task(self._draw_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Draw the end, and give the terminal back as it was."""
        if self._screen is not None and self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await asyncio.to_thread(self._screen.end)

    async def _draw_on(self) -> None:
        screen = self._screen
        while screen is not None and screen.draw():
            await asyncio.sleep(FRAME_S)
            await self._lookout.subscribe()


async def _fees_so_far(connection: Connection, account: str) -> dict[Currency, Decimal]:
    fees: dict[Currency, Decimal] = {}
    for row in await fill_sums(connection, account):
        quote = Currency(row.symbol.partition("/")[2])
        fees[quote] = fees.get(quote, Decimal(0)) + row.fees
    return fees


def span(stream: PriceStream, arguments: Arguments, until_us: int | None) -> tuple[int, int | None]:
    """Return where the run began, before it was killed and resumed if it was, and where it will end by itself."""
    ends_at_us = stream.ends_at_us if until_us is None else until_us
    if until_us is not None and arguments.until_prices_end and stream.ends_at_us is not None:
        ends_at_us = min(until_us, stream.ends_at_us)
    if until_us is not None and arguments.for_seconds is not None:
        return until_us - arguments.for_seconds * MICROSECONDS, ends_at_us
    return stream.starts_at_us, ends_at_us


class Screen:
    """The terminal while the view is on it: frames, and the log lines above them."""

    def __init__(self, lookout: Lookout) -> None:
        self._lookout = lookout
        self._terminal = Terminal(sys.stdout)
        self._console = Console(file=cast("Any", self._terminal), force_terminal=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._log_lines = LogLines()
        self._is_log_redirected = sys.stderr.isatty()
        self._size: ConsoleDimensions | None = None
        self._sink = 0

    def begin(self) -> None:
        """Take the terminal: what is logged goes above the view from now on."""
        if self._is_log_redirected:
            configure_logging(as_json=False, level=LOG_LEVEL, stream=cast("Any", self._log_lines))
        self._sink = logger.add(self._note, level="ERROR", format="{message}")
        self._live.start()

    def draw(self) -> bool:
        """Draw one frame, if the terminal has taken the last one. Returns whether there is a terminal to go on with."""
        try:
            if not self._terminal.is_busy:
                self._draw()
        except RuntimeError:
            pass  # With a thread for each actor, one may change what we look at: the next look is soon.
        except Exception as error:  # noqa: BLE001 - Whatever it is, it is no reason to stop trading.
            logger.opt(exception=error).error("the live view has ended")
            return False
        return self._terminal.error is None

    def _draw(self) -> None:
        size = self._console.size
        if self._size is not None and size != self._size:
            self._console.clear()  # The terminal has broken the old lines anew: begin at its top.
        self._size = size
        self._lookout.warnings = self._log_lines.written
        sight = self._lookout.look()
        self._print_log()
        # One line less than there are, so that the summary's first line does not push the header out of sight.
        self._live.update(draw(sight, Size(width=size.width, height=size.height - 1)), refresh=True)

    def _print_log(self) -> None:
        text = self._log_lines.take()
        if text:
            self._console.print(AsWritten(text), end="", crop=False)

    def end(self) -> None:
        """Draw the end and give the terminal back. Called from a thread: it may have to wait for the terminal."""
        self._terminal.wait()
        self.draw()
        self._print_log()
        self._live.stop()
        logger.remove(self._sink)
        if self._is_log_redirected:
            configure_logging(as_json=False, level=LOG_LEVEL, stream=sys.stderr)
        self._terminal.close()

    def _note(self, message: Message) -> None:
        """Remember the newest error for the last line of the view."""
        self._lookout.trouble = message.record["message"]

"""Aim 2: how many trades a second, each entered, filled, protected and committed, with 64 in flight."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from asyncpg import Connection

from messages.base import Message, ProposalId
from messages.bus import EventsCommitted
from persistence.database import Database
from scripts.benchmarks import bare
from scripts.benchmarks.figures import Outcome, median
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import Stage, postgres_journal, server

IN_FLIGHT = 64
STOP, TARGET = Decimal(98_000), Decimal(102_000)
ORDERS_PLACED = 3
"""Entry, stop and target: when the last is committed as placed, fill and position are in as well."""
TRADES_PER_S_MIN = 3_000
SHARE_MIN = 0.1


async def measure(options: Options) -> Outcome:
    """Trade in rounds, a round of the bare pipeline after each."""
    trades, rounds = options.size(3_000, 8), options.size(3, 1)
    async with server() as database:
        connection = await database.connect()
        await bare.prepare(connection)
        ours, floors, rows, commits = [], [], [], []
        for _ in range(rounds):
            per_s, rows_each, trades_per_commit = await _round(database, trades)
            ours.append(per_s)
            rows.append(rows_each)
            commits.append(trades_per_commit)
            floors.append(await _floor(connection, trades * 5))
        await connection.close()
    per_s, floor_per_s = median(ours), median(floors)
    return Outcome(
        name="durable_trades",
        figures={
            "trades": trades,
            "in_flight": IN_FLIGHT,
            "trades_per_s": per_s,
            "us_per_trade": 1_000_000 / per_s,
            "rows_per_trade": median(rows),
            "units_per_commit": median(commits),
        },
        floor={"bare_orders_per_s": floor_per_s},
        ratio=per_s / floor_per_s,
        aim=f"at least {TRADES_PER_S_MIN} trades a second, and {SHARE_MIN} of the bare pipeline's orders",
        met=per_s >= TRADES_PER_S_MIN and per_s >= SHARE_MIN * floor_per_s,
    )


async def _floor(connection: Connection, rows: int) -> float:
    return await bare.pipeline_per_s(connection, rows, IN_FLIGHT)


async def _round(database: Database, trades: int) -> tuple[float, float, float]:
    """Return trades a second, rows a trade and units a commit, on an account of its own."""
    async with postgres_journal(database) as journal, Stage.opened(journal, is_repeatable=False) as stage:
        line = _Line(stage, trades)
        rows, commits = journal.rows_written, journal.commits
        report = stage.engine.actors["journal"].describe
        units = report().units  # type: ignore[attr-defined]
        began_ns = time.perf_counter_ns()
        line.start()
        await line.done.wait()
        took_s = (time.perf_counter_ns() - began_ns) / 1_000_000_000
        await stage.engine.until_quiet()
        units = report().units - units  # type: ignore[attr-defined]
        return trades / took_s, (journal.rows_written - rows) / trades, units / (journal.commits - commits)


class _Line:
    """Keeps so many trades in flight until enough have been handed in: the next goes in when one is committed."""

    def __init__(self, stage: Stage, trades: int) -> None:
        self._stage = stage
        self._proposals = [stage.proposal(stop=STOP, target=TARGET) for _ in range(trades)]
        self._placed: dict[ProposalId, int] = {}
        self._left = trades
        self.done = asyncio.Event()

    def start(self) -> None:
        """Hand in the first."""
        self._stage.engine.switchboard.tap(self._look)
        for _ in range(min(IN_FLIGHT, len(self._proposals))):
            self._stage.hand_in(self._proposals.pop())

    def _look(self, message: Message) -> None:
        if type(message) is not EventsCommitted:
            return
        for numbered in message.events:
            event = numbered.event
            if event.kind == "order_placed" and event.proposal_id is not None:
                self._count(event.proposal_id)

    def _count(self, trade: ProposalId) -> None:
        placed = self._placed[trade] = self._placed.get(trade, 0) + 1
        if placed < ORDERS_PLACED:
            return
        del self._placed[trade]
        self._left -= 1
        if self._proposals:
            self._stage.hand_in(self._proposals.pop())
        elif not self._left:
            self._stage.engine.switchboard.untap(self._look)
            self.done.set()

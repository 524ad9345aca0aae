"""Aim 1: from a proposal to the order in the exchange client's hands, its intent committed."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from asyncpg import Connection

from messages.base import Message
from messages.orders import OrderRole, PlaceOrder
from scripts.benchmarks import bare
from scripts.benchmarks.figures import Outcome, percentile
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import Stage, postgres_journal, server

STOP, TARGET = Decimal(98_000), Decimal(102_000)
WARM_UP = 50
P50_MAX, P99_MAX = 1.5, 4.0
"""Of one committed insert's p50."""


async def measure(options: Options) -> Outcome:
    """Hand proposals in one at a time; between two of them, insert one bare row."""
    count = options.size(1_000, 5)
    async with server() as database, postgres_journal(database) as journal:
        connection = await database.connect()
        await bare.prepare(connection)
        async with Stage.opened(journal, is_repeatable=False) as stage:
            await _interleaved(stage, connection, options.size(WARM_UP, 2))
            ours_us, floor_us = await _interleaved(stage, connection, count)
        await connection.close()
    p50_us, p99_us = percentile(ours_us, 50), percentile(ours_us, 99)
    floor_p50_us = percentile(floor_us, 50)
    return Outcome(
        name="intent_latency",
        figures={"trades": count, "p50_us": p50_us, "p99_us": p99_us, "p99_ratio": p99_us / floor_p50_us},
        floor={"insert_p50_us": floor_p50_us, "insert_p99_us": percentile(floor_us, 99)},
        ratio=p50_us / floor_p50_us,
        aim=f"p50 at most {P50_MAX} times one committed insert, p99 at most {P99_MAX} times",
        met=p50_us <= P50_MAX * floor_p50_us and p99_us <= P99_MAX * floor_p50_us,
    )


async def _interleaved(stage: Stage, connection: Connection, count: int) -> tuple[list[float], list[float]]:
    ours_us, floor_us = [], []
    for _ in range(count):
        ours_us.append(await _to_the_exchange_us(stage))
        floor_us.append(await bare.insert_us(connection))
    return ours_us, floor_us


async def _to_the_exchange_us(stage: Stage) -> float:
    """Return how long a proposal takes to become a committed order on its way to the exchange."""
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def look(message: Message) -> None:
        if type(message) is PlaceOrder and message.intent.role is OrderRole.ENTRY:
            left.set_result(time.perf_counter_ns())

    proposal = stage.proposal(stop=STOP, target=TARGET)
    stage.engine.switchboard.tap(look)
    began_ns = time.perf_counter_ns()
    stage.hand_in(proposal)
    took_us = (await left - began_ns) / 1_000
    stage.engine.switchboard.untap(look)
    await stage.engine.until_quiet()
    return took_us

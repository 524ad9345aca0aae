"""Aim 7: how much memory the engine takes idle, for each open order, and over a day."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from actors.runtime.clock import MICROSECONDS
from persistence.database import Database
from scripts.benchmarks.command import HOUSE, resident_mib, start, triplegain
from scripts.benchmarks.figures import Outcome, note
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import ForgetfulJournal, Stage, quiet_logs, state_directory

IDLE_MIB_MAX = 80.0
KIB_PER_ORDER_MAX = 4.0
GROWN_MIB_MAX = 5.0
"""From the sixth hour to the end of the day. What has a limit (photographs, requests, orders and positions that are
over) still fills then, about 3 MiB of it; a leak would come on top."""
STOP, TARGET = Decimal(90_000), Decimal(110_000)
SETTLES_S = 8
AFTER_S = 40
"""Later than every timer of an order that has been placed."""
EXCHANGE = str(HOUSE / "actors" / "exchange" / "*")


async def measure(options: Options) -> Outcome:
    """Look at real processes: idle, with open positions, and after 6 and after 24 hours of random prices."""
    few, many = options.size(1_000, 5), options.size(11_000, 15)
    early_s, late_s = options.size(21_600, 30), options.size(86_400, 60)
    with state_directory() as directory:
        await (await Database.open(None, directory)).stop()
        note("idle")
        idle_mib = await _idle_mib(directory, options.size(SETTLES_S, 3))
    floor_mib = await _import_mib()
    note(f"opening {many} positions")
    kib, engine_kib = await _kib_each(few, many)
    grown = []
    for seconds in (early_s, late_s):
        note(f"{seconds} s of random prices")
        with state_directory() as directory:
            words = ("--prices", "random:1", "--demo", "--speed", "max", "--for", str(seconds))
            grown.append(await triplegain(directory, *words))
    early, late = grown
    grown_mib = late.rss_last_mib - early.rss_last_mib
    return Outcome(
        name="memory",
        figures={
            "idle_mib": idle_mib,
            "kib_per_open_trade": kib,
            "kib_per_open_trade_without_mock_exchange": engine_kib,
            "early_s": early_s,
            "early_mib": early.rss_last_mib,
            "late_s": late_s,
            "late_mib": late.rss_last_mib,
            "grown_mib": grown_mib,
            "trades_late": late.report["positions_closed"],
        },
        floor={"imports_alone_mib": floor_mib},
        ratio=idle_mib / floor_mib,
        aim=f"under {IDLE_MIB_MAX} MiB idle, under {KIB_PER_ORDER_MAX} KiB per open order with its position and "
        f"protection, flat over a day (at most {GROWN_MIB_MAX} MiB more after 24 h than after 6 h)",
        met=idle_mib < IDLE_MIB_MAX and engine_kib < KIB_PER_ORDER_MAX and grown_mib <= GROWN_MIB_MAX,
    )


async def _idle_mib(directory: Path, settles_s: int) -> float:
    """Return what the command holds that has started on its server and waits for a proposal."""
    process = await start(directory, "--prices", "random:1", "--no-demo", "--speed", "1")
    try:
        await asyncio.sleep(settles_s)
        resident = resident_mib(process.pid)
    finally:
        process.terminate()
        await process.wait()
    if resident is None:
        raise RuntimeError("the idle engine has ended by itself")
    return resident


async def _import_mib() -> float:
    """Return what Python holds that has imported the libraries and nothing of ours."""
    look = "import asyncpg, attrs, loguru, pykka, sortedcontainers, sys; input()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", look, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    await asyncio.sleep(2)
    resident = resident_mib(process.pid) or 0.0
    await process.communicate(b"\n")
    return resident


async def _kib_each(few: int, many: int) -> tuple[float, float]:
    """Return KiB for each open trade (position, stop, target): resident in all, and allocated outside the mock."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.benchmarks.memory", str(few), str(many)),
        cwd=HOUSE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    resident_kib, engine_kib = output.split()
    return float(resident_kib), float(engine_kib)


async def _open_and_look(few: int, many: int) -> tuple[float, float]:
    """Open trades up to one number and then up to the other, and compare: first plainly, then traced."""
    resident = await _at_both(few, many, lambda: (resident_mib(os.getpid()) or 0.0) * 1_024)
    tracemalloc.start()
    allocated = await _at_both(few, many, lambda: _allocated_outside_the_mock() / 1_024)
    return (resident[1] - resident[0]) / (many - few), (allocated[1] - allocated[0]) / (many - few)


async def _at_both(few: int, many: int, look: Callable[[], float]) -> list[float]:
    seen, opened = [], 0
    async with Stage.opened(ForgetfulJournal()) as stage:
        for goal in (few, many):
            await _open(stage, goal - opened)
            opened = goal
            gc.collect()
            seen.append(look())
    return seen


def _allocated_outside_the_mock() -> int:
    taken = tracemalloc.take_snapshot().filter_traces((tracemalloc.Filter(inclusive=False, filename_pattern=EXCHANGE),))
    return sum(trace.size for trace in taken.statistics("filename"))


async def _open(stage: Stage, positions: int) -> None:
    """Open positions by trades, then let every timer that belongs to placing fire."""
    for _ in range(positions):
        stage.hand_in(stage.proposal(stop=STOP, target=TARGET))
        await stage.engine.until_quiet()
    until_us = stage.clock.now_us() + AFTER_S * MICROSECONDS
    timers = stage.engine.timers
    while (due_us := timers.next_due_us()) is not None and due_us <= until_us:
        stage.clock.advance_to(due_us)
        timers.fire_next()
        await stage.engine.until_quiet()
    stage.clock.advance_to(until_us)


if __name__ == "__main__":
    quiet_logs()
    print(*asyncio.run(_open_and_look(int(sys.argv[1]), int(sys.argv[2]))))

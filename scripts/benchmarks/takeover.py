"""Two engines on one account: how long after the first is killed the second trades in its place.

The real command, each in a process of its own, with the embedded server. In each round a new engine comes to wait, and
the one that trades is killed. Beside it, what a start from nothing takes, as a supervisor's would.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import asyncpg

from persistence.database import TRY_LOCK, Database
from scripts.benchmarks.command import HOUSE
from scripts.benchmarks.figures import Outcome, median, note
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import state_directory

ROUNDS = 5
TAKEOVER_MS_MAX = 2_000.0
PATIENCE_S = 120
WAITS = "waiting up to"
TRADES = " of account main at "
CONFIGURATION = "journal: {account_wait_s: 3600}\n"
MS = 1_000.0


async def measure(options: Options) -> Outcome:
    """Kill the engine that trades, round after round, and wait for the word of the one that waits."""
    rounds = options.size(ROUNDS, 1)
    took_ms: list[float] = []
    with state_directory() as directory:
        (directory / "execution.yaml").write_text(CONFIGURATION, encoding="utf-8")
        trading = await _start(directory)
        await _said(trading, TRADES)
        for number in range(rounds):
            note(f"round {number + 1} of {rounds}")
            waiting = await _start(directory)
            await _said(waiting, WAITS)
            took_ms.append(await _takes_over(trading, waiting))
            trading = waiting
        trading.kill()
        await trading.wait()
        began = time.perf_counter()
        trading = await _start(directory)
        await _said(trading, TRADES)
        cold_ms = (time.perf_counter() - began) * MS
        floor_ms = await _bare(directory, options.size(20, 2))
        trading.terminate()
        await trading.communicate()
    return Outcome(
        name="takeover",
        figures={
            "rounds": rounds,
            "takeover_ms": median(took_ms),
            "takeover_max_ms": max(took_ms),
            "cold_start_ms": cold_ms,
        },
        floor={"lock_ms": floor_ms},
        ratio=median(took_ms) / floor_ms,
        aim=f"the second trades within {TAKEOVER_MS_MAX:.0f} ms",
        met=max(took_ms) < TAKEOVER_MS_MAX,
    )


async def _start(directory: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.triplegain", "run", "--state", str(directory), "--config", str(directory)),
        *("--prices", "random:1", "--speed", "20", "--demo"),
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {"PYTHONPATH": str(HOUSE)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )


async def _said(process: asyncio.subprocess.Process, text: str) -> None:
    """Read what it says until it says this."""
    output = process.stdout
    if output is None:
        raise RuntimeError("the command was started without a pipe")
    async with asyncio.timeout(PATIENCE_S):
        while line := await output.readline():
            if text in line.decode():
                return
    raise RuntimeError(f"the command ended without saying {text!r}")


async def _takes_over(trading: asyncio.subprocess.Process, waiting: asyncio.subprocess.Process) -> float:
    """Return how many milliseconds after the one is killed the other trades."""
    began = time.perf_counter()
    trading.kill()
    await _said(waiting, TRADES)
    took_ms = (time.perf_counter() - began) * MS
    await trading.communicate()
    return took_ms


async def _bare(directory: Path, rounds: int) -> float:
    """Return how long a lock takes to be free for another when the session that holds it is dropped."""
    database = await Database.open(None, directory)
    took_ms: list[float] = []
    try:
        for number in range(rounds):
            holder = await asyncpg.connect(dsn=database.dsn)
            other = await asyncpg.connect(dsn=database.dsn)
            await holder.fetchval(TRY_LOCK, f"bench {number}")
            began = time.perf_counter()
            holder.terminate()
            while not await other.fetchval(TRY_LOCK, f"bench {number}"):  # noqa: ASYNC110 - Only the server knows.
                await asyncio.sleep(0)
            took_ms.append((time.perf_counter() - began) * MS)
            await other.close()
    finally:
        await database.stop()
    return median(took_ms)

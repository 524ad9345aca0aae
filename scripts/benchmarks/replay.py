"""Aim 5: a month of prices with 200 proposals, by the real command, with the real database."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

from actors.market.sources import PriceStream, open_prices
from config.loader import load_settings
from messages.market import Tick
from persistence.database import Database
from scripts.benchmarks.command import triplegain, words_for
from scripts.benchmarks.figures import Outcome, note
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import state_directory

WALL_S_MAX = 30.0
TICKS = 180_000
PROPOSALS = 200
TICKS_A_SECOND = 3
"""The random walk moves its three symbols every second."""
SIZE_USD, LEVERAGES = "500", (1, 2, 3, 4, 5)
STOP_PCT, TARGET_PCT = Decimal("0.8"), Decimal("1.4")


async def measure(options: Options) -> Outcome:
    """Replay once into a database that is there already, and read the same ticks alone."""
    ticks, proposals = options.size(TICKS, 300), options.size(PROPOSALS, 3)
    prices = options.prices or "random:1"
    ends = ("--until-prices-end",) if options.prices else ("--for", str(ticks // TICKS_A_SECOND))
    with state_directory() as directory:
        await (await Database.open(None, directory)).stop()  # Making a database is no part of a replay.
        path = options.proposals or _write_proposals(directory / "proposals.jsonl", prices, ticks, proposals)
        note(f"replaying {prices} with {path.name}")
        words = (*words_for((prices,)), "--proposals", str(path), "--speed", "max", *ends)
        ran = await triplegain(directory, *words)
    read, floor_s = _read_alone(prices, ran.report["ticks"])
    report = ran.report
    return Outcome(
        name="replay",
        figures={
            "wall_s": ran.wall_s,
            "engine_cpu_s": ran.cpu_s,
            "ticks": report["ticks"],
            "ticks_per_s": report["ticks"] / ran.wall_s,
            "us_per_tick": ran.wall_s * 1_000_000 / report["ticks"],
            "proposals": report["proposals"],
            "rejected": report["rejected"],
            "positions_closed": report["positions_closed"],
            "messages": report["messages"],
            "commits": report["commits"],
            "rows_written": report["rows_written"],
            "invariant_violations": report["invariant_violations"],
            "rss_peak_mib": ran.rss_peak_mib,
        },
        floor={"read_alone_s": floor_s, "ticks_read": read},
        ratio=ran.wall_s / floor_s,
        aim=f"{TICKS} ticks and {PROPOSALS} proposals in under {WALL_S_MAX} s",
        met=ran.wall_s < WALL_S_MAX and report["invariant_violations"] == 0,
    )


def _stream(prices: str) -> PriceStream:
    return open_prices((prices,), load_settings().execution.instruments)


def _read_alone(prices: str, ticks: int) -> tuple[int, float]:
    """Return how many ticks were read and parsed, and in how many seconds."""
    began_ns = time.perf_counter_ns()
    read = sum(1 for _ in islice(_stream(prices).ticks, ticks))
    return read, (time.perf_counter_ns() - began_ns) / 1_000_000_000


def _write_proposals(path: Path, prices: str, ticks: int, proposals: int) -> Path:
    """Write market orders, evenly over the prices: longs and shorts by turns, leverage 1 to 5."""
    stream = _stream(prices)
    symbol = stream.symbols[0]
    own = (tick for tick in (stream.ticks if stream.has_end else islice(stream.ticks, ticks)) if tick.symbol == symbol)
    path.write_text("".join(_lines(list(own), proposals)), encoding="utf-8")
    return path


def _lines(ticks: list[Tick], proposals: int) -> Iterator[str]:
    for number in range(proposals):
        tick = ticks[number * len(ticks) // proposals]
        leverage = LEVERAGES[number % len(LEVERAGES)]
        is_long = leverage == 1 or number % 2 == 0
        sign = 1 if is_long else -1
        line = {
            "at": tick.at_us // 1_000_000,
            "symbol": tick.symbol,
            "side": "buy" if is_long else "sell",
            "size_usd": SIZE_USD,
            "stop_loss": f"{tick.price_quote * (1 - sign * STOP_PCT / 100):.1f}",
            "take_profit": f"{tick.price_quote * (1 + sign * TARGET_PCT / 100):.1f}",
            "leverage": leverage,
        }
        yield json.dumps(line) + "\n"

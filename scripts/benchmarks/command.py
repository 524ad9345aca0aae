"""The real command in a process of its own, watched from outside."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

HOUSE = Path(__file__).resolve().parents[2]
LOOK_EVERY_S = 0.05


@attrs.frozen(kw_only=True)
class Ran:
    """One run of the command."""

    wall_s: float
    cpu_s: float
    """Of the engine's process alone, when it was last looked at."""
    rss_last_mib: float
    """Resident when it was last looked at, shortly before its end."""
    rss_peak_mib: float
    report: dict[str, Any]


async def triplegain(directory: Path, *words: str) -> Ran:
    """Run `triplegain run` with an embedded server under `directory`, as fast as it goes, and wait for its end."""
    report = directory / "report.json"
    began_ns = time.perf_counter_ns()
    process = await start(directory, "--report", str(report), *words)
    last_mib = peak_mib = cpu_s = 0.0
    while process.returncode is None:
        last_mib = resident_mib(process.pid) or last_mib
        peak_mib = max(peak_mib, last_mib)
        cpu_s = processor_s(process.pid) or cpu_s
        try:
            await asyncio.wait_for(process.wait(), LOOK_EVERY_S)
        except TimeoutError:
            continue
    wall_s = (time.perf_counter_ns() - began_ns) / 1_000_000_000
    if process.returncode != 0:
        raise RuntimeError(f"the command ended with {process.returncode}")
    return Ran(
        wall_s=wall_s,
        cpu_s=cpu_s,
        rss_last_mib=last_mib,
        rss_peak_mib=peak_mib,
        report=json.loads(report.read_text(encoding="utf-8")),
    )


async def start(directory: Path, *words: str) -> asyncio.subprocess.Process:
    """Start the command; its log goes nowhere."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.triplegain", "run", "--state", str(directory)),
        *("--log-level", "WARNING", *words),
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {"PYTHONPATH": str(HOUSE)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )


def resident_mib(pid: int) -> float | None:
    """Return how much memory a process has resident, None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1_024
    return None


def processor_s(pid: int) -> float | None:
    """Return how much processor time a process has taken, None when it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def words_for(prices: Sequence[str]) -> tuple[str, ...]:
    """Return the words that name the prices."""
    return tuple(word for price in prices for word in ("--prices", price))

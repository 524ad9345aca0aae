"""Aim 3: what a whole trade costs the processor, and whether it still does after 100,000 of them."""

from __future__ import annotations

import time
from decimal import Decimal

from persistence.memory import MemoryJournal
from scripts.benchmarks.figures import Outcome, median
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import PRICE, Stage

STOP, TARGET = Decimal(98_000), Decimal(102_000)
CPU_MS_MAX = 0.3
FLAT_MAX = 1.2
"""So much dearer may a trade be after a long history: the machine's own noise is of that size."""
ROUNDS = 5


async def measure(options: Options) -> Outcome:
    """Enter, protect and close at the target, over and over; measure early and late."""
    early, late, batch = options.size(1_000, 2), options.size(100_000, 6), options.size(500, 2)
    async with Stage.opened(MemoryJournal()) as stage:
        await _trade(stage, early)
        routed = stage.engine.switchboard.routed
        early_ms, floors_us = await _rounds(stage, batch, options.size(ROUNDS, 1))
        messages = (stage.engine.switchboard.routed - routed) / (batch * len(early_ms))
        await _trade(stage, late - early - batch * len(early_ms))
        late_ms, late_floors_us = await _rounds(stage, batch, options.size(ROUNDS, 1))
    early_at, late_at = median(early_ms), median(late_ms)
    floor_us = median(floors_us + late_floors_us)
    growth = (late_at / median(late_floors_us)) / (early_at / median(floors_us))
    return Outcome(
        name="whole_trade",
        figures={
            "early_trades": early,
            "early_cpu_ms": early_at,
            "late_trades": late,
            "late_cpu_ms": late_at,
            "growth": growth,
            "messages_per_trade": messages,
            "us_per_message": early_at * 1_000 / messages,
        },
        floor={"calls_through_a_deque_us": floor_us, "of_as_many_messages_ms": floor_us * messages / 1_000},
        ratio=early_at * 1_000 / (floor_us * messages),
        aim=f"under {CPU_MS_MAX} ms of CPU, flat over history (at most {FLAT_MAX} times)",
        met=max(early_at, late_at) < CPU_MS_MAX and growth <= FLAT_MAX,
    )


async def _rounds(stage: Stage, batch: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return CPU milliseconds a trade and the floor's microseconds a call, each round beside its floor."""
    ours_ms, floors_us = [], []
    for _ in range(rounds):
        ours_ms.append(await _trade(stage, batch))
        floors_us.append(_calls_through_a_deque_us())
    return ours_ms, floors_us


async def _trade(stage: Stage, trades: int) -> float:
    """Return CPU milliseconds of a whole trade."""
    engine = stage.engine
    began_ns = time.process_time_ns()
    for _ in range(trades):
        stage.hand_in(stage.proposal(stop=STOP, target=TARGET))
        await engine.until_quiet()
        for price in (TARGET, PRICE):
            engine.tell(stage.tick(price))
            if not engine.settle():
                await engine.until_quiet()
    return (time.process_time_ns() - began_ns) / 1_000_000 / max(1, trades)


def _calls_through_a_deque_us() -> float:
    """Return what one message would cost if handing it over were all: an append, a popleft and a call."""
    from collections import deque  # noqa: PLC0415

    queue: deque[Decimal] = deque()
    seen: list[Decimal] = []
    count = 20_000
    began_ns = time.process_time_ns()
    for _ in range(count):
        queue.append(PRICE)
        seen.append(queue.popleft())
        seen.clear()
    return (time.process_time_ns() - began_ns) / 1_000 / count

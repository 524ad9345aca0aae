"""Aim 4: what a tick costs that fires nothing, with few and with many open positions; and a new high."""

from __future__ import annotations

import gc
import time
from decimal import Decimal

from actors.position.view import BookSummary
from scripts.benchmarks.figures import Outcome, median, note, percentile
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import PRICE, ForgetfulJournal, Stage

TICK_US_MAX = 10.0
FLAT_MAX = 1.25
"""So much dearer may it be among 100,000 positions: beyond the processor's caches nothing is quite flat."""
STOP, TARGET = Decimal(90_000), Decimal(110_000)
FAR_TARGET = Decimal(200_000)
ACTIVATES = Decimal(101_500)
TICKS = 5_000
ROUNDS = 9


async def measure(options: Options) -> Outcome:
    """Open positions by trades, then tell ticks one by one, each fully handled before the next."""
    few, many, trails = options.size(10, 2), options.size(100_000, 20), options.size(10_000, 10)
    quiet, floors = {}, []
    for positions in (few, many):
        note(f"opening {positions} positions")
        async with Stage.opened(ForgetfulJournal()) as stage:
            await _open(stage, positions, TARGET, trailing=False)
            quiet[positions], floor = _quiet(stage, options)
            floors += floor
    note(f"opening {trails} positions that trail")
    async with Stage.opened(ForgetfulJournal()) as stage:
        await _open(stage, trails, FAR_TARGET, trailing=True)
        highs, trailing = await _new_highs(stage, options)
        if trailing != trails:
            raise RuntimeError(f"{trailing} of {trails} positions trail")
    few_us, many_us, high_us = median(quiet[few]), median(quiet[many]), median(highs)
    floor_us = median(floors)
    return Outcome(
        name="quiet_tick",
        figures={
            "few_positions": few,
            "few_us": few_us,
            "many_positions": many,
            "many_us": many_us,
            "many_p90_us": percentile(quiet[many], 90),
            "growth": many_us / few_us,
            "trailing_positions": trails,
            "new_high_us": high_us,
        },
        floor={"two_comparisons_us": floor_us},
        ratio=many_us / floor_us,
        aim=f"under {TICK_US_MAX} us through the whole engine, flat (at most {FLAT_MAX} times); a new high the same",
        met=max(few_us, many_us, high_us) < TICK_US_MAX and many_us <= FLAT_MAX * few_us,
    )


async def _open(stage: Stage, positions: int, target: Decimal, *, trailing: bool) -> None:
    """Open positions as a strategy does, with stops at many levels.

    They are on margin, so the mock exchange looks at the margin level at every tick as well.
    """
    gc.disable()  # What is set up is not what is measured.
    try:
        for number in range(positions):
            stop = STOP - Decimal(number % 10_000) / 10
            stage.hand_in(stage.proposal(stop=stop, target=target, trailing=trailing))
            await stage.engine.until_quiet()
    finally:
        gc.enable()
        gc.collect()
    book: BookSummary = stage.engine.actors["position"].describe()  # type: ignore[assignment]
    if len(book.positions) != positions:
        raise RuntimeError(f"{len(book.positions)} of {positions} positions are open")


def _quiet(stage: Stage, options: Options) -> tuple[list[float], list[float]]:
    """Return microseconds a tick, by round, and the floor's beside them. No message is but the tick's own two."""
    ours, floors = [], []
    count = options.size(TICKS, 20)
    for _ in range(options.size(ROUNDS, 1)):
        ticks = stage.ticks([PRICE + Decimal(number % 7) / 10 for number in range(count)])
        routed = stage.engine.switchboard.routed
        ours.append(stage.feed(ticks))
        if stage.engine.switchboard.routed - routed != 2 * count:
            raise RuntimeError("the ticks were not quiet")
        floors.append(_two_comparisons_us(count))
    return ours, floors


async def _new_highs(stage: Stage, options: Options) -> tuple[list[float], int]:
    """Return microseconds a tick that is a new high for every trailing position, and how many trail."""
    stage.engine.tell(stage.tick(ACTIVATES))
    await stage.engine.until_quiet()
    count = options.size(TICKS, 20)
    price = ACTIVATES
    rounds = []
    for _ in range(options.size(ROUNDS, 1)):
        ticks = stage.ticks([price + Decimal(number + 1) / 10 for number in range(count)])
        price = ticks[-1].price_quote
        rounds.append(stage.feed(ticks))
    book: BookSummary = stage.engine.actors["position"].describe()  # type: ignore[assignment]
    return rounds, book.trailing


def _two_comparisons_us(count: int) -> float:
    """Return what a tick would cost if comparing it with the nearest levels were all."""
    nearest_below, nearest_above = STOP, TARGET
    prices = [PRICE + Decimal(number % 7) / 10 for number in range(count)]
    fired = 0
    began_ns = time.perf_counter_ns()
    for price in prices:
        if price <= nearest_below or price >= nearest_above:
            fired += 1
    return (time.perf_counter_ns() - began_ns) / 1_000 / count

"""Many seeds, each simulated from beginning to end, on all cores: what failed, what was exercised, and how fast.

What is printed depends on the seeds alone, apart from the time it took: results are merged in the order of the seeds,
whoever worked them out.
Read in order: simulate_seeds(), the work (Batch, all_batches), the view (Totals, summary, failure).
"""

from __future__ import annotations

import gc
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from types import FrameType

import attrs
from loguru import logger
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from actors.simulator.exercised import Figures, merged, zeros
from actors.simulator.shrink import ATTEMPTS_MAX, shrink
from actors.simulator.simulation import Outcome, simulate
from actors.simulator.story import last_messages, plan_as_text, said_as_text
from actors.simulator.workload import plan_of
from messages.base import Message

EXIT_DONE, EXIT_FAILED = 0, 1
BATCH = 10
"""Seeds that are handed to a process at once: little waiting for the slowest, little talk about each."""
BATCHES_AHEAD = 4
"""For each process."""
ATTEMPTS_UNASKED = 300
"""Enough for most failures, and a few seconds at most."""
STORIES_SHOWN_MAX = 5
"""Every failing seed is named; of so many the story is told."""
LINE_EVERY_S = 10.0
"""Where there is no terminal, how often it is said how far we are."""


@attrs.frozen(kw_only=True)
class Wanted:
    """What the command line asked for."""

    first: int
    count: int
    minutes: int
    jobs: int | None
    """None for one on each core."""
    shrinks: bool | None
    """True for every story that is told, to its end; None for the first one, for a while; False for none."""
    traces: bool
    as_json: bool

    @property
    def seeds(self) -> range:
        """The seeds, in order."""
        return range(self.first, self.first + self.count)


@attrs.frozen(kw_only=True)
class Failed:
    """A seed that does not hold what is promised."""

    seed: int
    invariant: str
    text: str


@attrs.frozen(kw_only=True)
class Batch:
    """What came of some seeds in a row."""

    hashes: tuple[str, ...]
    """One for each seed."""
    failed: tuple[Failed, ...]
    messages: int
    exercised: Figures


def simulate_seeds(wanted: Wanted) -> int:
    """Simulate the seeds, say what came of them, and return the exit code: 1 when a seed has failed."""
    logger.remove()  # The engine is silent, whatever it meets: what matters is in the story.
    try:
        return _simulate_seeds(wanted)
    except BrokenPipeError:  # Whoever read has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE


def _simulate_seeds(wanted: Wanted) -> int:
    if wanted.traces:
        _print_trace(wanted.first, wanted.minutes)
    totals = Totals(wanted)
    try:
        with ExitStack() as stack:
            patience = Patience()
            stack.enter_context(_handled(signal.SIGINT, patience))
            stack.enter_context(_handled(signal.SIGTERM, patience))
            view = stack.enter_context(View(wanted))
            for batch in stack.enter_context(Work(wanted)):
                totals.add(batch)
                view.show(totals)
                if patience.has_ended:
                    break
    except KeyboardInterrupt:
        pass
    totals.is_interrupted = totals.seeds < wanted.count
    totals.end()
    try:
        if wanted.as_json:
            print(_as_json(totals))
        else:
            _print_all(totals)
    except KeyboardInterrupt:
        print("triplegain: interrupted while a failing story was being shrunk", file=sys.stderr)
    return EXIT_FAILED if totals.failed else EXIT_DONE


class Patience:
    """Ends with the first Ctrl-C or SIGTERM: what is under way is finished. A second one breaks it off."""

    def __init__(self) -> None:
        self.has_ended = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Take note of the signal."""
        if self.has_ended:
            raise KeyboardInterrupt
        self.has_ended = True


@contextmanager
def _handled(number: signal.Signals, how: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    """Handle a signal in another way for a while."""
    before = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, before)


def cores() -> int:
    """Return how many processes can work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The work -----------------------------------------------------------------------------------------


def simulate_batch(seeds: range, minutes: int) -> Batch:
    """Simulate some seeds in a row."""
    hashes: list[str] = []
    failed: list[Failed] = []
    figures: list[Figures] = []
    messages = 0
    with _garbage_is_of_seeds():
        for seed in seeds:
            outcome = _simulated(seed, minutes)
            hashes.append(outcome.trace_hash)
            figures.append(outcome.exercised)
            messages += outcome.messages
            violation = outcome.violation
            if violation is not None:
                failed.append(Failed(seed=seed, invariant=violation.invariant, text=violation.text))
            gc.collect()
    return Batch(hashes=tuple(hashes), failed=tuple(failed), messages=messages, exercised=merged(figures))


@contextmanager
def _garbage_is_of_seeds() -> Iterator[None]:
    """Collect between seeds only, and only what they leave behind: looking through all the rest costs a sixth more."""
    was_enabled = gc.isenabled()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _simulated(seed: int, minutes: int) -> Outcome:
    try:
        return simulate(plan_of(seed, minutes))
    except Exception as error:  # The simulator's own bug: nothing that an engine does comes out here.
        error.add_note(f"while simulating seed {seed} for {minutes} min")
        raise


def _batches(seeds: range, size: int) -> Iterator[range]:
    for at in range(0, len(seeds), size):
        yield seeds[at : at + size]


class Work:
    """Yields batches in the order of their seeds: made here with one job, else by as many processes."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Iterator[Batch]:
        wanted = self._wanted
        jobs = min(wanted.jobs or cores(), -(-wanted.count // BATCH))
        if jobs <= 1:
            return (simulate_batch(seeds, wanted.minutes) for seeds in _batches(wanted.seeds, 1))
        self._pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=logger.remove)
        return self._pooled(self._pool, jobs)

    def __exit__(self, *_error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _pooled(self, pool: ProcessPoolExecutor, jobs: int) -> Iterator[Batch]:
        batches = _batches(self._wanted.seeds, BATCH)
        minutes = self._wanted.minutes
        with _handled(signal.SIGINT, signal.SIG_IGN):  # Whom we start leaves Ctrl-C to us.
            ahead = islice(batches, jobs * BATCHES_AHEAD)
            under_way = deque([pool.submit(simulate_batch, seeds, minutes) for seeds in ahead])
        while under_way:
            yield under_way.popleft().result()
            under_way += [pool.submit(simulate_batch, seeds, minutes) for seeds in islice(batches, 1)]


def _print_trace(seed: int, minutes: int) -> None:
    """Print every message of one seed as it is read."""
    began_us: list[int] = []

    def show(at_us: int, reader: str, message: Message) -> None:
        began_us[:] = began_us or [at_us]
        print(said_as_text(at_us - began_us[0], reader, message))

    simulate(plan_of(seed, minutes), show)


# What is shown ------------------------------------------------------------------------------------


class Totals:
    """What has come of all seeds so far."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.seeds = 0
        self.messages = 0
        self.failed: list[Failed] = []
        self.exercised: Figures = {}
        self.is_interrupted = False
        self.seconds = 0.0
        self._hash = hashlib.blake2b(digest_size=16)
        self._began_s = time.perf_counter()

    def add(self, batch: Batch) -> None:
        """Add the next seeds."""
        self.seeds += len(batch.hashes)
        self.messages += batch.messages
        self.failed += batch.failed
        self.exercised = merged((self.exercised, batch.exercised))
        for trace_hash in batch.hashes:
            self._hash.update(trace_hash.encode())
        self.end()

    def end(self) -> None:
        """Note how long it took."""
        self.seconds = time.perf_counter() - self._began_s

    @property
    def trace_hash(self) -> str:
        """The hash of the hashes of all seeds, in order: the same seeds have the same, wherever they ran."""
        return self._hash.hexdigest()

    @property
    def rate(self) -> float:
        """Seeds a second."""
        return self.seeds / self.seconds if self.seconds else 0.0


class View:
    """How far we are, on stderr: a bar on a terminal, else a line now and then. Nothing for a single seed."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._console = Console(stderr=True)
        self._told_s = time.perf_counter()
        self._told_failed = 0
        self._progress: Progress | None = None
        if self._console.is_terminal and wanted.count > 1:
            self._progress = Progress(
                TextColumn("simulating"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:,.0f} seeds/s"),
                TextColumn("{task.fields[failed]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._progress.add_task("", total=wanted.count, rate=0.0, failed="")

    def __enter__(self) -> View:
        if self._progress is not None:
            self._progress.start()
        elif self._wanted.count > 1:
            self._say(f"simulating {self._wanted.count:,} seeds from {self._wanted.first} on")
        return self

    def __exit__(self, *_error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, totals: Totals) -> None:
        """Show how far we are, and each failure as soon as it is known."""
        if self._wanted.count > 1:
            for failed in totals.failed[self._told_failed :]:
                self._say(f"seed {failed.seed} fails: {failed.invariant}: {failed.text}")
        self._told_failed = len(totals.failed)
        if self._progress is not None:
            failures = f"[red]{self._told_failed} failed" if totals.failed else ""
            self._progress.update(self._task, completed=totals.seeds, rate=totals.rate, failed=failures)
        elif time.perf_counter() - self._told_s >= LINE_EVERY_S:
            self._told_s = time.perf_counter()
            self._say(f"{totals.seeds:,} of {self._wanted.count:,} seeds, {totals.rate:,.0f} seeds/s")

    def _say(self, line: str) -> None:
        if self._progress is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_all(totals: Totals) -> None:
    table = _table(totals.exercised, shows_zeros=totals.seeds > 1)  # One story cannot meet everything.
    for lines in (table, _summary(totals), _failures(totals)):
        for line in lines:
            print(line)


def _summary(totals: Totals) -> Iterator[str]:
    wanted = totals.wanted
    if totals.is_interrupted:
        yield f"interrupted after {totals.seeds:,} of {wanted.count:,} seeds"
    what = f"seed {wanted.first}" if wanted.count == 1 else f"{totals.seeds:,} seeds from {wanted.first} on"
    per_s = f"{totals.rate:,.0f} seeds/s" if totals.seeds > 1 else f"{totals.seconds:.2f} s"
    yield f"{what}, {wanted.minutes} min each: {totals.messages:,} messages, {per_s}"
    yield f"trace hash {totals.trace_hash}"
    if wanted.count > 1:
        blind = zeros(totals.exercised)
        spots = ", ".join(f"{name} ({group})" for group, name in blind)
        yield f"never reached: {spots}" if blind else "everything that can be exercised was"
    yield f"{len(totals.failed)} FAILED" if totals.failed else "every invariant held"


def _table(figures: Figures, *, shows_zeros: bool) -> Iterator[str]:
    """Yield a table for each group: name and how often, in columns as they fit."""
    console = Console(file=sys.stdout, highlight=False, markup=False)
    for group, counted in figures.items():
        names = {name: count for name, count in counted.items() if count or shows_zeros}
        if not names:
            continue
        width = max(map(len, names)) + 12
        across = max(1, console.width // width)
        table = Table.grid(padding=(0, 2))
        for _ in range(across):
            table.add_column()
            table.add_column(justify="right")
        cells = [cell for name, count in names.items() for cell in (name, f"{count:,}" if count else "0 !")]
        for at in range(0, len(cells), 2 * across):
            table.add_row(*cells[at : at + 2 * across])
        with console.capture() as capture:
            console.print(table)
        yield f"{group}:"
        yield from (f"  {line.rstrip()}" for line in capture.get().splitlines())
        yield ""


def _failures(totals: Totals) -> Iterator[str]:
    wanted = totals.wanted
    for place, failed in enumerate(totals.failed):
        yield ""
        yield f"seed {failed.seed} breaks {failed.invariant}: {failed.text}"
        yield f"replay: triplegain simulate --seed {failed.seed} --minutes {wanted.minutes} --trace"
        if place < STORIES_SHOWN_MAX:
            outcome = simulate(plan_of(failed.seed, wanted.minutes))
            yield "the last messages (seconds since the beginning, who reads it, what it says; still prices left out):"
            yield from last_messages(outcome.began_us, outcome.story)
            yield from _shrunken(outcome, _attempts(wanted, place))


def _attempts(wanted: Wanted, place: int) -> int:
    """Return how often a shorter story may be tried for the failure at this place of the list."""
    if wanted.shrinks:
        return ATTEMPTS_MAX
    return ATTEMPTS_UNASKED if wanted.shrinks is None and place == 0 else 0


def _shrunken(outcome: Outcome, attempts: int) -> Iterator[str]:
    if not attempts:
        return
    shrunken = shrink(outcome, attempts)
    steps, before = len(shrunken.plan.steps), len(outcome.plan.steps)
    yield f"the shortest story found that fails so: {steps} of {before} steps, after {shrunken.attempts} attempts"
    yield from plan_as_text(shrunken.plan)
    violation = shrunken.outcome.violation
    if violation is not None:
        yield f"which breaks {violation.invariant}: {violation.text}"


def _as_json(totals: Totals) -> str:
    return json.dumps(
        {
            "seeds": totals.seeds,
            "failures": len(totals.failed),
            "messages": totals.messages,
            "seconds": round(totals.seconds, 3),
            "trace_hash": totals.trace_hash,
            "exercised": totals.exercised,
            "first_seed": totals.wanted.first,
            "minutes": totals.wanted.minutes,
            "interrupted": totals.is_interrupted,
            "failed": [_failed_as_json(totals.wanted, place, one) for place, one in enumerate(totals.failed)],
        }
    )


def _failed_as_json(wanted: Wanted, place: int, failed: Failed) -> dict[str, object]:
    """Return a failure; of the first ones, with `--shrink`, also the plan that is left."""
    found: dict[str, object] = attrs.asdict(failed)
    if wanted.shrinks and place < STORIES_SHOWN_MAX:
        shrunken = shrink(simulate(plan_of(failed.seed, wanted.minutes)), ATTEMPTS_MAX)
        found["plan"] = list(plan_as_text(shrunken.plan))
    return found

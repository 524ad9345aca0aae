"""The shortest story that still fails: what is not needed for the failure is taken out of a plan.

What happens is drawn anew in each shorter story, so some reductions hide the failure and are not made: the result is
a small plan that fails in the same way, not the smallest one there is.
Read in order: shrink(), the passes of _Shrinking, simpler_steps().
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, Final

import attrs

from actors.audit import Violation
from actors.runtime.simulation.pace import CALM, SECOND_US, Pace
from actors.simulator.plan import (
    Cancel,
    Crash,
    Flaw,
    Jump,
    Plan,
    PriceMoves,
    Propose,
    Protect,
    Step,
    Strike,
)
from actors.simulator.simulation import Outcome, simulate
from config.loader import load_settings

ATTEMPTS_MAX: Final = 1_000
"""Each attempt is one simulation: a few thousandths of a second."""
ID_OR_NUMBER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+([.,:E+-]*[0-9]+)*")
SIGNATURE_LENGTH = 60
"""So much of a violation's text says what is wrong; what follows are the values of the moment."""

CALMED_TOGETHER: Final = (
    ("slow_read_one_in", "slow_read_us"),
    ("slow_io_one_in", "slow_io_us"),
    ("io_us",),
    ("timer_late_us",),
)

Simulate = Callable[[Plan], Outcome]
Steps = tuple[Step, ...]


@attrs.frozen(kw_only=True)
class Shrunken:
    """A plan from which nothing more could be taken, and how it fails."""

    outcome: Outcome
    attempts: int

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        return self.outcome.plan


def shrink(outcome: Outcome, attempts_max: int = ATTEMPTS_MAX, run: Simulate = simulate) -> Shrunken:
    """Return a shorter plan that breaks the same invariant with the same words, ids and numbers apart.

    The same outcome is always shrunk to the same plan. Raises ValueError when nothing has failed.
    """
    if outcome.violation is None:
        raise ValueError("a story that ends well is as short as it needs to be")
    shrinking = _Shrinking(outcome, attempts_max, run)
    shrinking.work()
    return Shrunken(outcome=shrinking.best, attempts=shrinking.attempts)


def signature(violation: Violation | None) -> tuple[str, str] | None:
    """Return what makes two failures the same one: the invariant, and its text without ids and numbers."""
    if violation is None:
        return None
    return violation.invariant, ID_OR_NUMBER.sub("#", violation.text)[:SIGNATURE_LENGTH]


@attrs.frozen(kw_only=True)
class _Tried:
    """What tells one attempt from another."""

    steps: Steps
    pace: Pace
    settings: str


class _Shrinking:
    """Holds the shortest story so far. Each pass takes something out, as long as the failure stays."""

    def __init__(self, outcome: Outcome, attempts_max: int, run: Simulate) -> None:
        self.best = outcome
        self.attempts = 0
        self._attempts_max = attempts_max
        self._run = run
        self._wanted = signature(outcome.violation)
        self._tried: set[_Tried] = set()

    def work(self) -> None:
        """Repeat all passes until none of them helps any more, or the attempts are used up."""
        self._fails(self._steps[: self.best.acted])  # Nothing after the failure can have caused it.
        while True:
            before = self.best.plan
            self._drop_chunks()
            self._calm_down()
            self._simplify()
            if self.best.plan == before or self.attempts >= self._attempts_max:
                return

    @property
    def _steps(self) -> Steps:
        return self.best.plan.steps

    def _fails(self, steps: Sequence[Step], **other: Any) -> bool:
        """Say whether the story fails in the same way with these steps; if so, it is the best so far."""
        plan = attrs.evolve(self.best.plan, steps=tuple(steps), **other)
        key = _Tried(steps=plan.steps, pace=plan.pace, settings=repr(plan.settings))
        if plan == self.best.plan or key in self._tried or self.attempts >= self._attempts_max:
            return False
        self._tried.add(key)
        self.attempts += 1
        outcome = self._run(plan)
        if signature(outcome.violation) != self._wanted:
            return False
        self.best = attrs.evolve(outcome, plan=attrs.evolve(plan, steps=plan.steps[: outcome.acted]))
        return True

    def _drop_chunks(self) -> None:
        """Take out halves, quarters, and so on down to single steps, from the end to the beginning."""
        size = max(1, len(self._steps) // 2)
        while True:
            end = len(self._steps)
            while end > 0:
                start = max(0, end - size)
                self._drop(start, end)
                end = min(start, len(self._steps))
            if size == 1:
                return
            size //= 2

    def _drop(self, start: int, end: int) -> None:
        """Take these steps out, and their gaps with them; if that hides the failure, leave the time as it was."""
        steps = self._steps
        gap_us = sum(step.after_us for step in steps[start:end])
        if self._fails(steps[:start] + steps[end:]) or not gap_us or end == len(steps):
            return
        later = attrs.evolve(steps[end], after_us=steps[end].after_us + gap_us)
        self._fails((*steps[:start], later, *steps[end + 1 :]))

    def _calm_down(self) -> None:
        """Go back to a calm pace and to the defaults, setting by setting."""
        self._fails(self._steps, pace=CALM)
        for names in CALMED_TOGETHER:
            calm = {name: getattr(CALM, name) for name in names}
            self._fails(self._steps, pace=attrs.evolve(self.best.plan.pace, **calm))
        self._set_back(load_settings(), ())

    def _set_back(self, default: Any, path: tuple[str, ...]) -> None:
        """Let what is at `path` in the settings be as usual: all of it, or else whatever part of it may be."""
        if self._at(path) == default or self._fails(self._steps, settings=self._with(path, default)):
            return
        if attrs.has(type(default)):
            for field in attrs.fields(type(default)):
                self._set_back(getattr(default, field.name), (*path, field.name))

    def _at(self, path: tuple[str, ...]) -> Any:
        return reduce(getattr, path, self.best.plan.settings)

    def _with(self, path: tuple[str, ...], value: Any) -> Any:
        """Return the settings with another value at `path`."""
        for length in range(len(path) - 1, -1, -1):
            value = attrs.evolve(self._at(path[:length]), **{path[length]: value})
        return value

    def _simplify(self) -> None:
        """Make each step as simple as it can be."""
        index = 0
        while index < len(self._steps):
            steps = self._steps
            for step in simpler_steps(steps[index]):
                if self._fails((*steps[:index], step, *steps[index + 1 :])):
                    break
            else:
                index += 1


def simpler_steps(step: Step) -> Iterator[Step]:
    """Yield what may stand in for a step, the simplest first; each is simpler, so that this comes to an end."""
    for after_us in (0, step.after_us // SECOND_US * SECOND_US):
        if after_us != step.after_us:
            yield attrs.evolve(step, after_us=after_us)
    for name, values in _simpler_fields(step):
        value = getattr(step, name)
        for simpler in values:
            if simpler == value:
                break
            yield attrs.evolve(step, **{name: simpler})


def _simpler_fields(step: Step) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield fields with their values from the simplest on; what comes after the present value is not simpler."""
    match step:
        case PriceMoves():
            yield "move_bps", _towards_zero(step.move_bps)
        case Propose():
            yield "flaw", (Flaw.NONE,)
            yield "trailing", (False,)
            yield "target_bps", (None,)
            yield "entry_bps", (None,)
            yield "stop_bps", (None,)
            yield "leverage", (1, 2, 3, 5)
        case Protect():
            yield "target_bps", (None,)
            yield "stop_bps", (None,)
            yield "trailing", (None,)
        case Cancel():
            yield "is_said_twice", (False,)
        case Strike():
            yield "amount", (1, 2, 3, 4)
        case Jump():
            yield "by_us", _towards_zero(step.by_us)
        case Crash():
            yield "again", tuple(step.again[at:] for at in range(len(step.again), 0, -1))
            yield "moves_bps", tuple(step.moves_bps[at:] for at in range(len(step.moves_bps), 0, -1))
            yield "downtime_us", _towards_zero(step.downtime_us)
            yield "messages", _towards_zero(step.messages)
        case _:
            return


def _towards_zero(value: int) -> tuple[int, ...]:
    """Return 0, then larger parts of the value, then the value itself."""
    sign = 1 if value > 0 else -1
    return tuple(dict.fromkeys((0, sign * (abs(value) // 8), sign * (abs(value) // 2), value)))

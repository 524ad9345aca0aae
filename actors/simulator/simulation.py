"""One seed from beginning to end: the story is drawn, acted out, left in peace, and judged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

import attrs

from actors.audit import Violation
from actors.runtime.simulation.scheduler import Hear
from actors.simulator.exercised import Figures, exercised
from actors.simulator.guard import Guard
from actors.simulator.peace import leave_in_peace
from actors.simulator.plan import Plan
from actors.simulator.quiet import Quiet
from actors.simulator.stage import Stage
from messages.base import Message
from messages.orders import OrderStatus
from messages.positions import PositionStatus


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one story."""

    plan: Plan
    violation: Violation | None
    messages: int
    trace_hash: str
    """Of who read what in which order, and of all that was kept: equal for equal runs."""
    said: Mapping[type[Message], int]
    struck: Counter[str]
    order_steps: Mapping[tuple[OrderStatus | None, OrderStatus], int]
    position_steps: Mapping[tuple[PositionStatus | None, PositionStatus], int]
    story: tuple[tuple[int, Message], ...]
    """The last messages, with their instants."""
    began_us: int
    """The instant of the virtual clock at which the story begins."""
    acted: int
    """How many steps of the plan had been done when it ended."""
    exercised: Figures


def simulate(plan: Plan, hear: Hear | None = None) -> Outcome:
    """Act a plan out and judge it. The same plan has the same outcome, on every machine.

    `hear` is told the instant, the reader and the message whenever somebody reads one.
    """
    stage = Stage(plan, hear)
    guard = Guard(stage)
    acted = 0
    quiet = Quiet(stage)
    for step in plan.steps:
        stage.passes(step.after_us)
        quiet.look()
        stage.act(step)
        acted += 1
        guard.look()
        if stage.watch.broken is not None:
            break
    else:
        leave_in_peace(stage)
    stage.close()
    return Outcome(
        plan=plan,
        violation=stage.watch.broken,
        messages=stage.handled,
        trace_hash=_hash(stage),
        said=stage.watch.said,
        struck=stage.struck,
        order_steps=stage.watch.order_steps,
        position_steps=stage.watch.position_steps,
        story=tuple(stage.watch.story),
        began_us=stage.began_us,
        acted=acted,
        exercised=exercised(stage, plan.steps[:acted]),
    )


def _hash(stage: Stage) -> str:
    digest = hashlib.blake2b(stage.scheduler.trace.tobytes(), digest_size=16)
    kept = stage.kept
    for rows in (kept.requests, kept.orders, kept.fills, kept.positions):
        for _id, row in sorted(rows.items()):
            digest.update(repr(row).encode())
    for told in (kept.risk, kept.events, kept.snapshots, stage.clock.now_us()):
        digest.update(repr(told).encode())
    digest.update(repr(sorted((kind.__name__, count) for kind, count in stage.watch.said.items())).encode())
    return digest.hexdigest()

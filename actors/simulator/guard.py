"""No position stays bare: looked at between the steps of a story, because time must pass for it to be wrong.

A stop needs a moment to be placed. Where it takes longer, a person must have been told; where it takes much longer,
or where a price has passed the stop, the position must be on its way out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.runtime.simulation.pace import SECOND_US
from actors.simulator.faults import DrawnLatency
from actors.simulator.peace import bare
from messages.base import PositionId

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

PATIENCE_US = 45 * SECOND_US
"""An order without an answer is given up as unknown after 20 s; a poll later everybody has been told."""


class Guard:
    """Remembers since when each position has been bare without a word."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        pace = stage.plan.pace
        self._patience_us = PATIENCE_US + pace.timer_late_us + (3 * pace.slow_io_us if pace.slow_io_one_in else 0)
        if pace.slow_read_one_in:
            self._patience_us += 5 * pace.slow_read_us
        self._bare_since_us: dict[PositionId, int] = {}
        self._grace = Grace(self._patience_us + stage.plan.settings.execution.orders.protection_grace_s * SECOND_US)
        self._machine = stage.machine

    def look(self) -> None:
        """Look at every open position once."""
        stage = self._stage
        if stage.machine is not self._machine or not stage.machine.is_ready or self._nobody_can_know():
            self._machine = stage.machine
            self._bare_since_us.clear()
            self._grace.begin_anew()
            return
        if not stage.watch.alive:
            return
        awake_us = stage.clock.now_us() - stage.asleep_us
        self._bare_since_us = {position.id: self._bare_since_us.get(position.id, awake_us) for position in bare(stage)}
        for id_, since_us in self._bare_since_us.items():
            if awake_us - since_us > self._patience_us + self._news_take_us():
                stage.watch.breaks("I4", f"position {id_} has no stop and nobody has been told")
        self._grace.look(stage, awake_us, self._news_take_us())

    def _nobody_can_know(self) -> bool:
        """Say whether neither the database nor the exchange says anything."""
        exchange = self._stage.exchange
        return self._stage.outage.is_away or exchange.maintenance or exchange.mute_answers > 0

    def _news_take_us(self) -> int:
        """Return how long at most it takes by now until the engine hears what the exchange has done."""
        exchange = self._stage.exchange
        latency = exchange.latency
        under_way_us = max(latency.answer_us_max, latency.push_us_max) if isinstance(latency, DrawnLatency) else 0
        return exchange.poll_lag_us + exchange.timeout_us + 3 * (exchange.answer_delay_us + under_way_us)


class Grace:
    """Remembers since when each position has been bare, with a word or without: being out is better than that."""

    def __init__(self, patience_us: int) -> None:
        self._patience_us = patience_us
        self._since_us: dict[PositionId, int] = {}

    def begin_anew(self) -> None:
        """Another engine has another grace."""
        self._since_us.clear()

    def look(self, stage: Stage, awake_us: int, news_take_us: int) -> None:
        """Look at every open position once."""
        for position in stage.watch.promises.unheard(stage):
            stage.watch.breaks("I4", f"position {position.id} is bare, and the alert that names it was never sent")
        now_bare = bare(stage, is_told_enough=False)
        self._since_us = {position.id: self._since_us.get(position.id, awake_us) for position in now_bare}
        for id_, since_us in self._since_us.items():
            if awake_us - since_us > self._patience_us + news_take_us:
                stage.watch.breaks("I4", f"position {id_} has no stop, its grace is over, and it is not being closed")

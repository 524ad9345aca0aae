"""No position stays bare: looked at between the steps of a story, because time must pass for it to be wrong.

A stop needs a moment to be placed. Where it takes longer, or covers less than is held, a person must have been told;
where it takes much longer, or where a price has passed a level, the position must be on its way out.
Read in order: Guard, what it asks each time, Since.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Generic, TypeVar

from actors.audit import is_owed_a_stop
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from actors.runtime.simulation.pace import SECOND_US
from actors.simulator.alarms import BARE
from actors.simulator.faults import DrawnLatency
from actors.simulator.levels import Neglect, neglected
from messages.base import PositionId
from messages.orders import OrderRole

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

PATIENCE_US = 45 * SECOND_US
"""An order without an answer is given up as unknown after 20 s; a poll later everybody has been told."""
ZERO = Decimal(0)
Name = TypeVar("Name", bound=Hashable)


class Guard:
    """Remembers since when each position lacks what it should have."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        pace = stage.plan.pace
        self._patience_us = PATIENCE_US + pace.timer_late_us + (3 * pace.slow_io_us if pace.slow_io_one_in else 0)
        if pace.slow_read_one_in:
            self._patience_us += 5 * pace.slow_read_us
        self._grace_us = stage.plan.settings.execution.orders.protection_grace_s * SECOND_US
        self._machine = stage.machine
        self._untold: Since[PositionId] = Since()
        self._bare: Since[PositionId] = Since()
        self._thin: Since[tuple[PositionId, Decimal]] = Since()
        self._passed: Since[Neglect] = Since()
        self._neglected: Since[Neglect] = Since()

    def look(self) -> None:
        """Look at every open position once."""
        stage = self._stage
        if stage.machine is not self._machine or not stage.machine.is_ready or self._nobody_can_know():
            self._machine = stage.machine
            for since in (self._untold, self._bare, self._thin, self._passed, self._neglected):
                since.clear()
        elif stage.watch.alive:
            book: BookSummary = stage.machine.actors["position"].describe()  # type: ignore[assignment]
            self._look_at_stops(book)
            self._look_at_levels(book)

    def _nobody_can_know(self) -> bool:
        """Say whether neither the database nor the exchange says anything."""
        exchange = self._stage.exchange
        return self._stage.outage.is_away or exchange.maintenance or exchange.mute_answers > 0

    def _look_at_stops(self, book: BookSummary) -> None:
        stage, awake_us = self._stage, self._awake_us()
        orders: OrderSummary = stage.machine.actors["order"].describe()  # type: ignore[assignment]
        for position in book.positions:
            if position.id in orders.alerted and not stage.watch.alarms.has_said(position.proposal_id, BARE):
                stage.watch.breaks("I4", f"position {position.id} is bare, and the alert that names it was never sent")
        instruments = stage.plan.settings.execution.instruments
        owed = [position for position in book.positions if is_owed_a_stop(position, instruments)]
        covered = self._covered(orders)
        bare = [position for position in owed if position.id not in covered]
        patience_us = self._patience_us + self._news_take_us()
        untold = (position.id for position in bare if position.id not in orders.alerted)
        for id_ in self._untold.longer_than(patience_us, untold, awake_us):
            stage.watch.breaks("I4", f"position {id_} has no stop and nobody has been told")
        for id_ in self._bare.longer_than(patience_us + self._grace_us, (one.id for one in bare), awake_us):
            stage.watch.breaks("I4", f"position {id_} has no stop, its grace is over, and it is not being closed")
        thin = (
            (position.id, position.volume_base)
            for position in owed
            if position.id not in orders.alerted
            and covered.get(position.id, position.volume_base) < position.volume_base
        )
        for id_, held_base in self._thin.longer_than(patience_us, thin, awake_us):
            text = f"position {id_} holds {held_base}, its stop is for {covered[id_]}, and nobody has been told"
            stage.watch.breaks("I4", text)

    def _covered(self, orders: OrderSummary) -> dict[PositionId, Decimal]:
        """Return how much of each position the stops cover that rest on the exchange."""
        covered: dict[PositionId, Decimal] = {}
        history = self._stage.books_of_exchange.books.history
        for order in orders.live:
            resting = history.find_open(order.id) if order.intent.role is OrderRole.STOP else None
            if resting is not None:
                id_ = order.intent.position_id
                covered[id_] = covered.get(id_, ZERO) + resting.volume_base - resting.filled_base
        return covered

    def _look_at_levels(self, book: BookSummary) -> None:
        """A level that was passed before anybody watched it is acted on at the next price."""
        stage, awake_us = self._stage, self._awake_us()
        passed = self._passed.noted(neglected(stage, book), stage.clock.now_us())
        priced_us = stage.watch.priced_us
        heard = (neglect for neglect, since_us in passed.items() if priced_us[neglect.symbol] > since_us)
        patience_us = self._patience_us + self._grace_us + self._news_take_us()
        for neglect in self._neglected.longer_than(patience_us, heard, awake_us):
            stage.watch.breaks("I4", neglect.text)

    def _awake_us(self) -> int:
        return self._stage.clock.now_us() - self._stage.asleep_us

    def _news_take_us(self) -> int:
        """Return how long at most it takes by now until the engine hears what the exchange has done."""
        exchange = self._stage.exchange
        latency = exchange.latency
        under_way_us = max(latency.answer_us_max, latency.push_us_max) if isinstance(latency, DrawnLatency) else 0
        return exchange.poll_lag_us + exchange.timeout_us + 3 * (exchange.answer_delay_us + under_way_us)


class Since(Generic[Name]):
    """Since when something has been wrong without a break."""

    def __init__(self) -> None:
        self._since_us: dict[Name, int] = {}

    def clear(self) -> None:
        """Begin anew."""
        self._since_us.clear()

    def noted(self, wrong: Iterable[Name], now_us: int) -> dict[Name, int]:
        """Take in what is wrong now, and return since when each of it has been."""
        self._since_us = {name: self._since_us.get(name, now_us) for name in wrong}
        return self._since_us

    def longer_than(self, patience_us: int, wrong: Iterable[Name], now_us: int) -> list[Name]:
        """Take in what is wrong now, and return what has been for longer."""
        return [name for name, since_us in self.noted(wrong, now_us).items() if now_us - since_us > patience_us]

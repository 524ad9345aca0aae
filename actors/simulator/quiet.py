"""The books are audited in the middle of a story as well, whenever nothing is on its way and everything has been told.

Each trade of the exchange must have been told to the engine that runs now, whatever else was lost: then there is no
excuse for a difference, after a restart least of all.
Read in order: Quiet.look(), then what makes a moment quiet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from actors.audit import Violation, audit
from actors.order.actor import OrderSummary
from actors.simulator.peace import booked, books_of, differences, trades
from messages.base import Message, TradeId
from messages.lifecycle import StartEngine
from messages.orders import ExecutionReported, Fill, OrderFound, OrderRole, OrdersPolled
from messages.permits import TokensReported
from messages.risk import TradingState
from persistence.memory import MemoryJournal

if TYPE_CHECKING:
    from actors.simulator.stage import Stage


class Told:
    """The trades of which the engine that runs now knows: from the journal, or because the exchange told it."""

    def __init__(self, kept: MemoryJournal) -> None:
        self._kept = kept
        self._volumes: set[TradeId] = set()
        self._booked_before: Mapping[TradeId, Any] = {}
        self.checks: Mapping[type[Message], Callable[[Any], None]] = {
            StartEngine: self._starting,
            ExecutionReported: self._hearing,
            OrdersPolled: self._hearing_many,
            OrderFound: self._hearing_many,
        }

    def _starting(self, _message: StartEngine) -> None:
        self._volumes.clear()
        self._booked_before = booked(self._kept)

    def _hearing(self, message: ExecutionReported) -> None:
        self._volumes.add(message.fill.trade_id)

    def _hearing_many(self, message: OrdersPolled | OrderFound) -> None:
        self._volumes.update(fill.trade_id for fill in message.fills)

    def has_all(self, fills: Iterable[Fill]) -> bool:
        """Say whether each of these trades is known, in all its volume."""
        return all(fill.trade_id in self._volumes or self._was_booked(fill) for fill in fills)

    def _was_booked(self, fill: Fill) -> bool:
        known = self._booked_before.get(fill.trade_id)
        return known is not None and known[0] == fill.volume_base


class Quiet:
    """Looks at the books between the steps of a story, once for each group that was committed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: tuple[object, ...] = ()

    def look(self) -> None:
        """Compare both sides, if this is a quiet moment."""
        stage = self._stage
        state = (stage.machine, stage.kept.commits)
        if state == self._seen or not self._is_quiet():
            return
        self._seen = state
        stage.audits += 1
        for violation in self._found():
            stage.watch.breaks(violation.invariant, violation.text)

    def _is_quiet(self) -> bool:
        stage = self._stage
        machine = stage.machine
        if not (machine.is_ready and stage.scheduler.is_still and machine.is_drained()):
            return False
        tokens: TokensReported = machine.actors["rate_limiter"].describe()  # type: ignore[assignment]
        return not tokens.waiting and stage.watch.told.has_all(stage.books_of_exchange.books.history.trades())

    def _found(self) -> Iterable[Violation]:
        """Yield what is wrong; whether a stop is missing is for the guard, who knows since when."""
        stage = self._stage
        found = (violation for violation in audit(books_of(stage)) if violation.invariant != "I4")
        return chain(found, trades(stage), differences(stage), self._waits_in_a_halt())

    def _waits_in_a_halt(self) -> Iterable[Violation]:
        """While nothing may be opened, no entry waits to be filled either."""
        state = self._stage.watch.trading_state
        if state is TradingState.ACTIVE:
            return
        orders: OrderSummary = self._stage.machine.actors["order"].describe()  # type: ignore[assignment]
        for order in orders.live:
            if order.intent.role is OrderRole.ENTRY:
                yield Violation("I7", f"entry {order.id} waits to be filled while trading is {state.value}")

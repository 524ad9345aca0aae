"""What is told of what the books said: with which delay, what is lost on the way, in which order.

Read in order: Saying, Telling.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from actors.exchange.mock.faults import Faults
from messages.base import Event, OrderId, ProposalId
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExecutionReported,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OutcomeUnknown,
)

TIMED_OUT = "EService:Timeout"
CANCEL_TIMED_OUT = "EService:Timeout: the outcome of the cancel is unknown"
AMEND_TIMED_OUT = "EService:Timeout: the outcome of the amend is unknown"


@attrs.frozen
class Saying:
    """An event, the trade it belongs to, and how long it is under way once it is safe to tell."""

    event: Event
    proposal_id: ProposalId | None
    delay_us: int = 0


class Telling:
    """Turns what the books said into sayings, as slow and as faulty as the plan wants it."""

    def __init__(self, faults: Faults, acknowledge_delay_us: int, fill_delay_us: int) -> None:
        self._faults = faults
        self._acknowledge_delay_us = acknowledge_delay_us
        self._fill_delay_us = fill_delay_us

    def unknown(self, order_id: OrderId, proposal_id: ProposalId | None) -> Saying:
        """Return what is heard of a placement whose answer never comes."""
        event = OutcomeUnknown(order_id=order_id, reason=TIMED_OUT)
        return Saying(event, proposal_id, self._answer_delay_us() + self._faults.timeout_us)

    def placed(self, events: Sequence[Event], proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the outcome of a placement: the answer first, unless the plan wants the executions first."""
        answer, pushed = events[0], events[1:]
        if type(answer) is OrderAccepted and self._faults.loses_answer():
            first = self.unknown(answer.order_id, proposal_id)
        else:
            first = Saying(answer, proposal_id, self._answer_delay_us())
        rest = self._pushed(pushed, proposal_id, self._answer_delay_us())
        if self._faults.executes_first and rest:
            return [*rest, attrs.evolve(first, delay_us=max(first.delay_us, rest[-1].delay_us))]
        return [first, *rest]

    def amended(self, events: Sequence[Event], proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the outcome of an amend."""
        answer = events[0]
        if type(answer) is OrderAmended and self._faults.loses_amend_answer():
            answer = AmendRefused(order_id=answer.order_id, reason=AMEND_TIMED_OUT)
        delay_us = self._answer_delay_us()
        return [Saying(answer, proposal_id, delay_us), *self._pushed(events[1:], proposal_id, delay_us)]

    def cancelled(self, events: Sequence[Event], proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the outcome of a cancel; a lost answer takes the push with it, so that only a look-up tells."""
        answer = events[0]
        if type(answer) is OrderEnded and self._faults.loses_cancel_answer():
            answer = CancelRefused(order_id=answer.order_id, reason=CANCEL_TIMED_OUT)
        return [Saying(answer, proposal_id, self._answer_delay_us())]

    def answered(self, event: Event, proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the answer to a question: delayed by faults alone."""
        return [Saying(event, proposal_id, self._faults.answer_delay_us)]

    def pushed(self, event: Event, proposal_id: ProposalId | None) -> list[Saying]:
        """Tell what happened by itself."""
        return self._pushed((event,), proposal_id, 0)

    def _pushed(self, events: Sequence[Event], proposal_id: ProposalId | None, delay_us: int) -> list[Saying]:
        sayings: list[Saying] = []
        for event in events:
            saying = Saying(event, proposal_id, delay_us + self._fill_delay_us)
            if type(event) is not ExecutionReported:
                sayings.append(saying)
            elif not self._faults.loses_execution():
                sayings += [saying, saying] if self._faults.duplicates_executions else [saying]
        return sayings

    def _answer_delay_us(self) -> int:
        return self._acknowledge_delay_us + self._faults.answer_delay_us

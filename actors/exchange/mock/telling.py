"""What is told of what the books said: with which delay, what is lost on the way, in which order.

Read in order: Saying, Telling (requests, questions, pushes), Channel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal

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
LATE_US = 2_000_000
"""How long after the end of its order an execution comes that the end has overtaken."""
TOLD_TWICE = frozenset({OrderAccepted, OrderAmended, OrderEnded})


@attrs.frozen
class Saying:
    """An event, the trade it belongs to, and how long it is under way once it is safe to tell."""

    event: Event
    proposal_id: ProposalId | None
    delay_us: int = 0
    is_push: bool = False
    """Whether it travels on the ordered channel instead of answering somebody."""


def unknown(order_id: OrderId) -> OutcomeUnknown:
    """Return what is heard of a placement that was lost, one way or the other."""
    return OutcomeUnknown(order_id=order_id, reason=TIMED_OUT)


def cancel_unknown(order_id: OrderId) -> CancelRefused:
    """Return what is heard of a cancel that was lost, one way or the other."""
    return CancelRefused(order_id=order_id, reason=CANCEL_TIMED_OUT)


def amend_unknown(order_id: OrderId) -> AmendRefused:
    """Return what is heard of an amend that was lost, one way or the other."""
    return AmendRefused(order_id=order_id, reason=AMEND_TIMED_OUT)


class Telling:
    """Turns what the books said into sayings, as slow and as faulty as the plan wants it."""

    def __init__(
        self,
        faults: Faults,
        acknowledge_delay_us: int,
        fill_delay_us: int,
        may_end: Callable[[OrderId], bool],
    ) -> None:
        self._faults = faults
        self._may_end = may_end
        self._acknowledge_delay_us = acknowledge_delay_us
        self._fill_delay_us = fill_delay_us
        self.held: list[Saying] = []
        """What is to be pushed when maintenance ends."""
        self._late: dict[OrderId, list[Saying]] = {}
        """Executions that wait for the end of their order."""

    # Requests -------------------------------------------------------------------------------------

    def told(self, events: Sequence[Event], proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the outcome of a placement, amend or cancel: the answer first, unless the plan wants it otherwise."""
        faults = self._faults
        answers = self._answers(events[0], proposal_id)
        if len(events) == 1:
            return answers
        rest = self._pushed(events[1:], proposal_id, self._acknowledge_delay_us + faults.answer_delay_us)
        if faults.executes_first and rest and answers and type(events[0]) is OrderAccepted:
            faults.struck["executes_first"] += 1
            last_us = rest[-1].delay_us
            return [*rest, *(attrs.evolve(one, delay_us=max(one.delay_us, last_us)) for one in answers)]
        return [*answers, *rest]

    def _answers(self, event: Event, proposal_id: ProposalId | None) -> list[Saying]:
        """Tell an answer: not at all, as unknown, late, twice, or as it is."""
        faults = self._faults
        if faults.mute_answers and faults.strikes("mute_answers"):
            return []
        event = self._after_losses(event)
        delay_us = self._acknowledge_delay_us + self._extra_delay_us()
        if faults.timeout_us and type(event) is OutcomeUnknown:
            faults.struck["timeout_us"] += 1
            delay_us += faults.timeout_us
        return self._doubled(Saying(event, proposal_id, delay_us))

    def _after_losses(self, event: Event) -> Event:
        """Return the answer, or what is heard when it is lost. A lost end of an order is not pushed either."""
        match event:
            case OrderAccepted() if self._faults.strikes("lost_answers"):
                return unknown(event.order_id)
            case OrderAmended() if self._faults.strikes("lost_amend_answers"):
                return amend_unknown(event.order_id)
            case OrderEnded() if self._faults.strikes("lost_cancel_answers"):
                return cancel_unknown(event.order_id)
        return event

    # Questions ------------------------------------------------------------------------------------

    def keeps_silent(self) -> bool:
        """Say whether a question gets no answer at all."""
        return self._faults.keeps_shut() or self._faults.strikes("mute_answers")

    def answered(self, event: Event, proposal_id: ProposalId | None) -> list[Saying]:
        """Tell the answer to a question: delayed by faults alone."""
        return [Saying(event, proposal_id, self._extra_delay_us())]

    # Pushes ---------------------------------------------------------------------------------------

    def pushed(self, event: Event, proposal_id: ProposalId | None) -> list[Saying]:
        """Tell what happened by itself."""
        return self._pushed((event,), proposal_id, 0)

    def release(self) -> list[Saying]:
        """Return what maintenance has held back, once it is over."""
        if self._faults.maintenance:
            return []
        released, self.held = self.held, []
        return released

    def _pushed(self, events: Sequence[Event], proposal_id: ProposalId | None, delay_us: int) -> list[Saying]:
        faults = self._faults
        sayings: list[Saying] = []
        for event in events:
            saying = Saying(event, proposal_id, delay_us + self._fill_delay_us, is_push=True)
            if not isinstance(event, ExecutionReported):
                sayings += self._doubled(saying)
            elif not faults.strikes("lost_executions"):
                if self._keeps_back(event, saying):
                    continue
                sayings += self._late.pop(event.fill.order_id, [])
                if faults.duplicates_executions:
                    faults.struck["duplicates_executions"] += 1
                    sayings.append(saying)
                sayings.append(saying)
        return self._let_through(sayings) if faults.maintenance or self.held else sayings

    def _let_through(self, sayings: list[Saying]) -> list[Saying]:
        """Hold pushes back in maintenance; after it, what was held back goes first."""
        if not self._faults.maintenance:
            return [*self.release(), *sayings]
        self.held += sayings
        self._faults.struck["maintenance"] += len(sayings)
        return []

    def _keeps_back(self, event: ExecutionReported, saying: Saying) -> bool:
        """Say whether the execution waits for the end of its order: of one that may still end otherwise than filled."""
        order_id = event.fill.order_id
        if not self._faults.late_executions or not self._may_end(order_id) or event.fill.is_liquidation:
            return False
        self._faults.strikes("late_executions")
        self._late.setdefault(order_id, []).append(saying)
        return True

    def _overtaken(self, saying: Saying) -> tuple[Saying, list[Saying]]:
        """Return the end of an order as it is told when it overtakes executions, and those that follow it."""
        event = saying.event
        late = self._late.pop(event.order_id, []) if isinstance(event, OrderEnded) else []
        if not late or not isinstance(event, OrderEnded) or event.filled_base is None:
            return saying, late
        told_late = (one.event.fill for one in late if isinstance(one.event, ExecutionReported))
        late_base = sum((fill.volume_base for fill in told_late), Decimal(0))
        saying = attrs.evolve(saying, event=attrs.evolve(event, filled_base=event.filled_base - late_base))
        return saying, [attrs.evolve(one, delay_us=saying.delay_us + LATE_US) for one in late]

    # Both -----------------------------------------------------------------------------------------

    def _doubled(self, saying: Saying) -> list[Saying]:
        saying, late = self._overtaken(saying)
        if self._faults.silent_ends and isinstance(saying.event, OrderEnded):
            self._faults.struck["silent_ends"] += 1
            saying = attrs.evolve(saying, event=attrs.evolve(saying.event, filled_base=None))
        if not self._faults.duplicates_answers or type(saying.event) not in TOLD_TWICE:
            return [saying, *late]
        self._faults.struck["duplicates_answers"] += 1
        return [saying, saying, *late]

    def _extra_delay_us(self) -> int:
        extra_us = self._faults.answer_delay_us
        if extra_us:
            self._faults.struck["answer_delay_us"] += 1
        return extra_us


class Channel:
    """The way of sayings while they are delayed one by one. Pushes are a queue: none arrives before an earlier one."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._pushes: deque[Saying] = deque()
        self._push_due_us = 0
        """When the last of them arrives."""

    @property
    def is_idle(self) -> bool:
        """Whether sayings need no more than the delay that they bring along."""
        return self._faults.latency is None and not self._pushes

    def wait_us(self, saying: Saying, now_us: int) -> int | None:
        """Return after how long the saying arrives, None if at once; a push that has to wait is queued."""
        delay_us = saying.delay_us + self._latency_us(saying)
        if not saying.is_push:
            return delay_us or None
        if not delay_us and not self._pushes:
            return None
        self._push_due_us = max(self._push_due_us, now_us + delay_us)
        self._pushes.append(saying)
        return self._push_due_us - now_us

    def next_push(self) -> Saying:
        """Return the push whose turn it is: whichever timer wakes us, they arrive as they were told."""
        return self._pushes.popleft()

    def _latency_us(self, saying: Saying) -> int:
        latency = self._faults.latency
        if latency is None:
            return 0
        extra_us = latency.push_us() if saying.is_push else latency.answer_us()
        if extra_us:
            self._faults.struck["latency"] += 1
        return extra_us

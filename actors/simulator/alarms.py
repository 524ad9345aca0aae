"""What people and programs outside hear: every event once and in order (I11), and an alarm for what they must know.

An alarm that is said to the journal is on its way; one that the engine means to have sent must be committed in the end.
Read in order: Alarms, what is said, what must have been said, then unsaid().
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from messages.base import Message, OrderId, PositionId, ProposalId
from messages.bus import EventsCommitted, PublicEvent
from messages.journal import JournalResumed, JournalStalled, RecordAlert, RecordIntent, RecordUnit
from messages.lifecycle import StartEngine
from messages.orders import OrderIntent, OrderRefused, OrderRole, PlaceOrder
from messages.positions import PositionChanged
from persistence.memory import MemoryJournal

BARE = frozenset({"protection_failing", "dust_left", "adopted_without_stop"})
"""The alarms that tell of a position which has no stop."""
UNRECORDED, EXIT_FAILING = "sent_unrecorded", "exit_failing"


class Judge(Protocol):
    """What this module asks of the watch."""

    def breaks(self, invariant: str, text: str) -> None:
        """Note that an invariant is broken."""
        ...


class Alarms:
    """Remembers what the engine that runs now has said to the outside."""

    def __init__(self, judge: Judge, kept: MemoryJournal) -> None:
        self._judge = judge
        self._kept = kept
        self._told = 0
        """The number of the last event that was told."""
        self._said: defaultdict[ProposalId | None, list[PublicEvent]] = defaultdict(list)
        self._uncommitted: dict[PublicEvent, None] = {}
        self._has_stalled = False
        self._resumed_id: int | None = None
        """The message that said that the journal is back; None while it is away."""
        self._intents: dict[OrderId, OrderIntent] = {}
        self._failed_exits: dict[PositionId, OrderId] = {}
        """The exit that was refused last, of positions that are still to be left."""
        self.checks: Mapping[type[Message], Callable[[Any], None]] = {
            StartEngine: self._starting,
            EventsCommitted: self._publishing,
            RecordAlert: self._alarming,
            RecordIntent: self._intending,
            JournalStalled: self._stalling,
            JournalResumed: self._resuming,
            OrderRefused: self._refusing,
            PositionChanged: self._changing,
            PlaceOrder: self._placing,
        }

    # What is said ---------------------------------------------------------------------------------

    def _starting(self, _message: StartEngine) -> None:
        """An engine takes what it has not committed with it; what nobody was told of before its death stays untold."""
        self._told = len(self._kept.events)
        self._said.clear()
        self._uncommitted.clear()
        self._has_stalled, self._resumed_id = False, None
        self._failed_exits.clear()

    def _publishing(self, message: EventsCommitted) -> None:
        events = self._kept.events
        for numbered in message.events:
            number = numbered.sequence
            if number > len(events) or events[number - 1].event != numbered.event:
                self._judge.breaks("I11", f"event {number} ({numbered.event.kind}) is told but not committed")
            if number != self._told + 1:
                self._judge.breaks("I11", f"event {number} is told after event {self._told}")
            self._told = number

    def _alarming(self, message: RecordAlert) -> None:
        for event in message.events:
            self._said[event.proposal_id].append(event)
            self._uncommitted[event] = None
            if event.kind == UNRECORDED and not self._may_leave_unrecorded(message):
                self._judge.breaks("I1", f"{_reason(event)}, and the journal is not away")

    def _may_leave_unrecorded(self, message: Message) -> bool:
        """Say whether who says this may not have read yet that the journal is back: mail is read in its order."""
        return self._has_stalled and (self._resumed_id is None or message.caused_by <= self._resumed_id)

    def committed(self, unit: RecordUnit) -> None:
        """Strike off what is kept."""
        if type(unit) is RecordAlert:
            for event in unit.events:
                self._uncommitted.pop(event, None)

    def _intending(self, message: RecordIntent) -> None:
        intent = message.order.intent
        if intent.role is OrderRole.EXIT:
            self._intents[intent.id] = intent

    def _stalling(self, _message: JournalStalled) -> None:
        self._has_stalled, self._resumed_id = True, None

    def _resuming(self, message: JournalResumed) -> None:
        self._resumed_id = message.id

    def _refusing(self, message: OrderRefused) -> None:
        intent = self._intents.get(message.order_id)
        if intent is not None:
            self._failed_exits[intent.position_id] = intent.id

    def _changing(self, message: PositionChanged) -> None:
        if message.position.is_over:
            self._failed_exits.pop(message.position.id, None)

    # What must have been said ---------------------------------------------------------------------

    def _placing(self, message: PlaceOrder) -> None:
        """What leaves before it is kept is told of, and so is a way out that was barred and is tried again."""
        intent = message.intent
        if intent.role is OrderRole.ENTRY:
            return
        if intent.id not in self._kept.orders and not self._has_told_of(intent):
            self._judge.breaks("I1", f"{intent.role.value} {intent.id} leaves before it is kept, and nobody is told")
        if intent.role is not OrderRole.EXIT:
            return
        failed = self._failed_exits.pop(intent.position_id, None)
        if failed is not None and not self.has_said(intent.proposal_id, {EXIT_FAILING}):
            self._judge.breaks("I4", f"exit {failed} of {intent.position_id} was refused, and nobody was told")

    def _has_told_of(self, intent: OrderIntent) -> bool:
        said = self._said.get(intent.proposal_id, ())
        return any(event.kind == UNRECORDED and intent.id in _reason(event) for event in said)

    def has_said(self, proposal_id: ProposalId, kinds: Iterable[str]) -> bool:
        """Say whether an alarm of one of these kinds was raised for the trade by the engine that runs now."""
        return any(event.kind in kinds for event in self._said.get(proposal_id, ()))

    def unsaid(self) -> Iterable[str]:
        """Yield what the outside still has to hear, when nothing is on its way any more."""
        for event in self._uncommitted:
            yield f"I11: the alarm {event.kind} of {event.proposal_id} is never committed"
        if self._told != len(self._kept.events):
            yield f"I11: {len(self._kept.events)} events are committed, and told up to {self._told}"


def _reason(event: PublicEvent) -> str:
    return dict(event.details).get("reason", "")

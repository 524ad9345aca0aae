"""JournalActor: the one writer. Whatever waits when the last commit returns goes into the next, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from actors.journal.commits import (
    CommitDone,
    CommitFailed,
    CommitQueue,
    CommitWaiting,
    JournalReport,
    LoadDone,
    LoadFailed,
    LookAtCommit,
    RetryCommit,
)
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import JournalSettings
from messages.bus import EventPriority, EventsCommitted, NumberedEvent, PublicEvent, Topic
from messages.journal import (
    IntentRecorded,
    JournalLoaded,
    JournalResumed,
    JournalStalled,
    LoadJournal,
    RecordAlert,
    RecordFill,
    RecordIntent,
    RecordOrder,
    RecordPosition,
    RecordRequest,
    RecordRiskState,
    RecordSnapshots,
    RecordStanding,
    RecordUnit,
)
from messages.protocols import JournalInbox, JournalOutbox
from persistence.protocol import Journal, JournalUnavailableError

Heard = JournalInbox | CommitWaiting | CommitDone | CommitFailed | RetryCommit | LookAtCommit | LoadDone | LoadFailed
MICROSECONDS_PER_MS = 1_000


class JournalActor(TypedActor):
    """Commits what the others record, one group after the other, and says when it is in."""

    role = "journal"
    accepts = kinds(Heard)
    emits = kinds(JournalOutbox)

    def __init__(self, ports: Ports, *, journal: Journal, settings: JournalSettings) -> None:
        super().__init__(ports)
        self._journal = journal
        self._retry_us = settings.retry_ms * MICROSECONDS_PER_MS
        self._slow_us = settings.commit_slow_ms * MICROSECONDS_PER_MS
        self._asked_at_us: int | None = None
        """Since when the database owes an answer to a commit; None when it owes none."""
        self._is_watching = False
        self._queue = CommitQueue(settings.group_max, settings.waiting_max)

    def on_receive(self, message: Heard) -> None:  # noqa: C901 - flat: a line or two for each message.
        """Queue a unit, start a group, or say what became of one."""
        match message:
            case (
                RecordOrder()
                | RecordIntent()
                | RecordFill()
                | RecordPosition()
                | RecordRequest()
                | RecordRiskState()
                | RecordStanding()
                | RecordAlert()
                | RecordSnapshots()
            ):
                if self._queue.add(message):
                    self._ask_for_commit()
            case CommitWaiting():
                self._commit(self._queue.next_group())
            case CommitDone():
                self._asked_at_us = None
                self._settle(message.events)
            case CommitFailed(error=JournalUnavailableError() as error):
                self._asked_at_us = None
                self._stall(str(error))
                self.after(self._retry_us, RetryCommit())
            case RetryCommit():
                self._commit(self._queue.in_flight)
            case LookAtCommit():
                self._look_at_commit()
            case LoadJournal():
                self.pipe(
                    self._journal.load(), lambda state: LoadDone(state=state), lambda error: LoadFailed(error=error)
                )
            case LoadDone():
                self.emit(JournalLoaded(state=message.state))
            case CommitFailed(error=error) | LoadFailed(error=error):
                raise error  # Not the outage that may pass: end, and recover from what is committed.
            case _:
                assert_never(message)

    def is_settled(self) -> bool:
        """Say whether everything that was recorded is committed."""
        return not self._queue.waiting and not self._queue.in_flight

    def describe(self) -> JournalReport:
        """Return what has been committed and what waits."""
        queue = self._queue
        return JournalReport(
            commits=queue.commits,
            units=queue.units,
            waiting=queue.waiting,
            in_flight=len(queue.in_flight),
            stalled=bool(queue.stalled_by),
            stalled_by=queue.stalled_by,
        )

    def _ask_for_commit(self) -> None:
        # By way of the inbox: one hop later, with all that is in the inbox by now.
        self.tell_self(CommitWaiting(), None, self._handling.id)

    def _commit(self, group: Sequence[RecordUnit]) -> None:
        self._asked_at_us = self.now_us
        self._watch_commit(self._slow_us)
        self.pipe(
            self._journal.commit(group),
            lambda events: CommitDone(events=events),
            lambda error: CommitFailed(error=error),
        )

    def _settle(self, events: tuple[NumberedEvent, ...]) -> None:
        group = self._queue.settle()
        for unit in group:
            if isinstance(unit, RecordIntent):
                self.emit(IntentRecorded(order_id=unit.order.id), unit.order.intent.proposal_id)
        if events:
            self.emit(EventsCommitted(events=events))
        if self._queue.has_resumed(len(group)):
            self.emit(JournalResumed())
        if self._queue.waiting:
            self._ask_for_commit()

    def _watch_commit(self, wait_us: int) -> None:
        if not self._is_watching:  # One timer for all commits: they are many, and timers are never cancelled.
            self._is_watching = True
            self.after(wait_us, LookAtCommit())

    def _look_at_commit(self) -> None:
        """An answer that is late is an outage for those who cannot wait for it; the commit itself goes on."""
        self._is_watching = False
        if self._asked_at_us is None:
            return
        waited_us = self.now_us - self._asked_at_us
        if waited_us < self._slow_us:
            self._watch_commit(self._slow_us - waited_us)
        else:
            self._stall("the database has not answered a commit in time")

    def _stall(self, reason: str) -> None:
        """Say so, once an outage, and keep it for the subscribers: they hear of it when it can be kept."""
        if self._queue.has_stalled(reason):
            self.emit(JournalStalled(reason=reason))
            event = PublicEvent(
                topic=Topic.SYSTEM_EVENTS,
                kind="journal_stalled",
                priority=EventPriority.URGENT,
                proposal_id=None,
                at_us=self.now_us,
                details=(("reason", reason),),
            )
            self._queue.add(RecordAlert(events=(event,)))

"""What waits for the journal and what the journal has answered.

Rule: units are committed in the order in which they came, each exactly once, one group at a time.
Read in order: CommitWaiting and the other messages, CommitQueue, JournalReport.
"""

from __future__ import annotations

from collections import deque

import attrs

from messages.base import Event
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState


@attrs.frozen(kw_only=True)
class CommitWaiting(Event):
    """Units have begun to wait. Told to oneself, so whatever is in the inbox already joins the same group."""


@attrs.frozen(kw_only=True)
class CommitDone(Event):
    """The group in flight is in the database, with these events."""

    events: tuple[NumberedEvent, ...]


@attrs.frozen(kw_only=True)
class CommitFailed(Event):
    """The group in flight is not known to be in the database."""

    error: Exception


@attrs.frozen(kw_only=True)
class RetryCommit(Event):
    """The database has been left alone for long enough: the same group again."""


@attrs.frozen(kw_only=True)
class LookAtCommit(Event):
    """Time to look whether the commit under way has been answered."""


@attrs.frozen(kw_only=True)
class LoadDone(Event):
    """What the journal remembers."""

    state: RecoveredState


@attrs.frozen(kw_only=True)
class LoadFailed(Event):
    """The journal could not be read."""

    error: Exception


class QueueFullError(Exception):
    """More units wait than may wait: stopping loses nothing that the exchange cannot retell, dropping would."""

    def __init__(self, waiting_max: int, reason: str) -> None:
        super().__init__(f"more than {waiting_max} units wait for the journal ({reason or 'it is too slow'})")


class CommitQueue:
    """Units in order, the front of them in flight."""

    def __init__(self, group_max: int, waiting_max: int) -> None:
        self._group_max = group_max
        self._waiting_max = waiting_max
        self._waiting: deque[RecordUnit] = deque()
        self.in_flight: tuple[RecordUnit, ...] = ()
        """The group that is being committed; it stays here until it is known to be in."""
        self.stalled_by = ""
        """Why the journal does not take commits; empty when it does."""
        self._behind: int | None = None
        """Units left of those that waited when a stalled journal took its first group again."""
        self.commits = 0
        self.units = 0

    @property
    def waiting(self) -> int:
        """Return how many units wait behind the group in flight."""
        return len(self._waiting)

    def add(self, unit: RecordUnit) -> bool:
        """Let a unit wait. Returns whether it is the first to wait for a commit that nobody has asked for yet."""
        if len(self._waiting) >= self._waiting_max:
            raise QueueFullError(self._waiting_max, self.stalled_by)
        self._waiting.append(unit)
        return len(self._waiting) == 1 and not self.in_flight

    def next_group(self) -> tuple[RecordUnit, ...]:
        """Put the units that wait, `group_max` at most, in flight."""
        size = min(len(self._waiting), self._group_max)
        self.in_flight = tuple(self._waiting.popleft() for _ in range(size))
        return self.in_flight

    def settle(self) -> tuple[RecordUnit, ...]:
        """Count the group in flight as committed and return it."""
        group, self.in_flight = self.in_flight, ()
        self.commits += 1
        self.units += len(group)
        return group

    def has_stalled(self, reason: str) -> bool:
        """Note that the group in flight failed. Returns whether this is news."""
        is_news = not self.stalled_by
        self.stalled_by = reason or "no reason given"
        self._behind = None
        return is_news

    def has_resumed(self, committed: int) -> bool:
        """Say, after `committed` units went in, whether all that waited in a stall are in: true once a stall."""
        if not self.stalled_by:
            return False
        self._behind = len(self._waiting) if self._behind is None else self._behind - committed
        if self._behind > 0:
            return False
        self.stalled_by = ""
        self._behind = None
        return True


@attrs.frozen(kw_only=True)
class JournalReport:
    """The journal at one instant: commits and units so far, units waiting and in flight, why it is stalled."""

    commits: int
    units: int
    waiting: int
    in_flight: int
    stalled: bool
    stalled_by: str

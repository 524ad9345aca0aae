"""A journal that fails as a database does: away for a while, or gone between the commit and its answer.

It wraps the journal in memory, and keeps what `protocol.py` promises all the same: all of a group or none, in order,
once. What it keeps outlives the engine that wrote it, like the rows of a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from messages.base import Currency, ProposalId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState
from persistence.memory import MemoryJournal
from persistence.protocol import JournalUnavailableError


@attrs.define
class Outage:
    """How the database is doing: whoever tells the story changes it, and counts how often it struck."""

    is_away: bool = False
    """Nothing can be committed or read."""
    lost_answers: int = 0
    """So many of the next commits go in, and nobody hears that they did."""
    refused: int = 0
    answers_lost: int = 0


class UnreliableJournal:
    """One engine's way to a journal in memory. A new engine makes a new one on the same `kept`."""

    def __init__(self, kept: MemoryJournal, outage: Outage | None = None) -> None:
        self.kept = kept
        self.outage = Outage() if outage is None else outage
        self._unanswered: tuple[tuple[RecordUnit, ...], tuple[NumberedEvent, ...]] | None = None

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Keep all units or none, and return their events, numbered."""
        self._reach()
        events = self._answer_of(units)
        if events is None:
            events = await self.kept.commit(units)
        if self.outage.lost_answers:
            self.outage.lost_answers -= 1
            self.outage.answers_lost += 1
            self._unanswered = (tuple(units), events)
            raise JournalUnavailableError("the connection was lost after the commit")
        self._unanswered = None
        return events

    def _answer_of(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...] | None:
        """Return the events of a group that went in before its answer was lost."""
        if self._unanswered is None:
            return None
        committed, events = self._unanswered
        if committed != tuple(units):
            raise RuntimeError("the units of an unanswered commit come first, unchanged")
        return events

    @property
    def commits(self) -> int:
        """How many groups have been kept."""
        return self.kept.commits

    @property
    def rows_written(self) -> int:
        """How many rows they were."""
        return self.kept.rows_written

    async def load(self) -> RecoveredState:
        """Return what a start needs of the past."""
        self._reach()
        return await self.kept.load()

    async def open_account(
        self, balances: Mapping[Currency, Decimal], at_us: int | None = None
    ) -> Mapping[Currency, Decimal]:
        """Remember with what and when the account began; on a later start return the balances remembered then."""
        self._reach()
        return await self.kept.open_account(balances, at_us)

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        """Return which of these requests were handed in before, however long ago."""
        self._reach()
        return await self.kept.known_requests(ids)

    def _reach(self) -> None:
        if self.outage.is_away:
            self.outage.refused += 1
            raise JournalUnavailableError("the database is away")

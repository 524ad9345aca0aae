"""What the engine asks of its journal: two keep it, PostgreSQL and memory, and one contract suite tests both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from messages.base import Currency, ProposalId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState


class JournalUnavailableError(Exception):
    """The database did not take the commit, or did not say whether it did. The same call may be made again."""


class Journal(Protocol):
    """Keeps what the actors record, in order, each group in one transaction."""

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Keep all units or none, and return their events, numbered.

        After JournalUnavailableError the same units are handed in again; they are kept once, whatever
        happened to the first attempt.
        """
        ...

    async def load(self) -> RecoveredState:
        """Return what a start needs of the past."""
        ...

    async def open_account(
        self, balances: Mapping[Currency, Decimal], at_us: int | None = None
    ) -> Mapping[Currency, Decimal]:
        """Remember with what and when the account began; on a later start return the balances remembered then."""
        ...

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        """Return which of these requests were handed in before, however long ago."""
        ...

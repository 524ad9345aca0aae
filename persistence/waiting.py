"""The journal of a replay: while the database is away the prices' clock stands still, so waiting changes nothing.

A replay that went on without its journal would hold back entries for hours of its own time, for the sake of a second
of ours. So it waits, and its rows are those of a replay that nothing has disturbed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from loguru import logger

from messages.base import Currency, ProposalId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState
from persistence.protocol import Journal, JournalUnavailableError

T = TypeVar("T")


class WaitingJournal:
    """Hands everything on to a journal, again and again while that is not available."""

    def __init__(self, journal: Journal, *, retry_ms: int) -> None:
        self._journal = journal
        self._retry_s = retry_ms / 1_000
        self.waits_because = ""
        """Why the journal is not available; empty when it is."""

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Keep all units or none, and return their events, numbered."""
        return await self._until_done(lambda: self._journal.commit(units))

    async def load(self) -> RecoveredState:
        """Return what a start needs of the past."""
        return await self._until_done(self._journal.load)

    async def open_account(
        self, balances: Mapping[Currency, Decimal], at_us: int | None = None
    ) -> Mapping[Currency, Decimal]:
        """Remember with what and when the account began; on a later start return the balances remembered then."""
        return await self._until_done(lambda: self._journal.open_account(balances, at_us))

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        """Return which of these requests were handed in before, however long ago."""
        wanted = tuple(ids)
        return await self._until_done(lambda: self._journal.known_requests(wanted))

    async def _until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                result = await work()
            except JournalUnavailableError as error:
                reason = str(error)
                if reason != self.waits_because:
                    logger.error("The replay stands still, the journal waits for the database: {}", reason)
                self.waits_because = reason
                await asyncio.sleep(self._retry_s)
            else:
                if self.waits_because:
                    logger.warning("The database is back, the replay goes on")
                self.waits_because = ""
                return result

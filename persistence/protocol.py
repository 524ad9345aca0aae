"""What the engine asks of its journal: two keep it, PostgreSQL and memory, and one contract suite tests both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from messages.base import Currency, ProposalId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState
from messages.orders import Order

REQUESTS_REMEMBERED = 10_000
"""The newest requests that a start takes into memory; older ones are looked up in the database."""
FILLS_REMEMBERED = 5_000
ORDERS_REMEMBERED = 10_000
"""The newest fills and orders: what the exchange tells of them once more is no news."""
MARGIN_EXITS_REMEMBERED = 1_000
LATE_S = 300
"""Orders that ended so shortly before the newest end are taken up like those that live: a fill of theirs may be told
late. That is several times as long as the records of the exchange lag behind."""


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


def margin_since_us(orders: Iterable[Order]) -> int | None:
    """Return since when exits on margin matter to a start: when the oldest of its orders there was made, if any."""
    return min((order.intent.created_at_us for order in orders if order.intent.leverage > 1), default=None)

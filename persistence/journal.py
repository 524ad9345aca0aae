"""The journal in PostgreSQL: each group of units is one transaction, kept once whatever happens to the connection.

The connection may be lost between a commit and its answer. So every group has a number, the account's row holds the
last number committed, and a group handed in again goes in only if its number is still due. The same number tells
whether another engine has written to the account while we were cut off: then what we remember is no longer true.
Read in order: commit(), _write(), _connected(), then the rest.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import asyncpg
import attrs
from asyncpg import Connection
from loguru import logger

from config.settings import JournalSettings
from messages.base import Currency, ProposalId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit, RecoveredState, Snapshot
from persistence.database import (
    HELD_WAIT_S,
    PLAN_ONCE,
    Connect,
    OwnSession,
    disconnect,
    end_session,
    hold_account,
    is_outage,
    session_of,
)
from persistence.errors import AccountHeldError, AccountMovedError
from persistence.groups import TARGETS, Group, make_group, statement
from persistence.partitions import EQUITY_SNAPSHOTS, POSITION_SNAPSHOTS, KnownMonths
from persistence.protocol import JournalUnavailableError
from persistence.recovery import recover
from persistence.rows import (
    EQUITY_SNAPSHOT_COLUMNS,
    POSITION_SNAPSHOT_COLUMNS,
    balances_as_json,
    balances_from_json,
    equity_snapshot_row,
    position_snapshot_rows,
)

COMMITS_TIMED = 1_024
HELD_AGAIN_WAIT_S = 1
"""Connected again, only our own last session may still hold the account, and that has been told to end."""

ADD_ACCOUNT = "INSERT INTO accounts (account) VALUES ($1) ON CONFLICT DO NOTHING"
PROGRESS = """
SELECT group_no, event_no, (SELECT max(timestamp) FROM equity_snapshots WHERE account = $1) AS photographed_at
FROM accounts WHERE account = $1
"""
GROUP_NUMBER = "SELECT group_no FROM accounts WHERE account = $1"
KNOWN_REQUESTS = "SELECT id FROM trade_requests WHERE account = $1 AND id = ANY($2::uuid[])"
OPEN_ACCOUNT = """
UPDATE accounts
SET initial_balances = coalesce(initial_balances, $2::jsonb), opened_at = coalesce(opened_at, $3)
WHERE account = $1
RETURNING initial_balances, (SELECT b.initial_balances IS NULL FROM accounts AS b WHERE b.account = $1) AS is_new
"""


class PostgresJournal:
    """Keeps what the actors record. It owns one connection and, while that lives, the account."""

    def __init__(self, connect: Connect, account: str, settings: JournalSettings | None = None) -> None:
        self._connect = connect
        self._account = account
        self._settings = settings or JournalSettings()
        self._connection: Connection | None = None
        self._sessions: list[OwnSession] = []
        """Ours that may still stand at the server; the last one is the connection's."""
        self._turn = asyncio.Lock()  # A connection does one thing at a time; a question waits for a commit.
        self._unanswered: Group | None = None
        self._is_known = False
        """Whether we have once read how far the account has come."""
        self._group_number = 0
        self._last_event = 0
        self._photographed_us: int | None = None
        self._months = KnownMonths()
        self._is_new = False
        self.commits = 0
        self.rows_written = 0
        self.commit_ns: deque[int] = deque(maxlen=COMMITS_TIMED)

    async def open(self) -> None:
        """Connect and take the account. Called at a start, so that what is wrong is said by its own name.

        While another engine owns it, wait as long as the settings say, through restarts of the server too.
        """
        wait_s = self._settings.account_wait_s
        until = time.monotonic() + wait_s
        held_wait_s: float = HELD_WAIT_S
        is_waiting = False
        while True:
            try:
                async with self._turn:
                    await self._connected(held_wait_s)
            except AccountHeldError:
                if time.monotonic() >= until:
                    raise
                if not is_waiting:
                    logger.info("waiting up to {} s for the account {}: another engine owns it", wait_s, self._account)
                is_waiting = True
            except Exception as error:
                if not is_waiting or not is_outage(error) or time.monotonic() >= until:
                    raise
                logger.warning("still waiting for the account {}: {}", self._account, error)
                await asyncio.sleep(self._settings.retry_ms / 1_000)
            else:
                return
            held_wait_s = max(0, min(HELD_WAIT_S, until - time.monotonic()))

    async def close(self) -> None:
        """Give up the account and the connection."""
        async with self._turn:
            connection, self._connection = self._connection, None
            await disconnect(connection)

    # Writing --------------------------------------------------------------------------------------

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Keep all units or none, and return their events, numbered."""
        started_ns = time.perf_counter_ns()
        async with self._at_the_database() as connection:
            group = self._unanswered = self._group_of(units)
            if self._group_number != group.number:  # Equal: it went in before its answer was lost.
                await self._write(connection, group)
            self._settle(group)
        self.commit_ns.append(time.perf_counter_ns() - started_ns)
        return group.events

    def _group_of(self, units: Sequence[RecordUnit]) -> Group:
        unanswered = self._unanswered
        if unanswered is None:
            return make_group(self._account, units, number=self._group_number + 1, events_before=self._last_event)
        if not unanswered.is_made_of(units):
            raise RuntimeError("the units of an unanswered commit come first, unchanged")
        return unanswered

    def _settle(self, group: Group) -> None:
        self._unanswered = None
        self._group_number = group.number
        self._last_event = group.last_event
        self.commits += 1
        self.rows_written += group.row_count
        if group.snapshots:
            self._photographed_us = group.snapshots[-1].at_us

    async def _write(self, connection: Connection, group: Group) -> None:
        try:
            await self._write_once(connection, group)
        except Exception as error:
            if not is_outage(error):
                self._unanswered = None  # The database said no: nothing of it is in.
            raise

    async def _write_once(self, connection: Connection, group: Group) -> None:
        await self._months.ensure(connection, group.event_instants_us, group.snapshot_instants_us)
        try:
            await self._send(connection, group)
        except asyncpg.CheckViolationError:
            # A month that we knew was dropped by another engine's retention: look again, once.
            self._months.forget()
            await self._months.ensure(connection, group.event_instants_us, group.snapshot_instants_us)
            await self._send(connection, group)

    async def _send(self, connection: Connection, group: Group) -> None:
        if not group.snapshots:
            await self._send_rows(connection, group)
            return
        async with connection.transaction():
            if await self._send_rows(connection, group):
                await self._send_snapshots(connection, group.snapshots)

    async def _send_rows(self, connection: Connection, group: Group) -> bool:
        """Send the one statement; return whether it wrote, False if the group was in already."""
        targets = tuple(index for index in range(len(TARGETS)) if group.rows[index])
        written = await connection.fetchval(
            statement(targets),
            *(self._account, group.number, group.last_event),
            *(group.rows[index] for index in targets),
        )
        if written:
            return True
        if await connection.fetchval(GROUP_NUMBER, self._account) != group.number:
            raise RuntimeError(f"another writer has changed the account {self._account!r}: two engines own it")
        return False

    async def _send_snapshots(self, connection: Connection, snapshots: Sequence[Snapshot]) -> None:
        """Copy the photographs in; those of the same instants and later, from before a restart, make room."""
        first_us = snapshots[0].at_us
        if self._photographed_us is not None and first_us <= self._photographed_us:
            for table in (EQUITY_SNAPSHOTS, POSITION_SNAPSHOTS):
                await connection.execute(
                    f"DELETE FROM {table} WHERE account = $1 AND timestamp >= $2",  # noqa: S608 - Our own names.
                    self._account,
                    first_us,
                )
        await connection.copy_records_to_table(
            EQUITY_SNAPSHOTS,
            records=[equity_snapshot_row(self._account, snapshot) for snapshot in snapshots],
            columns=EQUITY_SNAPSHOT_COLUMNS,
        )
        marks = [row for snapshot in snapshots for row in position_snapshot_rows(self._account, snapshot)]
        if marks:
            await connection.copy_records_to_table(POSITION_SNAPSHOTS, records=marks, columns=POSITION_SNAPSHOT_COLUMNS)

    # Reading --------------------------------------------------------------------------------------

    async def load(self) -> RecoveredState:
        """Return what a start needs of the past."""
        async with self._at_the_database() as connection:
            state = await recover(connection, self._account)
        return attrs.evolve(state, is_new=self._is_new)

    async def open_account(
        self, balances: Mapping[Currency, Decimal], at_us: int | None = None
    ) -> Mapping[Currency, Decimal]:
        """Remember with what and when the account began; on a later start return the balances remembered then."""
        async with self._at_the_database() as connection:
            row = await connection.fetchrow(OPEN_ACCOUNT, self._account, balances_as_json(balances), at_us)
        if row is None:
            raise RuntimeError(f"the account {self._account!r} has vanished from the database")
        self._is_new = row["is_new"]
        return {Currency(currency): amount for currency, amount in balances_from_json(row["initial_balances"]).items()}

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        """Return which of these requests were handed in before, however long ago."""
        async with self._at_the_database() as connection:
            rows = await connection.fetch(KNOWN_REQUESTS, self._account, list(ids))
        return frozenset(ProposalId(str(row[0])) for row in rows)

    # The connection -------------------------------------------------------------------------------

    @asynccontextmanager
    async def _at_the_database(self) -> AsyncIterator[Connection]:
        """Lend the connection, and tell an outage from a mistake."""
        async with self._turn:
            try:
                yield await self._connected()
            except asyncio.CancelledError:
                self._drop()  # Whether it went in will be seen at the next attempt.
                raise
            except Exception as error:
                if not is_outage(error):
                    raise
                self._drop()
                raise JournalUnavailableError(str(error) or type(error).__name__) from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self, held_wait_s: float | None = None) -> Connection:
        """Return the connection; if it is lost, connect, take the account and read how far it has come."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        connection = await self._connect()
        try:
            await self._take_over(connection, held_wait_s)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    async def _take_over(self, connection: Connection, held_wait_s: float | None) -> None:
        session = await session_of(connection)
        earlier, self._sessions = self._sessions, [*self._sessions, session]
        for left_standing in earlier:  # By a cut network: it would keep the account locked, by ourselves.
            await end_session(connection, left_standing)
        self._sessions = [session]
        usual_wait_s = HELD_AGAIN_WAIT_S if earlier else HELD_WAIT_S
        await hold_account(connection, self._account, wait_s=usual_wait_s if held_wait_s is None else held_wait_s)
        await connection.execute(PLAN_ONCE)
        await connection.execute(ADD_ACCOUNT, self._account)
        row = await connection.fetchrow(PROGRESS, self._account)
        if row is None:
            raise RuntimeError(f"the account {self._account!r} has vanished from the database")
        if self._is_known:
            self._check_that_it_is_ours(row["group_no"])
        self._is_known = True
        self._group_number = row["group_no"]
        self._last_event = row["event_no"]
        self._photographed_us = row["photographed_at"]
        self._months.forget()

    def _check_that_it_is_ours(self, group_number: int) -> None:
        """Raise AccountMovedError unless the last group is the last of ours, or the one that was not answered."""
        unanswered = self._unanswered
        if group_number != self._group_number and (unanswered is None or group_number != unanswered.number):
            raise AccountMovedError(
                f"the account {self._account!r} is at group {group_number}, and we left it at {self._group_number}: "
                "another engine has written to it, or the database was set back; start again to recover"
            )

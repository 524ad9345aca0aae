"""Monthly partitions: made when the first row of a month comes, dropped when they are too old.

Months are counted as year * 12 + (month - 1), in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from asyncpg import Connection

from actors.runtime.clock import as_datetime, as_instant_us
from persistence.database import SCHEMA_LOCK

POSITION_SNAPSHOTS = "position_snapshots"
EQUITY_SNAPSHOTS = "equity_snapshots"
EXECUTION_EVENTS = "execution_events"
PARTITIONED = (POSITION_SNAPSHOTS, EQUITY_SNAPSHOTS, EXECUTION_EVENTS)
PARTITION_NAME = re.compile(r"_y(\d{4,})m(\d{2})")

EXISTS = "SELECT to_regclass($1) IS NOT NULL"
LOCK_SCHEMA = "SELECT pg_advisory_xact_lock($1)"
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1"


def month_of(instant_us: int) -> int:
    """Return the month that the instant is in."""
    moment = as_datetime(instant_us)
    return moment.year * 12 + moment.month - 1


def month_bounds_us(month: int) -> tuple[int, int]:
    """Return the first instant of the month, and of the one after it."""
    return _first_instant_us(month), _first_instant_us(month + 1)


def _first_instant_us(month: int) -> int:
    return as_instant_us(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC))


def partition_name(table: str, month: int) -> str:
    """Return the name of the table's partition for the month."""
    return f"{table}_y{month // 12:04d}m{month % 12 + 1:02d}"


async def ensure_partition(connection: Connection, table: str, month: int) -> None:
    """Make the table's partition for the month unless it is there."""
    name = partition_name(table, month)
    if await connection.fetchval(EXISTS, name):
        return
    start, end = (as_datetime(bound).isoformat() for bound in month_bounds_us(month))
    async with connection.transaction():
        await connection.execute(LOCK_SCHEMA, SCHEMA_LOCK)  # Two engines may meet the new month together.
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES FROM ('{start}') TO ('{end}')"
        )


class KnownMonths:
    """The months whose partitions are known to be there: asking costs a comparison, not a round trip."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, int]] = {}
        self._months: set[tuple[str, int]] = set()

    def forget(self) -> None:
        """Look again: it may be another server, or another engine may have dropped some."""
        self._newest.clear()
        self._months.clear()

    async def ensure(self, connection: Connection, events_us: Iterable[int], snapshots_us: Iterable[int]) -> None:
        """Make the partitions for events and snapshots of these instants, where they are missing."""
        await self._ensure(connection, EXECUTION_EVENTS, events_us)
        await self._ensure(connection, EQUITY_SNAPSHOTS, snapshots_us)
        await self._ensure(connection, POSITION_SNAPSHOTS, snapshots_us)

    async def _ensure(self, connection: Connection, table: str, instants_us: Iterable[int]) -> None:
        start_us, end_us = self._newest.get(table, (0, 0))
        for instant_us in instants_us:
            if start_us <= instant_us < end_us:
                continue
            month = month_of(instant_us)
            if (table, month) not in self._months:
                await ensure_partition(connection, table, month)
                self._months.add((table, month))
            start_us, end_us = self._newest[table] = month_bounds_us(month)


async def drop_old_partitions(connection: Connection, account: str, *, months: int, now_us: int) -> tuple[str, ...]:
    """Give up the account's snapshots and events of more than `months` months before this one.

    A partition that holds another account's rows too stays for those: it may live by another clock.
    Return the names of the partitions dropped.
    """
    oldest_kept = month_of(now_us) - months
    names = [row[0] for table in PARTITIONED for row in await connection.fetch(PARTITIONS, table)]
    old = [name for name in names if _month_in(name) < oldest_kept]
    return tuple([name for name in old if await _give_up(connection, account, name)])


def _month_in(name: str) -> int:
    found = PARTITION_NAME.search(name)
    if found is None:
        raise ValueError(f"{name} is no partition of ours")
    return int(found[1]) * 12 + int(found[2]) - 1


async def _give_up(connection: Connection, account: str, name: str) -> bool:
    """Drop the partition, or only the account's rows if others have some in it."""
    async with connection.transaction():
        await connection.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        shared = await connection.fetchval(f"SELECT EXISTS (SELECT FROM {name} WHERE account <> $1)", account)  # noqa: S608
        if shared:
            await connection.execute(f"DELETE FROM {name} WHERE account = $1", account)  # noqa: S608
        else:
            await connection.execute(f"DROP TABLE {name}")
        return not shared

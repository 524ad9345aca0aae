"""What only a database can get wrong: half a group, a group twice, an answer that never came, two writers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import attrs
import pytest
from asyncpg import Connection

from messages.base import OrderId
from messages.bus import NumberedEvent
from messages.journal import RecordAlert, RecordFill, RecordSnapshots, RecordUnit, RecoveredState
from persistence.database import Database, connect
from persistence.embedded import EmbeddedPostgres
from persistence.errors import AccountHeldError
from persistence.journal import PostgresJournal
from persistence.partitions import drop_old_partitions
from persistence.protocol import JournalUnavailableError
from tests.persistence.conftest import Deaf
from tests.persistence.samples import SECOND, T0, a_fill, a_filled, a_position, a_snapshot, an_event, an_order

T = TypeVar("T")
MONTH = 31 * 86_400 * SECOND


async def count(connection: Connection, table: str, account: str) -> int:
    number: int = await connection.fetchval(f"SELECT count(*) FROM {table} WHERE account = $1", account)
    return number


def told(database: Database, account: str, story: Callable[[PostgresJournal, Connection], Awaitable[None]]) -> None:
    """Tell the story to a journal, and to a connection that looks at what it did."""

    async def whole() -> None:
        journal = PostgresJournal(database.connect, account)
        connection = await database.connect()
        try:
            await story(journal, connection)
        finally:
            await journal.close()
            await connection.close()

    asyncio.run(whole())


def test_a_fill_is_one_transaction(database: Database, account: str) -> None:
    async def story(journal: PostgresJournal, connection: Connection) -> None:
        await journal.commit([a_filled(0)])
        await journal.commit([RecordFill(fill=a_fill(), order=an_order(), position=a_position(), events=(an_event(),))])
        tables = ("orders", "order_status_log", "fills", "positions", "execution_events")
        writers = {
            row[0]
            for table in tables
            for row in await connection.fetch(
                f"SELECT xmin::text FROM {table} WHERE account = $1 ORDER BY xmin::text::bigint DESC LIMIT 1", account
            )
        }
        assert len(writers) == 1

    told(database, account, story)


def test_a_unit_that_fails_takes_its_whole_group_with_it(database: Database, account: str) -> None:
    impossible = attrs.evolve(an_order("bad"), volume_base=None)  # type: ignore[arg-type]

    async def story(journal: PostgresJournal, connection: Connection) -> None:
        with pytest.raises(asyncpg.NotNullViolationError):
            await journal.commit(
                [a_filled(1), RecordFill(fill=a_fill("f9"), order=impossible, position=a_position("t9"))]
            )
        for table in ("orders", "order_status_log", "fills", "positions", "execution_events"):
            assert await count(connection, table, account) == 0
        assert [event.sequence for event in await journal.commit([a_filled(1)])] == [1]  # It is still of use.

    told(database, account, story)


def test_a_value_that_no_column_takes_is_a_mistake_and_no_outage(database: Database, account: str) -> None:
    order = an_order()
    nameless = attrs.evolve(order, intent=attrs.evolve(order.intent, id=OrderId("no uuid")))

    async def story(journal: PostgresJournal, connection: Connection) -> None:
        with pytest.raises(asyncpg.DataError, match="no uuid"):
            await journal.commit([RecordFill(fill=a_fill(), order=nameless, position=a_position())])
        assert await count(connection, "fills", account) == 0

    told(database, account, story)


def test_a_commit_whose_answer_was_lost_is_kept_once(database: Database, account: str) -> None:
    deaf: list[Deaf] = []

    async def connecting() -> Any:
        deaf.append(Deaf(await database.connect()))
        return deaf[-1]

    async def story() -> None:
        journal = PostgresJournal(connecting, account)
        await journal.commit([a_filled(1)])
        deaf[0].losing = True
        units: list[RecordUnit] = [a_filled(2), RecordAlert(events=(an_event("alert"),))]
        with pytest.raises(JournalUnavailableError, match="in the middle of operation"):
            await journal.commit(units)
        with pytest.raises(RuntimeError, match="come first, unchanged"):
            await journal.commit([a_filled(3)])
        again = await journal.commit([a_filled(2), RecordAlert(events=(an_event("alert"),))])  # Equal, not the same.
        assert [(event.sequence, event.event.kind) for event in again] == [(2, "order_filled"), (3, "alert")]
        assert [event.sequence for event in await journal.commit([a_filled(3)])] == [4]
        assert len(deaf) == 2
        connection = await database.connect()
        assert await count(connection, "order_status_log", account) == 3
        assert await count(connection, "execution_events", account) == 4
        assert journal.commits == 3
        await journal.close()
        await connection.close()

    asyncio.run(story())


def test_a_session_that_the_server_ends_is_taken_up_again(database: Database, account: str) -> None:
    async def story(journal: PostgresJournal, connection: Connection) -> None:
        await journal.commit([a_filled(1)])
        await connection.fetch("SELECT pg_terminate_backend(pid, 60000) FROM pg_locks WHERE locktype = 'advisory'")
        with suppress(JournalUnavailableError):  # Unless it has been noticed by now.
            await journal.commit([a_filled(2)])
        await journal.commit([a_filled(2)])
        assert await count(connection, "fills", account) == 2

    told(database, account, story)


def test_a_session_left_standing_by_a_cut_network_does_not_lock_us_out(database: Database, account: str) -> None:
    standing: list[Connection] = []

    async def connecting() -> Connection:
        standing.append(await database.connect())
        return standing[-1]

    async def story() -> None:
        journal = PostgresJournal(connecting, account)
        await journal.commit([a_filled(1)])
        journal._connection = None  # The network is cut: neither side hears of it.
        await journal.commit([a_filled(2)])
        assert len(standing) == 2
        await journal.close()
        standing[0].terminate()

    asyncio.run(story())


def test_an_account_has_one_writer(database: Database, account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persistence.database.HELD_WAIT_S", 1)

    async def story(journal: PostgresJournal, connection: Connection) -> None:
        await journal.open()
        second = PostgresJournal(database.connect, account)
        with pytest.raises(AccountHeldError, match="stop it, or give this one another account"):
            await second.open()
        other = PostgresJournal(database.connect, f"{account}-other")
        await other.open()
        await other.close()
        await journal.close()
        await second.open()
        await second.close()

    told(database, account, story)


def test_a_question_waits_for_a_commit(database: Database, account: str) -> None:
    async def story(journal: PostgresJournal, connection: Connection) -> None:
        commits = (journal.commit([a_filled(number)]) for number in range(20))
        questions = (journal.known_requests([]) for _ in range(20))
        await asyncio.gather(*commits, *questions)
        assert await count(connection, "fills", account) == 20

    told(database, account, story)


# Photographs and months ---------------------------------------------------------------------------


def test_photographs_cross_into_the_next_month(database: Database, account: str) -> None:
    async def story(journal: PostgresJournal, connection: Connection) -> None:
        instants = [T0, T0 + SECOND, T0 + 40 * 86_400 * SECOND]
        events = await journal.commit(
            [
                RecordSnapshots(snapshots=tuple(a_snapshot(instant) for instant in instants)),
                *[a_filled(number, at_us=instant) for number, instant in enumerate(instants)],
            ]
        )
        assert [event.sequence for event in events] == [1, 2, 3]
        for table in ("equity_snapshots", "position_snapshots", "execution_events"):
            rows = await connection.fetch(
                f"SELECT DISTINCT tableoid::regclass::text FROM {table} WHERE account = $1 ORDER BY 1", account
            )
            assert [row[0] for row in rows] == [f"{table}_y2025m12", f"{table}_y2026m01", f"{table}_y2026m02"]
        row = await connection.fetchrow(
            "SELECT * FROM position_snapshots WHERE account = $1 AND current_price IS NULL LIMIT 1", account
        )
        assert row is not None

    told(database, account, story)


def test_photographs_taken_again_after_a_restart_replace_the_old_ones(database: Database, account: str) -> None:
    async def story(journal: PostgresJournal, connection: Connection) -> None:
        first = tuple(a_snapshot(T0 + number * SECOND) for number in range(5))
        await journal.commit([RecordSnapshots(snapshots=first)])
        again = PostgresJournal(database.connect, account)
        await journal.close()
        resumed = tuple(a_snapshot(T0 + number * SECOND, equity=7, marks=1) for number in range(3, 6))
        await again.commit([RecordSnapshots(snapshots=resumed)])
        rows = await connection.fetch(
            "SELECT equity FROM equity_snapshots WHERE account = $1 ORDER BY timestamp", account
        )
        assert [row[0] for row in rows] == [1000, 1000, 1000, 7, 7, 7]
        assert await count(connection, "position_snapshots", account) == 3 * 2 + 3 * 1
        await again.close()

    told(database, account, story)


def test_retention_spares_other_accounts_and_the_journal_goes_on(database: Database, account: str) -> None:
    old, now = T0 - 500 * MONTH, T0  # No other test lives in the eighties.

    async def story(journal: PostgresJournal, connection: Connection) -> None:
        other = PostgresJournal(database.connect, f"{account}-other")
        for each in (journal, other):
            await each.commit([RecordSnapshots(snapshots=(a_snapshot(old), a_snapshot(now))), a_filled(1, at_us=old)])
        assert await drop_old_partitions(connection, account, months=24, now_us=now) == ()
        assert await count(connection, "equity_snapshots", account) == 1
        assert await count(connection, "execution_events", account) == 0
        assert await count(connection, "equity_snapshots", f"{account}-other") == 2
        dropped = await drop_old_partitions(connection, f"{account}-other", months=24, now_us=now)
        assert len(dropped) == 3
        # The journal still believes in the month that is gone; and places in the outbox are never given twice.
        events = await journal.commit([a_filled(2, at_us=old)])
        assert [event.sequence for event in events] == [2]
        await drop_old_partitions(connection, account, months=24, now_us=now)
        await other.close()

    told(database, account, story)


# The server's death -------------------------------------------------------------------------------


def test_a_server_killed_between_commits_costs_nothing(state_dir: Path) -> None:
    async def story() -> None:
        database = await Database.open(None, state_dir)
        journal = PostgresJournal(database.connect, "main")
        await journal.commit([a_filled(1)])
        watcher = await connect(database.dsn)
        ended = asyncio.Event()
        watcher.add_termination_listener(lambda _: ended.set())
        os.kill(server_pid(database), signal.SIGKILL)
        await ended.wait()
        await committed(journal, [a_filled(2)])  # Connecting starts the server again.
        assert (await loaded(journal)).fill_ids == ("fill 1", "fill 2")
        await journal.close()
        await database.stop()

    asyncio.run(story())


@pytest.mark.parametrize("victim", ["backend", "server"])
def test_a_server_killed_in_the_middle_of_a_commit_keeps_it_once(state_dir: Path, victim: str) -> None:
    async def story() -> None:
        database = await Database.open(None, state_dir)
        journal = PostgresJournal(database.connect, "main")
        await journal.commit([a_filled(1)])
        (session,) = journal._sessions
        os.kill(session.pid, signal.SIGSTOP)  # It hears the commit and does not get to answer.
        commit = asyncio.create_task(journal.commit([a_filled(2)]))
        await asyncio.sleep(0.01)
        assert not commit.done()
        if victim == "server":
            os.kill(server_pid(database), signal.SIGKILL)
        os.kill(session.pid, signal.SIGKILL)
        with pytest.raises(JournalUnavailableError):
            await commit
        assert [event.sequence for event in await committed(journal, [a_filled(2)])] == [2]
        assert (await journal.load()).fill_ids == ("fill 1", "fill 2")
        await journal.close()
        await database.stop()

    asyncio.run(story())


def server_pid(database: Database) -> int:
    assert isinstance(database._embedded, EmbeddedPostgres)
    pid = database._embedded.pid
    assert pid is not None
    return pid


async def committed(journal: PostgresJournal, units: list[RecordUnit]) -> tuple[NumberedEvent, ...]:
    """Hand the units in until they are kept, as the journal's actor does."""
    return await until_available(lambda: journal.commit(units))


async def loaded(journal: PostgresJournal) -> RecoveredState:
    """Read what is kept. A session of a server that was killed may have answered the last commit and end now."""
    return await until_available(journal.load)


async def until_available(work: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await work()
        except JournalUnavailableError:
            await asyncio.sleep(0.05)

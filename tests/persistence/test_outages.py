"""What a server and a network do to a commit, one by one: each is waited out, kept once, or the end with its reason."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from asyncpg import Connection

from actors.exchange.mock.store import BookChanges, Document, Progress
from messages.bus import NumberedEvent
from messages.journal import RecordSnapshots, RecordUnit
from persistence.database import Database, connect, ensure_schema
from persistence.embedded import EmbeddedPostgres
from persistence.errors import AccountHeldError, AccountMovedError
from persistence.journal import PostgresJournal
from persistence.memory import MemoryJournal
from persistence.paper import PostgresBookStore
from persistence.protocol import JournalUnavailableError
from persistence.waiting import WaitingJournal
from tests.operations.proxy import Proxy
from tests.persistence.samples import T0, a_filled, a_snapshot, an_event
from tests.persistence.test_journal import committed, count, until_available

END_ACCOUNT_HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
"""
IS_WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)"
LOCK_ACCOUNT = "UPDATE accounts SET account = account WHERE account = $1"


def changes(sequence: int, *documents: Document) -> BookChanges:
    return BookChanges(documents=documents, progress=Progress(sequence=sequence, at_us=T0 + sequence))


# Errors of the server, for real ---------------------------------------------------------------------------------


async def waits(connection: Connection, journal: PostgresJournal) -> None:
    """Return when the journal's session waits for a lock."""
    while not await connection.fetchval(IS_WAITING, journal._sessions[-1].pid):  # noqa: ASYNC110 - Only it knows.
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("session", "reason"),
    [
        ("SET statement_timeout = '200ms'", "statement timeout"),
        ("SET lock_timeout = '200ms'", "lock timeout"),
        ("SET default_transaction_isolation = 'repeatable read'", "could not serialize access"),
        ("SET deadlock_timeout = '3s'", "deadlock detected"),
    ],
    ids=["57014", "55P03", "40001", "40P01"],
)
def test_an_error_that_may_pass_is_an_outage_and_the_group_is_kept_once(
    session: str, reason: str, database: Database, account: str
) -> None:
    async def connecting() -> Connection:
        connection = await database.connect()
        await connection.execute(session)
        return connection

    async def story() -> None:
        journal = PostgresJournal(connecting, account)
        await journal.commit([a_filled(1)])
        rival, looker = await database.connect(), await database.connect()
        await rival.execute("SET deadlock_timeout = '60s'")
        await rival.execute("BEGIN")
        if reason == "deadlock detected":  # Each has what the other wants: the fill, and the account's row.
            await rival.execute(
                "INSERT INTO fills SELECT (jsonb_populate_record(f, '{\"trade_id\": \"fill 2\"}')).* FROM fills f "
                "WHERE account = $1", account,
            )  # fmt: skip
        else:
            await rival.execute(LOCK_ACCOUNT, account)
        commit = asyncio.create_task(journal.commit([a_filled(2)]))
        if reason in ("could not serialize access", "deadlock detected"):
            await waits(looker, journal)
            blocked = asyncio.create_task(rival.execute(LOCK_ACCOUNT, account))
            if reason == "could not serialize access":
                await blocked
                await rival.execute("COMMIT")
        with pytest.raises(JournalUnavailableError, match=reason):
            await commit
        if reason == "deadlock detected":
            await blocked
        if reason != "could not serialize access":
            await rival.execute("ROLLBACK")
        assert [event.sequence for event in await committed(journal, [a_filled(2)])] == [2]
        assert await count(looker, "fills", account) == 2
        for each in (rival, looker):
            await each.close()
        await journal.close()

    asyncio.run(story())


# The network ---------------------------------------------------------------------------------------------------

Work = Callable[[PostgresJournal], Awaitable[Any]]
WORKS: dict[str, Work] = {
    "a commit": lambda journal: journal.commit([a_filled(2)]),
    "a commit with photographs": lambda journal: journal.commit([RecordSnapshots(snapshots=(a_snapshot(T0),))]),
    "a start": lambda journal: journal.load(),
    "a question": lambda journal: journal.known_requests([]),
}


@pytest.mark.parametrize("name", WORKS)
def test_a_black_hole_is_noticed_by_whoever_asks(name: str, server: EmbeddedPostgres, account: str) -> None:
    async def story(proxy: Proxy) -> None:
        journal = PostgresJournal(Database(proxy.address("postgres")).answering_within(1).connect, account)
        await journal.commit([a_filled(1)])
        await asyncio.to_thread(proxy.swallow)
        with pytest.raises(JournalUnavailableError):
            await WORKS[name](journal)
        await asyncio.to_thread(proxy.heal)
        await until_available(lambda: WORKS[name](journal))
        await journal.close()

    with Proxy(server.socket_directory) as proxy:
        asyncio.run(story(proxy))


def test_an_account_taken_by_a_session_whose_answer_was_swallowed_is_taken_again(
    server: EmbeddedPostgres, account: str
) -> None:
    """The lock was granted, and nobody heard of it: that session of our own must not keep us out."""

    async def story(proxy: Proxy) -> None:
        database = Database(proxy.address("postgres")).answering_within(1)
        opened: list[Connection] = []

        async def connecting() -> Connection:
            opened.append(await database.connect())
            return opened[-1]

        journal = PostgresJournal(connecting, account)
        await journal.commit([a_filled(1)])
        journal._drop()
        waiting, fetchval = len(opened), Connection.fetchval

        async def swallowed(self: Connection, query: str, *arguments: Any, **options: Any) -> Any:
            answer = await fetchval(self, query, *arguments, **options)
            if "advisory_lock" in query and self is opened[waiting]:
                raise TimeoutError
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "fetchval", swallowed)
            patch.setattr(Connection, "terminate", lambda _self: None)  # Neither does the server hear of our leaving.
            with pytest.raises(JournalUnavailableError):
                await journal.commit([a_filled(2)])
        await committed(journal, [a_filled(2)])
        await journal.close()
        for connection in opened[:-1]:
            connection.terminate()

    with Proxy(server.socket_directory) as proxy:
        asyncio.run(story(proxy))


# Who owns the account ------------------------------------------------------------------------------------------


def test_what_another_engine_has_written_meanwhile_ends_us(state_dir: Any) -> None:
    """Cut off, overtaken, and connected again: what we remember is no longer true."""

    async def story() -> None:
        database = await Database.open(None, state_dir)
        first, second = (PostgresJournal(database.connect, "main") for _ in range(2))
        looker = await database.connect()
        await first.commit([a_filled(1)])
        await looker.fetch(END_ACCOUNT_HOLDER)
        await second.commit([a_filled(2)])
        with pytest.raises(AccountHeldError):
            await until_available(lambda: first.commit([a_filled(3)]))
        await second.close()
        with pytest.raises(AccountMovedError, match="is at group 2, and we left it at 1"):
            await first.commit([a_filled(3)])
        assert await count(looker, "fills", "main") == 2
        await looker.close()
        await first.close()
        await database.stop()

    asyncio.run(story())


def test_one_process_keeps_the_paper_books(state_dir: Any) -> None:
    async def story() -> None:
        database = await Database.open(None, state_dir)
        first, second = (PostgresBookStore(database.connect, "main") for _ in range(2))
        looker = await database.connect()
        await first.save(changes(1, Document("k", "a", "first")))
        loading = asyncio.create_task(second.load())
        while not second.waits_because:  # noqa: ASYNC110 - It is there to be looked at.
            await asyncio.sleep(0.01)
        assert second.waits_because == "the last engine still keeps them"
        await looker.fetch(END_ACCOUNT_HOLDER)
        assert await loading == (Document("k", "a", "first"),)
        with pytest.raises(AccountHeldError, match="another engine keeps the paper books"):
            await first.save(changes(2, Document("k", "a", "too late")))
        assert await second.load() == (Document("k", "a", "first"),)
        await looker.close()
        await first.close()
        await second.close()
        await database.stop()

    asyncio.run(story())


# The server's death alone --------------------------------------------------------------------------------------


def test_books_that_a_crash_of_the_server_has_lost_are_saved_again(state_dir: Any) -> None:
    """They were answered and told, and are not flushed yet: the exchange lives on, and believes in them."""

    async def story() -> None:
        database = await Database.open(None, state_dir)
        assert database._embedded is not None
        connection = await database.connect()
        await connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        await connection.execute("SELECT pg_reload_conf()")
        store = PostgresBookStore(database.connect, "main")
        await store.save(changes(1, Document("k", "gone", "1"), Document("k", "kept", "1")))
        await connection.execute("CHECKPOINT")  # So far it is flushed.
        for number in range(2, 12):
            await store.save(
                changes(number, Document("k", f"new {number:02}", "1"), Document("k", "kept", str(number)))
            )
        await store.save(changes(12, Document("k", "gone", None)))
        database._embedded._pg_ctl_stop("immediate")

        crashed = await database.connect()
        (found,) = await crashed.fetch(
            "SELECT count(*) AS number, max(sequence) AS at FROM paper_progress, paper_documents"
        )
        assert found["number"] < 11, "nothing was lost, so this shows nothing"
        await store.save(changes(13))
        kept = {document.key: document.body for document in await store.load()}
        assert kept == {"kept": "11"} | {f"new {number:02}": "1" for number in range(2, 12)}
        assert (await store.progress()).sequence == 13
        await crashed.close()
        await store.close()
        await database.stop()

    asyncio.run(story())


def test_what_is_surely_flushed_is_not_kept_in_memory(
    database: Database, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        store = PostgresBookStore(database.connect, account)
        for number in range(1, 5):
            await store.save(changes(number, Document("k", str(number), "1")))
        assert len(store._unflushed) == 4
        monkeypatch.setattr("persistence.paper.FLUSH_EVERY_S", 0)
        await store.save(changes(5, Document("k", "5", "1")))
        assert len(store._unflushed) == 0
        await store.close()

    asyncio.run(story())


# The journal of a replay ---------------------------------------------------------------------------------------


class Flaky(MemoryJournal):
    """Away as often as it is told to be."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        if self.left:
            self.left -= 1
            raise JournalUnavailableError("No space left on device")
        return await super().commit(units)


def test_the_journal_of_a_replay_waits_until_it_is_back(database: Database, account: str) -> None:
    async def story() -> None:
        journal = WaitingJournal(Flaky(3), retry_ms=1)
        commit = asyncio.create_task(journal.commit([a_filled(1)]))
        await asyncio.sleep(0)
        assert journal.waits_because == "No space left on device"
        assert [event.event for event in await commit] == [an_event()]
        assert journal.waits_because == ""
        assert (await journal.load()).fill_ids == ("fill 1",)

    asyncio.run(story())


# A migration that is interrupted -------------------------------------------------------------------------------

COUNTING = """
CREATE SEQUENCE steps;
CREATE FUNCTION count_step() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('steps') = {step} THEN PERFORM pg_sleep(2); END IF; END $$;
CREATE EVENT TRIGGER counting ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE INDEX')
EXECUTE FUNCTION count_step();
"""
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1"


@pytest.mark.parametrize("victim", ["the process", "its session", "the server"])
@pytest.mark.parametrize("step", [1, 7])
def test_a_migration_killed_half_way_leaves_nothing_and_the_next_start_completes_it(
    state_dir: Any, victim: str, step: int
) -> None:
    async def story() -> None:
        server = EmbeddedPostgres.start(state_dir)
        looker = await connect(server.dsn)
        await looker.execute(COUNTING.format(step=step))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "persistence.migrate"), stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "DATABASE_URL": server.dsn},
        )  # fmt: skip
        while (await looker.fetchval("SELECT last_value FROM steps WHERE is_called") or 0) < step:
            assert process.returncode is None
            await asyncio.sleep(0.005)
        if victim == "the process":
            process.kill()
        elif victim == "its session":
            await looker.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        else:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        assert await process.wait() != 0
        looker.terminate()
        server.ensure_running()
        looker = await connect(server.dsn)
        assert await looker.fetch(TABLES) == [], "all of it or nothing"

        await ensure_schema(server.dsn)
        tables = {row[0] for row in await looker.fetch(TABLES)}
        assert {"accounts", "orders", "fills", "paper_documents", "alembic_version"} <= tables
        journal = PostgresJournal(Database(server.dsn).connect, "main")
        await journal.commit([a_filled(1)])
        await journal.close()
        await looker.close()
        server.stop()

    asyncio.run(story())

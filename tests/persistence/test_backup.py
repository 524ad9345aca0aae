"""The whole database into a file and back: nothing is lost, nothing is half done, nothing is replaced unasked."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from asyncpg import Connection

from persistence import backup as backups
from persistence import migrate
from persistence.backup import back_up, restore
from persistence.database import SCHEMA_HEAD, Database, connect, ensure_schema, hold_account, schema_version
from persistence.embedded import EmbeddedPostgres, programs
from persistence.errors import AccountHeldError, BackupFailedError, BackupRefusedError
from persistence.journal import PostgresJournal
from tests.persistence.samples import a_filled
from tests.persistence.test_migrations import fill, kept, rows

Places = Callable[[str], Database]


@pytest.fixture
def places(server: EmbeddedPostgres) -> Iterator[Places]:
    """Make empty databases on the session's server."""
    made: list[str] = []

    async def execute(statement: str) -> None:
        connection = await connect(server.dsn.replace("/postgres?", "/template1?"))
        await connection.execute(statement)
        await connection.close()

    def make(name: str) -> Database:
        asyncio.run(execute(f"CREATE DATABASE {name}"))
        made.append(name)
        return Database(server.dsn.replace("/postgres?", f"/{name}?"))

    yield make
    for name in made:
        asyncio.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


def at(database: Database, work: Callable[[Connection], Awaitable[object]]) -> object:
    async def run() -> object:
        connection = await database.connect()
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def filled(places: Places, name: str, step: str = "head") -> Database:
    """Return a database of this schema with rows in every table."""
    database = places(name)
    asyncio.run(migrate.migrate(database.dsn, step))
    at(database, fill)
    return database


@pytest.fixture
def source(places: Places) -> Database:
    return filled(places, "source")


@pytest.fixture
def file(source: Database, tmp_path: Path) -> Path:
    asyncio.run(back_up(source, tmp_path / "a.backup", force=False))
    return tmp_path / "a.backup"


def put_back(database: Database, file: Path, *, replace: bool = False, keep_paper: bool = False) -> None:
    asyncio.run(restore(database, file, replace=replace, keep_paper=keep_paper))


def test_every_row_of_every_table_comes_back(source: Database, file: Path, places: Places) -> None:
    target = places("target")
    put_back(target, file)
    assert at(target, rows) == at(source, rows)
    at(target, lambda connection: connection.execute("INSERT INTO accounts (account) VALUES ('another')"))


def test_an_engine_goes_on_with_what_was_restored(places: Places, tmp_path: Path) -> None:
    source, target = places("source"), places("target")

    async def story() -> None:
        await ensure_schema(source.dsn)
        journal = PostgresJournal(source.connect, "main")
        await journal.open()
        await journal.commit([a_filled(1)])
        await back_up(source, tmp_path / "b", force=False)  # While it has the account.
        before = await journal.load()
        await journal.commit([a_filled(2)])
        await journal.close()
        await restore(target, tmp_path / "b", replace=False, keep_paper=False)
        journal = PostgresJournal(target.connect, "main")
        await journal.open()
        assert await journal.load() == before
        await journal.commit([a_filled(2)])
        await journal.close()

    asyncio.run(story())


def test_the_file_is_private_and_an_archive_that_postgresql_reads(file: Path) -> None:
    assert file.stat().st_mode & 0o077 == 0
    told = subprocess.run((programs() / "pg_restore", "--list", file), check=True, capture_output=True, text=True)
    assert "TABLE DATA public orders" in told.stdout
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing unfinished stays behind"


def test_a_file_that_exists_is_replaced_only_when_asked(source: Database, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(BackupRefusedError, match="--force"):
        asyncio.run(back_up(source, file, force=False))
    assert file.read_bytes() == before
    at(source, lambda connection: connection.execute("DELETE FROM order_status_log"))
    asyncio.run(back_up(source, file, force=True))
    assert file.read_bytes() != before


def test_a_backup_that_fails_leaves_no_file(source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_words: object, **_more: object) -> str:
        raise BackupFailedError("the disk is full")

    monkeypatch.setattr(backups, "_run", broken)
    with pytest.raises(BackupFailedError):
        asyncio.run(back_up(source, tmp_path / "c", force=False))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_database_is_not_backed_up(places: Places, tmp_path: Path) -> None:
    with pytest.raises(BackupRefusedError, match="nothing to back up"):
        asyncio.run(back_up(places("blank"), tmp_path / "d", force=False))


def test_rows_of_an_account_are_lost_only_when_asked(source: Database, file: Path, places: Places) -> None:
    target = places("target")
    asyncio.run(ensure_schema(target.dsn))
    at(target, lambda connection: connection.execute("INSERT INTO accounts (account) VALUES ('present')"))
    before = at(target, rows)
    with pytest.raises(BackupRefusedError, match=r"rows of account present: .*--replace"):
        put_back(target, file)
    assert at(target, rows) == before
    put_back(target, file, replace=True)
    assert at(target, rows) == at(source, rows)


@pytest.mark.parametrize("account", ["present", "text 1 ü"])
def test_nothing_is_restored_under_a_running_engine(file: Path, places: Places, account: str) -> None:
    """Of an account that is there, or of one that the file brings."""
    target = places("target")

    async def story() -> None:
        await ensure_schema(target.dsn)
        engine = await target.connect()
        await hold_account(engine, account)
        await engine.execute("INSERT INTO accounts (account) VALUES ('present')")
        before = await rows(engine)
        with pytest.raises(AccountHeldError, match=f"an engine owns the account '{account}' in this database: stop it"):
            await restore(target, file, replace=True, keep_paper=False)
        assert await rows(engine) == before
        await engine.close()

    asyncio.run(story())


@pytest.mark.parametrize("share", [10, 40, 70, 95, 99])
def test_a_damaged_file_changes_nothing(file: Path, places: Places, share: int) -> None:
    target = filled(places, "target")
    before = at(target, rows)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * share // 100])
    with pytest.raises((BackupRefusedError, BackupFailedError)) as caught:
        put_back(target, file, replace=True)
    assert "\n" not in str(caught.value)
    assert at(target, rows) == before


@pytest.mark.parametrize("text", [b"", b"PGDMP", b"SELECT 1;", b"PGDMP" + bytes(500)])
def test_a_file_that_is_no_backup_is_refused(places: Places, tmp_path: Path, text: bytes) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_bytes(text)
    with pytest.raises(BackupRefusedError, match=r"stranger is (no backup|damaged)"):
        put_back(places("target"), stranger)


def test_somebody_elses_archive_is_refused(places: Places, tmp_path: Path) -> None:
    other = places("other")
    at(other, lambda connection: connection.execute("CREATE TABLE orders (id INTEGER)"))
    archive = tmp_path / "other"
    subprocess.run(
        (programs() / "pg_dump", f"--dbname={other.dsn}", "--format=custom", f"--file={archive}"), check=True
    )
    with pytest.raises(BackupRefusedError, match="no backup of this engine"):
        put_back(places("target"), archive)


def test_a_backup_of_a_newer_schema_is_refused(source: Database, places: Places, tmp_path: Path) -> None:
    asyncio.run(back_up(source, tmp_path / "e", force=False))
    at(source, lambda connection: connection.execute("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BackupRefusedError, match="newer than this engine's"):
        asyncio.run(back_up(source, tmp_path / "f", force=False))
    words = (programs() / "pg_dump", f"--dbname={source.dsn}", "--format=custom", f"--file={tmp_path / 'f'}")
    subprocess.run(words, check=True)
    with pytest.raises(BackupRefusedError, match=f"schema 9999, newer than this engine's {SCHEMA_HEAD}"):
        put_back(places("target"), tmp_path / "f")


def test_a_backup_of_an_older_schema_is_brought_up_to_date(places: Places, tmp_path: Path) -> None:
    old, target = filled(places, "old", "0001"), filled(places, "target")
    asyncio.run(back_up(old, tmp_path / "g", force=False))
    before = at(old, rows)
    put_back(target, tmp_path / "g", replace=True)
    assert at(target, schema_version) == SCHEMA_HEAD
    assert kept(before, at(target, rows))  # type: ignore[arg-type]
    assert at(old, schema_version) == "0001", "a backup changes nothing"
    asyncio.run(migrate.migrate(target.dsn, "0001", move=command.downgrade))


def test_a_migration_that_fails_during_a_restore_changes_nothing(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, target = filled(places, "old", "0001"), filled(places, "target")
    asyncio.run(back_up(old, tmp_path / "h", force=False))
    before = at(target, rows)

    async def failing(_step: str) -> str:
        return "ALTER TABLE accounts ADD COLUMN opened_at TIMESTAMPTZ; SELECT 1 / 0;"

    monkeypatch.setattr(backups, "_migration_from", failing)
    with pytest.raises(BackupFailedError, match="nothing was restored: division by zero"):
        put_back(target, tmp_path / "h", replace=True)
    assert at(target, rows) == before


@pytest.mark.parametrize("step", ["0001", "head"])
def test_the_paper_exchange_may_stay_in_the_present(places: Places, tmp_path: Path, step: str) -> None:
    source, target = filled(places, "source", step), filled(places, "target")
    asyncio.run(back_up(source, tmp_path / "i", force=False))
    at(target, lambda connection: connection.execute("UPDATE paper_documents SET body = 'present'"))
    at(target, lambda connection: connection.execute("UPDATE orders SET reason = 'present'"))
    put_back(target, tmp_path / "i", replace=True, keep_paper=True)
    found = at(target, rows)
    assert isinstance(found, dict)
    assert {row["body"] for row in found["paper_documents"]} == {"present"}
    assert "present" not in {row["reason"] for row in found["orders"]}


def test_what_is_not_ours_in_the_database_stays(source: Database, file: Path, places: Places) -> None:
    target = places("target")
    at(target, lambda connection: connection.execute("CREATE TABLE diary AS SELECT 'mine' AS entry"))
    put_back(target, file)
    assert at(target, lambda connection: connection.fetchval("SELECT entry FROM diary")) == "mine"
    at(source, lambda connection: connection.execute("CREATE TABLE diary AS SELECT 'theirs' AS entry"))
    asyncio.run(back_up(source, file, force=True))
    put_back(target, file, replace=True)
    assert at(target, lambda connection: connection.fetchval("SELECT entry FROM diary")) == "mine"


def test_a_server_that_is_newer_than_our_programs_needs_its_own(
    source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "VERSION", "17")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupFailedError, match="the server is PostgreSQL 18, and there is no pg_dump of that version"):
        asyncio.run(back_up(source, tmp_path / "j", force=False))
    monkeypatch.setenv("PATH", f"{tmp_path}:{programs()}:{os.defpath}")
    assert shutil.which("pg_dump") is not None
    asyncio.run(back_up(source, tmp_path / "j", force=False))


@pytest.mark.parametrize(
    ("dsn", "address", "password"),
    [
        ("postgresql://u:p%40ss@db:5433/books?sslmode=require", "postgresql://u@db:5433/books?sslmode=require", "p@ss"),
        ("postgresql+asyncpg://u@db/books?password=x", "postgresql://u@db/books", "x"),
        ("postgresql://postgres@/postgres?host=/a/b", "postgresql://postgres@/postgres?host=/a/b", None),
        ("postgresql:///books", "postgresql:///books", None),
    ],
)
def test_a_password_is_no_argument_of_a_program(dsn: str, address: str, password: str | None) -> None:
    """Arguments can be read by every user of the machine."""
    assert backups._address(dsn) == (address, {"PGPASSWORD": password} if password else {})

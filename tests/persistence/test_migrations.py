"""A format change never loses data: every step is taken with rows in every table, up and, where it says so, down.

A new step needs an entry in STEPS: the rows that its predecessor's tables are filled with, and what its own new columns
must say of them afterwards. Without one, a test here fails.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from alembic import command
from alembic.script import Script, ScriptDirectory
from asyncpg import Connection
from sqlalchemy.exc import DBAPIError

from persistence import migrate
from persistence.backup import STEP, TABLES
from persistence.database import SCHEMA_HEAD, connect, ensure_schema, schema_version
from persistence.embedded import EmbeddedPostgres
from persistence.partitions import PARTITIONED

OWN_TABLES = """
SELECT c.relname, c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1
"""
COLUMNS = """
SELECT column_name, data_type, is_nullable FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' ORDER BY ordinal_position
"""
PARTITIONS = (
    "CREATE TABLE {table}_y2026m01 PARTITION OF {table} FOR VALUES FROM ('2026-01-01T00:00Z') TO ('2026-02-01T00:00Z')"
)
T0 = 1_767_268_800_000_000
"""2026-01-01 12:00 UTC."""
SAMPLES: Mapping[str, Callable[[int], object]] = {
    "text": lambda number: f"text {number} ü",
    "uuid": lambda number: f"00000000-0000-4000-8000-{number:012d}",
    "bigint": lambda number: number,
    "integer": lambda number: number,
    "smallint": lambda number: number,
    "numeric": lambda number: Decimal(f"{number}.000000012345678900"),
    "boolean": lambda number: number % 2 == 0,
    "timestamp with time zone": lambda number: T0 + number,
    "json": lambda number: f'{{"number": {number}}}',
    "jsonb": lambda number: f'{{"number": "{number}"}}',
    "ARRAY": lambda number: [f"CODE_{number}"],
}
ROWS = 3
Checks = Callable[[Connection], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Step:
    """What a step promises."""

    says: Checks
    """Looks at the new columns after the step, where the rows of the step before have been."""
    loses_nothing_downwards: bool
    """Whether it can be taken back with rows in the tables; a step that cannot must refuse."""


async def nothing_new(_connection: Connection) -> None:
    """The first step makes everything from nothing."""


async def accounts_know_when_they_began(connection: Connection) -> None:
    """No later than anything that is known of them; unknown where nothing is."""
    rows = {row["account"]: row["opened_at"] for row in await connection.fetch("SELECT * FROM accounts")}
    assert rows["text 0 ü"] == T0, "the oldest of its orders, requests and photographs"
    assert rows["text 2 ü"] == T0 + 2
    assert rows["silent"] is None


async def nothing_stands_yet(connection: Connection) -> None:
    """Of older accounts nothing is known to differ, and nothing to be somebody else's."""
    assert await connection.fetch("SELECT * FROM standings") == []


STEPS: Mapping[str, Step] = {
    "0001": Step(says=nothing_new, loses_nothing_downwards=False),
    "0002": Step(says=accounts_know_when_they_began, loses_nothing_downwards=True),
    "0003": Step(says=nothing_stands_yet, loses_nothing_downwards=False),
}
"""Every step there is. Add yours with what it must say of rows from before."""


def steps() -> list[tuple[str, str | None]]:
    """Return every step with the one before it, oldest first."""
    scripts = [*ScriptDirectory.from_config(migrate.configuration()).walk_revisions()][::-1]
    return [(script.revision, before) for script, before in zip(scripts, [None, *_names(scripts)], strict=False)]


def _names(scripts: list[Script]) -> list[str]:
    """One line of steps: each stands on the one before it."""
    assert [script.down_revision for script in scripts[1:]] == [script.revision for script in scripts[:-1]]
    return [script.revision for script in scripts]


async def go(dsn: str, step: str, *, down: bool = False) -> None:
    """Take the database to a step."""
    await migrate.migrate(dsn, step, move=command.downgrade if down else command.upgrade)


async def fill(connection: Connection) -> None:
    """Put rows into every table, one value of every column each."""
    for table in PARTITIONED:
        await connection.execute(PARTITIONS.format(table=table))
    for table in await tables(connection):
        columns = await connection.fetch(COLUMNS, table)
        names = ", ".join(f'"{column["column_name"]}"' for column in columns)
        places = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
        for number in range(ROWS):
            values = [SAMPLES[column["data_type"]](number) for column in columns]
            await connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values)
    await connection.execute("INSERT INTO accounts (account) VALUES ('silent')")


async def tables(connection: Connection) -> list[str]:
    found = await connection.fetch(OWN_TABLES)
    return [row["relname"] for row in found if not row["relispartition"] and row["relname"] != STEP]


async def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table, column by column."""
    return {
        table: sorted(
            (json.loads(row[0]) for row in await connection.fetch(f"SELECT to_jsonb(t)::text FROM {table} AS t")),
            key=str,
        )
        for table in await tables(connection)
    }


def kept(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> bool:
    """Say whether every value of before is there still, whatever columns have come."""
    for table, old in before.items():
        names = old[0].keys()
        now = sorted(({name: row[name] for name in names} for row in after[table]), key=str)
        if now != old:
            return False
    return True


@pytest.fixture
def fresh(server: EmbeddedPostgres) -> Iterator[str]:
    """The address of an empty database."""

    async def execute(statement: str) -> None:
        connection = await connect(server.dsn.replace("/postgres?", "/template1?"))
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute("CREATE DATABASE migrating"))
    yield server.dsn.replace("/postgres?", "/migrating?")
    asyncio.run(execute("DROP DATABASE migrating WITH (FORCE)"))


def test_every_step_is_described() -> None:
    """A new step comes with the rows it is tested on: describe it in STEPS, and raise SCHEMA_HEAD."""
    there = [step for step, _before in steps()]
    assert there == list(STEPS), "add the new step to STEPS, with what its new columns must say"
    assert there[-1] == SCHEMA_HEAD


def test_every_table_is_in_a_backup(fresh: str) -> None:
    async def story() -> None:
        await ensure_schema(fresh)
        connection = await connect(fresh)
        assert {*await tables(connection), STEP} == set(TABLES)
        await connection.close()

    asyncio.run(story())


@pytest.mark.parametrize(("step", "before"), steps(), ids=str)
def test_a_step_up_loses_nothing_and_its_new_columns_make_sense(fresh: str, step: str, before: str | None) -> None:
    async def story() -> None:
        if before is not None:
            await go(fresh, before)
        connection = await connect(fresh)
        if before is not None:
            await fill(connection)
        old = await rows(connection)
        assert all(len(found) >= ROWS for found in old.values())
        await go(fresh, step)
        assert await schema_version(connection) == step
        assert kept(old, await rows(connection))
        await STEPS[step].says(connection)
        await connection.close()

    asyncio.run(story())


@pytest.mark.parametrize(("step", "before"), steps(), ids=str)
def test_a_step_down_loses_nothing_or_refuses(fresh: str, step: str, before: str | None) -> None:
    async def story() -> None:
        await go(fresh, step)
        connection = await connect(fresh)
        await fill(connection)
        full = await rows(connection)
        if STEPS[step].loses_nothing_downwards:
            await go(fresh, before or "base", down=True)
            assert await schema_version(connection) == before
            less = await rows(connection)
            assert kept(less, full)
            assert less.keys() == full.keys()
            await go(fresh, step)
            assert kept(less, await rows(connection))
        else:
            with pytest.raises(DBAPIError, match="holds rows"):
                await go(fresh, before or "base", down=True)
            assert await rows(connection) == full
        await connection.close()

    asyncio.run(story())


def test_what_is_empty_may_be_taken_down_to_nothing(fresh: str) -> None:
    async def story() -> None:
        await ensure_schema(fresh)
        await go(fresh, "base", down=True)
        connection = await connect(fresh)
        assert await tables(connection) == []
        await connection.close()

    asyncio.run(story())


def test_every_step_can_be_written_down_for_a_restore(capsys: pytest.CaptureFixture[str]) -> None:
    """A restore runs the steps in its own transaction, so each must be statements and nothing else."""
    for step, before in steps():
        if before is None:
            continue
        migrate.print_steps_after(before)
        script = capsys.readouterr().out
        assert f"version_num='{step}'" in script
        assert "BEGIN" not in script
        assert "COMMIT" not in script

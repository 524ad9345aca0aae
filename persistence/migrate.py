"""Brings the tables up to date: `python -m persistence.migrate`, with the database named by DATABASE_URL.

`--sql STEP` prints instead what brings tables of that step up to date: a restore runs it in its own transaction.
A process of its own, because Alembic and SQLAlchemy are needed once and then never again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from persistence.database import CONNECT_TIMEOUT_S, without_driver


def configuration() -> Config:
    """Return Alembic's configuration: it needs no file, only to know where the steps are."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).resolve().parent / "migrations").replace("%", "%%"))
    return config


def newest_step() -> str | None:
    """Return the last step there is."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


async def migrate(dsn: str, step: str = "head", move: Callable[[Config, str], None] = command.upgrade) -> None:
    """Run every step that the database at `dsn` has not had; with `command.downgrade`, take them back to this one."""

    def run(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        move(config, step)

    # The creator keeps asyncpg's own reading of the address, socket directories included.
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(dsn=without_driver(dsn), timeout=CONNECT_TIMEOUT_S),
        poolclass=NullPool,
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def print_steps_after(step: str) -> None:
    """Print the statements of every step after this one."""
    config = configuration()
    config.attributes["connection"] = None
    command.upgrade(config, f"{step}:head", sql=True)


def main() -> int:
    """Migrate the database that DATABASE_URL names."""
    match sys.argv[1:]:
        case ["--sql", step]:
            print_steps_after(step)
            return 0
        case []:
            return _migrate_named()
    sys.stderr.write("usage: python -m persistence.migrate [--sql STEP]\n")
    return 2


def _migrate_named() -> int:
    dsn = os.environ.get("DATABASE_URL")
    if not dsn:
        sys.stderr.write("DATABASE_URL does not name a database\n")
        return 2
    try:
        asyncio.run(migrate(dsn))
    except (OSError, asyncpg.PostgresError, CommandError, SQLAlchemyError) as error:
        sys.stderr.write(f"{str(error).splitlines()[0]}\n")  # The statement that follows helps nobody at a start.
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

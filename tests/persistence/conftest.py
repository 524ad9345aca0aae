"""One real server for the session; an account of its own for each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from persistence.database import Database, ensure_schema
from persistence.embedded import EmbeddedPostgres
from persistence.journal import PostgresJournal
from persistence.memory import MemoryJournal
from persistence.protocol import Journal


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """An empty state directory, with a path that every user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="triplegain-test-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    directory = Path(tempfile.mkdtemp(prefix="triplegain-session-"))
    running = EmbeddedPostgres.start(directory)
    asyncio.run(ensure_schema(running.dsn))
    yield running
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture
def database(server: EmbeddedPostgres) -> Database:
    return Database(server.dsn)


@pytest.fixture
def account() -> str:
    return f"test-{uuid.uuid4()}"


class Shelf:
    """Where one account's journal stands: it can be put down and taken up by another engine."""

    def __init__(self, database: Database | None, account: str) -> None:
        self._database = database
        self._account = account
        self._memory = MemoryJournal()
        self._open: PostgresJournal | None = None

    async def journal(self) -> Journal:
        """Return the journal as an engine that has just started finds it."""
        await self.put_down()
        if self._database is None:
            return self._memory
        self._open = PostgresJournal(self._database.connect, self._account)
        await self._open.open()
        return self._open

    async def put_down(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None


@pytest.fixture(params=["memory", "postgres"])
def shelf(request: pytest.FixtureRequest, account: str) -> Shelf:
    database = request.getfixturevalue("database") if request.param == "postgres" else None
    return Shelf(database, account)

"""One real server for the session; an account of its own for each test."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from asyncpg import Connection

from persistence.database import Database, ensure_schema
from persistence.embedded import EmbeddedPostgres
from persistence.journal import PostgresJournal
from persistence.memory import MemoryJournal
from persistence.protocol import Journal
from persistence.unreliable import Outage, UnreliableJournal


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


class Deaf:
    """A connection that can lose an answer on the way: the server did the work, we do not hear of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.losing = False

    async def fetchval(self, query: str, *arguments: object, **options: Any) -> object:
        answer = await self._connection.fetchval(query, *arguments, **options)
        if self.losing and query.startswith("WITH gate"):
            self.losing = False
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return answer

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class Shelf:
    """Where one account's journal stands: it can be put down and taken up by another engine.

    `kind` is memory, simulated (memory behind the outages of the simulator) or postgres.
    """

    def __init__(self, kind: str, database: Database | None, account: str) -> None:
        self._kind = kind
        self._database = database
        self._account = account
        self._memory = MemoryJournal()
        self._outage = Outage()
        self._connection: Deaf | None = None
        self._open: PostgresJournal | None = None

    async def journal(self) -> Journal:
        """Return the journal as an engine that has just started finds it."""
        await self.put_down()
        if self._kind == "simulated":
            return UnreliableJournal(self._memory, self._outage)
        if self._database is None:
            return self._memory
        self._open = PostgresJournal(self._connect, self._account)
        await self._open.open()
        return self._open

    async def _connect(self) -> Any:
        assert self._database is not None
        self._connection = Deaf(await self._database.connect())
        return self._connection

    def lose_the_next_answer(self) -> None:
        """The next commit goes in, and nobody hears that it did."""
        if self._connection is not None:
            self._connection.losing = True
        else:
            self._outage.lost_answers = 1

    async def put_down(self) -> None:
        if self._open is not None:
            await self._open.close()
            self._open = None


def _shelf(request: pytest.FixtureRequest, account: str) -> Shelf:
    database = request.getfixturevalue("database") if request.param == "postgres" else None
    return Shelf(request.param, database, account)


@pytest.fixture(params=["memory", "simulated", "postgres"])
def shelf(request: pytest.FixtureRequest, account: str) -> Shelf:
    return _shelf(request, account)


@pytest.fixture(params=["simulated", "postgres"])
def failing_shelf(request: pytest.FixtureRequest, account: str) -> Shelf:
    """A journal that can be cut off in the middle of a commit."""
    return _shelf(request, account)

"""The way into the database: connecting, the schema, and the lock that makes an account ours alone.

Alembic and SQLAlchemy are not imported here: a start looks at one number, and only a database that is not up to
date is handed to `persistence/migrate.py`, in a process of its own.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import attrs
from asyncpg import Connection as Connection  # noqa: PLC0414 - Named here for those who hand one on.
from loguru import logger

from persistence.errors import AccountHeldError, DatabaseUnreachableError, SchemaError

if TYPE_CHECKING:
    from persistence.embedded import EmbeddedPostgres

SERVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a connection raises; `is_outage` tells which of them mean that the server is away."""
SCHEMA_HEAD = "0003"
"""The step of `migrations/versions` that this code is written for. A test compares the two."""
SCHEMA_LOCK = 6_074_831_550_921
"""The advisory lock that whoever changes the schema holds: migrations and new partitions."""
HOUSE = str(Path(__file__).resolve().parent.parent)
"""Where `persistence` is imported from: the migrations' process must find it too."""
CONNECT_TIMEOUT_S = 10
STARTING_UP_WAIT_S = 60
"""A server that recovers from a crash says so; it is waited for."""
ANSWER_WAIT_S = 300
"""A server that says nothing for so long is treated as lost, unless the caller is less patient: reports take time."""
CLOSE_WAIT_S = 5
HELD_WAIT_S = 5
"""The session of a killed engine needs a moment to end."""
RETRY_EVERY_MS = 100
POSTGRES_EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts microseconds from the year 2000."""
SESSION = {
    "application_name": "triplegain",
    "TimeZone": "UTC",
    "jit": "off",
    # A dead engine's session must end, or it would keep the account locked.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
PLAN_ONCE = "SET plan_cache_mode = force_generic_plan"
"""Arrays of any length have one plan; planning anew for each costs more than the insert."""
SCHEMA_TABLE_MISSING = "SELECT to_regclass('alembic_version') IS NULL"
SCHEMA_VERSION = "SELECT version_num FROM alembic_version"
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('triplegain ' || $1::text, 0))"
SESSION_OF = """
SELECT pg_backend_pid() AS pid, (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS since
"""
END_SESSION = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2"


Connect = Callable[[], Awaitable[Connection]]
"""Opens a connection: Database.connect, as a rule."""


LOST = (
    OSError,
    TimeoutError,
    DatabaseUnreachableError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # The server is told to stop, or has crashed.
    asyncpg.InsufficientResourcesError,  # Disk full, too many connections.
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,  # Deadlocks, and transactions that could not be put one after the other.
    asyncpg.LockNotAvailableError,  # The server's lock_timeout ...
    asyncpg.IdleInTransactionSessionTimeoutError,  # ... and those for sessions that hold a transaction open.
    asyncpg.TransactionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # It has become a standby.
)
"""What may pass: the same call may be made again. Everything else is a mistake of ours, and is not caught."""


def is_outage(error: Exception) -> bool:
    """Whether the database is away, rather than wronged: a value that no column takes is a mistake."""
    return isinstance(error, LOST) and not isinstance(error, ValueError)


class Database:
    """Where everything is kept: a server that was named, or the embedded one, which is started if need be."""

    def __init__(
        self, dsn: str, embedded: EmbeddedPostgres | None = None, *, answer_wait_s: int = ANSWER_WAIT_S
    ) -> None:
        self.dsn = dsn
        self._embedded = embedded
        self._answer_wait_s = answer_wait_s

    @classmethod
    async def open(cls, url: str | None, state_dir: Path) -> Database:
        """Return the database of this address, or the embedded one below `state_dir`; its tables are up to date."""
        if url:
            database = cls(url)
        else:
            from persistence.embedded import EmbeddedPostgres as Server  # noqa: PLC0415 - Only where it is used.

            server = await asyncio.to_thread(Server.start, state_dir)
            database = cls(server.dsn, server)
        try:
            await ensure_schema(database.dsn)
        except BaseException:
            await database.stop()
            raise
        return database

    async def connect(self) -> Connection:
        """Open a connection. An embedded server that has died is started again; another is not waited for."""
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.ensure_running)
        return await connect(self.dsn, starting_up_wait_s=1, answer_wait_s=self._answer_wait_s)

    def answering_within(self, seconds: int) -> Database:
        """Return the same database for those who call a server lost when it says nothing for so long."""
        return Database(self.dsn, self._embedded, answer_wait_s=seconds)

    async def stop(self) -> None:
        """Leave an embedded server; a given one is not ours to stop."""
        if self._embedded is not None:
            await asyncio.to_thread(self._embedded.stop)


async def connect(
    dsn: str, *, starting_up_wait_s: int = STARTING_UP_WAIT_S, answer_wait_s: int = ANSWER_WAIT_S
) -> Connection:
    """Open a connection on which instants are whole microseconds, as they are in messages."""
    connection = await _open(dsn, starting_up_wait_s, answer_wait_s)
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda instant_us: (instant_us - POSTGRES_EPOCH_US,),
        decoder=lambda parts: parts[0] + POSTGRES_EPOCH_US,
    )
    return connection


async def disconnect(connection: Connection | None) -> None:
    """Take leave of the server; where nobody answers any more, go without."""
    if connection is None:
        return
    try:
        await connection.close(timeout=CLOSE_WAIT_S)
    except LOST as error:
        logger.debug("left a database that did not answer: {}", error)
        connection.terminate()


async def _open(dsn: str, starting_up_wait_s: int, answer_wait_s: int) -> Connection:
    """Connect; a server that is still starting is waited for."""
    for _ in range(starting_up_wait_s * 1000 // RETRY_EVERY_MS):
        try:
            return await asyncpg.connect(
                dsn=without_driver(dsn),
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=answer_wait_s,
                max_cached_statement_lifetime=0,  # The few statements we have are prepared once.
                server_settings=SESSION,
            )
        except asyncpg.CannotConnectNowError:
            await asyncio.sleep(RETRY_EVERY_MS / 1000)
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _unreachable(dsn, str(error) or type(error).__name__) from error
    raise _unreachable(dsn, "it has been starting up for too long")


def without_driver(dsn: str) -> str:
    """Return the address without SQLAlchemy's driver name: both spellings of DATABASE_URL are common."""
    scheme, separator, rest = dsn.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}"


def shown(dsn: str) -> str:
    """Return the address as it may be shown: no user, no password, no options."""
    try:
        parts = urlsplit(dsn)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "the given address"
    directory = [item.removeprefix("host=") for item in parts.query.split("&") if item.startswith("host=")]
    place = host or (directory[0] if directory else "the local socket")
    return f"{place}{f':{port}' if port else ''}{parts.path}"


def _unreachable(dsn: str, reason: str) -> DatabaseUnreachableError:
    return DatabaseUnreachableError(
        f"no connection to the database at {shown(dsn)}: {' '.join(reason.split())}: "
        "check that it runs and that DATABASE_URL is right, or unset DATABASE_URL to use the embedded one"
    )


# The schema ---------------------------------------------------------------------------------------


async def schema_version(connection: Connection) -> str | None:
    """Return the step that the database is at, None for an empty one."""
    if await connection.fetchval(SCHEMA_TABLE_MISSING):
        return None
    version: str | None = await connection.fetchval(SCHEMA_VERSION)
    return version


async def ensure_schema(dsn: str) -> None:
    """Bring the tables up to date. A database that is already is left alone, at the cost of one look."""
    connection = await connect(dsn)
    try:
        version = await schema_version(connection)
    finally:
        await connection.close()
    if version is not None and version > SCHEMA_HEAD:
        raise SchemaError(
            f"the database at {shown(dsn)} is at schema {version}, newer than this engine's {SCHEMA_HEAD}: "
            "install the newer engine"
        )
    if version != SCHEMA_HEAD:
        await _migrate(dsn)


async def _migrate(dsn: str) -> None:
    """Run the migrations in another process, which takes Alembic's memory away with it when it ends."""
    path = os.pathsep.join(part for part in (HOUSE, os.environ.get("PYTHONPATH", "")) if part)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "persistence.migrate"),
        env={**os.environ, "DATABASE_URL": dsn, "PYTHONPATH": path},  # Not an argument: those can be read by others.
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        raise SchemaError(
            f"the tables at {shown(dsn)} could not be brought up to date: {lines[-1] if lines else 'no reason given'}"
        )


# Our sessions, and what they hold -------------------------------------------------------------------


@attrs.frozen
class OwnSession:
    """A session of ours at the server, as the server knows it."""

    pid: int
    since_us: int


async def session_of(connection: Connection) -> OwnSession:
    """Return the session of this connection."""
    row = await connection.fetchrow(SESSION_OF)
    if row is None:
        raise RuntimeError("the server does not know the session that asks it")
    return OwnSession(pid=row["pid"], since_us=row["since"])


async def end_session(connection: Connection, session: OwnSession) -> None:
    """End a session of ours that a cut network may have left standing at the server, with all that it holds."""
    await connection.fetch(END_SESSION, session.pid, session.since_us)


async def hold(connection: Connection, what: str, *, wait_s: float) -> bool:
    """Make this session the only one that holds `what`, until it ends. Return whether it was free in time."""
    until = time.monotonic() + wait_s
    while not await connection.fetchval(TRY_LOCK, what):
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(RETRY_EVERY_MS / 1000)
    return True


async def hold_account(connection: Connection, account: str, *, wait_s: float = HELD_WAIT_S) -> None:
    """Make this session the account's only writer, until it ends."""
    if not await hold(connection, f"account {account}", wait_s=wait_s):
        raise AccountHeldError(
            f"another engine owns the account {account!r} in this database: stop it, or give this one another account"
        )

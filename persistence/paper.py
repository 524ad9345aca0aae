"""The mock exchange's books in PostgreSQL: they survive us, as a real exchange's would.

Each save is one statement: one round trip, all or nothing. It runs with `synchronous_commit = off`, on a connection
of its own, and still keeps its promise that the exchange never forgets what it has told:
- A commit is in the server's memory before it is answered, so the death of the engine loses nothing.
- A power cut may lose the newest saves. But the server writes one log, in order: whatever the engine has committed
  with a flush was flushed together with every save before it. So whatever the engine knows of the exchange, the
  books know too; only what nobody had heard of yet can be lost, as an order lost on its way would be.
- The server's death alone may lose the newest saves too, and we live on and believe in them. So what is not surely
  flushed stays in memory, and is saved once more, with a flush, on every new connection.
- All hold for any server, embedded or named by DATABASE_URL, as long as books and journal are in the same one.

An exchange has one set of books, so one process may keep them: each connection holds a lock of the account's own. Who
takes over an account waits until the last one has really gone, even where it has lost the journal already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from asyncpg import Connection
from loguru import logger

from actors.exchange.mock.store import BookChanges, Document, Progress
from persistence.database import (
    PLAN_ONCE,
    Connect,
    OwnSession,
    disconnect,
    end_session,
    hold,
    is_outage,
    session_of,
)
from persistence.errors import AccountHeldError

T = TypeVar("T")

TRADES_REMEMBERED = 10_000
FLUSH_LATER = "SET synchronous_commit = off"
FLUSH_NOW = "SET synchronous_commit = on"
FLUSH_EVERY_S = 5
"""After so long a save is flushed, and everything before it with it: this much is kept in memory at most."""
RETRY_S = 1
HELD_WAIT_S = 1
"""The session of a killed process needs a moment to end."""
SAVE = """
WITH advanced AS (
    INSERT INTO paper_progress (account, sequence, at) VALUES ($1, $2, $3)
    ON CONFLICT (account) DO UPDATE SET sequence = excluded.sequence, at = excluded.at
), removed AS (
    DELETE FROM paper_documents AS d USING unnest($4::text[], $5::text[]) AS gone (kind, key)
    WHERE d.account = $1 AND d.kind = gone.kind AND d.key = gone.key
)
INSERT INTO paper_documents (account, kind, key, body)
SELECT $1, kept.kind, kept.key, kept.body FROM unnest($6::text[], $7::text[], $8::text[]) AS kept (kind, key, body)
ON CONFLICT (account, kind, key) DO UPDATE SET body = excluded.body
"""
SAVE_PROGRESS = """
INSERT INTO paper_progress (account, sequence, at) VALUES ($1, $2, $3)
ON CONFLICT (account) DO UPDATE SET sequence = excluded.sequence, at = excluded.at
"""
LOAD = """
SELECT kind, key, body FROM (
    SELECT kind, key, body FROM paper_documents WHERE account = $1 AND kind <> 'trade'
    UNION ALL
    (SELECT kind, key, body FROM paper_documents WHERE account = $1 AND kind = 'trade' ORDER BY key DESC LIMIT $2)
) AS wanted ORDER BY kind, key
"""
PROGRESS = "SELECT sequence, at FROM paper_progress WHERE account = $1"


class BooksHeldError(Exception):
    """Another process keeps the books of this account."""


class PostgresBookStore:
    """Keeps the books of one account. Keys of trades rise, so the newest have the highest.

    While the database is away it waits, as an exchange that does not answer; what it is told to keep may be kept
    twice without harm.
    """

    def __init__(self, connect: Connect, account: str) -> None:
        self._connect = connect
        self._account = account
        self._connection: Connection | None = None
        self._sessions: list[OwnSession] = []
        """Ours that may still stand at the server."""
        self._turn = asyncio.Lock()  # Saves happen in the order of the calls: the lock is fair.
        self._were_ours = False
        """Whether we have had the lock: then nobody else may have it as long as we live."""
        self._unflushed: dict[tuple[str, str], Document] = {}
        """The last word on every key that the server has taken and may yet lose."""
        self._progress = Progress()
        self._flushed_s = time.monotonic()
        self.waits_because = ""
        """Why the database does not take the books; empty when it does."""

    async def save(self, changes: BookChanges) -> None:
        """Keep these changes, all or none."""
        await self._do(lambda to: self._save(to, changes))

    async def load(self) -> tuple[Document, ...]:
        """Return every document, of kind "trade" only the newest 10,000, in key order."""
        rows = await self._do(lambda at: at.fetch(LOAD, self._account, TRADES_REMEMBERED))
        return tuple(Document(row["kind"], row["key"], row["body"]) for row in rows)

    async def progress(self) -> Progress:
        """Return how far the prices had come at the last save."""
        row = await self._do(lambda at: at.fetchrow(PROGRESS, self._account))
        return Progress() if row is None else Progress(sequence=row["sequence"], at_us=row["at"])

    async def close(self) -> None:
        """Give up the connection."""
        async with self._turn:
            connection, self._connection = self._connection, None
            await disconnect(connection)

    # Saving ---------------------------------------------------------------------------------------

    async def _save(self, to: Connection, changes: BookChanges) -> None:
        is_due = bool(self._unflushed) and time.monotonic() - self._flushed_s >= FLUSH_EVERY_S
        if is_due:
            await to.execute(FLUSH_NOW)
        await self._write(to, changes.documents, changes.progress)
        self._progress = changes.progress
        if is_due:
            self._note_flush()
            await to.execute(FLUSH_LATER)
        else:
            self._unflushed.update(((document.kind, document.key), document) for document in changes.documents)

    async def _write(self, to: Connection, documents: Iterable[Document], progress: Progress) -> None:
        columns = _columns(documents)
        if any(columns):
            await to.execute(SAVE, self._account, progress.sequence, progress.at_us, *columns)
        else:
            await to.execute(SAVE_PROGRESS, self._account, progress.sequence, progress.at_us)

    def _note_flush(self) -> None:
        self._unflushed.clear()
        self._flushed_s = time.monotonic()

    # The connection -------------------------------------------------------------------------------

    async def _do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do the work at the database; when it is away, say so and try again until it is back."""
        async with self._turn:
            while True:
                try:
                    result = await work(await self._connected())
                except Exception as error:
                    self._drop()
                    if not is_outage(error) and not isinstance(error, BooksHeldError):
                        raise
                    self.waits_because = str(error) or type(error).__name__
                    logger.warning("The paper books wait for the database: {}", self.waits_because)
                    await asyncio.sleep(RETRY_S)
                else:
                    self.waits_because = ""
                    return result

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        connection = await self._connect()
        try:
            await self._take_over(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    async def _take_over(self, connection: Connection) -> None:
        """Make the connection the one that keeps the books, and keep once more what may be lost."""
        session = await session_of(connection)
        earlier, self._sessions = self._sessions, [*self._sessions, session]
        for left_standing in earlier:
            await end_session(connection, left_standing)
        self._sessions = [session]
        if not await hold(connection, f"paper books of {self._account}", wait_s=HELD_WAIT_S):
            if self._were_ours:
                raise AccountHeldError(f"another engine keeps the paper books of the account {self._account!r}")
            raise BooksHeldError("the last engine still keeps them")
        self._were_ours = True
        await connection.execute(PLAN_ONCE)
        if self._unflushed:
            await connection.execute(FLUSH_NOW)
            await self._write(connection, self._unflushed.values(), self._progress)
            self._note_flush()
        await connection.execute(FLUSH_LATER)


def _columns(documents: Iterable[Document]) -> tuple[list[str], ...]:
    """Return kinds and keys of what goes, and kinds, keys and bodies of what is kept; the last word on a key counts."""
    last = {(document.kind, document.key): document.body for document in documents}
    gone = [at for at, body in last.items() if body is None]
    kept = [(kind, key, body) for (kind, key), body in last.items() if body is not None]
    return (
        [kind for kind, _ in gone],
        [key for _, key in gone],
        [kind for kind, _, _ in kept],
        [key for _, key, _ in kept],
        [body for _, _, body in kept],
    )

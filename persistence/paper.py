"""The mock exchange's books in PostgreSQL: they survive us, as a real exchange's would.

Each save is one statement: one round trip, all or nothing. It runs with `synchronous_commit = off`, on a connection
of its own, and still keeps its promise that the exchange never forgets what it has told:
- A commit is in the server's memory before it is answered, so the death of the engine loses nothing.
- A power cut may lose the newest saves. But the server writes one log, in order: whatever the engine has committed
  with a flush was flushed together with every save before it. So whatever the engine knows of the exchange, the
  books know too; only what nobody had heard of yet can be lost, as an order lost on its way would be.
- Both hold for any server, embedded or named by DATABASE_URL, as long as books and journal are in the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncpg import Connection
from loguru import logger

from actors.exchange.mock.store import BookChanges, Document, Progress
from persistence.database import PLAN_ONCE, Connect, is_outage

T = TypeVar("T")

TRADES_REMEMBERED = 10_000
FLUSH_LATER = "SET synchronous_commit = off"
RETRY_S = 1
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


class PostgresBookStore:
    """Keeps the books of one account. Keys of trades rise, so the newest have the highest.

    While the database is away it waits, as an exchange that does not answer; what it is told to keep may be kept
    twice without harm.
    """

    def __init__(self, connect: Connect, account: str) -> None:
        self._connect = connect
        self._account = account
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()  # Saves happen in the order of the calls: the lock is fair.

    async def save(self, changes: BookChanges) -> None:
        """Keep these changes, all or none."""
        progress = changes.progress
        if changes.documents:
            columns = _columns(changes.documents)
            await self._do(lambda to: to.execute(SAVE, self._account, progress.sequence, progress.at_us, *columns))
        else:
            await self._do(lambda to: to.execute(SAVE_PROGRESS, self._account, progress.sequence, progress.at_us))

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
            if connection is not None:
                await connection.close()

    async def _do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do the work at the database; when it is away, say so and try again until it is back."""
        async with self._turn:
            while True:
                try:
                    return await work(await self._connected())
                except Exception as error:
                    if not is_outage(error):
                        raise
                    self._drop()
                    logger.warning("The paper books wait for the database: {}", error)
                    await asyncio.sleep(RETRY_S)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            await self._connection.execute(FLUSH_LATER)
            await self._connection.execute(PLAN_ONCE)
        return self._connection


def _columns(documents: tuple[Document, ...]) -> tuple[list[str], ...]:
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

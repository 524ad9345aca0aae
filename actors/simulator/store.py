"""The exchange's own store, which may fail as any does: its books are then told again, and nothing of them is lost."""

from __future__ import annotations

from actors.exchange.mock.store import BookChanges, Document, MemoryStore, Progress


class StoreFailedError(Exception):
    """The store did not do what it was asked for."""


class UnreliableStore:
    """Books in memory that outlive the machine. `failures` of the next saves and loads fail."""

    def __init__(self) -> None:
        self._kept = MemoryStore()
        self.failures = 0
        self.failed = 0
        """How often it has failed."""

    async def save(self, changes: BookChanges) -> None:
        """Keep these changes, all or none."""
        self._reach()
        await self._kept.save(changes)

    async def load(self) -> tuple[Document, ...]:
        """Return every document."""
        self._reach()
        return await self._kept.load()

    async def progress(self) -> Progress:
        """Return how far the prices had come at the last save."""
        return await self._kept.progress()

    def _reach(self) -> None:
        if self.failures:
            self.failures -= 1
            self.failed += 1
            raise StoreFailedError("the books cannot be reached")

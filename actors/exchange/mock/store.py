"""Where the mock exchange keeps its books, so that they survive us as a real exchange's would.

The books are documents: the mock alone knows what is in them. What it tells the engine is saved first.
"""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class Document:
    """One thing in the books, as JSON with money as strings. `body` None takes it out."""

    kind: str
    key: str
    body: str | None


@attrs.frozen(kw_only=True)
class Progress:
    """The last tick that the books contain: its place in the stream and its instant. 0 and 0 at the beginning."""

    sequence: int = 0
    at_us: int = 0


@attrs.frozen(kw_only=True)
class BookChanges:
    """What one message or tick changed."""

    documents: tuple[Document, ...]
    progress: Progress


class BookStore(Protocol):
    """Keeps books. Each `save` is atomic, and saves happen in the order of the calls."""

    async def save(self, changes: BookChanges) -> None:
        """Keep these changes, all or none."""
        ...

    async def load(self) -> tuple[Document, ...]:
        """Return every document, of kind "trade" only the newest 10,000, in key order."""
        ...

    async def progress(self) -> Progress:
        """Return how far the prices had come at the last save."""
        ...


class MemoryStore:
    """Books that live as long as this object."""

    def __init__(self) -> None:
        self._documents: dict[tuple[str, str], Document] = {}
        self._progress = Progress()

    async def save(self, changes: BookChanges) -> None:
        """Keep these changes."""
        for document in changes.documents:
            if document.body is None:
                self._documents.pop((document.kind, document.key), None)
            else:
                self._documents[document.kind, document.key] = document
        self._progress = changes.progress

    async def load(self) -> tuple[Document, ...]:
        """Return every document."""
        return tuple(self._documents[key] for key in sorted(self._documents))

    async def progress(self) -> Progress:
        """Return how far the prices had come at the last save."""
        return self._progress

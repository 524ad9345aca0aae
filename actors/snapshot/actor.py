"""SnapshotActor: photographs the book in a fixed rhythm. Losing it disturbs nobody, so it is restarted in place."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import assert_never

import attrs

from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import Recover, TypedActor, kinds
from actors.snapshot.capture import capture, next_due_us
from config.settings import SnapshotSettings
from messages.base import Command
from messages.journal import RecordSnapshots, Snapshot
from messages.lifecycle import EngineReady, StopOpening
from messages.positions import BookReported, GetBook
from messages.protocols import SnapshotInbox, SnapshotOutbox


@attrs.frozen(kw_only=True)
class PhotographDue(Command):
    """It is time for the photograph of `due_us`."""

    due_us: int


@attrs.frozen(kw_only=True)
class SnapshotSummary:
    """What has been photographed."""

    taken: int
    """Since this actor began, restarts apart."""
    kept: tuple[Snapshot, ...]
    """The newest of them, oldest first."""
    unwritten: int
    """How many wait to be written together."""


class SnapshotActor(TypedActor):
    """Asks for the book every so often, keeps the newest photographs, and hands them to the journal in batches."""

    role = "snapshot"
    accepts = kinds(SnapshotInbox | Recover | PhotographDue)
    emits = kinds(SnapshotOutbox)

    def __init__(
        self, ports: Ports, *, settings: SnapshotSettings, equity_start_usd: Decimal, started: bool = False
    ) -> None:
        self._settings = settings
        self._equity_start_usd = equity_start_usd
        self._started = started
        self._due_us: int | None = None
        self._write_every = settings.write_every
        self._ring: deque[Snapshot] = deque(maxlen=settings.ring_max)
        self._unwritten: list[Snapshot] = []
        self._taken = 0
        super().__init__(ports)

    def on_receive(self, message: SnapshotInbox | Recover | PhotographDue) -> None:
        """Handle one message."""
        match message:
            case Recover():
                self._begin()
            case EngineReady():
                self._started = True
                self._begin()
            case PhotographDue():
                self._ask(message)
            case BookReported():
                self._keep(message)
            case StopOpening():
                self._drain()
            case _:
                assert_never(message)

    def describe(self) -> SnapshotSummary:
        """Return the photographs in memory."""
        return SnapshotSummary(taken=self._taken, kept=tuple(self._ring), unwritten=len(self._unwritten))

    def _begin(self) -> None:
        if self._started and self._due_us is None:
            self._set_timer()

    def _set_timer(self) -> None:
        now_us = self.now_us
        self._due_us = next_due_us(now_us, self._settings.every_s * MICROSECONDS)
        self.after(self._due_us - now_us, PhotographDue(due_us=self._due_us))

    def _ask(self, due: PhotographDue) -> None:
        # A timer of the predecessor whose place this actor took is still on its way: it is not ours.
        if due.due_us == self._due_us:
            self._set_timer()
            self.emit(GetBook(at_us=self.now_us))

    def _keep(self, book: BookReported) -> None:
        photograph = capture(book, self._equity_start_usd)
        self._ring.append(photograph)
        self._unwritten.append(photograph)
        self._taken += 1
        if len(self._unwritten) >= self._write_every:
            self._write()

    def _write(self) -> None:
        if self._unwritten:
            self.emit(RecordSnapshots(snapshots=tuple(self._unwritten)))
            self._unwritten.clear()

    def _drain(self) -> None:
        """Write what waits, take one more photograph, and write every later one at once: the end may be near."""
        self._write_every = 1
        self._write()
        if self._started:
            self.emit(GetBook(at_us=self.now_us))

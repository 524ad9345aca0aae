"""Photographs: in rhythm, in batches, and again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pykka

from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import SharedDispatcher
from actors.runtime.ports import Ports
from actors.runtime.switchboard import Switchboard
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import TypedActor, kinds
from actors.snapshot.actor import SnapshotActor, SnapshotSummary
from actors.snapshot.capture import capture, next_due_us
from config.settings import SnapshotSettings
from messages.base import Message
from messages.journal import RecordSnapshots
from messages.lifecycle import EngineReady, StopOpening
from messages.positions import BookReported, GetBook
from messages.protocols import SnapshotInbox, SnapshotOutbox

SECOND = 1_000_000
MINUTE = 60 * SECOND
D = Decimal


class Book(TypedActor):
    """Answers GetBook as PositionActor would, and hears what is to be kept."""

    role = "book"
    accepts = kinds(SnapshotOutbox)
    emits = kinds(SnapshotInbox)

    def __init__(self, ports: Ports) -> None:
        self.asked_us: list[int] = []
        self.written: list[tuple[int, ...]] = []
        super().__init__(ports)

    def on_receive(self, message: Any) -> None:
        if isinstance(message, GetBook):
            self.asked_us.append(message.at_us)
            self.emit(a_book(message.at_us))
        else:
            assert isinstance(message, RecordSnapshots)
            self.written.append(tuple(snapshot.at_us for snapshot in message.snapshots))


def a_book(at_us: int) -> BookReported:
    return BookReported(at_us=at_us, marks=(), realised_usd=D("1.5"), unrealised_usd=D("-0.5"), exposure_usd=D(100))


def _never() -> str:
    raise AssertionError("nobody here needs an id")


def _raise(_role: str, error: BaseException) -> None:
    raise error


class Stage:
    def __init__(self, settings: SnapshotSettings) -> None:
        self._dispatcher = SharedDispatcher(ordered_io=True)
        self._settings = settings
        self._switchboard = Switchboard()
        self.clock = SteppedClock(10 * MINUTE + 7)
        self.timers = Timers()
        self._ports = Ports(
            clock=self.clock,
            new_id=_never,
            timers=self.timers,
            io=self._dispatcher,
            switchboard=self._switchboard,
            report_failure=_raise,
        )
        self.book: Any = self._dispatcher.runnable(Book)(self._ports)  # type: ignore[type-abstract]
        self._begin(self.book)
        self.starts(started=False)

    def starts(self, *, started: bool) -> None:
        make: Any = self._dispatcher.runnable(SnapshotActor)  # type: ignore[type-abstract]
        self.actor = make(self._ports, settings=self._settings, equity_start_usd=D(1000), started=started)
        self._switchboard.connect({"book": self.book, "snapshot": self.actor}, self._dispatcher.post_of)
        self._begin(self.actor)
        self._dispatcher.drain()

    @staticmethod
    def _begin(actor: Any) -> None:
        pykka.ActorRegistry.register(actor.actor_ref)
        actor._start_actor_loop()

    def says(self, message: Message) -> None:
        self.book.emit(message)
        self._dispatcher.drain()

    def passes(self, until_us: int) -> None:
        while (due_us := self.timers.next_due_us()) is not None and due_us <= until_us:
            self.clock.advance_to(due_us)
            self.timers.fire_next()
            self._dispatcher.drain()
        self.clock.advance_to(until_us)

    @property
    def summary(self) -> SnapshotSummary:
        found: SnapshotSummary = self.actor.describe()
        return found


def on_stage(play: Callable[[Stage], None], settings: SnapshotSettings) -> None:
    async def perform() -> None:
        try:
            play(Stage(settings))
        finally:
            pykka.ActorRegistry.stop_all(block=False)
            await asyncio.sleep(0)

    asyncio.run(perform())


def test_equity_is_the_start_and_all_that_was_earned() -> None:
    photograph = capture(a_book(7), D(1000))
    assert (photograph.at_us, photograph.equity_usd) == (7, D(1001))
    assert (photograph.realised_usd, photograph.unrealised_usd, photograph.exposure_usd) == (
        D("1.5"),
        D("-0.5"),
        D(100),
    )


def test_photographs_line_up_with_the_clock() -> None:
    assert [next_due_us(now, 60) for now in (0, 1, 59, 60, 61)] == [60, 60, 60, 120, 120]


def test_the_first_photograph_waits_until_the_engine_is_ready() -> None:
    def play(stage: Stage) -> None:
        stage.passes(12 * MINUTE)
        assert stage.book.asked_us == []
        stage.says(EngineReady())
        stage.says(EngineReady())
        stage.passes(15 * MINUTE + 1)
        assert stage.book.asked_us == [13 * MINUTE, 14 * MINUTE, 15 * MINUTE]
        assert stage.book.written == [(13 * MINUTE,), (14 * MINUTE,), (15 * MINUTE,)]

    on_stage(play, SnapshotSettings())


def test_photographs_are_written_in_batches_and_kept_in_a_ring() -> None:
    def play(stage: Stage) -> None:
        stage.says(EngineReady())
        stage.passes(17 * MINUTE)
        assert stage.book.written == [(11 * MINUTE, 12 * MINUTE, 13 * MINUTE), (14 * MINUTE, 15 * MINUTE, 16 * MINUTE)]
        assert (stage.summary.taken, stage.summary.unwritten) == (7, 1)
        assert [snapshot.at_us for snapshot in stage.summary.kept] == [16 * MINUTE, 17 * MINUTE]

    on_stage(play, SnapshotSettings(write_every=3, ring_max=2))


def test_before_the_end_everything_is_written_and_one_more_is_taken() -> None:
    def play(stage: Stage) -> None:
        stage.says(EngineReady())
        stage.passes(12 * MINUTE + 5 * SECOND)
        stage.says(StopOpening())
        assert stage.book.written == [(11 * MINUTE, 12 * MINUTE), (12 * MINUTE + 5 * SECOND,)]
        stage.passes(13 * MINUTE)
        assert stage.book.written[-1] == (13 * MINUTE,)
        assert stage.summary.unwritten == 0

    on_stage(play, SnapshotSettings(write_every=60))


def test_an_end_before_the_start_photographs_nothing() -> None:
    def play(stage: Stage) -> None:
        stage.says(StopOpening())
        assert (stage.book.asked_us, stage.book.written) == ([], [])

    on_stage(play, SnapshotSettings())


def test_a_successor_goes_on_at_once_and_never_twice() -> None:
    def play(stage: Stage) -> None:
        stage.says(EngineReady())
        stage.passes(11 * MINUTE)
        stage.starts(started=True)
        stage.passes(14 * MINUTE)
        assert stage.book.asked_us == [11 * MINUTE, 12 * MINUTE, 13 * MINUTE, 14 * MINUTE]
        assert stage.summary.taken == 3

    on_stage(play, SnapshotSettings())

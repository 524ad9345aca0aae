"""The seeded scheduler: it draws which inbox is read next, when a timer fires, and how long I/O takes.

No thread, no socket, no real clock: the same seed makes the same run, message by message. An instant of the virtual
clock ends when nothing is left to do in it, unless the seed lets an actor oversleep.
Read in order: SeededScheduler.step(), then what feeds it: schedule(), pipe(), SeededTimers.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Coroutine
from functools import cache, partial
from random import Random
from typing import Any, TypeVar

import attrs
import pykka
from pykka._envelope import Envelope

from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import Deliver, delivery, run_at_once
from actors.runtime.inbox import Inbox
from actors.runtime.simulation.pace import CALM
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import TypedActor
from messages.base import Message, ProposalId

T = TypeVar("T")
Act = Callable[[], None]
Hear = Callable[[int, str, Message], None]
"""Told whenever a message is read: the instant, the reader's role, the message."""
BITS = 20
"""Of one draw: far more than there are inboxes, so that each is as likely as the next."""


class Stopped:
    """What pykka asks of an actor's `actor_stopped`, without an event that threads could wait for."""

    __slots__ = ("_is_set",)

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Say whether the actor has stopped."""
        return self._is_set

    def set(self) -> None:
        """Stop it."""
        self._is_set = True


@attrs.frozen(eq=False)
class Operation:
    """I/O under way: nothing of it has happened yet, and a crash decides whether it will have."""

    name: str
    coroutine: Coroutine[object, object, Any]
    deliver: Deliver


class SeededScheduler:
    """Runs all actors of one machine. `trace` is filled with who read what, in order."""

    def __init__(self, chance: Random, clock: SteppedClock, hear: Hear | None = None) -> None:
        self._hear = hear
        self._bits = chance.getrandbits
        self._clock = clock
        self._ready: list[Inbox] = []
        self._later: list[tuple[int, int, int, Act]] = []
        self._number = 0
        self._asleep = 0
        """Inboxes with mail that nobody looks at for a while."""
        self._readers = 0
        self.pace = CALM
        self.under_way: dict[int, Operation] = {}
        self.timers = SeededTimers(self)
        self.trace = array("q")

    # What the machine asks ------------------------------------------------------------------------

    def runnable(self, actor_class: type[TypedActor]) -> type[TypedActor]:
        """Return `actor_class` with an inbox that this scheduler reads."""
        return _simulated(actor_class)

    def post_of(self, actor: TypedActor) -> Callable[[Message], None]:
        """Return the inbox's own `post`."""
        inbox: Inbox = actor.actor_inbox  # type: ignore[assignment]
        return inbox.post

    def register(self, actor: TypedActor) -> None:
        """Nobody outside looks for a simulated actor."""

    def pipe(
        self,
        actor: TypedActor,
        coroutine: Coroutine[object, object, T],
        on_result: Callable[[T], Message],
        on_error: Callable[[Exception], Message],
    ) -> None:
        """Begin I/O that ends after a drawn time: until then nothing of it has happened."""
        pace = self.pace
        is_slow = pace.slow_io_one_in and self._bits(BITS) % pace.slow_io_one_in == 0
        delay_us = self._bits(40) % (pace.slow_io_us if is_slow else pace.io_us)
        operation = Operation(getattr(coroutine, "__qualname__", ""), coroutine, delivery(actor, on_result, on_error))
        number = self.at(self._clock.now_us() + delay_us, partial(self._complete, self._number + 1))
        self.under_way[number] = operation

    def _complete(self, number: int) -> None:
        operation = self.under_way.pop(number)
        operation.deliver(run_at_once(operation.coroutine))

    # What the inboxes ask -------------------------------------------------------------------------

    def schedule(self, inbox: Inbox) -> None:
        """Note that this inbox has something to read; now and then nobody looks for a while."""
        pace = self.pace
        if pace.slow_read_one_in and self._bits(BITS) % pace.slow_read_one_in == 0:
            delay_us = self._bits(40) % pace.slow_read_us
            self._asleep += 1
            self.at(self._clock.now_us() + delay_us, partial(self._wake, inbox))
        else:
            self._ready.append(inbox)

    def _wake(self, inbox: Inbox) -> None:
        self._asleep -= 1
        self._ready.append(inbox)

    def call_here(self, function: Callable[[Any], None], argument: Any) -> None:
        """There is only one thread."""
        function(argument)

    def enlist(self) -> int:
        """Return the number under which the next actor stands in the trace."""
        self._readers += 1
        return self._readers

    # Running --------------------------------------------------------------------------------------

    def at(self, due_us: int, act: Act) -> int:
        """Let something happen at an instant; what is due together happens in a drawn order."""
        self._number = number = self._number + 1
        heapq.heappush(self._later, (due_us, self._bits(BITS), number, act))
        return number

    @property
    def is_still(self) -> bool:
        """Whether every inbox is empty, nothing happens before the clock moves, and no I/O is under way."""
        return not (self._ready or self._asleep or self.under_way or self._is_due())

    def _is_due(self) -> bool:
        return bool(self._later) and self._later[0][0] <= self._clock.now_us()

    def step(self, until_us: int) -> bool:
        """Let one thing happen: a message read, I/O ended, a timer fired. False when nothing is left up to then."""
        ready, later = self._ready, self._later
        if ready and not (later and later[0][0] <= self._clock.now_us() and self._bits(1)):
            self._read_one(ready)
            return True
        if not later or later[0][0] > until_us:
            return False
        due_us, _tie, _number, act = heapq.heappop(later)
        self._clock.advance_to(due_us)
        act()
        return True

    def _read_one(self, ready: list[Inbox]) -> None:
        count = len(ready)
        index = self._bits(BITS) % count if count > 1 else 0
        inbox = ready[index]
        actor: Any = inbox.actor
        item = inbox.take()
        if not inbox.items:
            inbox.scheduled = False
            ready[index] = ready[-1]
            ready.pop()
        if actor.actor_stopped.is_set():
            return
        try:
            if type(item) is Envelope:
                actor._handle_receive(item.message)
            else:
                if self._hear is not None:
                    self._hear(self._clock.now_us(), actor.role, item)
                self.trace.append(item.id)
                self.trace.append(actor.number)
                actor.handle(item)
        except Exception as error:  # noqa: BLE001 - As in production: what is unexpected stops the actor, and is told.
            actor.actor_stopped.set()
            actor.ports.report_failure(actor.role, error)

    def crash(self, survives: Callable[[str], bool]) -> None:
        """Everything is gone at once. I/O under way has happened or has not: `survives` says which, by its name."""
        operations, self.under_way = self.under_way, {}
        for operation in operations.values():
            if survives(operation.name):
                run_at_once(operation.coroutine)
            else:
                operation.coroutine.close()
        self._ready.clear()
        self._later.clear()
        self._asleep = 0


class SeededTimers(Timers):
    """Timers that fire at their instant or a drawn while later, never earlier."""

    def __init__(self, scheduler: SeededScheduler) -> None:
        super().__init__()
        self._scheduler = scheduler

    def set(self, due_us: int, actor: TypedActor, message: Message, proposal_id: ProposalId | None) -> None:
        """Tell `message` to `actor` at `due_us` or a little later."""
        scheduler = self._scheduler
        late_us = scheduler._bits(40) % scheduler.pace.timer_late_us
        scheduler.at(due_us + late_us, partial(actor.tell_self, message, proposal_id))


@cache
def _simulated(actor_class: type[TypedActor]) -> type[TypedActor]:
    class SimulatedActor(actor_class):  # type: ignore[valid-type,misc]
        def _join_pykka(self) -> None:
            """Without pykka's random name and its threads' event."""
            self.number = self.ports.io.enlist()
            self.actor_urn = f"simulated:{self.role}"
            self.actor_inbox = self._create_actor_inbox()
            self.actor_stopped = Stopped()
            self._actor_ref = pykka.ActorRef(self)

        def _create_actor_inbox(self) -> Inbox:
            return Inbox(self.ports.io, self)

        @staticmethod
        def _create_future() -> pykka.Future[Any]:
            raise TypeError("nobody asks a simulated actor: it is told, or looked at")

        def _start_actor_loop(self) -> None:
            self.on_start()

        def handle(self, message: Message) -> Any:
            """Handle one message, untimed: there is no real clock here."""
            self._handling = message
            return self.on_receive(message)

    SimulatedActor.__name__ = SimulatedActor.__qualname__ = actor_class.__name__
    return SimulatedActor

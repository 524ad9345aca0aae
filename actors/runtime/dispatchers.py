"""Who drains the inboxes: one asyncio loop for all actors, or pykka's own thread for each.

Both keep pykka's contract (`tell`, `ask`, `ActorRegistry`, the failure hooks), and the same test suite passes on both.
Read in order: Dispatcher, LoopDispatcher, SharedDispatcher, ThreadDispatcher.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, Union

import attrs
import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from actors.runtime.inbox import Inbox, merge
from actors.runtime.ports import Io
from actors.runtime.typed_actor import TypedActor
from messages.base import Message

T = TypeVar("T")
Ending = Union["asyncio.Task[Any]", "Ended"]
Deliver = Callable[[Ending], None]

MESSAGES_PER_TURN = 500
"""After so many messages the shared loop looks after its sockets before it goes on."""


class Dispatcher(Io, Protocol):
    """Runs actors and their I/O."""

    def runnable(self, actor_class: type[TypedActor]) -> type[TypedActor]:
        """Return `actor_class` with this dispatcher's inbox and loop mixed in."""
        ...

    def post_of(self, actor: TypedActor) -> Callable[[Message], None]:
        """Return the function that puts a stamped message into the inbox of `actor`."""
        ...

    def register(self, actor: TypedActor) -> None:
        """Let others find the actor, where there are any."""
        ...


class LoopDispatcher(Dispatcher, Protocol):
    """Runs on an asyncio loop, and knows when nothing is left to do."""

    def settle(self) -> bool:
        """Handle what is queued, where that can be done at once; say whether nothing is left to wait for."""
        ...

    async def until_quiet(self) -> None:
        """Return when every inbox is empty and no I/O is under way."""
        ...

    async def close(self) -> None:
        """Stop what still runs."""
        ...


class SharedDispatcher:
    """All actors on one asyncio loop: a message costs a function call, not a thread switch.

    With `ordered_io` the results of I/O are told in the order in which the I/O was started, whatever finishes
    first, and only when every inbox is empty: this makes a replay repeatable to the digit. Without `io_suspends` no I/O
    ever waits (a journal in memory), and it is run at once, without a task.
    """

    def __init__(self, *, ordered_io: bool, io_suspends: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._ordered_io = ordered_io
        self._io_suspends = io_suspends
        self._ready: deque[Inbox] = deque()
        self._draining = False
        self._wake_is_set = False
        self._io: deque[tuple[Ending, Deliver]] = deque()
        self._free_io: set[asyncio.Task[Any]] = set()

    def runnable(self, actor_class: type[TypedActor]) -> type[TypedActor]:
        """Return `actor_class` with an inbox that this loop drains."""
        dispatcher = self

        class SharedActor(actor_class):  # type: ignore[valid-type,misc]
            def _create_actor_inbox(self) -> Inbox:
                return Inbox(dispatcher, self)

            @staticmethod
            def _create_future() -> pykka.Future[Any]:
                return pykka.ThreadingFuture()

            def _start_actor_loop(self) -> None:
                self._actor_loop_setup()

        SharedActor.__name__ = SharedActor.__qualname__ = actor_class.__name__
        return SharedActor

    def post_of(self, actor: TypedActor) -> Callable[[Message], None]:
        """Return the inbox's own `post`: no detour."""
        inbox: Inbox = actor.actor_inbox  # type: ignore[assignment]
        return inbox.post

    def register(self, actor: TypedActor) -> None:
        """Enter the actor in pykka's register."""
        pykka.ActorRegistry.register(actor.actor_ref)

    def schedule(self, inbox: Inbox) -> None:
        """Note that this inbox has something to read."""
        self._ready.append(inbox)
        if not self._draining and not self._wake_is_set:
            self._wake_is_set = True
            self._loop.call_soon(self._wake)

    def call_here(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call `function(argument)` on the loop's thread, at once when we are on it."""
        if threading.get_ident() == self._thread_id:
            function(argument)
        else:
            self._loop.call_soon_threadsafe(function, argument)

    def _wake(self) -> None:
        self._wake_is_set = False
        self.drain(MESSAGES_PER_TURN)
        if self._ready and not self._wake_is_set:
            self._wake_is_set = True
            self._loop.call_soon(self._wake)

    def drain(self, messages_max: int = sys.maxsize) -> None:
        """Handle messages until every inbox is empty or `messages_max` have been handled."""
        ready = self._ready
        self._draining = True
        try:
            while ready and messages_max > 0:
                inbox = ready.popleft()
                messages_max -= self._read(inbox)
                if inbox.items:
                    ready.append(inbox)
                else:
                    inbox.scheduled = False
        finally:
            self._draining = False

    def _read(self, inbox: Inbox) -> int:
        """Let one actor handle what waits for it now. Returns how many messages that was."""
        actor = inbox.actor
        items = inbox.items
        waiting = len(items)
        statistics = actor.statistics
        if waiting > statistics.depth_max:  # noqa: PLR1730 - A call of max() for every message is dear.
            statistics.depth_max = waiting
        is_stopped = actor.actor_stopped.is_set
        handle = actor.handle
        take = inbox.take
        for _ in range(waiting):
            if is_stopped():
                actor._actor_loop_teardown()  # Whoever asked it in the meantime is told that it is dead.
                return waiting
            item = take()
            try:
                if type(item) is Envelope:
                    self._answer(actor, item)
                else:
                    handle(item)
            except Exception:  # noqa: BLE001 - pykka's contract: what is unexpected stops the actor, and is told.
                actor._handle_failure(*sys.exc_info())
                actor.on_failure(*sys.exc_info())
        return waiting

    def _answer(self, actor: TypedActor, envelope: Envelope[Any]) -> None:
        """Handle what came by `tell` or `ask`; whoever asked gets the result or the exception."""
        try:
            result = actor._handle_receive(envelope.message)
        except Exception:
            if envelope.reply_to is None:
                raise
            envelope.reply_to.set_exception()
        else:
            if envelope.reply_to is not None:
                envelope.reply_to.set(result)

    def pipe(
        self,
        actor: TypedActor,
        coroutine: Coroutine[object, object, T],
        on_result: Callable[[T], Message],
        on_error: Callable[[Exception], Message],
    ) -> None:
        """Run slow work on the loop; its result is told to `actor`."""
        deliver = delivery(actor, on_result, on_error)
        if not self._io_suspends:
            self._io.append((run_at_once(coroutine), deliver))
            return
        task: asyncio.Task[T] = self._loop.create_task(coroutine)
        if self._ordered_io:
            self._io.append((task, deliver))
            return
        self._free_io.add(task)

        def finish(task: asyncio.Task[T]) -> None:
            self._free_io.discard(task)
            deliver(task)
            if not self._draining:
                self.drain(MESSAGES_PER_TURN)  # Now: a turn of the loop later the order would leave later.

        task.add_done_callback(finish)

    def settle(self) -> bool:
        """Drain, with the results of I/O that has ended by now; say whether none is under way."""
        while True:
            if self._ready:
                self.drain()
            if not self._io or not self._io[0][0].done():
                return not self._io and not self._free_io
            ending, deliver = self._io.popleft()
            deliver(ending)

    async def until_quiet(self) -> None:
        """Drain, take the next I/O result, drain again, until neither is left."""
        while True:
            if self.settle() and not self._ready:
                return
            if self._io:
                ending = self._io[0][0]
                await asyncio.sleep(0)  # Some I/O needs no more than a turn of the loop.
                if isinstance(ending, asyncio.Task) and not ending.done():
                    await asyncio.wait((ending,))
            elif self._free_io:
                await asyncio.wait(self._free_io, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Cancel the I/O that is still under way."""
        ordered = [ending for ending, _deliver in self._io if isinstance(ending, asyncio.Task)]
        await _cancel([*ordered, *self._free_io])
        self._io.clear()


@attrs.frozen
class Ended:
    """I/O that needed no waiting: it had ended before anyone could ask."""

    value: Any
    error: Exception | None

    def done(self) -> bool:
        """It is."""
        return True

    def cancelled(self) -> bool:
        """It was not."""
        return False

    def exception(self) -> Exception | None:
        """Return what went wrong, if anything did."""
        return self.error

    def result(self) -> Any:
        """Return what came of it."""
        return self.value


def run_at_once(coroutine: Coroutine[object, object, Any]) -> Ended:
    """Run I/O that is said never to wait, such as a journal's in memory; it is a bug if it does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return Ended(end.value, None)
    except Exception as error:  # noqa: BLE001 - It is told to the actor, like any I/O's.
        return Ended(None, error)
    coroutine.close()
    raise RuntimeError(f"{coroutine} waits, and was said never to")


_CLOSE = object()
"""Put into an inbox, it closes it: in one order with all that is put by others."""


class ThreadInbox(queue.Queue[Any]):
    """pykka's queue, which conflates as well, and knows when its actor has nothing left in hand.

    `_put` and `_get` are the hooks that `queue.Queue` calls under its own mutex.
    """

    def __init__(self, dispatcher: ThreadDispatcher) -> None:
        self._dispatcher = dispatcher
        self._pending: dict[str, Message] = {}
        self._in_hand = False
        self._closed = False
        super().__init__()

    def get(self, block: bool = True, timeout: float | None = None) -> Envelope[Any]:  # noqa: FBT001, FBT002
        """Return the next item as pykka knows it. To ask for it means that the last one has been handled."""
        self.release()
        item = super().get(block, timeout)
        self._in_hand = True
        return item if isinstance(item, Envelope) else Envelope(item)

    def release(self) -> None:
        """Count the item in hand as handled."""
        if self._in_hand:
            self._in_hand = False
            self._dispatcher.done()

    def close(self) -> None:
        """Take nothing more from now on: the actor has stopped."""
        self.put(_CLOSE)

    def _put(self, item: Any) -> None:
        if item is _CLOSE:
            self._closed = True
        elif self._closed:
            _refuse(item)
        elif isinstance(item, Message) and item.conflates:
            self._put_conflated(item, item.conflation_key())
        else:
            self._append(item)

    def _put_conflated(self, message: Message, key: str) -> None:
        earlier = self._pending.get(key)
        if earlier is not None:
            self._pending[key] = merge(earlier, message)
            return
        self._pending[key] = message
        self._append(key)

    def _append(self, item: Any) -> None:
        self._dispatcher.begin()
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        return self._pending.pop(item) if type(item) is str else item


def _refuse(item: Any) -> None:
    """Tell whoever asked a dead actor that it is dead; what was only told is nobody's any more."""
    if isinstance(item, Envelope) and item.reply_to is not None:
        error = pykka.ActorDeadError("the actor stopped before it could answer")
        item.reply_to.set_exception((pykka.ActorDeadError, error, None))


class ThreadDispatcher:
    """A thread for each actor: pykka's ThreadingActor, as it is. I/O still runs on the asyncio loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # One token for each message that is queued or being handled. Appending and popping are atomic,
        # and whoever says something while handling appends before its own token goes: empty means quiet.
        self._tokens: deque[None] = deque()
        self._free_io: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    def runnable(self, actor_class: type[TypedActor]) -> type[TypedActor]:
        """Return `actor_class` on top of pykka's ThreadingActor."""
        dispatcher = self

        class ThreadedActor(actor_class, pykka.ThreadingActor):  # type: ignore[valid-type,misc]
            use_daemon_thread = True

            actor_inbox: ThreadInbox

            def _create_actor_inbox(self) -> ThreadInbox:  # type: ignore[override]
                return ThreadInbox(dispatcher)

            def _handle_receive(self, message: Any) -> Any:
                statistics = self.statistics
                statistics.depth_max = max(statistics.depth_max, self.mailbox_depth() + 1)
                return super()._handle_receive(message)

            def end(self) -> None:
                super().end()
                self.actor_inbox.put(Envelope(_ActorStop()))  # Its thread sleeps in `get`, and must come to see it.

            def _actor_loop_teardown(self) -> None:
                self.actor_inbox.close()
                super()._actor_loop_teardown()
                self.actor_inbox.release()

        ThreadedActor.__name__ = ThreadedActor.__qualname__ = actor_class.__name__
        return ThreadedActor

    def post_of(self, actor: TypedActor) -> Callable[[Message], None]:
        """Return the inbox's own `put`, which takes a bare message as well."""
        inbox: ThreadInbox = actor.actor_inbox  # type: ignore[assignment]
        return inbox.put

    def register(self, actor: TypedActor) -> None:
        """Enter the actor in pykka's register."""
        pykka.ActorRegistry.register(actor.actor_ref)

    def begin(self) -> None:
        """Add one token."""
        self._tokens.append(None)

    def done(self) -> None:
        """Take one token away; tell the loop when it was the last."""
        self._tokens.pop()
        if not self._tokens and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.set)

    def pipe(
        self,
        actor: TypedActor,
        coroutine: Coroutine[object, object, T],
        on_result: Callable[[T], Message],
        on_error: Callable[[Exception], Message],
    ) -> None:
        """Run slow work on the loop; its result is told to `actor`."""
        deliver = delivery(actor, on_result, on_error)
        self.begin()
        self._loop.call_soon_threadsafe(self._start, coroutine, deliver)

    def _start(self, coroutine: Coroutine[Any, Any, Any], deliver: Deliver) -> None:
        task = self._loop.create_task(coroutine)
        self._free_io.add(task)

        def finish(task: asyncio.Task[Any]) -> None:
            self._free_io.discard(task)
            try:
                deliver(task)
            finally:
                self.done()

        task.add_done_callback(finish)

    def settle(self) -> bool:
        """Say whether the last token is gone: the threads work by themselves."""
        return not self._tokens

    async def until_quiet(self) -> None:
        """Wait until the last token is gone."""
        while self._tokens:
            self._changed.clear()
            if self._tokens:
                await self._changed.wait()

    async def close(self) -> None:
        """Cancel the I/O that is still under way."""
        await _cancel(list(self._free_io))


def delivery(actor: TypedActor, on_result: Callable[[T], Message], on_error: Callable[[Exception], Message]) -> Deliver:
    """Return what turns a finished task into a message to `actor`."""
    proposal_id = actor._handling.proposal_id
    caused_by = actor._handling.id

    def deliver(task: Ending) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            message = on_result(task.result())
        elif isinstance(error, Exception):
            message = on_error(error)
        else:
            raise error
        actor.tell_self(message, proposal_id, caused_by)

    return deliver


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

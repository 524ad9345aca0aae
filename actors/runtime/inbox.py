"""What waits for one actor, where all actors are run on one thread.

Messages that conflate (prices) become one with an unread one of their key, so a slow reader misses no extreme.
Read in order: Reader, Inbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pykka._envelope import Envelope

from messages.base import Message, stamp

if TYPE_CHECKING:
    from actors.runtime.typed_actor import TypedActor


class Reader(Protocol):
    """Whoever drains the inboxes."""

    def schedule(self, inbox: Inbox) -> None:
        """Note that this inbox has something to read."""
        ...

    def call_here(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call `function(argument)` on the reader's own thread."""
        ...


def merge(earlier: Message, later: Message) -> Message:
    """Return both as one message, which was said when the later was."""
    merged = earlier.merged_with(later)
    stamp(merged, later.id, later.caused_by, later.proposal_id)
    return merged


class Inbox:
    """A plain queue. `post` is for the reader's own thread, `put` (pykka's) for any."""

    __slots__ = ("_pending", "_reader", "actor", "items", "scheduled")

    def __init__(self, reader: Reader, actor: TypedActor) -> None:
        self._reader = reader
        self._pending: dict[str, Message] = {}
        self.items: deque[Any] = deque()
        """What waits; of conflated messages the key, except for one that found nobody waiting: it stands itself."""
        self.scheduled = False
        self.actor = actor

    def post(self, message: Message) -> None:
        """Queue a message said on the reader's thread."""
        items = self.items
        if items and message.conflates:
            self._conflate(message, message.conflation_key())
        else:
            items.append(message)
        if not self.scheduled:
            self.scheduled = True
            self._reader.schedule(self)

    def _conflate(self, message: Message, key: str) -> None:
        """Queue a message that does not stand alone: with an unread one of its key it becomes one."""
        items = self.items
        first = items[0]
        if type(first) is type(message) and first.conflation_key() == key:
            items[0] = merge(first, message)
            return
        earlier = self._pending.get(key)
        if earlier is None:
            items.append(key)
        self._pending[key] = message if earlier is None else merge(earlier, message)

    def take(self) -> Any:
        """Return the next item; for conflated messages, all that was said since the last one."""
        item = self.items.popleft()
        if type(item) is str:
            return self._pending.pop(item)
        return item

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue what `ActorRef.tell` and `ask` hand in, from whatever thread."""
        self._reader.call_here(self._put, envelope)

    def _put(self, envelope: Envelope[Any]) -> None:
        self.items.append(envelope)
        if not self.scheduled:
            self.scheduled = True
            self._reader.schedule(self)

    def get(self) -> Envelope[Any]:
        """Return the next item as pykka knows it; its teardown drains a dead actor's inbox this way."""
        item = self.take()
        return item if isinstance(item, Envelope) else Envelope(item)

    def empty(self) -> bool:
        """Say whether nothing waits."""
        return not self.items

    def qsize(self) -> int:
        """Return how many items wait."""
        return len(self.items)

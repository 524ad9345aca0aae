"""The only doors from an actor to the world: clock, ids, timers, I/O and the other actors.

Production, tests and simulation hand in their own; an actor cannot tell which.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from actors.runtime.clock import Clock

if TYPE_CHECKING:
    from actors.runtime.switchboard import Switchboard
    from actors.runtime.timers import Timers
    from actors.runtime.typed_actor import TypedActor
    from messages.base import Message


T = TypeVar("T")


class Io(Protocol):
    """Runs a coroutine elsewhere and tells its result back to the actor as a message."""

    def pipe(
        self,
        actor: TypedActor,
        coroutine: Coroutine[object, object, T],
        on_result: Callable[[T], Message],
        on_error: Callable[[Exception], Message],
    ) -> None:
        """Start `coroutine`; exactly one of the two functions makes the message that ends it."""
        ...


@attrs.frozen(kw_only=True)
class Ports:
    """What the engine lends to each of its actors."""

    clock: Clock
    new_id: Callable[[], str]
    """A fresh UUID as canonical text: random in production, seeded in a replay."""
    timers: Timers
    io: Io
    switchboard: Switchboard
    report_failure: Callable[[str, BaseException], None]
    """Called with role and exception when an actor hit what it did not expect."""

"""The base of every actor: a pykka actor that declares what it hears and what it says.

Read in order: kinds(), Recover, TypedActor.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from types import TracebackType, UnionType
from typing import Any, ClassVar, TypeVar, get_args

import attrs
import pykka
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from actors.runtime.ports import Ports
from actors.runtime.statistics import ActorReport, ActorStatistics
from messages.base import UNSTAMPED, Command, Message, ProposalId, Query, stamp

_PYKKA_INTERNAL = (_ActorStop, ProxyCall, ProxyGetAttr, ProxySetAttr)
_clock_ns = time.perf_counter_ns
T = TypeVar("T")


def kinds(union: UnionType | type[Message]) -> frozenset[type[Message]]:
    """Return the message types of a union such as `ReviewTrade | PositionChanged`."""
    return frozenset(get_args(union) or (union,))


@attrs.frozen(kw_only=True)
class Recover(Command):
    """The first message of every actor, which it tells itself: the only way to start."""


@attrs.frozen(kw_only=True)
class GetState(Query):
    """Asked from outside, never by an actor: the reply is what `describe` returns."""


class UndeclaredMessageError(TypeError):
    """An actor was about to say, or was told, what it has not declared. A bug, so the actor stops."""


class TypedActor(pykka.Actor):
    """A thin shell around pure functions: a message comes in, new state and new messages come out.

    Subclasses declare `role`, `accepts` and `emits`, and handle messages in `on_receive` with one `match`.
    The dispatcher mixes in how the inbox is drained.
    """

    role: ClassVar[str]
    accepts: ClassVar[frozenset[type[Message]]]
    emits: ClassVar[frozenset[type[Message]]]

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.statistics = ActorStatistics()
        self._handling: Message = _BEGINNING
        self._join_pykka()

    def _join_pykka(self) -> None:
        """Get a name, an inbox and a reference."""
        super().__init__()

    # What an actor may do -------------------------------------------------------------------------

    def emit(self, message: Message, proposal_id: ProposalId | None = None) -> None:
        """Say `message` to whoever has declared to hear it. Its cause is the message being handled.

        `proposal_id` names the trade it belongs to, where that is not the trade of the cause; NO_TRADE for none.
        """
        if type(message) not in self.emits:
            raise UndeclaredMessageError(f"{self.role} does not declare to emit {type(message).__name__}")
        cause = self._handling
        self.ports.switchboard.route(message, cause.id, cause.proposal_id if proposal_id is None else proposal_id)

    def after(self, delay_us: int, message: Message, proposal_id: ProposalId | None = None) -> None:
        """Hear `message` from oneself, `delay_us` from now."""
        due_us = self.ports.clock.now_us() + delay_us
        self.ports.timers.set(due_us, self, message, self._handling.proposal_id if proposal_id is None else proposal_id)

    def pipe(
        self,
        coroutine: Coroutine[object, object, T],
        on_result: Callable[[T], Message],
        on_error: Callable[[Exception], Message],
    ) -> None:
        """Start slow work; its result comes back as a message to oneself."""
        self.ports.io.pipe(self, coroutine, on_result, on_error)

    @property
    def now_us(self) -> int:
        """The present instant on the prices' clock."""
        return self.ports.clock.now_us()

    def describe(self) -> object:
        """Return the actor's state as frozen values, for those who look in from outside."""
        return self.report()

    @abstractmethod
    def on_receive(self, message: Any) -> Any:
        """Handle one declared message."""

    # What the runtime does with it ----------------------------------------------------------------

    def begin(self) -> None:
        """Start reading the inbox, once everybody has been introduced to everybody."""
        self._start_actor_loop()

    def end(self) -> None:
        """Stop at once, whatever waits."""
        if not self.actor_stopped.is_set():
            self._stop()

    def report(self) -> ActorReport:
        """Return the actor's running figures."""
        return self.statistics.report(self.role, self.mailbox_depth())

    def mailbox_depth(self) -> int:
        """Return how many messages wait."""
        return int(self.actor_inbox.qsize())  # type: ignore[attr-defined]

    def tell_self(self, message: Message, proposal_id: ProposalId | None, caused_by: int = UNSTAMPED) -> None:
        """Put a timer's message or an I/O result into one's own inbox."""
        self.ports.switchboard.deliver(self, message, caused_by, proposal_id)

    def handle(self, message: Message) -> Any:
        """Handle one message, timed and counted; an exception is reported before it stops the actor."""
        began_ns = _clock_ns()
        self._handling = message
        try:
            return self.describe() if type(message) is GetState else self.on_receive(message)
        except Exception as error:
            self.statistics.last_error = f"{type(error).__name__}: {error}"
            raise
        finally:
            took_ns = _clock_ns() - began_ns
            statistics = self.statistics
            statistics.handled += 1
            statistics.durations_ns.append(took_ns)
            if took_ns > statistics.max_ns:  # noqa: PLR1730 - A call of max() for every message is dear.
                statistics.max_ns = took_ns

    def _handle_receive(self, message: Any) -> Any:
        if isinstance(message, _PYKKA_INTERNAL):
            return super()._handle_receive(message)
        if type(message) not in self.accepts and type(message) is not GetState:
            raise UndeclaredMessageError(f"{self.role} does not declare to accept {type(message).__name__}")
        if not hasattr(message, "id"):
            stamp(message, UNSTAMPED, UNSTAMPED, None)
        return self.handle(message)

    def on_start(self) -> None:
        """Tell oneself to recover, if recovering is what this actor does."""
        if Recover in self.accepts:
            self.actor_ref.tell(Recover())  # Not by way of the switchboard, which may not know this actor yet.

    def on_failure(
        self,
        exception_type: type[BaseException] | None,  # noqa: ARG002 - pykka's signature.
        exception_value: BaseException | None,
        traceback: TracebackType | None,  # noqa: ARG002
    ) -> None:
        """Hand the failure to the engine, which knows what the loss of this actor means."""
        if exception_value is not None:
            self.ports.report_failure(self.role, exception_value)


_BEGINNING = Recover()
stamp(_BEGINNING, UNSTAMPED, UNSTAMPED, None)

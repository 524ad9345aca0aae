"""The switchboard: the type of a message is its address.

Built once from what the actors declare. A command or a query has exactly one receiver, an event any number;
what nobody hears, or two would obey, is an error before the first message passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import count

import attrs
from loguru import logger

from actors.runtime.typed_actor import Recover, TypedActor
from actors.runtime.wording import message_as_text
from messages.base import Command, Event, Message, ProposalId, Query, stamp


class WiringError(TypeError):
    """The declarations of the actors do not fit together."""


@attrs.frozen
class Declaration:
    """What one actor hears and says."""

    role: str
    accepts: frozenset[type[Message]]
    emits: frozenset[type[Message]]


def check_wiring(
    declarations: Iterable[Declaration],
    spoken_outside: frozenset[type[Message]],
    heard_elsewhere: frozenset[type[Message]] = frozenset(),
) -> None:
    """Raise WiringError unless every message has the receivers its kind demands.

    `spoken_outside` are the messages that timers, I/O, the prices and people put in; `heard_elsewhere` are events that
    only an actor of another machine listens to.
    """
    _check_wiring(tuple(declarations), spoken_outside, heard_elsewhere)


@cache  # Simulations start the same machine thousands of times.
def _check_wiring(
    everyone: tuple[Declaration, ...],
    spoken_outside: frozenset[type[Message]],
    heard_elsewhere: frozenset[type[Message]],
) -> None:
    said = spoken_outside.union(*(declaration.emits for declaration in everyone))
    heard: dict[type[Message], list[str]] = {}
    for declaration in everyone:
        for kind in declaration.accepts:
            heard.setdefault(kind, []).append(declaration.role)
    for kind in sorted(said, key=lambda kind: kind.__name__):
        receivers = heard.get(kind, [])
        if issubclass(kind, Command | Query) and len(receivers) != 1 and kind is not Recover:
            raise WiringError(f"{kind.__name__} needs exactly one receiver, has {receivers or 'none'}")
        if issubclass(kind, Event) and not receivers and kind not in heard_elsewhere:
            raise WiringError(f"nobody hears {kind.__name__}")


Post = Callable[[Message], None]
Route = tuple[str | None, tuple[Post, ...]]
"""The level of a message's log line, and the inboxes it goes to."""
_lazy_logger = logger.opt(lazy=True)


@cache
def _in_order(kinds: frozenset[type[Message]]) -> tuple[type[Message], ...]:
    """Return the types by name: a set has another order in every process."""
    return tuple(sorted(kinds, key=lambda kind: kind.__name__))


class Switchboard:
    """Carries each message to the inboxes of those who declared to hear its type."""

    def __init__(self, *, logs: bool = True) -> None:
        self._logs = logs
        self._ids = count(1)
        self._routes: dict[type[Message], Route] = {}
        self._posts: dict[str, Post] = {}
        self._taps: tuple[Callable[[Message], None], ...] = ()
        self.routed = 0

    def connect(
        self,
        actors: Mapping[str, TypedActor],
        post_of: Callable[[TypedActor], Post],
        heard_elsewhere: frozenset[type[Message]] = frozenset(),
    ) -> None:
        """Introduce the actors to each other; again after one was restarted."""
        self._posts = {role: post_of(actor) for role, actor in actors.items()}
        routes: dict[type[Message], list[Post]] = {kind: [] for kind in _in_order(heard_elsewhere)}
        for role, actor in actors.items():
            for kind in _in_order(actor.accepts):
                routes.setdefault(kind, []).append(self._posts[role])
        self._routes = {kind: (kind.log_level if self._logs else None, tuple(posts)) for kind, posts in routes.items()}

    def hear_nothing_else(self) -> None:
        """Let what nobody hears be said into the air: for a part of a machine."""
        self._routes = _Air(self._routes)

    def route(self, message: Message, caused_by: int, proposal_id: ProposalId | None) -> None:
        """Stamp the message, log it once if it matters, and put it into every inbox that wants it."""
        level, posts = self._routes[type(message)]
        self.routed = number = next(self._ids)
        stamp(message, number, caused_by, proposal_id)
        if level is not None:
            _log(message, level)
        for tap in self._taps:
            tap(message)
        for post in posts:
            post(message)

    def deliver(self, actor: TypedActor, message: Message, caused_by: int, proposal_id: ProposalId | None) -> None:
        """Put a message into one actor's own inbox: a timer's, or the result of its I/O."""
        self.routed = number = next(self._ids)
        stamp(message, number, caused_by, proposal_id)
        for tap in self._taps:
            tap(message)
        post = self._posts.get(actor.role)
        if post is not None:
            post(message)

    def tap(self, listener: Callable[[Message], None]) -> None:
        """Show every message that passes to `listener`, which must be quick and must not fail."""
        self._taps = (*self._taps, listener)

    def untap(self, listener: Callable[[Message], None]) -> None:
        """Stop showing messages to `listener`."""
        self._taps = tuple(tap for tap in self._taps if tap != listener)  # Bound methods are equal, never identical.


class _Air(dict[type[Message], Route]):
    """Routes, and no inbox for what has none."""

    def __missing__(self, kind: type[Message]) -> Route:
        return None, ()


def _log(message: Message, level: str) -> None:
    """Write the message's one line. It is put into words only if somebody reads lines of this level."""
    _lazy_logger.bind(
        correlation_id=message.proposal_id or "-", message_id=message.id, caused_by=message.caused_by
    ).log(level, "{}", lambda: message_as_text(message))

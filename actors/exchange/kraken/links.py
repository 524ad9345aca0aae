"""The wires to Kraken, as the actor sees them: a call and its answer, a line and what comes over it.

Nothing here decides. The real wires are `rest.py` and `socket.py`; tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import attrs

from messages.base import Command


@attrs.frozen(kw_only=True)
class Request:
    """One call of the REST interface."""

    path: str
    """Such as `/0/private/AddOrder`."""
    params: Mapping[str, str]
    is_private: bool
    timeout_ms: int


@attrs.frozen(kw_only=True)
class Answer:
    """What came back, whole: nothing is raised, dropped or read as an error by anybody below us."""

    status: int = 0
    """Of HTTP; 0 when nothing came back."""
    text: str = ""
    failure: str = ""
    """Why nothing came back."""
    was_sent: bool = True
    """False only if it is certain that not a byte of the request has left."""


@attrs.frozen(kw_only=True)
class LineOpened(Command):
    """The line is up, and nothing has come over it yet."""

    line: int


@attrs.frozen(kw_only=True)
class LineSaid(Command):
    """A message has come over the line."""

    line: int
    text: str


@attrs.frozen(kw_only=True)
class LineClosed(Command):
    """The line is down, or could not be opened. Nothing more comes over it."""

    line: int
    reason: str


LineNews = LineOpened | LineSaid | LineClosed


class Links(Protocol):
    """Both wires. Each line has a number, so that what an old one still says is not taken for the new one's."""

    async def call(self, request: Request) -> Answer:
        """Send one request and return what came back. Calls must follow each other: one nonce after the other."""
        ...

    def jump_nonces(self, seconds: int) -> None:
        """Let the nonces go so much further ahead: the last one came too late."""
        ...

    def open_line(self, line: int, tell: Callable[[LineNews], None]) -> None:
        """Open a line for what is private, in place of the one before; everything else is told."""
        ...

    def say(self, text: str) -> None:
        """Send a message over the line; one that is down drops it, and that is told."""
        ...

    def close_line(self) -> None:
        """Close the line, if there is one; nothing is told of it any more."""
        ...

"""An actor with a past: until it has heard that, it holds what it is told, in order."""

from __future__ import annotations

from collections import deque

from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor
from messages.base import Message
from messages.journal import JournalLoaded

EARLY_MAX = 10_000


class RecoveringActor(TypedActor):
    """Answers nothing before it knows what the journal remembers.

    A fill of an order that it does not know yet would be taken for somebody else's, and a halt would be undone.
    """

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._early: deque[Message] | None = deque()
        """What came too early; None once the past is known."""

    def is_too_early(self, message: Message) -> bool:
        """Hold the message back if the past is not known yet. To be asked before a message is handled."""
        if self._early is None or type(message) is JournalLoaded:
            return False
        if len(self._early) >= EARLY_MAX:
            raise OverflowError(f"{EARLY_MAX} messages wait for {self.role} to hear its past")
        self._early.append(message)
        return True

    def catch_up(self) -> None:
        """Handle what was held back. To be called once the past is known."""
        early, self._early = self._early or (), None
        for message in early:
            self.handle(message)

"""Timers: a timer is a message sent later. Timers are never cancelled; who no longer needs one ignores it."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.runtime.typed_actor import TypedActor
    from messages.base import Message, ProposalId


class Timers:
    """Messages that wait for their instant, in the order of their instants, then of their setting."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, TypedActor, Message, ProposalId | None]] = []
        self._order = count()
        self.changed = False
        """Whether an earlier instant than before is waited for; the pacer looks and resets it."""

    def set(self, due_us: int, actor: TypedActor, message: Message, proposal_id: ProposalId | None) -> None:
        """Tell `message` to `actor` at `due_us`."""
        heapq.heappush(self._waiting, (due_us, next(self._order), actor, message, proposal_id))
        self.changed = True

    def next_due_us(self) -> int | None:
        """Return the instant of the earliest timer, None when none waits."""
        return self._waiting[0][0] if self._waiting else None

    def fire_next(self) -> None:
        """Tell the earliest timer's message to its actor."""
        _due_us, _order, actor, message, proposal_id = heapq.heappop(self._waiting)
        actor.tell_self(message, proposal_id)

    def __len__(self) -> int:
        """Return how many timers wait."""
        return len(self._waiting)

"""When positions have been held for too long: the instants, sorted, so that one timer serves them all.

A timer for each position would stay behind for days after the position has closed.
"""

from __future__ import annotations

from sortedcontainers import SortedList

from messages.base import PositionId


class Deadlines:
    """The instant until which each position may be held, in microseconds."""

    __slots__ = ("_due_us", "_order")

    def __init__(self) -> None:
        self._order: SortedList = SortedList()
        self._due_us: dict[PositionId, int] = {}

    def set(self, position_id: PositionId, due_us: int) -> None:
        """Hold this position until `due_us`, in place of the instant set before."""
        self.drop(position_id)
        self._due_us[position_id] = due_us
        self._order.add((due_us, position_id))

    def drop(self, position_id: PositionId) -> None:
        """Forget the instant of this position; nothing happens when it has none."""
        due_us = self._due_us.pop(position_id, None)
        if due_us is not None:
            self._order.remove((due_us, position_id))

    def next_us(self) -> int | None:
        """Return the earliest instant, None when there is none."""
        return self._order[0][0] if self._order else None

    def take_due(self, now_us: int) -> list[PositionId]:
        """Return whose instant has come, earliest first, and forget it."""
        due: list[PositionId] = []
        while self._order and self._order[0][0] <= now_us:
            _due_us, position_id = self._order.pop(0)
            del self._due_us[position_id]
            due.append(position_id)
        return due

    def __len__(self) -> int:
        """Return how many instants are waited for."""
        return len(self._order)

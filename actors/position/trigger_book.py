"""The levels of one symbol that wait for a price, sorted, so that a price looks only at those it has reached.

A level below the price waits for it to fall: a long's stop, a short's target, a short's trailing activation. A level
above waits for it to rise. The nearest of each is kept at hand: a price between the two has reached nothing, however
many levels wait.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum

from sortedcontainers import SortedList

from messages.base import PositionId
from messages.positions import PositionSide

NOTHING_BELOW = Decimal("-Infinity")
NOTHING_ABOVE = Decimal("Infinity")


class Trigger(IntEnum):
    """What happens at a level. Of several reached by one price, the smallest number is told first."""

    STOP = 0
    TARGET = 1
    ACTIVATION = 2


Rung = tuple[Decimal, PositionId, Trigger, PositionSide]
"""One armed level: price, whose, what for, and which way the position profits."""


class TriggerBook:
    """Arms levels, and says once of each when a price has reached it."""

    __slots__ = ("_above", "_armed", "_below", "nearest_above_quote", "nearest_below_quote")

    def __init__(self) -> None:
        self._below: SortedList = SortedList()
        self._above: SortedList = SortedList()
        self._armed: dict[PositionId, list[tuple[SortedList, Rung]]] = {}
        self.nearest_below_quote = NOTHING_BELOW
        self.nearest_above_quote = NOTHING_ABOVE

    def arm(self, position_id: PositionId, side: PositionSide, trigger: Trigger, price_quote: Decimal) -> None:
        """Wait for this price, in place of the one that this trigger of the position waited for."""
        self._disarm(position_id, trigger)
        waits_below = (side is PositionSide.LONG) is (trigger is Trigger.STOP)
        ladder = self._below if waits_below else self._above
        rung = (price_quote, position_id, trigger, side)
        ladder.add(rung)
        self._armed.setdefault(position_id, []).append((ladder, rung))
        self._note_nearest()

    def disarm(self, position_id: PositionId, trigger: Trigger | None = None) -> None:
        """Wait no longer for this trigger of the position, or for any of it."""
        if trigger is not None:
            self._disarm(position_id, trigger)
        else:
            for ladder, rung in self._armed.pop(position_id, ()):
                ladder.remove(rung)
        self._note_nearest()

    def reached(self, low_quote: Decimal, high_quote: Decimal) -> list[Rung]:
        """Return what lies at or beyond these extremes, and disarm it: stops first, so that the worse is assumed."""
        rungs: list[Rung] = []
        if low_quote <= self.nearest_below_quote:
            while self._below and self._below[-1][0] >= low_quote:
                rungs.append(self._below.pop())
        if high_quote >= self.nearest_above_quote:
            while self._above and self._above[0][0] <= high_quote:
                rungs.append(self._above.pop(0))
        if rungs:
            self._forget(rungs)
        return rungs

    def levels(self, position_id: PositionId) -> tuple[Rung, ...]:
        """Return what is armed for this position."""
        return tuple(rung for _ladder, rung in self._armed.get(position_id, ()))

    def __len__(self) -> int:
        """Return how many levels are armed."""
        return len(self._below) + len(self._above)

    def _disarm(self, position_id: PositionId, trigger: Trigger) -> None:
        held = self._armed.get(position_id)
        if held is None:
            return
        for place, (ladder, rung) in enumerate(held):
            if rung[2] is trigger:
                ladder.remove(rung)
                self._drop(position_id, held, place)
                return

    def _drop(self, position_id: PositionId, held: list[tuple[SortedList, Rung]], place: int) -> None:
        del held[place]
        if not held:
            del self._armed[position_id]

    def _forget(self, rungs: list[Rung]) -> None:
        for rung in rungs:
            held = self._armed[rung[1]]
            place = next(place for place, (_ladder, armed) in enumerate(held) if armed is rung)
            self._drop(rung[1], held, place)
        rungs.sort(key=_by_trigger)
        self._note_nearest()

    def _note_nearest(self) -> None:
        self.nearest_below_quote = self._below[-1][0] if self._below else NOTHING_BELOW
        self.nearest_above_quote = self._above[0][0] if self._above else NOTHING_ABOVE


def _by_trigger(rung: Rung) -> Trigger:
    return rung[2]

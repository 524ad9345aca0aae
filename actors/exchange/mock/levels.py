"""What waits in one symbol, sorted by price, so that a tick which reaches nothing costs two comparisons.

However many orders rest, a tick looks at `falling_best` and `rising_best` alone.
"""

from __future__ import annotations

from decimal import Decimal

from sortedcontainers import SortedList

from actors.exchange.mock.book_order import BookOrder
from messages.market import Instrument

NOTHING_BELOW = Decimal("-Infinity")
NOTHING_ABOVE = Decimal("Infinity")


class Market:
    """One symbol: its last price, the orders that wait for a price, and the market orders still at work."""

    __slots__ = (
        "_falling",
        "_rising",
        "at_us",
        "falling_best",
        "has_moved",
        "instrument",
        "last_quote",
        "rising_best",
        "sequence",
        "working",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.last_quote: Decimal | None = None
        self.at_us = 0
        self.sequence = 0
        """The place of the last tick in the stream; with `at_us` it tells a tick that is already in the books."""
        self.has_moved = False
        """Whether the price has changed since it was last saved."""
        self.falling_best = NOTHING_BELOW
        """The highest price that a fall would reach first."""
        self.rising_best = NOTHING_ABOVE
        self.working: dict[int, BookOrder] = {}
        """Market orders (fired stops and targets too) that have not filled, by sequence."""
        self._falling: SortedList[tuple[Decimal, int, BookOrder]] = SortedList()
        self._rising: SortedList[tuple[Decimal, int, BookOrder]] = SortedList()

    def add(self, order: BookOrder) -> None:
        """Let the order wait where it now belongs."""
        rest = order.rest()
        if rest is None:
            self.working[order.sequence] = order
            return
        levels = self._falling if rest.is_falling else self._rising
        levels.add((rest.price_quote, order.sequence, order))
        self._remember_best()

    def remove(self, order: BookOrder) -> None:
        """Take the order out, before anything of it changes; nothing happens if it does not wait here."""
        rest = order.rest()
        if rest is None:
            self.working.pop(order.sequence, None)
            return
        levels = self._falling if rest.is_falling else self._rising
        levels.discard((rest.price_quote, order.sequence, order))
        self._remember_best()

    def reached(self, low_quote: Decimal, high_quote: Decimal) -> list[BookOrder]:
        """Return the orders that a tick with these extremes concerns; they stay where they are."""
        found = list(self.working.values())
        for price_quote, _sequence, order in reversed(self._falling):
            if price_quote < low_quote:
                break
            found.append(order)
        for price_quote, _sequence, order in self._rising:
            if price_quote > high_quote:
                break
            found.append(order)
        return found

    def _remember_best(self) -> None:
        self.falling_best = self._falling[-1][0] if self._falling else NOTHING_BELOW
        self.rising_best = self._rising[0][0] if self._rising else NOTHING_ABOVE

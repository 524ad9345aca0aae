"""All that waits for a price of one symbol: its trigger book, the trailing of both sides, and the band between.

Inside the band (`floor_quote` < price < `ceiling_quote`) nothing can happen, so a plain price is two comparisons.
Read in order: follow (a position has changed), act (a price has left the band).
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from actors.position.profit import average_entry
from actors.position.trailing import Trail, activation_price
from actors.position.trigger_book import NOTHING_ABOVE, NOTHING_BELOW, Rung, Trigger, TriggerBook
from messages.base import PositionId
from messages.positions import Level, Position, PositionSide, PositionStatus

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


class Reached(NamedTuple):
    """A level of a position, and the price that has reached it."""

    position_id: PositionId
    level: Level
    level_quote: Decimal
    price_quote: Decimal


class SymbolWatch:
    """Follows the open positions of one symbol."""

    __slots__ = ("_activation_pct", "_book", "_tick_quote", "_trails", "ceiling_quote", "floor_quote")

    def __init__(self, *, activation_pct: Decimal, distance_pct: Decimal, tick_quote: Decimal) -> None:
        self._activation_pct = activation_pct
        self._tick_quote = tick_quote
        self._book = TriggerBook()
        self._trails = {side: Trail(side, distance_pct, tick_quote) for side in PositionSide}
        self.floor_quote = NOTHING_BELOW
        self.ceiling_quote = NOTHING_ABOVE

    def follow(self, before: Position | None, after: Position) -> None:
        """Wait for the levels of `after`. A level that has not changed since `before` is not armed a second time.

        Without `before` everything is armed anew, fired or not.
        """
        if after.status is not PositionStatus.OPEN:
            self._forget(after)
        else:
            known = before if before is not None and before.status is PositionStatus.OPEN else None
            if known is None or known.stop_loss_quote != after.stop_loss_quote:
                self._arm(after, Trigger.STOP, after.stop_loss_quote)
            if known is None or known.take_profit_quote != after.take_profit_quote:
                self._arm(after, Trigger.TARGET, after.take_profit_quote)
            self._trail(known, after)
        self._note_band()

    def act(self, low_quote: Decimal, high_quote: Decimal, last_quote: Decimal) -> list[Reached]:
        """Take in the extremes since the last price and the price now; return the levels that were reached.

        Nobody knows which extreme came first, so trailing compares the worst price with the levels from before,
        moves on with the best, and compares the last price with the levels of now: it never fires too early.
        """
        rungs = self._book.reached(low_quote, high_quote)
        reached = self._levels_of(rungs, low_quote, high_quote) if rungs else []
        longs, shorts = self._trails[LONG], self._trails[SHORT]
        reached += _trailed(longs, low_quote)
        reached += _trailed(shorts, high_quote)
        longs.advance(high_quote)
        shorts.advance(low_quote)
        if rungs:
            self._activate(rungs, low_quote, high_quote)
        reached += _trailed(longs, last_quote)
        reached += _trailed(shorts, last_quote)
        self._note_band()
        return reached

    @property
    def trailing(self) -> int:
        """How many positions follow a watermark."""
        return len(self._trails[LONG]) + len(self._trails[SHORT])

    @property
    def has_moves(self) -> bool:
        """Whether a resting stop may have to be moved."""
        return self._trails[LONG].moved or self._trails[SHORT].moved

    def take_moves(self) -> list[PositionId]:
        """Return the positions whose resting stop may have to be moved, once."""
        return [position_id for trail in self._trails.values() for position_id in trail.take_moved()]

    def trailing_of(self, position: Position) -> tuple[Decimal, Decimal] | None:
        """Return watermark and stop level of a position that trails, else None."""
        return self._trails[position.side].place_of(position.id)

    # How a position is followed -------------------------------------------------------------------

    def _forget(self, position: Position) -> None:
        self._book.disarm(position.id)
        self._trails[position.side].leave(position.id)

    def _arm(self, position: Position, trigger: Trigger, price_quote: Decimal | None) -> None:
        if price_quote is not None:
            self._book.arm(position.id, position.side, trigger, price_quote)

    def _trail(self, known: Position | None, after: Position) -> None:
        trail = self._trails[after.side]
        if not after.trailing:
            trail.leave(after.id)
            self._book.disarm(after.id, Trigger.ACTIVATION)
        elif after.id in trail:
            if known is None:
                trail.look_again(after.id)
        elif known is None and after.watermark_quote is not None:
            trail.join(after.id, after.watermark_quote, moved=True)
        elif after.watermark_quote is None and (known is None or known.entry_base != after.entry_base):
            self._arm(after, Trigger.ACTIVATION, self._activation(after))

    def _activation(self, position: Position) -> Decimal:
        entry_quote = average_entry(position)
        return activation_price(position.side, entry_quote, self._activation_pct, self._tick_quote)

    # How a price is acted on ----------------------------------------------------------------------

    def _levels_of(self, rungs: list[Rung], low_quote: Decimal, high_quote: Decimal) -> list[Reached]:
        reached = []
        for price, position_id, trigger, side in rungs:
            is_long = side is LONG
            if trigger is Trigger.STOP:
                # A stop rests on the exchange too and acts by itself: trailing has nothing to add to it.
                self._trails[side].leave(position_id)
                self._book.disarm(position_id, Trigger.ACTIVATION)
                reached.append(Reached(position_id, Level.STOP, price, low_quote if is_long else high_quote))
            elif trigger is Trigger.TARGET:
                reached.append(Reached(position_id, Level.TARGET, price, high_quote if is_long else low_quote))
        return reached

    def _activate(self, rungs: list[Rung], low_quote: Decimal, high_quote: Decimal) -> None:
        stopped = {position_id for _price, position_id, trigger, _side in rungs if trigger is Trigger.STOP}
        for _price, position_id, trigger, side in rungs:
            if trigger is Trigger.ACTIVATION and position_id not in stopped:
                self._trails[side].join(position_id, high_quote if side is LONG else low_quote, moved=True)

    def _note_band(self) -> None:
        book, longs, shorts = self._book, self._trails[LONG], self._trails[SHORT]
        self.floor_quote = max(book.nearest_below_quote, longs.nearest_quote, shorts.frontier_quote)
        self.ceiling_quote = min(book.nearest_above_quote, shorts.nearest_quote, longs.frontier_quote)


def _trailed(trail: Trail, price_quote: Decimal) -> list[Reached]:
    return [
        Reached(position_id, Level.TRAILING, level_quote, price_quote)
        for position_id, level_quote in trail.reached(price_quote)
    ]

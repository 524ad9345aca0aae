"""Trailing stops of one symbol and one side: they share a running best price, so a new one costs the same for all.

Once active, a position follows the best price since (its watermark: the highest for a long, the lowest for a short) at
a fixed distance. Positions with the same watermark form a group. A new best price moves every group it passes to the
same watermark, so these groups become one, for good: each is merged once, and from then on ten thousand positions
are one. The list of groups is sorted, best watermark first: prices that improve meet its end, prices that worsen its
beginning, where the tightest level is.

Levels are rounded to the pair's tick away from the price (a long's down, a short's up): never does a stop fire
nearer to the watermark than configured. A watermark only improves, hence a level only tightens.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal

from actors.position.profit import HUNDRED
from actors.position.trigger_book import NOTHING_ABOVE, NOTHING_BELOW
from messages.base import PositionId
from messages.positions import PositionSide


def rounded_down(price_quote: Decimal, tick_quote: Decimal) -> Decimal:
    """Return the highest multiple of the tick that is not above a price (which is positive)."""
    return price_quote // tick_quote * tick_quote


def rounded_up(price_quote: Decimal, tick_quote: Decimal) -> Decimal:
    """Return the lowest multiple of the tick that is not below a price (which is positive)."""
    below = rounded_down(price_quote, tick_quote)
    return below if below == price_quote else below + tick_quote


def activation_price(side: PositionSide, entry_quote: Decimal, activation_pct: Decimal, tick_quote: Decimal) -> Decimal:
    """Return the price at which trailing begins, rounded away from the entry: never earlier than configured."""
    if side is PositionSide.LONG:
        return rounded_up(entry_quote * (1 + activation_pct / HUNDRED), tick_quote)
    return rounded_down(entry_quote * (1 - activation_pct / HUNDRED), tick_quote)


class Group:
    """Positions that follow one watermark. `members` is a dict for its order: a replay repeats itself."""

    __slots__ = ("level_quote", "members", "moved", "watermark_quote")

    def __init__(self, watermark_quote: Decimal, level_quote: Decimal) -> None:
        self.watermark_quote = watermark_quote
        self.level_quote = level_quote
        self.members: dict[PositionId, None] = {}
        self.moved = False
        """Whether the level has moved since the resting stops were last looked at."""


class Trail:
    """The groups of one symbol and side."""

    __slots__ = (
        "_beats", "_factor", "_groups", "_home", "_never", "_round", "_sign", "_tick_quote", "_touches",
        "frontier_quote", "moved", "nearest_quote",
    )  # fmt: skip

    def __init__(self, side: PositionSide, distance_pct: Decimal, tick_quote: Decimal) -> None:
        is_long = side is PositionSide.LONG
        self._beats = operator.gt if is_long else operator.lt
        self._touches = operator.le if is_long else operator.ge
        self._round = rounded_down if is_long else rounded_up
        self._factor = 1 - distance_pct / HUNDRED if is_long else 1 + distance_pct / HUNDRED
        self._sign = -1 if is_long else 1
        self._never = (NOTHING_BELOW, NOTHING_ABOVE) if is_long else (NOTHING_ABOVE, NOTHING_BELOW)
        self._tick_quote = tick_quote
        self._groups: list[Group] = []
        self._home: dict[PositionId, Group] = {}
        self.moved = False
        """Whether any group has moved since `take_moved`."""
        self.nearest_quote, self.frontier_quote = self._never
        """The tightest level of all, and the watermark that the next better price passes first."""

    def __contains__(self, position_id: PositionId) -> bool:
        """Say whether this position trails."""
        return position_id in self._home

    def __len__(self) -> int:
        """Return how many positions trail."""
        return len(self._home)

    def place_of(self, position_id: PositionId) -> tuple[Decimal, Decimal] | None:
        """Return watermark and stop level of a position, None when it does not trail."""
        group = self._home.get(position_id)
        return None if group is None else (group.watermark_quote, group.level_quote)

    def join(self, position_id: PositionId, watermark_quote: Decimal, *, moved: bool) -> None:
        """Let a position follow from this watermark on. `moved`: its resting stop does not know it yet."""
        group = self._group_at(watermark_quote)
        group.members[position_id] = None
        self._home[position_id] = group
        if moved:
            group.moved = self.moved = True
        self._note_edges()

    def leave(self, position_id: PositionId) -> None:
        """Let a position follow no longer; nothing happens when it does not."""
        group = self._home.pop(position_id, None)
        if group is None:
            return
        del group.members[position_id]
        if not group.members:
            del self._groups[self._index_of(group.watermark_quote)]
            self._note_edges()

    def look_again(self, position_id: PositionId) -> None:
        """Have the resting stop of this position looked at, though its group has not moved."""
        group = self._home.get(position_id)
        if group is not None:
            group.moved = self.moved = True

    def advance(self, best_quote: Decimal) -> None:
        """Take every group that this price passes to this price, as one group."""
        groups, beats = self._groups, self._beats
        if not groups or not beats(best_quote, groups[-1].watermark_quote):
            return
        ahead = groups.pop()
        while groups and beats(best_quote, groups[-1].watermark_quote):
            ahead = self._merged(groups.pop(), ahead)
        if groups and groups[-1].watermark_quote == best_quote:
            ahead = self._merged(groups.pop(), ahead)
        ahead.watermark_quote = best_quote
        ahead.level_quote = self._round(best_quote * self._factor, self._tick_quote)
        ahead.moved = self.moved = True
        groups.append(ahead)
        self._note_edges()

    def reached(self, worst_quote: Decimal) -> list[tuple[PositionId, Decimal]]:
        """Return whose level lies at or beyond this price, with the level. They trail no longer."""
        fired: list[tuple[PositionId, Decimal]] = []
        while self._groups and self._touches(worst_quote, self._groups[0].level_quote):
            group = self._groups.pop(0)
            fired.extend((position_id, group.level_quote) for position_id in group.members)
        if fired:
            for position_id, _level_quote in fired:
                del self._home[position_id]
            self._note_edges()
        return fired

    def take_moved(self) -> Iterator[PositionId]:
        """Yield the positions whose group has moved since the last call."""
        if not self.moved:
            return
        self.moved = False
        for group in self._groups:
            if group.moved:
                group.moved = False
                yield from group.members

    def _group_at(self, watermark_quote: Decimal) -> Group:
        index = self._index_of(watermark_quote)
        if index < len(self._groups) and self._groups[index].watermark_quote == watermark_quote:
            return self._groups[index]
        group = Group(watermark_quote, self._round(watermark_quote * self._factor, self._tick_quote))
        self._groups.insert(index, group)
        return group

    def _index_of(self, watermark_quote: Decimal) -> int:
        sign = self._sign
        return bisect_left(self._groups, sign * watermark_quote, key=lambda group: sign * group.watermark_quote)

    def _merged(self, one: Group, other: Group) -> Group:
        """Return both as one: the smaller moves, so that a position moves seldom."""
        large, small = (one, other) if len(one.members) >= len(other.members) else (other, one)
        large.members.update(small.members)
        for position_id in small.members:
            self._home[position_id] = large
        return large

    def _note_edges(self) -> None:
        if self._groups:
            self.nearest_quote = self._groups[0].level_quote
            self.frontier_quote = self._groups[-1].watermark_quote
        else:
            self.nearest_quote, self.frontier_quote = self._never

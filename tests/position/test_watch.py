"""All that waits for prices of one symbol, against a scan that looks at each position by itself."""

from __future__ import annotations

from decimal import Decimal

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position import changes
from actors.position.trailing import activation_price, rounded_down, rounded_up
from actors.position.watch import SymbolWatch
from messages.base import PositionId
from messages.positions import Level, MoveStop, Position, PositionSide, PositionStatus

from .values import a_position

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
D = Decimal
ACTIVATION, DISTANCE, TICK = D(1), D("1.5"), D("0.1")


def a_watch() -> SymbolWatch:
    return SymbolWatch(activation_pct=ACTIVATION, distance_pct=DISTANCE, tick_quote=TICK)


def at(
    watch: SymbolWatch, low: str, high: str | None = None, last: str | None = None
) -> list[tuple[str, Level, Decimal]]:
    found = watch.act(D(low), D(high or low), D(last or high or low))
    return [(reached.position_id, reached.level, reached.level_quote) for reached in found]


def test_inside_the_band_nothing_happens_and_outside_it_does() -> None:
    watch = a_watch()
    watch.follow(None, a_position(stop="95", target="110"))
    watch.follow(None, a_position("p2", side=SHORT, stop="104", target="90"))
    assert (watch.floor_quote, watch.ceiling_quote) == (D(95), D(104))

    assert at(watch, "104") == [("p2", Level.STOP, D(104))]
    assert (watch.floor_quote, watch.ceiling_quote) == (D(95), D(110))


def test_trailing_begins_at_its_level_and_follows() -> None:
    watch = a_watch()
    position = a_position(stop="90", trailing=True)
    watch.follow(None, position)
    assert watch.ceiling_quote == 101

    assert at(watch, "101.5") == []
    assert watch.trailing_of(position) == (D("101.5"), D("99.9"))
    assert at(watch, "103") == []
    assert watch.trailing_of(position) == (D(103), D("101.4"))
    assert watch.take_moves() == ["p1"]
    assert watch.take_moves() == []
    assert at(watch, "101.4") == [("p1", Level.TRAILING, D("101.4"))]
    assert at(watch, "101.3") == []


def test_a_dip_that_may_have_come_before_the_high_does_not_fire() -> None:
    watch = a_watch()
    watch.follow(None, a_position(trailing=True, watermark="102"))
    assert at(watch, low="101", high="110", last="109") == []
    assert at(watch, low="105", high="112", last="106") == [("p1", Level.TRAILING, D("108.3"))]


def test_where_the_stop_itself_is_reached_trailing_keeps_quiet() -> None:
    watch = a_watch()
    watch.follow(None, a_position(stop="100.4", trailing=True, watermark="102"))
    assert at(watch, "100") == [("p1", Level.STOP, D("100.4"))]
    assert at(watch, "90") == []


def test_a_level_that_fired_is_armed_by_a_move_not_by_a_fill() -> None:
    watch = a_watch()
    position = a_position(stop="95")
    watch.follow(None, position)
    assert at(watch, "94") == [("p1", Level.STOP, D(95))]
    watch.follow(position, attrs.evolve(position, entry_base=D(2)))
    assert at(watch, "94") == []
    watch.follow(position, attrs.evolve(position, stop_loss_quote=D("94.5")))
    assert at(watch, "94") == [("p1", Level.STOP, D("94.5"))]
    watch.follow(None, position)
    assert at(watch, "94") == [("p1", Level.STOP, D(95))]


def test_more_entry_moves_the_activation() -> None:
    watch = a_watch()
    position = a_position(trailing=True)
    watch.follow(None, position)
    watch.follow(position, attrs.evolve(position, entry_base=D(2), entry_cost_quote=D(220)))
    assert watch.ceiling_quote == D("111.1")


def test_what_closes_is_not_watched() -> None:
    watch = a_watch()
    position = a_position(stop="95", target="120", trailing=True, watermark="102")
    watch.follow(None, position)
    watch.follow(position, attrs.evolve(position, status=PositionStatus.CLOSING))
    assert (watch.floor_quote, watch.ceiling_quote) == (D("-Infinity"), D("Infinity"))
    assert watch.trailing == 0


def test_trailing_can_be_switched_off() -> None:
    watch = a_watch()
    position = a_position(trailing=True, watermark="102")
    watch.follow(None, position)
    off = MoveStop(position_id=position.id, stop_loss_quote=None, take_profit_quote=None, trailing=False)
    watch.follow(None, changes.moved(position, off))
    assert at(watch, "90") == []


def test_trailing_that_is_switched_on_again_begins_anew() -> None:
    watch = a_watch()
    position = a_position(trailing=True, watermark="102")
    for trailing in (False, True):
        switch = MoveStop(position_id=position.id, stop_loss_quote=None, take_profit_quote=None, trailing=trailing)
        position = changes.moved(position, switch)
        watch.follow(None, position)
    assert watch.trailing == 0
    assert watch.ceiling_quote == 101


# Against one by one -----------------------------------------------------------------------------------------


@attrs.define
class Alone:
    """One position that watches for itself, by the same rules."""

    position: Position
    armed: set[Level] = attrs.Factory(set)
    watermark: Decimal | None = None
    trails: bool = True

    def hear(self, low: Decimal, high: Decimal, last: Decimal) -> set[tuple[str, Level, Decimal]]:
        worst, best = (low, high) if self.position.side is LONG else (high, low)
        fired = self._levels(worst, best)
        if self.trails and not any(level is Level.STOP for _name, level, _price in fired):
            fired |= self._trail(worst)
            if self.trails and self._moves(best):
                self.watermark = best
            fired |= self._trail(last)
        else:
            self.trails, self.watermark = False, None
        return fired

    def _levels(self, worst: Decimal, best: Decimal) -> set[tuple[str, Level, Decimal]]:
        fired = set()
        position = self.position
        stop, target = position.stop_loss_quote, position.take_profit_quote
        if Level.STOP in self.armed and stop is not None and self._is_better(stop, worst, or_equal=True):
            fired.add((position.id, Level.STOP, stop))
        if Level.TARGET in self.armed and target is not None and self._is_better(best, target, or_equal=True):
            fired.add((position.id, Level.TARGET, target))
        self.armed -= {level for _name, level, _price in fired}
        return fired  # type: ignore[return-value]

    def _trail(self, price: Decimal) -> set[tuple[str, Level, Decimal]]:
        if self.watermark is None or not self.trails:
            return set()
        is_long = self.position.side is LONG
        factor = 1 - DISTANCE / 100 if is_long else 1 + DISTANCE / 100
        level = (rounded_down if is_long else rounded_up)(self.watermark * factor, TICK)
        if self._is_better(price, level):
            return set()
        self.trails, self.watermark = False, None
        return {(self.position.id, Level.TRAILING, level)}

    def _moves(self, best: Decimal) -> bool:
        if self.watermark is None:
            return self._is_better(best, self._activation(), or_equal=True)
        return self._is_better(best, self.watermark)

    def _activation(self) -> Decimal:
        entry = self.position.entry_cost_quote / self.position.entry_base
        return activation_price(self.position.side, entry, ACTIVATION, TICK)

    def _is_better(self, price: Decimal, than: Decimal, *, or_equal: bool = False) -> bool:
        if or_equal and price == than:
            return True
        return price > than if self.position.side is LONG else price < than


TENTHS = st.integers(950, 1050).map(lambda tenths: D(tenths) / 10)
POSITIONS = st.lists(
    st.builds(
        a_position,
        side=st.sampled_from(PositionSide),
        entry=TENTHS,
        stop=st.one_of(st.none(), TENTHS),
        target=st.one_of(st.none(), TENTHS),
        trailing=st.booleans(),
    ),
    max_size=8,
)
CANDLES = st.lists(st.tuples(TENTHS, TENTHS, TENTHS).map(sorted), max_size=40)


@settings(deadline=None)
@given(POSITIONS, CANDLES, st.integers(0, 3))
def test_together_they_hear_what_each_would_hear_alone(
    positions: list[Position], candles: list[list[Decimal]], every: int
) -> None:
    watch, alone = a_watch(), dict[PositionId, Alone]()
    waiting = [attrs.evolve(position, id=PositionId(f"p{number}")) for number, position in enumerate(positions)]
    for number, (low, last, high) in enumerate(candles):
        if waiting and number % (every + 1) == 0:
            newest = waiting.pop()
            watch.follow(None, newest)
            alone[newest.id] = Alone(newest, {Level.STOP, Level.TARGET}, trails=newest.trailing)
        expected = set[tuple[str, Level, Decimal]]()
        for one in alone.values():
            expected |= one.hear(low, high, last)
        is_quiet = watch.floor_quote < low and high < watch.ceiling_quote
        found = [] if is_quiet else watch.act(low, high, last)

        told = [(reached.position_id, reached.level, reached.level_quote) for reached in found]
        assert set(told) == expected
        assert len(told) == len(expected)


@settings(deadline=None)
@given(st.sampled_from(PositionSide), TENTHS, st.one_of(st.none(), TENTHS), st.lists(TENTHS, max_size=40))
def test_the_stop_of_a_trailing_position_never_loosens(
    side: PositionSide, entry: Decimal, stop: Decimal | None, prices: list[Decimal]
) -> None:
    watch = a_watch()
    position = a_position(side=side, entry=entry, stop=stop, trailing=True)
    watch.follow(None, position)
    for price in prices:
        watch.act(price, price, price)
        place = watch.trailing_of(position)
        after = None if place is None else changes.trailed(position, *place)
        if after is not None:
            before, now = position.stop_loss_quote, after.stop_loss_quote
            assert before is None or now == before or (now is not None and (now > before) is (side is LONG))
            watch.follow(position, after)
            position = after

"""Trailing in groups is trailing one by one, only quicker; and it never loosens."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position.trailing import Trail, activation_price, rounded_down, rounded_up
from messages.base import PositionId
from messages.positions import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
D = Decimal
PCT, TICK = D("1.5"), D("0.1")


@pytest.mark.parametrize(
    ("price", "tick", "down", "up"),
    [("10.04", "0.1", "10.0", "10.1"), ("10.1", "0.1", "10.1", "10.1"), ("10.3", "0.25", "10.25", "10.50"),
     ("123.4", "5", "120", "125"), ("0.00000123", "0.0000001", "0.0000012", "0.0000013")],
)  # fmt: skip
def test_rounding_to_any_tick(price: str, tick: str, down: str, up: str) -> None:
    assert rounded_down(D(price), D(tick)) == D(down)
    assert rounded_up(D(price), D(tick)) == D(up)


def test_it_begins_no_earlier_than_configured() -> None:
    assert activation_price(LONG, D("100.03"), D(1), TICK) == D("101.1")
    assert activation_price(SHORT, D("100.03"), D(1), TICK) == D("99.0")


def test_it_fires_no_nearer_than_configured() -> None:
    long, short = Trail(LONG, PCT, TICK), Trail(SHORT, PCT, TICK)
    long.join(PositionId("a"), D("100.3"), moved=True)
    short.join(PositionId("b"), D("100.3"), moved=True)
    assert long.place_of(PositionId("a")) == (D("100.3"), D("98.7"))  # 98.7955 exactly
    assert short.place_of(PositionId("b")) == (D("100.3"), D("101.9"))  # 101.8045 exactly


def test_a_new_high_makes_one_group_of_all_it_passes() -> None:
    trail = Trail(LONG, PCT, TICK)
    for number, watermark in enumerate((110, 105, 103, 101)):
        trail.join(PositionId(str(number)), D(watermark), moved=False)
    assert list(trail.take_moved()) == []

    trail.advance(D(105))
    assert sorted(trail.take_moved()) == ["1", "2", "3"]
    assert trail.place_of(PositionId("0")) == (D(110), D("108.3"))
    assert {trail.place_of(PositionId(name)) for name in "123"} == {(D(105), D("103.4"))}

    assert trail.reached(D("108.3")) == [(PositionId("0"), D("108.3"))]
    assert sorted(trail.reached(D(100))) == [(PositionId(name), D("103.4")) for name in "123"]
    assert len(trail) == 0
    assert (trail.nearest_quote, trail.frontier_quote) == (D("-Infinity"), D("Infinity"))


def test_the_same_high_again_moves_nothing() -> None:
    trail = Trail(LONG, PCT, TICK)
    trail.join(PositionId("a"), D(100), moved=False)
    trail.advance(D(100))
    assert not trail.moved


@attrs.define
class Follower:
    """One position that trails by itself."""

    side: PositionSide
    watermark: Decimal

    def advance(self, best: Decimal) -> None:
        self.watermark = max(self.watermark, best) if self.side is LONG else min(self.watermark, best)

    @property
    def level(self) -> Decimal:
        if self.side is LONG:
            return rounded_down(self.watermark * (1 - PCT / 100), TICK)
        return rounded_up(self.watermark * (1 + PCT / 100), TICK)

    def is_reached(self, worst: Decimal) -> bool:
        return worst <= self.level if self.side is LONG else worst >= self.level


TENTHS = st.integers(900, 1100).map(lambda tenths: D(tenths) / 10)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(0, 9), TENTHS),
        st.tuples(st.just("leave"), st.integers(0, 9), TENTHS),
        st.tuples(st.just("advance"), st.just(0), TENTHS),
        st.tuples(st.just("reached"), st.just(0), TENTHS),
        st.tuples(st.just("moved"), st.just(0), TENTHS),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(st.sampled_from(PositionSide), STEPS)
def test_groups_do_what_each_would_do_alone(side: PositionSide, steps: list[tuple[str, int, Decimal]]) -> None:
    trail = Trail(side, PCT, TICK)
    alone: dict[PositionId, Follower] = {}
    looked_at: dict[PositionId, Decimal] = {}
    for what, number, price in steps:
        name = PositionId(str(number))
        if what == "join" and name not in alone:
            trail.join(name, price, moved=False)
            alone[name] = Follower(side, price)
            looked_at[name] = alone[name].level
        elif what == "leave":
            trail.leave(name)
            alone.pop(name, None)
        elif what == "advance":
            trail.advance(price)
            for follower in alone.values():
                follower.advance(price)
        elif what == "reached":
            fired = {name: follower.level for name, follower in alone.items() if follower.is_reached(price)}
            assert dict(trail.reached(price)) == fired
            for gone in fired:
                del alone[gone]
        elif what == "moved":
            moved = set(trail.take_moved())
            assert {name for name, follower in alone.items() if follower.level != looked_at[name]} <= moved
            looked_at = {name: follower.level for name, follower in alone.items()}
        assert len(trail) == len(alone)
        for known, follower in alone.items():
            assert trail.place_of(known) == (follower.watermark, follower.level)


@settings(deadline=None)
@given(st.sampled_from(PositionSide), TENTHS, st.lists(TENTHS, max_size=50))
def test_a_level_never_loosens(side: PositionSide, start: Decimal, prices: list[Decimal]) -> None:
    trail = Trail(side, PCT, TICK)
    name = PositionId("p")
    trail.join(name, start, moved=False)
    before = trail.place_of(name)
    for price in prices:
        trail.advance(price)
        now = trail.place_of(name)
        assert now is not None
        assert before is not None
        assert now[1] >= before[1] if side is LONG else now[1] <= before[1]
        before = now

"""The trigger book: whatever a scan of all levels would find, and once."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position.trigger_book import Trigger, TriggerBook
from messages.base import PositionId
from messages.positions import PositionSide

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
D = Decimal
P1, P2 = PositionId("p1"), PositionId("p2")


def test_a_level_is_told_once_and_again_when_it_is_armed_again() -> None:
    book = TriggerBook()
    book.arm(P1, LONG, Trigger.STOP, D(90))

    assert book.reached(D("90.1"), D(100)) == []
    assert book.reached(D(90), D(100)) == [(D(90), P1, Trigger.STOP, LONG)]
    assert book.reached(D(80), D(100)) == []
    book.arm(P1, LONG, Trigger.STOP, D(85))
    assert book.reached(D(80), D(100)) == [(D(85), P1, Trigger.STOP, LONG)]
    assert len(book) == 0


def test_a_moved_level_replaces_the_old_one() -> None:
    book = TriggerBook()
    book.arm(P1, SHORT, Trigger.STOP, D(110))
    book.arm(P1, SHORT, Trigger.STOP, D(120))
    book.arm(P1, SHORT, Trigger.TARGET, D(80))

    assert book.reached(D(90), D(115)) == []
    assert len(book.levels(P1)) == len(book) == 2
    book.disarm(P1)
    assert book.reached(D(1), D(1000)) == []


def test_of_one_wild_price_the_stops_are_told_first() -> None:
    book = TriggerBook()
    book.arm(P1, LONG, Trigger.TARGET, D(110))
    book.arm(P2, LONG, Trigger.ACTIVATION, D(101))
    book.arm(P1, LONG, Trigger.STOP, D(90))

    assert [rung[2] for rung in book.reached(D(80), D(120))] == [Trigger.STOP, Trigger.TARGET, Trigger.ACTIVATION]


PRICES = st.integers(80, 120)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 4), st.sampled_from(Trigger), PRICES),
        st.tuples(st.just("disarm"), st.integers(0, 4), st.sampled_from([*Trigger, None]), PRICES),
        st.tuples(st.just("price"), PRICES, st.just(None), PRICES),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_it_finds_what_a_scan_of_everything_finds(steps: list[tuple[str, int, Trigger | None, int]]) -> None:
    book = TriggerBook()
    naive: dict[tuple[int, Trigger], int] = {}
    for what, number, trigger, price in steps:
        side = SHORT if number % 2 else LONG
        if what == "arm" and trigger is not None:
            book.arm(PositionId(str(number)), side, trigger, D(price))
            naive[number, trigger] = price
        elif what == "disarm":
            book.disarm(PositionId(str(number)), trigger)
            for known in list(naive):
                if known[0] == number and trigger in (None, known[1]):
                    del naive[known]
        else:
            low, high = sorted((number, price))
            expected = _scan(naive, low, high)
            found = {(int(rung[1]), rung[2]): int(rung[0]) for rung in book.reached(D(low), D(high))}
            assert found == expected
            for known in expected:
                del naive[known]
        assert len(book) == len(naive)


def _scan(naive: dict[tuple[int, Trigger], int], low: int, high: int) -> dict[tuple[int, Trigger], int]:
    found = {}
    for (number, trigger), price in naive.items():
        waits_below = (number % 2 == 0) == (trigger is Trigger.STOP)
        if low <= price if waits_below else high >= price:
            found[number, trigger] = price
    return found

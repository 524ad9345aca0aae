"""A silent line is noticed in time, and nobody is called again faster than he bears."""

from __future__ import annotations

from actors.exchange.kraken.line_watch import LineWatch

SECOND_US = 1_000_000


def test_silence_counts_from_what_was_heard_last() -> None:
    watch = LineWatch(6, 0)
    watch.hears(2 * SECOND_US)
    assert not watch.is_silent(8 * SECOND_US - 1)
    assert watch.is_silent(8 * SECOND_US)
    assert watch.silent_s(8 * SECOND_US) == 6


def test_the_waits_double_up_to_half_a_minute_and_begin_again_after_a_success() -> None:
    watch = LineWatch(6, 0)
    assert [watch.fails(0) for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]
    watch.succeeds()
    assert watch.fails(0) == 1


def test_a_line_is_opened_when_the_wait_is_over() -> None:
    watch = LineWatch(6, 0)
    assert watch.may_open(0), "the first one at once"
    watch.fails(0, at_once=True)
    assert watch.may_open(0), "after one that was live as well"
    assert watch.fails(5 * SECOND_US) == 2, "but it counts"
    assert not watch.may_open(7 * SECOND_US - 1)
    assert watch.may_open(7 * SECOND_US)

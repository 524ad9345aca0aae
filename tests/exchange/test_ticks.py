"""A tick that reaches nothing costs the same however many orders rest: comparisons are counted, not time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from messages.trades import OrderType
from tests.exchange.desk import (
    BTC_USDT,
    BUY,
    SELL,
    USDT,
    D,
    Desk,
)


class CountedPrice(Decimal):
    """A price that counts how often it is compared."""

    comparisons = 0

    def __le__(self, other: Any) -> bool:
        CountedPrice.comparisons += 1
        return super().__le__(other)

    def __lt__(self, other: Any) -> bool:
        CountedPrice.comparisons += 1
        return super().__lt__(other)

    def __ge__(self, other: Any) -> bool:
        CountedPrice.comparisons += 1
        return super().__ge__(other)

    def __gt__(self, other: Any) -> bool:
        CountedPrice.comparisons += 1
        return super().__gt__(other)


def comparisons_of_a_tick(resting: int, *, is_on_margin: bool) -> int:
    desk = Desk({USDT: D(10) ** 9})
    desk.tick("100")
    if is_on_margin:
        desk.place(BUY, "1", leverage=2)
    for number in range(resting):
        desk.place(BUY, "1", OrderType.LIMIT, limit=str(D(80) + D(number % 100) / 10))
        desk.place(SELL, "1", OrderType.LIMIT, limit=str(D(120) + D(number % 100) / 10), leverage=1 + is_on_margin)
    price = CountedPrice("101")
    CountedPrice.comparisons = 0
    desk.books.on_price(BTC_USDT, price, price, price, 10**9, 10**9, 10**9)
    return CountedPrice.comparisons


@pytest.mark.parametrize("is_on_margin", [False, True])
def test_a_tick_that_reaches_nothing_compares_twice(is_on_margin: bool) -> None:  # noqa: FBT001
    assert comparisons_of_a_tick(10, is_on_margin=is_on_margin) == 2
    assert comparisons_of_a_tick(3_000, is_on_margin=is_on_margin) == 2


def test_only_the_orders_that_are_reached_are_touched() -> None:
    desk = Desk({USDT: D(10) ** 9})
    desk.tick("100")
    for number in range(1_000):
        desk.place(BUY, "1", OrderType.LIMIT, limit=str(50 + number // 25))
    market = desk.books.account._markets[BTC_USDT]

    assert len(market.reached(D("88.9"), D("101"))) == 25
    desk.tick("88.9")

    assert len(desk.fills) == 25
    assert market.falling_best == 88


def test_a_tick_of_an_unknown_symbol_is_none_of_our_business() -> None:
    desk = Desk()
    before = desk.books.documents()

    assert desk.tick("1", symbol="DOGE/USDT") == []  # type: ignore[arg-type]
    assert desk.books.documents() == before

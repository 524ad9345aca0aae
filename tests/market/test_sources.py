"""Sources: merged by time, the same on every run, and misunderstood words are explained."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from actors.market.files import PriceFileError
from actors.market.random_walk import START_US, random_walk
from actors.market.sources import merge, open_prices
from config.loader import load_settings
from messages.base import Symbol
from messages.market import Tick

INSTRUMENTS = load_settings().execution.instruments
BTC, XRP, CROSS = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
PRICES_100_S_INTO_SEED_1 = ["99939.0", "2.19098", "0.00002192", "99919.0", "2.19076", "0.00002192"]


def ticks(symbol: Symbol, instants_us: Iterable[int]) -> Iterable[Tick]:
    for sequence, at_us in enumerate(instants_us, start=1):
        yield Tick(symbol=symbol, price_quote=Decimal(5), at_us=at_us, sequence=sequence)


def test_sources_are_merged_by_time_then_in_the_order_given() -> None:
    merged = list(merge([iter(ticks(XRP, (1, 3, 3))), iter(ticks(BTC, (0, 3, 4)))]))

    assert [(tick.symbol, tick.at_us) for tick in merged] == [
        (BTC, 0), (XRP, 1), (XRP, 3), (XRP, 3), (BTC, 3), (BTC, 4),
    ]  # fmt: skip
    assert [tick.sequence for tick in merged] == [1, 2, 3, 4, 5, 6]


def test_files_are_opened_by_symbol(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("10,5,1\n30,6,1\n")
    (tmp_path / "b=c.csv").write_text("20,7,1\n")

    stream = open_prices([f"BTC/USDT={tmp_path / 'a.csv'}", f"ETH/USDT={tmp_path / 'b=c.csv'}"], INSTRUMENTS)

    assert (stream.symbols, stream.has_end) == (("BTC/USDT", "ETH/USDT"), True)
    assert (stream.starts_at_us, stream.ends_at_us) == (10_000_000, 30_000_000)
    assert [(tick.sequence, str(tick.symbol), int(tick.price_quote)) for tick in stream.ticks] == [
        (1, "BTC/USDT", 5), (2, "ETH/USDT", 7), (3, "BTC/USDT", 6),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no prices: give random:SEED or SYMBOL=FILE"),
        (["BTC/USDT"], "'BTC/USDT': give SYMBOL=FILE"),
        (["BTC/USDT="], "give SYMBOL=FILE"),
        (["DOGE/USD=x.csv"], "'DOGE/USD' is not a configured symbol; known: BTC/USDT, "),
        (["BTC/USDT=a", "BTC/USDT=b"], "BTC/USDT has a file already"),
        (["BTC/USDT=no-such-file.csv"], "no-such-file.csv: cannot be read"),
        (["random:"], "the seed must be a whole number"),
        (["random:x"], "the seed must be a whole number"),
        (["random:-1"], "the seed must be a whole number"),
        (["random:1", "BTC/USDT=a"], "give SYMBOL=FILE, or random:SEED or kraken alone"),
        (["kraken", "BTC/USDT=a"], "give SYMBOL=FILE, or random:SEED or kraken alone"),
    ],
)
def test_words_that_cannot_be_meant_are_explained(words: list[str], said: str) -> None:
    with pytest.raises(PriceFileError) as caught:
        open_prices(words, INSTRUMENTS)
    assert said in str(caught.value)


def test_random_prices_are_the_same_for_the_same_seed_only() -> None:
    def walked(seed: int) -> list[Tick]:
        return list(islice(random_walk(seed, INSTRUMENTS), 3000))

    assert walked(7) == walked(7)
    assert walked(7) != walked(8)


def test_random_prices_do_not_change_between_releases() -> None:
    """A recorded run must stay repeatable: whoever changes the walk changes this on purpose."""
    prices = [str(tick.price_quote) for tick in islice(random_walk(1, INSTRUMENTS), 300, 306)]

    assert prices == PRICES_100_S_INTO_SEED_1


def test_random_ticks_come_once_a_second_for_each_symbol() -> None:
    stream = open_prices(["random:3"], INSTRUMENTS)
    first = list(islice(stream.ticks, 6))

    assert (stream.has_end, stream.starts_at_us, stream.ends_at_us) == (False, START_US, None)
    assert [tick.symbol for tick in first] == [BTC, XRP, CROSS] * 2
    assert [tick.at_us - START_US for tick in first] == [0, 0, 0, 1_000_000, 1_000_000, 1_000_000]
    assert [tick.sequence for tick in first] == [1, 2, 3, 4, 5, 6]


def test_random_prices_are_whole_ticks_and_going_round_earns_nothing() -> None:
    last: dict[Symbol, Decimal] = {}
    for tick in islice(random_walk(5, INSTRUMENTS), 9000):
        last[tick.symbol] = tick.price_quote
        assert tick.price_quote > 0
        assert tick.price_quote % INSTRUMENTS[tick.symbol].price_tick_quote == 0
        if tick.symbol == CROSS:
            assert abs(last[XRP] / last[BTC] - last[CROSS]) <= 2 * INSTRUMENTS[CROSS].price_tick_quote


def test_a_stop_is_reached_within_minutes() -> None:
    prices = [tick.price_quote for tick in islice(random_walk(2, INSTRUMENTS, (BTC,)), 200_000)]
    waits: list[int] = []
    start = 0
    for place, price in enumerate(prices):
        if abs(price / prices[start] - 1) >= Decimal("0.008"):
            waits.append(place - start)
            start = place

    assert 120 < sorted(waits)[len(waits) // 2] < 900


def test_what_cannot_be_walked_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="A/B is not a configured symbol"):
        random_walk(1, INSTRUMENTS, (Symbol("A/B"),))


def test_live_prices_bring_no_ticks_of_their_own() -> None:
    """They come by themselves, and whoever paces the engine is told so."""
    stream = open_prices(["kraken"], INSTRUMENTS)

    assert stream.is_live
    assert not stream.has_end
    assert stream.symbols == tuple(INSTRUMENTS)
    assert list(stream.ticks) == []

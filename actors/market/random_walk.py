"""Seeded random prices: the same seed gives the same ticks on every machine.

A price source, not an actor and not a pure module: the one place in the engine that draws random numbers, and
it draws whole numbers only. Levels are counted in 1e-12 of the quote currency, so no float is near a price.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import attrs

from messages.base import Symbol
from messages.market import Instrument, Tick

START_US = 1_735_689_600_000_000
"""1 January 2025, 00:00 UTC."""
STEP_US = 1_000_000
WALKED = (Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC"))

UNITS = 10**12
"""Units of one whole quote currency."""
START_PRICES = {"BTC": Decimal(100_000), "XRP": Decimal("2.2"), "ETH": Decimal(3_400), "USDT": Decimal(1)}
"""In USD or USDT, where the walks begin."""
COINS = 64
COIN_PPM = 100
"""Millionths of the price that one coin too many moves it. 64 coins deviate by 4, so a second by 0.04 %:
lively, so that a stop 0.8 % away is reached in about seven minutes."""


@attrs.frozen
class _Walk:
    """One symbol: walked by itself, or the ratio of two that are."""

    symbol: Symbol
    tick_quote: Decimal
    tick_units: int
    ratio_of: tuple[Symbol, Symbol] | None


def random_walk(
    seed: int,
    instruments: Mapping[Symbol, Instrument],
    symbols: Sequence[Symbol] = WALKED,
    *,
    start_us: int = START_US,
    step_us: int = STEP_US,
) -> Iterator[Tick]:
    """Yield ticks without end: every `step_us` one of each symbol, in the order given.

    XRP/BTC follows from XRP/USDT and BTC/USDT where both stand before it, so that nothing is to be earned by
    going round. Raises ValueError for a symbol that cannot be walked, at once.
    """
    walks = [_walk(symbol, instruments, symbols[:place]) for place, symbol in enumerate(symbols)]
    return _steps(random.Random(seed), walks, start_us, step_us)  # noqa: S311 - prices to play with, no secret.


def _walk(symbol: Symbol, instruments: Mapping[Symbol, Instrument], earlier: Sequence[Symbol]) -> _Walk:
    instrument = instruments.get(symbol)
    if instrument is None:
        raise ValueError(f"random prices: {symbol} is not a configured symbol; known: {', '.join(instruments)}")
    if instrument.base not in START_PRICES or instrument.quote not in {*START_PRICES, "USD"}:
        raise ValueError(f"random prices: {symbol} has no price to begin with; known: {', '.join(START_PRICES)}")
    tick_units = int(instrument.price_tick_quote * UNITS)
    if tick_units < 1:
        raise ValueError(f"random prices: the price tick of {symbol} is below 1e-12")
    parts = (Symbol(f"{instrument.base}/USDT"), Symbol(f"{instrument.quote}/USDT"))
    ratio_of = parts if all(part in earlier for part in parts) else None
    return _Walk(symbol, instrument.price_tick_quote, tick_units, ratio_of)


def _steps(coins: random.Random, walks: Sequence[_Walk], start_us: int, step_us: int) -> Iterator[Tick]:
    levels = {walk.symbol: _start_level(walk.symbol) for walk in walks}
    at_us = start_us
    sequence = 0
    while True:
        for walk in walks:
            if walk.ratio_of is not None:
                over, under = walk.ratio_of
                levels[walk.symbol] = levels[over] * UNITS // levels[under]
            elif at_us > start_us:
                surplus = coins.getrandbits(COINS).bit_count() - COINS // 2
                levels[walk.symbol] += levels[walk.symbol] * surplus * COIN_PPM // 1_000_000
            ticks = max(1, levels[walk.symbol] // walk.tick_units)
            sequence += 1
            yield Tick(symbol=walk.symbol, price_quote=walk.tick_quote * ticks, at_us=at_us, sequence=sequence)
        at_us += step_us


def _start_level(symbol: Symbol) -> int:
    base, _slash, quote = symbol.partition("/")
    return int(START_PRICES[base] * UNITS / START_PRICES.get(quote, Decimal(1)))

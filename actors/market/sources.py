"""Price sources: plain iterators of `Tick`, outside the actor, so that whoever paces them decides when one is due.

A source numbers its own ticks from 1. `merge` puts several together in the order of time and numbers them anew.
Memory stays flat: nothing is read before it is wanted. Read in order: PriceStream, open_prices(), merge().
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

import attrs

from actors.market.files import PriceFileError, last_instant_us, read_history
from actors.market.random_walk import START_US, WALKED, random_walk
from messages.base import Symbol
from messages.market import Instrument, Tick

RANDOM = "random:"
LIVE = "kraken"


@attrs.frozen(kw_only=True)
class PriceStream:
    """All the ticks of a run, in order, and which symbols they are of."""

    ticks: Iterator[Tick]
    symbols: tuple[Symbol, ...]
    starts_at_us: int
    """When the first tick is: a clock that starts earlier would let timers run through years without prices."""
    has_end: bool
    ends_at_us: int | None
    """Roughly when the last tick is, for whoever shows progress; None where only reading on would tell."""
    is_live: bool = False
    """Whether ticks come by themselves, as they happen, and none is in `ticks`."""


def open_prices(words: Sequence[str], instruments: Mapping[Symbol, Instrument]) -> PriceStream:
    """Return the stream that the words ask for: `random:SEED`, `kraken`, or `SYMBOL=FILE` once for each symbol.

    Raises PriceFileError when a word cannot be understood or a file cannot be used.
    """
    if len(words) == 1 and words[0].startswith(RANDOM):
        return _random_stream(words[0].removeprefix(RANDOM), instruments)
    if tuple(words) == (LIVE,):
        return _live_stream(instruments)
    files: dict[Symbol, Path] = {}
    for word in words:
        symbol, path = _named_file(word, instruments)
        if symbol in files:
            raise PriceFileError(f"prices {word!r}: {symbol} has a file already; give one file for each symbol")
        files[symbol] = path
    if not files:
        raise PriceFileError("no prices: give random:SEED or SYMBOL=FILE")
    sources = [read_history(path, symbol) for symbol, path in files.items()]
    ends = [last_instant_us(path) for path in files.values()]
    ends_at_us = max((end for end in ends if end is not None), default=None)
    ticks = merge(sources)
    first = next(ticks)  # A file without one is an error already.
    return PriceStream(
        ticks=chain((first,), ticks),
        symbols=tuple(files),
        starts_at_us=first.at_us,
        has_end=True,
        ends_at_us=ends_at_us,
    )


def _random_stream(seed: str, instruments: Mapping[Symbol, Instrument]) -> PriceStream:
    if not (seed.isascii() and seed.isdigit() and len(seed) <= 18):
        raise PriceFileError(f"prices {RANDOM + seed!r}: the seed must be a whole number, such as {RANDOM}1")
    ticks = random_walk(int(seed), instruments)
    return PriceStream(ticks=ticks, symbols=WALKED, starts_at_us=START_US, has_end=False, ends_at_us=None)


def _live_stream(instruments: Mapping[Symbol, Instrument]) -> PriceStream:
    return PriceStream(
        ticks=iter(()), symbols=tuple(instruments), starts_at_us=0, has_end=False, ends_at_us=None, is_live=True
    )


def _named_file(word: str, instruments: Mapping[Symbol, Instrument]) -> tuple[Symbol, Path]:
    name, equals, file = word.partition("=")
    if not equals or not file:
        raise PriceFileError(f"prices {word!r}: give SYMBOL=FILE, or {RANDOM}SEED or {LIVE} alone")
    symbol = Symbol(name)
    if symbol not in instruments:
        raise PriceFileError(f"prices {word!r}: {name!r} is not a configured symbol; known: {', '.join(instruments)}")
    return symbol, Path(file)


def merge(sources: Sequence[Iterator[Tick]]) -> Iterator[Tick]:
    """Return the ticks of all sources by time; those of one instant in the order the sources were given in."""
    if len(sources) == 1:
        return sources[0]  # Numbered right as it is.
    return _renumbered(heapq.merge(*sources, key=_instant))


def _renumbered(ticks: Iterator[Tick]) -> Iterator[Tick]:
    numbers = count(1)
    for tick in ticks:
        yield Tick(symbol=tick.symbol, price_quote=tick.price_quote, at_us=tick.at_us, sequence=next(numbers))


def _instant(tick: Tick) -> int:
    return tick.at_us

"""Recorded prices: Kraken's downloadable history, line by line, plain or gzip.

Two forms, told apart by their columns: time-and-sales (`unix_time,price,volume`) and bars
(`unix_time,open,high,low,close,volume,trades`). A bar becomes four ticks. Prices and times are read from their
text, exactly. Read in order: read_history(), _rows(), _timed(), _trades(), _bars().
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import IO, TypeVar

import attrs

from messages.base import Symbol
from messages.market import Tick

TRADE_COLUMNS = 3
BAR_COLUMNS = 7
TICKS_IN_BAR = 4
MICROSECOND_S = Decimal("0.000001")
LENGTH_OF_ONE_BAR_US = 60_000_000
"""Of a file with a single bar, which cannot tell."""
INSTANT_MAX_S = 32_503_680_000
"""The year 3000: a larger number is not seconds."""
T = TypeVar("T")
PRICE_MAX = Decimal("1e18")
PRICE_MIN = Decimal("1e-18")
NOT_NUMBERS = frozenset({"nan", "snan", "inf", "infinity"})
LINE_MAX = 4_096
"""Characters. A file without line ends is not history, and must not be read into memory as one line."""


class PriceFileError(Exception):
    """A price file cannot be used. The text names the file and the line, and says what is wrong with it."""


@attrs.frozen
class _Row:
    number: int
    cells: tuple[str, ...]


def read_history(path: Path, symbol: Symbol) -> Iterator[Tick]:
    """Yield the recorded prices of one symbol, numbered from 1. Raises PriceFileError, for the first line at once."""
    rows = _rows(path)
    first = next(rows, None)
    if first is not None and _is_header(first):
        first = next(rows, None)
    if first is None:
        raise PriceFileError(f"{path}: is empty; give Kraken's downloadable history")
    columns = len(first.cells)
    if columns not in {TRADE_COLUMNS, BAR_COLUMNS}:
        raise _error(
            path,
            first.number,
            f"has {columns} columns; expected {TRADE_COLUMNS} (unix_time,price,volume) "
            f"or {BAR_COLUMNS} (unix_time,open,high,low,close,volume,trades)",
        )
    timed = _timed(path, chain((first,), rows), columns)
    read = _trades if columns == TRADE_COLUMNS else _bars
    ticks = read(path, symbol, timed)
    return chain((next(ticks),), ticks)


def last_instant_us(path: Path) -> int | None:
    """Return the time of a plain file's last line by looking at its end only; None where that does not tell."""
    if path.suffix == ".gz":
        return None
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LINE_MAX))
        lines = file.read().decode("utf-8", "replace").split()
    try:
        return _instant_us(path, _Row(0, tuple(lines[-1].split(","))))
    except (IndexError, PriceFileError):
        return None  # Whoever reads the file to its end gets the error, with its line.


# Lines -----------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the lines that are not empty, split at the commas."""
    try:
        with _opened(path) as file:
            for number, line in enumerate(iter(lambda: file.readline(LINE_MAX), ""), start=1):
                if len(line) == LINE_MAX:
                    raise _error(path, number, f"is longer than {LINE_MAX} characters; this is no price history")
                if not line.isspace():
                    yield _Row(number, tuple(cell.strip() for cell in line.split(",")))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise PriceFileError(f"{path}: cannot be read: {error}") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _is_header(row: _Row) -> bool:
    """Say whether a first line is one of names. Kraken writes none, spreadsheets add one."""
    return row.cells[0][:1].isalpha() and row.cells[0].lower() not in NOT_NUMBERS


def _timed(path: Path, rows: Iterable[_Row], columns: int) -> Iterator[tuple[int, _Row]]:
    """Yield each row with its instant, which must not be before that of the row above."""
    before_us = 0
    for row in rows:
        if len(row.cells) != columns:
            raise _error(path, row.number, f"has {len(row.cells)} columns, the lines before have {columns}")
        at_us = _instant_us(path, row)
        if at_us < before_us:
            raise _error(path, row.number, f"time {row.cells[0]} is before that of the line above; sort by time")
        before_us = at_us
        yield at_us, row


# Trades and bars ---------------------------------------------------------------------------------------


def _trades(path: Path, symbol: Symbol, rows: Iterator[tuple[int, _Row]]) -> Iterator[Tick]:
    for sequence, (at_us, row) in enumerate(rows, start=1):
        yield Tick(symbol=symbol, price_quote=_price(path, row, row.cells[1]), at_us=at_us, sequence=sequence)


def _bars(path: Path, symbol: Symbol, rows: Iterator[tuple[int, _Row]]) -> Iterator[Tick]:
    """Yield four ticks for each bar, a quarter of its length apart: open, the nearer extreme, the other, close.

    The length of a bar is the shortest distance between two so far: minutes without trades have no bar.
    """
    sequence = length_us = 0
    for (at_us, row), following in _with_next(rows):
        if following is not None:
            distance_us = following[0] - at_us
            if distance_us == 0:
                raise _error(path, following[1].number, f"is a second bar at {row.cells[0]}")
            length_us = min(length_us, distance_us) if length_us else distance_us
        quarter_us = (length_us or LENGTH_OF_ONE_BAR_US) // TICKS_IN_BAR
        for step, price in enumerate(_path_of(path, row)):
            sequence += 1
            yield Tick(symbol=symbol, price_quote=price, at_us=at_us + step * quarter_us, sequence=sequence)


def _with_next(rows: Iterator[T]) -> Iterator[tuple[T, T | None]]:
    present = next(rows, None)
    while present is not None:
        following = next(rows, None)
        yield present, following
        present = following


def _path_of(path: Path, row: _Row) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return the way the price went within a bar, as far as a bar can tell: the nearer extreme came first."""
    open_, high, low, close = (_price(path, row, cell) for cell in row.cells[1:5])
    if not (low <= open_ <= high and low <= close <= high):
        raise _error(path, row.number, f"open {open_} and close {close} must lie between low {low} and high {high}")
    if open_ - low <= high - open_:
        return open_, low, high, close
    return open_, high, low, close


# Cells ---------------------------------------------------------------------------------------------------


def _instant_us(path: Path, row: _Row) -> int:
    """Return the first cell as microseconds; what lies between two goes to the nearer, a tie to the even one."""
    try:
        seconds = Decimal(row.cells[0])
        is_time = seconds.is_finite() and 0 <= seconds <= INSTANT_MAX_S
    except InvalidOperation:
        is_time = False
    if not is_time:
        raise _error(path, row.number, f"{row.cells[0]!r} is not a unix time in seconds")
    return int(seconds.quantize(MICROSECOND_S, ROUND_HALF_EVEN).scaleb(6))


def _price(path: Path, row: _Row, cell: str) -> Decimal:
    try:
        price = Decimal(cell)
        is_price = price.is_finite() and PRICE_MIN <= price <= PRICE_MAX
    except InvalidOperation:
        is_price = False
    if not is_price:
        raise _error(path, row.number, f"{cell!r} is not a price above zero")
    return price


def _error(path: Path, number: int, problem: str) -> PriceFileError:
    return PriceFileError(f"{path}, line {number}: {problem}")

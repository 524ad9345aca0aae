"""Recorded prices are read exactly, line by line, and a bad line is named."""

from __future__ import annotations

import gzip
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from actors.market.files import LINE_MAX, PriceFileError, last_instant_us, read_history
from messages.base import Symbol
from messages.market import Tick

BTC = Symbol("BTC/USDT")
SECOND_US = 1_000_000


def recorded(directory: Path, text: str, name: str = "history.csv") -> Path:
    path = directory / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def ticks(directory: Path, text: str) -> list[Tick]:
    return list(read_history(recorded(directory, text), BTC))


def prices(directory: Path, text: str) -> list[str]:
    return [str(tick.price_quote) for tick in ticks(directory, text)]


def seconds(directory: Path, text: str) -> list[float]:
    return [tick.at_us / SECOND_US for tick in ticks(directory, text)]


def refusal(directory: Path, text: str) -> str:
    with pytest.raises(PriceFileError) as caught:
        ticks(directory, text)
    return str(caught.value)


def test_a_trade_is_a_tick_read_from_its_text(tmp_path: Path) -> None:
    assert ticks(tmp_path, "1762795433.9717445,105433.60000,0.00027625\n1762795457.8467374,105410.1,0.00005\n") == [
        Tick(symbol=BTC, price_quote=Decimal("105433.60000"), at_us=1_762_795_433_971_744, sequence=1),
        Tick(symbol=BTC, price_quote=Decimal("105410.1"), at_us=1_762_795_457_846_737, sequence=2),
    ]


@pytest.mark.parametrize(
    ("text", "at_us"),
    [
        ("1", 1_000_000),
        ("1.0000005", 1_000_000),
        ("1.0000015", 1_000_002),
        ("1.00000050000000000000000000000000000000001", 1_000_001),
        ("1.7e9", 1_700_000_000_000_000),
        ("0", 0),
    ],
)
def test_a_time_between_two_microseconds_goes_to_the_nearer_and_a_tie_to_the_even(
    tmp_path: Path, text: str, at_us: int
) -> None:
    assert ticks(tmp_path, f"{text},1,1")[0].at_us == at_us


def test_a_bar_goes_to_its_nearer_extreme_first(tmp_path: Path) -> None:
    falls_first = "60,100,110,95,105,1,1\n"
    rises_first = "120,100,104,90,105,1,1\n".replace("105", "101")

    assert prices(tmp_path, falls_first + rises_first) == ["100", "95", "110", "105", "100", "104", "90", "101"]


@pytest.mark.parametrize(("minutes", "quarter"), [(1, 15), (5, 75), (60, 900), (1440, 21_600)])
def test_the_ticks_of_a_bar_are_a_quarter_of_its_length_apart(tmp_path: Path, minutes: int, quarter: int) -> None:
    bar = ",1,1,1,1,1,1\n"

    assert seconds(tmp_path, f"0{bar}{minutes * 60}{bar}") == [
        start + step * quarter for start in (0, minutes * 60) for step in range(4)
    ]


def test_a_missing_bar_changes_nothing_for_the_others(tmp_path: Path) -> None:
    bar = ",1,1,1,1,1,1\n"

    assert seconds(tmp_path, f"0{bar}60{bar}600{bar}660{bar}")[4:9] == [60, 75, 90, 105, 600]
    assert seconds(tmp_path, f"0{bar}180{bar}240{bar}")[4:9] == [180, 195, 210, 225, 240]


def test_a_single_bar_is_taken_for_a_minute(tmp_path: Path) -> None:
    assert seconds(tmp_path, "60,1,1,1,1,1,1") == [60, 75, 90, 105]


def test_gzip_byte_order_mark_header_and_empty_lines_are_no_matter(tmp_path: Path) -> None:
    plain = "1,5,1\n2,6,1\n"
    dressed = "\ufefftime,price,volume\r\n\r\n1, 5 ,1\r\n2,6,1\r\n  \r\n"

    assert ticks(tmp_path, dressed) == ticks(tmp_path, plain)
    assert list(read_history(recorded(tmp_path, plain, "h.csv.gz"), BTC)) == ticks(tmp_path, plain)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "history.csv: is empty"),
        ("time,price,volume\n", "history.csv: is empty"),
        ("1,2\n", "line 1: has 2 columns; expected 3 (unix_time,price,volume) or 7"),
        ("1,2,3\n2,2\n", "line 2: has 2 columns, the lines before have 3"),
        ("1,2,3\n2,1,1,1,1,1,1\n", "line 2: has 7 columns, the lines before have 3"),
        ("1,1,1,1,1,1,1\n2,2,3\n", "line 2: has 3 columns, the lines before have 7"),
        ("1,2,3\n\nx,2,3\n", "line 3: 'x' is not a unix time in seconds"),
        ("nan,2,3\n", "line 1: 'nan' is not a unix time"),
        ("-1,2,3\n", "line 1: '-1' is not a unix time"),
        ("1762795433971,2,3\n", "line 1: '1762795433971' is not a unix time in seconds"),
        ("1,x,3\n", "line 1: 'x' is not a price above zero"),
        ("1,,3\n", "line 1: '' is not a price above zero"),
        ("1,0,3\n", "line 1: '0' is not a price above zero"),
        ("1,-5,3\n", "line 1: '-5' is not a price above zero"),
        ("1,NaN,3\n", "line 1: 'NaN' is not a price above zero"),
        ("1,inf,3\n", "line 1: 'inf' is not a price above zero"),
        ("1,1e400,3\n", "line 1: '1e400' is not a price above zero"),
        ("5,1,1\n4,1,1\n", "line 2: time 4 is before that of the line above"),
        ("60,1,1,1,1,1,1\n0,1,1,1,1,1,1\n", "line 2: time 0 is before that of the line above"),
        ("60,1,1,1,1,1,1\n60,1,1,1,1,1,1\n", "line 2: is a second bar at 60"),
        ("60,5,4,3,3,1,1\n", "line 1: open 5 and close 3 must lie between low 3 and high 4"),
        ("1" * (LINE_MAX + 1), f"line 1: is longer than {LINE_MAX} characters"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)
    assert refusal(tmp_path, text).startswith(str(tmp_path / "history.csv"))


def test_the_first_line_is_checked_when_the_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(PriceFileError, match="line 1"):
        read_history(recorded(tmp_path, "1,x,1"), BTC)
    with pytest.raises(PriceFileError, match=r"none\.csv: cannot be read"):
        read_history(tmp_path / "none.csv", BTC)
    with pytest.raises(PriceFileError, match="cannot be read"):
        read_history(tmp_path, BTC)


@pytest.mark.parametrize(
    "damaged", [b"not gzip at all", gzip.compress(b"1,2,3\n" * 99)[:-9], b"\x1f\x8b\x08" + b"\0" * 30]
)
def test_a_damaged_archive_is_an_error_with_its_name(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "h.gz"
    path.write_bytes(damaged)

    with pytest.raises(PriceFileError, match=r"h\.gz: "):
        list(read_history(path, BTC))


def test_bytes_that_are_no_text_are_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes(b"1,2,3\n\xff\xfe\n")

    with pytest.raises(PriceFileError, match=r"h\.csv: cannot be read"):
        list(read_history(path, BTC))


def test_nothing_is_read_before_it_is_wanted(tmp_path: Path) -> None:
    """The bad line is far behind: a reader that took the whole file would trip over it."""
    path = recorded(tmp_path, "".join(f"{second},5,1\n" for second in range(100_000)) + "bad\n")

    assert len(list(islice(read_history(path, BTC), 1000))) == 1000


def test_the_last_line_tells_when_a_plain_file_ends(tmp_path: Path) -> None:
    text = "".join(f"{second},5,1\n" for second in range(1000))

    assert last_instant_us(recorded(tmp_path, text)) == 999 * SECOND_US
    assert last_instant_us(recorded(tmp_path, text, "h.csv.gz")) is None
    assert last_instant_us(recorded(tmp_path, "x")) is None
    assert last_instant_us(recorded(tmp_path, "")) is None

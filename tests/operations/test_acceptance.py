"""Whole replays of recorded prices: the books are right to the last digit, and twice gives the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.operations.command import (
    ROOT,
    Where,
    apart_from_wall_time,
    assert_sound,
    done,
    dump,
    look,
    read_report,
)
from tests.operations.recordings import Recording, a_busy_script, bars, read_recording, time_and_sales
from tests.operations.sums import assert_equal_to_sums, assert_nothing_twice, assert_same_orders

REAL = ROOT.parent / "shared" / "data"
FAR = Decimal("0.012")
NEAR = Decimal("0.002")
TRAILING = "positions: {trailing: {activation_pct: 0.1, distance_pct: 0.1}}\n"

WHOLE = (
    *("ticks", "proposals", "rejected", "orders_placed", "orders_filled", "orders_partially_filled"),
    *("orders_cancelled", "orders_expired", "orders_failed", "positions_opened", "positions_closed"),
    *("open_positions", "unprotected_positions", "orphan_orders", "invariant_violations", "max_mailbox_depth"),
    *("commits", "rows_written", "messages"),
)
MONEY = ("gross_pnl", "fees", "net_pnl", "unrealised_pnl", "equity_start", "equity_end")
SPREADS = ("fill_seconds", "slippage_pct", "retries", "seconds_unprotected")
COUNTS = ("rejections", "by_reason")
REASONS = {
    *("stop_loss", "take_profit", "trailing_stop", "manual", "holding_limit", "liquidated", "breaker"),
    "protection_failed",
}

VARIETY = """
SELECT count(DISTINCT side) AS sides, count(DISTINCT leverage) AS leverages,
       count(*) FILTER (WHERE is_trailing) AS trailing
FROM positions
"""
ENTRIES = """
SELECT count(*) FILTER (WHERE time_in_force = 'IOC') AS market,
       count(*) FILTER (WHERE time_in_force <> 'IOC' AND status = 'FILLED') AS limits,
       count(*) FILTER (WHERE status = 'EXPIRED') AS expired,
       count(*) FILTER (WHERE time_in_force <> 'IOC' AND status = 'CANCELLED') AS cancelled
FROM orders WHERE role = 'entry'
"""
VERDICTS = "SELECT kind, verdict, count(*) AS number FROM trade_requests GROUP BY 1, 2"


@pytest.fixture
def second_state() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="triplegain-state-"))
    yield directory
    shutil.rmtree(directory)


def replay(
    recordings: Sequence[Recording], proposals: Path, state: Path, log: Path, *more: str | Path
) -> dict[str, Any]:
    """Replay it and return the report."""
    log, report = log.with_name(f"{state.name}.log"), log.with_name(f"{state.name}.json")
    words = ("--proposals", proposals, "--state", state, "--until-prices-end", "--speed", "max", "--report", report)
    prices = [recording.word for recording in recordings]
    done("--prices", *prices, *words, "--log-level", "WARNING", *more, log=log)
    return read_report(report)


def replay_twice(
    recordings: Sequence[Recording], proposals: Path, states: tuple[Path, Path], log: Path, config: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Replay it in two fresh places at once."""
    with ThreadPoolExecutor() as pool:
        begun = [pool.submit(replay, recordings, proposals, state, log, "--config", config) for state in states]
        first, second = (replayed.result() for replayed in begun)
    return first, second


def assert_complete(report: dict[str, Any]) -> None:
    """Every key of the report is there, of the right kind."""
    assert set(report) >= {*WHOLE, *MONEY, *SPREADS, *COUNTS, "wall_seconds"}
    assert all(type(report[name]) is int for name in WHOLE)
    assert all(type(report[name]) is str and Decimal(report[name]).is_finite() for name in MONEY)
    assert all("E" not in report[name] and "e" not in report[name] for name in MONEY)
    assert type(report["wall_seconds"]) is float
    for name in SPREADS:
        assert set(report[name]) == {"p50", "p99", "max"}
        assert all(value is None or Decimal(value).is_finite() for value in report[name].values())
    for name in COUNTS:
        assert all(type(number) is int for number in report[name].values())
    assert set(report["by_reason"]) <= REASONS


def assert_busy(where: Where, report: dict[str, Any], *, trailing: bool = True) -> None:
    """The run was worth looking at: all kinds of trades have happened."""
    (positions,), (entries,), verdicts = look(where, VARIETY, ENTRIES, VERDICTS)
    assert report["positions_opened"] >= 60
    assert positions["sides"] == 2
    assert positions["leverages"] == 5
    assert positions["trailing"] > 0 or not trailing
    assert min(entries["market"], entries["limits"], entries["cancelled"]) > 0
    assert {("cancel", "taken"), ("close", "taken")} <= {(row["kind"], row["verdict"]) for row in verdicts}
    assert {"stop_loss", "take_profit", "manual"} <= set(report["by_reason"])


def test_bars_twice_to_the_last_digit_and_row(
    tmp_path: Path, state: Path, second_state: Path, log: Path, calm: Path
) -> None:
    recording = bars(tmp_path / "XBTUSD_1.csv", seed=11, minutes=3_200)
    script = a_busy_script(recording, trades=200, width=NEAR)
    beside = bars(tmp_path / "ETHUSDT_1.csv", seed=13, minutes=3_200, symbol="ETH/USDT", start=3_000, liveliness=100)
    # Nothing of it ends before the end of its time: one limit rests for 24 hours, one position is held for 48.
    early = beside.times_s[0] + 90
    script.trade(early, beside.symbol, "buy", entry_price="2000", stop_loss="1900")
    script.trade(early, beside.symbol, "buy", stop_loss="2000")
    proposals = script.write(tmp_path / "proposals.jsonl")
    (calm / "execution.yaml").write_text(TRAILING)

    first, second = replay_twice([recording, beside], proposals, (state, second_state), log, calm)

    assert_complete(first)
    assert_sound(first)
    assert_busy(Where(state), first)
    assert_equal_to_sums(Where(state), [recording, beside], first)
    assert first["proposals"] == len(script.trades)
    assert first["ticks"] == 4 * (len(recording.times_s) + len(beside.times_s))
    assert first["orders_expired"] > 0
    assert first["by_reason"]["holding_limit"] > 0
    assert_nothing_twice(Where(state))
    assert_same_orders(Where(state))
    assert apart_from_wall_time(first) == apart_from_wall_time(second)
    assert dump(Where(state)) == dump(Where(second_state))


def test_trades_twice_to_the_last_digit_and_row(
    tmp_path: Path, state: Path, second_state: Path, log: Path, calm: Path
) -> None:
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=12, trades=4_000)
    (calm / "execution.yaml").write_text(
        f"orders: {{expiry_s: 900}}\n{TRAILING}paper: {{slippage_pct: 0.02, fill_share_pct: 60}}\n"
    )
    script = a_busy_script(recording, trades=200)
    proposals = script.write(tmp_path / "proposals.jsonl")

    first, second = replay_twice([recording], proposals, (state, second_state), log, calm)

    assert_complete(first)
    assert_sound(first)
    assert_busy(Where(state), first)
    assert_equal_to_sums(Where(state), [recording], first)
    assert first["ticks"] == 4_000
    assert first["orders_expired"] > 0
    assert "trailing_stop" in first["by_reason"]
    assert_nothing_twice(Where(state))
    assert_same_orders(Where(state))
    assert apart_from_wall_time(first) == apart_from_wall_time(second)
    assert dump(Where(state)) == dump(Where(second_state))


@pytest.mark.skipif(not REAL.is_dir(), reason="Kraken's own recordings are not part of the project")
@pytest.mark.parametrize(
    ("file", "symbol", "width"), [("XBTUSDT.csv", "BTC/USDT", NEAR), ("XBTUSD_1.csv", "BTC/USD", FAR)]
)
def test_krakens_own_recordings(
    tmp_path: Path, state: Path, second_state: Path, log: Path, calm: Path, file: str, symbol: str, width: Decimal
) -> None:
    recording = read_recording(REAL / file, symbol)
    proposals = a_busy_script(recording, trades=200, width=width).write(tmp_path / "proposals.jsonl")
    if width is NEAR:
        (calm / "execution.yaml").write_text(TRAILING + "orders: {expiry_s: 900}\n")

    first, second = replay_twice([recording], proposals, (state, second_state), log, calm)

    assert_complete(first)
    assert_sound(first)
    assert_busy(Where(state), first)
    assert_equal_to_sums(Where(state), [recording], first)
    assert_nothing_twice(Where(state))
    assert_same_orders(Where(state))
    assert apart_from_wall_time(first) == apart_from_wall_time(second)
    assert dump(Where(state)) == dump(Where(second_state))

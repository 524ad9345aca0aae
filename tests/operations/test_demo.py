"""The demonstration: what a newcomer sees without any argument, hours of it in seconds."""

from __future__ import annotations

from pathlib import Path

from tests.operations.command import Where, assert_sound, done, look, read_report

SYMBOLS = {"BTC/USDT", "XRP/USDT", "XRP/BTC"}
CLOSED = "SELECT symbol, count(*) FILTER (WHERE is_over) AS closed FROM positions GROUP BY 1"
STATES = "SELECT status, count(*) AS number FROM orders GROUP BY 1"


def test_ten_minutes(elsewhere: Where, log: Path, tmp_path: Path) -> None:
    done("--for", "600", "--speed", "max", "--report", tmp_path / "r.json", log=log, **elsewhere.variables)

    report = read_report(tmp_path / "r.json")
    assert_sound(report)
    assert report["ticks"] == 3 * 601
    assert report["positions_opened"] >= 2


def test_a_day_trades_all_three_symbols_and_breaks_nothing(elsewhere: Where, log: Path, tmp_path: Path) -> None:
    words = ("--for", "86400", "--speed", "max", "--log-level", "WARNING", "--report", tmp_path / "r.json")

    done(*words, log=log, **elsewhere.variables)

    report = read_report(tmp_path / "r.json")
    assert_sound(report)
    closed, states = look(elsewhere, CLOSED, STATES)
    assert {row["symbol"] for row in closed if row["closed"]} == SYMBOLS, states
    assert report["orders_failed"] == 0
    assert report["positions_closed"] >= 50
    assert {"stop_loss", "take_profit"} <= set(report["by_reason"])

"""Every key that concerns running changes what a run does; and the places where things are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from persistence.embedded import EmbeddedPostgres
from tests.operations.command import Where, apart_from_wall_time, assert_sound, done, dump, look, read_report
from tests.operations.recordings import Script, a_busy_script, time_and_sales
from tests.operations.sums import assert_equal_to_sums, assert_nothing_twice

ENTRY = """
SELECT o.volume, o.filled_volume, o.filled_cost / o.filled_volume AS price, o.reference_price, o.limit_price,
       extract(epoch FROM o.opened_at - o.created_at) AS opened_after_s,
       extract(epoch FROM p.protected_at - o.created_at) AS protected_after_s
FROM orders o JOIN fills f ON f.order_id = o.id JOIN positions p ON p.id = o.position_id
WHERE o.role = 'entry' ORDER BY f.trade_id LIMIT 1
"""
REQUESTS = """
SELECT at, body ->> 'size_usd' AS size, body ->> 'stop_loss' AS stop, body ->> 'take_profit' AS target
FROM trade_requests ORDER BY number
"""
SYMBOL = "BTC/USDT"


class Desk:
    """Runs one market order on rising prices under a configuration."""

    def __init__(self, where: Where, tmp_path: Path, log: Path) -> None:
        self.where = where
        self.directory = tmp_path
        self.log = log
        self.prices = tmp_path / "prices.csv"
        self.prices.write_text("".join(f"{1762795433 + n},{100000 + n},0.1\n" for n in range(120)))
        script = Script()
        script.trade(Decimal(1762795440), SYMBOL, "buy", leverage=2, stop_loss="90000", size_usd="1000")
        self.proposals = script.write(tmp_path / "proposals.jsonl")

    def run(self, execution: str, *more: str | Path) -> dict[str, Any]:
        config = self.directory / "config"
        config.mkdir(exist_ok=True)
        (config / "execution.yaml").write_text(execution)
        report = self.directory / "r.json"
        words = ("--prices", f"{SYMBOL}={self.prices}", "--proposals", self.proposals, "--until-prices-end")
        done(*words, "--config", config, "--report", report, *more, log=self.log, **self.where.variables)
        told = read_report(report)
        assert_sound(told)
        return told

    def entry(self) -> dict[str, Any]:
        (rows,) = look(self.where, ENTRY)
        return rows[0]


@pytest.fixture
def desk(elsewhere: Where, tmp_path: Path, log: Path) -> Desk:
    return Desk(elsewhere, tmp_path, log)


def test_an_account_has_a_life_of_its_own(desk: Desk) -> None:
    first = desk.run("account: one")
    second = desk.run("account: two")
    again = desk.run("account: one")

    assert first["positions_opened"] == second["positions_opened"] == again["positions_opened"] == 1
    (rows,) = look(desk.where, "SELECT DISTINCT account FROM fills ORDER BY 1")
    assert [row["account"] for row in rows] == ["one", "two"]


def test_the_opening_balance_is_what_the_file_says(desk: Desk) -> None:
    assert desk.run("paper: {balances: {USDT: 2000}}")["equity_start"] == "2000"


def test_a_balance_that_does_not_suffice_is_the_exchanges_no(desk: Desk) -> None:
    told = desk.run("paper: {balances: {USDT: 900}}\n")
    assert told["positions_opened"] == 0


def test_the_exchanges_slippage_worsens_the_price(desk: Desk) -> None:
    desk.run("paper: {slippage_pct: 0.1}")
    entry = desk.entry()
    assert entry["price"] == (entry["reference_price"] * Decimal("1.001")).quantize(Decimal("0.1"), ROUND_UP)


def test_a_share_of_an_order_fills_in_one_tick(desk: Desk) -> None:
    told = desk.run("paper: {fill_share_pct: 25}")
    entry = desk.entry()
    assert entry["filled_volume"] < entry["volume"] / 3
    assert told["orders_partially_filled"] >= 1


def test_delays_of_the_exchange_are_on_the_prices_clock(desk: Desk) -> None:
    told = desk.run("paper: {acknowledge_delay_ms: 1500, fill_delay_ms: 3000}")
    entry = desk.entry()
    assert told["positions_opened"] == 1
    # The fill is told after three seconds, the stop that answers it is acknowledged after one and a half.
    assert entry["protected_after_s"] == Decimal("4.5")


def test_sizing_and_slippage_of_entries(desk: Desk) -> None:
    desk.run("orders: {fee_pct: 1, slippage_pct: 2}")
    entry = desk.entry()
    assert entry["limit_price"] == (entry["reference_price"] * Decimal("1.02")).quantize(Decimal("0.1"))
    wanted = Decimal(1000) * 2 / entry["reference_price"] * Decimal("0.99")
    assert abs(entry["volume"] - wanted) < Decimal("0.00000001")


def test_a_new_pair_is_tradable(desk: Desk) -> None:
    pair = (
        "{price_tick_quote: 0.01, lot_step_base: 0.001, volume_min_base: 0.1, notional_min_quote: 1, leverage_max: 3, "
        "fee_maker_pct: 0.2, fee_taker_pct: 0.5}"
    )
    (desk.directory / "ltc.csv").write_text("1762795433,90.5,1\n1762795450,90.6,1\n1762795460,90.7,1\n")
    desk.proposals = Script().write(desk.directory / "none.jsonl")
    script = Script()
    script.trade(Decimal(1762795440), "LTC/USDT", "buy", leverage=3, stop_loss="80")
    desk.proposals = script.write(desk.directory / "ltc.jsonl")

    told = desk.run(f"instruments: {{LTC/USDT: {pair}}}", "--prices", f"LTC/USDT={desk.directory / 'ltc.csv'}")

    assert told["positions_opened"] == 1
    (fills,) = look(desk.where, "SELECT fee / (price * volume) * 100 AS fee_pct, volume FROM fills")
    assert fills[0]["fee_pct"] == Decimal("0.5")
    assert fills[0]["volume"] % Decimal("0.001") == 0


def test_photographs_are_taken_as_often_as_told(desk: Desk) -> None:
    desk.run("snapshots: {every_s: 7}")
    (rows,) = look(desk.where, "SELECT extract(epoch FROM timestamp)::bigint AS at FROM equity_snapshots ORDER BY 1")
    instants = [row["at"] for row in rows]
    assert len(instants) >= 15
    assert {after - before for before, after in pairwise(instants)} == {7}


def test_a_position_is_held_no_longer_than_told(desk: Desk) -> None:
    assert desk.run("positions: {holding_max_s: 60}")["by_reason"] == {"holding_limit": 1}


def test_demo_keys_shape_the_proposals(elsewhere: Where, tmp_path: Path, log: Path) -> None:
    (tmp_path / "execution.yaml").write_text("demo: {every_s: 50, size_usd: 777, stop_pct: 3, target_pct: 5}\n")

    done("--for", "300", "--speed", "max", "--config", tmp_path, log=log, **elsewhere.variables)

    (rows,) = look(elsewhere, REQUESTS)
    instants = [row["at"] // 1_000_000 for row in rows]
    assert {after - before for before, after in pairwise(instants)} == {50}
    assert "777.00000000" in {row["size"] for row in rows}
    for row in rows:
        levels = sorted((Decimal(row["stop"]), Decimal(row["target"])))
        assert Decimal("1.07") < levels[1] / levels[0] < Decimal("1.09")


def test_no_demo_proposes_nothing(elsewhere: Where, log: Path) -> None:
    result = done("--for", "60", "--speed", "max", "--no-demo", log=log, **elsewhere.variables)
    assert "proposals 0" in result.stdout


def test_a_whole_run_on_threads(tmp_path: Path, elsewhere: Where, log: Path, calm: Path) -> None:
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=31, trades=600)
    (calm / "execution.yaml").write_text("actors: {dispatcher: threads}\norders: {expiry_s: 600}\n")
    proposals = a_busy_script(recording, trades=60).write(tmp_path / "proposals.jsonl")
    report = tmp_path / "r.json"

    done(
        *("--prices", recording.word, "--proposals", proposals, "--until-prices-end", "--config", calm),
        *("--report", report),
        log=log,
        **elsewhere.variables,
    )

    told = read_report(report)
    assert_sound(told)
    assert told["positions_opened"] >= 30
    assert told["ticks"] == 600
    assert_equal_to_sums(elsewhere, [recording], told)
    assert_nothing_twice(elsewhere)


def test_database_url_names_another_server(
    server: EmbeddedPostgres, new_database: Callable[[], Where], tmp_path: Path, state: Path, log: Path
) -> None:
    """The same run there and in the embedded server: the same rows, and no server is started for the first."""
    there = new_database()
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=5, trades=200)
    proposals = a_busy_script(recording, trades=20).write(tmp_path / "proposals.jsonl")
    words = (
        "--prices",
        recording.word,
        "--proposals",
        proposals,
        "--until-prices-end",
        "--report",
        tmp_path / "r.json",
    )

    # SQLAlchemy's spelling is as good.
    url = there.variables["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    done(*words, "--state", tmp_path / "unused", log=log, DATABASE_URL=url)
    first = read_report(tmp_path / "r.json")
    done(*words, "--state", state, log=log)

    assert apart_from_wall_time(first) == apart_from_wall_time(read_report(tmp_path / "r.json"))
    assert not (tmp_path / "unused").exists()
    assert dump(there) == dump(Where(state))


def test_log_lines_as_json_hold_no_secret(elsewhere: Where, tmp_path: Path, log: Path) -> None:
    secrets = {"KRAKEN_API_KEY": "marker-key-1f7a", "KRAKEN_API_SECRET": "marker-secret-2e8b"}
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=5, trades=100)
    proposals = tmp_path / "proposals.jsonl"
    a_busy_script(recording, trades=10).write(proposals)
    with proposals.open("a") as file:
        file.write(f'{{"at": 1762795440, "oops": "{secrets["KRAKEN_API_SECRET"]}"}}\n')

    result = done(
        *("--prices", recording.word, "--proposals", proposals, "--until-prices-end", "--log-json"),
        *("--log-level", "debug"),
        log=log,
        **elsewhere.variables,
        **secrets,
    )

    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all({"time", "level", "message", "correlation_id", "message_id", "caused_by"} <= set(line) for line in lines)
    assert lines[-1]["message"] == "summary"
    assert_sound(lines[-1]["report"])
    (rows,) = look(elsewhere, "SELECT id::text AS id FROM trade_requests WHERE kind = 'trade'")
    assert {row["id"] for row in rows} <= {line["correlation_id"] for line in lines}
    placed = [line for line in lines if line["message"].startswith("PlaceOrder")]
    assert placed
    assert all(line["correlation_id"] != "-" and line["caused_by"] is not None for line in placed)
    assert "marker-" not in result.stdout
    assert "UNKNOWN_FIELD" in result.stdout or "MISSING_FIELD" in result.stdout


def test_a_log_level_keeps_quiet_what_is_below_it(elsewhere: Where, log: Path) -> None:
    result = done("--for", "100", "--speed", "max", "--log-level", "error", log=log, **elsewhere.variables)
    assert result.stdout.startswith("ticks 303")


def test_photographs_older_than_the_retention_are_given_up_at_a_start(
    elsewhere: Where, tmp_path: Path, log: Path
) -> None:
    (tmp_path / "execution.yaml").write_text("journal: {retention_months: 2}\n")
    months = []
    for first_s in (1642204800, 1649980800):  # The middle of January and of April 2022.
        prices = tmp_path / f"{first_s}.csv"
        prices.write_text("".join(f"{first_s + 60 * n},100000,0.1\n" for n in range(5)))
        words = ("--prices", f"{SYMBOL}={prices}", "--until-prices-end", "--config", tmp_path)
        done(*words, log=log, **elsewhere.variables)
        kept = "SELECT DISTINCT extract(month FROM timestamp)::int AS month FROM equity_snapshots ORDER BY 1"
        (rows,) = look(elsewhere, kept)
        months.append([row["month"] for row in rows])
    assert months == [[1], [4]]

"""Ctrl-C and SIGTERM drain and leave with a summary; the next start carries on where the last one stopped."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from tests.operations.command import Where, assert_sound, done, look, read_report, run, running, stop, wait_until

TRADED = "SELECT count(*) AS number FROM positions"
BARE = """
SELECT p.id FROM positions p
WHERE NOT p.is_over AND p.stop_loss IS NOT NULL AND NOT EXISTS (
    SELECT FROM orders o JOIN paper_documents d ON d.kind = 'order' AND d.body::jsonb ->> 'order_id' = o.id::text
    WHERE o.position_id = p.id AND o.role = 'stop' AND d.body::jsonb ->> 'status' = 'OPEN'
      AND (d.body::jsonb ->> 'volume_base')::numeric = p.volume
)
"""
OPEN = "SELECT id, volume FROM positions WHERE NOT is_over ORDER BY id"
PROGRESS = "SELECT extract(epoch FROM at)::bigint AS at_s FROM paper_progress"
STARTED = re.compile(r"(starting|resuming) run (\d+) of account main at (\S+ \S+)\+00:00")
START_S = 1_735_689_600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_next_start_carries_on(number: signal.Signals, state: Path, log: Path) -> None:
    where = Where(state)
    words = ("--state", str(state), "--prices", "random:5", "--speed", "200", "--demo")
    with running(*words, log=log) as process:
        wait_until(lambda: log.read_text().count("role=stop") >= 1, "a position with its stop")
        first = stop(process, number, log)

    assert (first.code, first.stderr) == (0, "")
    assert first.seconds < 5
    assert "draining: stopped" in first.stdout
    assert "broken invariants 0" in first.stdout.splitlines()[-2]
    held, bare, (progress,) = look(where, OPEN, BARE, PROGRESS)
    assert held, "it stopped with a position open"
    assert bare == []

    began = time.monotonic()
    with running(*words, log=log) as process:
        wait_until(lambda: STARTED.search(log.read_text()) is not None, "the second start")
        started_s = time.monotonic() - began
        time.sleep(0.5)
        second = stop(process, number, log)

    assert (second.code, second.stderr) == (0, "")
    assert started_s < 10
    kind, run_number, at = STARTED.findall(second.stdout)[0]
    assert (kind, run_number) == ("starting", "2")
    seconds = progress["at_s"] + 1 - START_S
    assert at == f"2025-01-01 {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    assert "broken invariants 0" in second.stdout
    (still,) = look(where, f"SELECT count(*) AS number FROM positions WHERE id IN ({_ids(held)})")
    assert still[0]["number"] == len(held)


def _ids(rows: list[dict[str, object]]) -> str:
    return ", ".join(f"'{row['id']}'" for row in rows)


def test_a_signal_during_the_start_ends_well_too(elsewhere: Where, log: Path) -> None:
    with running("--prices", "random:5", "--speed", "max", log=log, **elsewhere.variables) as process:
        wait_until(lambda: log.stat().st_size > 0, "the first line of the log")
        result = stop(process, signal.SIGTERM, log)

    assert (result.code, result.stderr) == (0, "")
    assert "broken invariants 0" in result.stdout


def test_files_that_end_without_until_prices_end_wait_for_the_signal(
    tmp_path: Path, elsewhere: Where, log: Path
) -> None:
    (tmp_path / "prices.csv").write_text("1762795433.9,105433.6,0.1\n1762795434,105433.7,0.1\n")
    with running("--prices", f"BTC/USDT={tmp_path / 'prices.csv'}", log=log, **elsewhere.variables) as process:
        wait_until(lambda: "the prices have ended" in log.read_text(), "the end of the prices")
        time.sleep(0.2)
        assert process.poll() is None
        result = stop(process, signal.SIGTERM, log)

    assert (result.code, result.stderr) == (0, "")


def test_for_counts_from_where_a_run_starts(elsewhere: Where, log: Path, tmp_path: Path) -> None:
    words = ("--prices", "random:2", "--speed", "max", "--for", "100", "--report", tmp_path / "r.json")

    ends = []
    for _ in range(2):
        done(*words, log=log, **elsewhere.variables)
        ends.append(read_report(tmp_path / "r.json")["ticks"])

    assert ends == [3 * 101, 3 * 202]


def test_a_killed_run_ends_where_it_would_have(elsewhere: Where, log: Path, tmp_path: Path) -> None:
    words = ("--prices", "random:2", "--speed", "max", "--for", "20000", "--report", tmp_path / "r.json")
    for _ in range(2):
        with running(*words, log=log, **elsewhere.variables) as process:
            wait_until(lambda: log.stat().st_size > 40_000, "some trades")
            process.kill()
    result = done(*words, log=log, **elsewhere.variables)

    assert STARTED.findall(result.stdout)[0][:2] == ("resuming", "3")
    report = read_report(tmp_path / "r.json")
    assert_sound(report)
    assert report["ticks"] == 3 * 20_001


def test_a_run_that_is_over_is_told_again_and_not_run_again(tmp_path: Path, elsewhere: Where, log: Path) -> None:
    """The same replay once more: there is nothing left to do, and the figures are the same."""
    (tmp_path / "prices.csv").write_text("".join(f"{1762795433 + n}.5,{100000 + n}.1,0.1\n" for n in range(60)))
    trade = {"at": 1762795440, "symbol": "BTC/USDT", "side": "buy", "size_usd": "500", "stop_loss": "90000"}
    (tmp_path / "proposals.jsonl").write_text(json.dumps(trade) + "\n")
    words = (
        *("--prices", f"BTC/USDT={tmp_path / 'prices.csv'}", "--proposals", tmp_path / "proposals.jsonl"),
        *("--until-prices-end", "--report", tmp_path / "r.json"),
    )

    done(*words, log=log, **elsewhere.variables)
    first = read_report(tmp_path / "r.json")
    done(*words, log=log, **elsewhere.variables)
    second = read_report(tmp_path / "r.json")

    assert first["open_positions"] == 1
    assert first["unrealised_pnl"] not in {"0", second["fees"]}
    same = ("ticks", "proposals", "positions_opened", "open_positions", "net_pnl", "unrealised_pnl", "equity_end")
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert_sound(second)


def test_a_second_engine_is_refused_and_the_first_is_unharmed(state: Path, log: Path, tmp_path: Path) -> None:
    words = ("--state", str(state), "--prices", "random:5", "--speed", "20", "--demo")
    with running(*words, log=log) as process:
        wait_until(lambda: STARTED.search(log.read_text()) is not None, "the first start")
        second = run(*words, log=tmp_path / "second.log")
        assert second.code == 2
        assert "another engine owns the account 'main'" in second.line
        assert process.poll() is None
        before = log.stat().st_size
        wait_until(lambda: log.stat().st_size > before, "the first to go on")
        first = stop(process, signal.SIGTERM, log)

    assert (first.code, first.stderr) == (0, "")
    assert "broken invariants 0" in first.stdout

"""How the command ends: 0 done, 2 bad usage or configuration, 3 no database, 70 an actor failed. One clear line."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.operations.command import Where, done, run
from tests.operations.recordings import time_and_sales

USAGE = {
    ("--nope",): "--nope",
    ("--speed", "0"): "speed is '0'",
    ("--speed", "-3"): "speed is '-3'",
    ("--speed", "fast"): "speed is 'fast'",
    ("--speed", "1.5"): "speed is '1.5'",
    ("--for", "0"): "--for",
    ("--for", "soon"): "--for",
    ("--log-level", "LOUD"): "'LOUD'",
    ("more",): "more",
    ("--prices", "random:many"): "random:many",
    ("--prices", "DOGE/USD=prices.csv"): "'DOGE/USD' is not a configured symbol",
    ("--prices", "prices.csv"): "SYMBOL=FILE",
    ("--prices", "BTC/USD=/nowhere/prices.csv"): "/nowhere/prices.csv",
    ("--proposals", "/nowhere/proposals.jsonl"): "/nowhere/proposals.jsonl",
    ("--config", "/nowhere/config"): "/nowhere/config",
    ("--report", "/nowhere/report.json"): "/nowhere/report.json",
    ("--until-prices-end", "--speed", "max"): "--until-prices-end",
}

CONFIGURATION = {
    ("execution.yaml", "acount: me"): ("acount", "did you mean account?"),
    ("execution.yaml", "account: 'two words'"): ("account", "two words"),
    ("execution.yaml", "orders: {slippage_pct: much}"): ("orders.slippage_pct", "much"),
    ("execution.yaml", "orders: {deadline_s: 1}"): ("orders.deadline_s", "1"),
    ("execution.yaml", "actors: {dispatcher: processes}"): ("actors.dispatcher", "processes"),
    ("execution.yaml", "paper: {balances: {USDT: -5}}"): ("paper.balances.USDT", "-5"),
    ("execution.yaml", "account: a\naccount: b"): ("account", "twice"),
    ("risk.yaml", "limits: {positions_total_max: 0}"): ("limits.positions_total_max", "0"),
    ("risk.yaml", "limits: {positions_total_max: 1}"): ("limits.positions_total_max", "1"),
    ("risk.yaml", "limits: {leverage_max: .nan}"): ("limits.leverage_max", "nan"),
    ("risk.yaml", "limits: ["): ("risk.yaml, line", "not valid YAML"),
    ("execution.yaml", "trading_mode: live"): ("trading_mode is live", "TRIPLEGAIN_CONFIRM_LIVE_TRADING"),
}

BREAKING = """
import sys
from actors.{module} import {actor}
from scripts.triplegain import main

heard = {actor}.on_receive
def on_receive(self, message):
    if type(message).__name__ == "{message}":
        raise ZeroDivisionError("the seam has split")
    return heard(self, message)
{actor}.on_receive = on_receive
main()
"""


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_bad_usage_is_one_line_and_2(words: tuple[str, ...], log: Path, tmp_path: Path) -> None:
    result = run(*words, "--state", tmp_path / "state", log=log)

    assert result.code == 2
    assert USAGE[words] in result.line
    assert result.line.startswith("triplegain: ")
    assert not (tmp_path / "state").exists(), "nothing is begun before it is refused"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1762795435,abc,0.1", "line 3"),
        ("1762795435,-5,0.1", "line 3"),
        ("1762795435,5", "line 3"),
        ("1762795000,5,0.1", "line 3"),
        ("noon,5,0.1", "line 3"),
        ("1762795435,nan,0.1", "line 3"),
    ],
)
def test_a_bad_price_line_is_named(line: str, text: str, tmp_path: Path, elsewhere: Where, log: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(f"1762795433.9,105433.6,0.1\n1762795434,105433.7,0.1\n{line}\n1762795440,105433.7,0.1\n")

    result = run("--prices", f"BTC/USDT={prices}", "--until-prices-end", log=log, **elsewhere.variables)

    assert result.code == 2
    assert f"{prices}, {text}" in result.line


@pytest.mark.parametrize(("file", "text"), CONFIGURATION)
def test_bad_configuration_names_file_key_and_value(file: str, text: str, tmp_path: Path, log: Path) -> None:
    (tmp_path / file).write_text(text)

    result = run("--config", tmp_path, "--state", tmp_path / "state", "--for", "1", log=log)

    assert (result.code, result.stdout) == (2, "")
    key, value = CONFIGURATION[file, text]
    assert key in result.line
    assert value in result.line
    assert file in result.line or "trading_mode" in text


def test_a_state_directory_that_is_a_file_is_2(tmp_path: Path, log: Path) -> None:
    (tmp_path / "state").write_text("")

    result = run("--state", tmp_path / "state", "--for", "1", log=log)

    assert result.code == 2
    assert f"--state {tmp_path / 'state'}" in result.line


def test_a_report_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path, log: Path) -> None:
    result = run("--report", tmp_path, "--state", tmp_path / "state", "--for", "1", log=log)

    assert result.code == 2
    assert f"--report {tmp_path}" in result.line


def test_an_unreachable_database_is_3_and_its_password_is_not_shown(log: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        result = run("--for", "1", log=log, DATABASE_URL=f"postgresql://me:s3cr3t-w0rd@127.0.0.1:{port}/db?x=1")

    assert result.code == 3
    assert f"127.0.0.1:{port}" in result.line
    assert "s3cr3t" not in result.stdout + result.stderr


def test_an_address_that_is_none_is_3(log: Path) -> None:
    result = run("--for", "1", log=log, DATABASE_URL="mysql://me:s3cr3t-w0rd@nowhere/db")

    assert result.code == 3
    assert "DATABASE_URL" in result.line
    assert "s3cr3t" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("dispatcher", "module", "actor", "message"),
    [
        ("shared", "order.actor", "OrderActor", "TradeApproved"),
        ("threads", "order.actor", "OrderActor", "TradeApproved"),
        ("shared", "exchange.mock.actor", "MockExchangeActor", "PlaceOrder"),
        ("shared", "position.actor", "PositionActor", "ApplyFill"),
        ("shared", "supervisor.actor", "SupervisorActor", "JournalLoaded"),
    ],
)
def test_an_actor_that_fails_is_70_and_the_next_start_recovers(
    module: str, actor: str, message: str, dispatcher: str, tmp_path: Path, elsewhere: Where, log: Path
) -> None:
    (tmp_path / "execution.yaml").write_text(f"actors: {{dispatcher: {dispatcher}}}\n")
    words = ("--for", "120", "--speed", "max", "--config", str(tmp_path))
    program = BREAKING.format(module=module, actor=actor, message=message)

    result = run(*words, log=log, program=program, **elsewhere.variables)

    assert result.code == 70
    assert "the seam has split" in result.line
    assert "ZeroDivisionError" in result.stdout, "the log has the whole story"
    again = done(*words, log=log, **elsewhere.variables)
    assert "resuming run 2" in again.stdout
    assert "broken invariants 0" in again.stdout


def test_the_loss_of_an_actor_that_disturbs_nobody_does_not_end_the_run(
    elsewhere: Where, log: Path, tmp_path: Path
) -> None:
    program = BREAKING.format(module="snapshot.actor", actor="SnapshotActor", message="BookReported")
    program = program.replace(
        '"BookReported"', '"BookReported" and not hasattr(sys, "split") and not setattr(sys, "split", 1)'
    )

    result = run("--for", "300", "--speed", "max", log=log, program=program, **elsewhere.variables)

    assert (result.code, result.stderr) == (0, "")
    assert "restarting snapshot" in result.stdout


def test_help_and_version_are_0(tmp_path: Path, log: Path) -> None:
    assert "--until-prices-end" in done("--help", log=log).stdout


def test_nothing_is_written_where_the_command_stands(tmp_path: Path, elsewhere: Where, log: Path) -> None:
    before = set(Path("/").iterdir())

    done("--for", "5", "--speed", "max", "--report", tmp_path / "r.json", log=log, **elsewhere.variables)

    assert set(Path("/").iterdir()) == before
    assert json.loads((tmp_path / "r.json").read_text())["ticks"] == 18


def test_prices_that_lie_in_the_past_of_the_account_are_refused(tmp_path: Path, elsewhere: Where, log: Path) -> None:
    later = time_and_sales(tmp_path / "later.csv", seed=1, trades=50)
    lines = later.path.read_text().splitlines(keepends=True)
    (tmp_path / "earlier.csv").write_text("".join(lines[:20]))
    done("--prices", later.word, "--until-prices-end", log=log, **elsewhere.variables)

    words = ("--prices", f"BTC/USDT={tmp_path / 'earlier.csv'}", "--until-prices-end")
    result = run(*words, log=log, **elsewhere.variables)

    assert result.code == 2
    assert "the prices end at" in result.line

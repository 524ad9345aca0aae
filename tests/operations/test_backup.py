"""`triplegain backup` and `triplegain restore`: the real command, beside engines that run and exchanges that go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from persistence.database import SCHEMA_HEAD
from tests.operations.command import (
    PATIENCE_S,
    Result,
    Where,
    assert_sound,
    done,
    dump,
    environment,
    look,
    read_report,
    running,
    stop,
    wait_until,
)

FILLS = "SELECT count(*) AS fills FROM fills"
ADOPTED = "SELECT count(*) AS adopted FROM trade_requests WHERE kind = 'adopted'"
OPEN_AT_EXCHANGE = """
SELECT body::json ->> 'order_id' AS id FROM paper_documents
WHERE kind = 'order' AND (body::json ->> 'ended_number')::int = 0 ORDER BY 1
"""
OPEN_IN_JOURNAL = "SELECT id::text AS id FROM orders WHERE NOT is_over ORDER BY 1"


def triplegain(verb: str, *words: str | Path, **variables: str) -> Result:
    """Call a verb of the command."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "scripts.triplegain", verb, *map(str, words)],
        cwd="/",
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return Result(ended.returncode, ended.stdout, ended.stderr, time.monotonic() - began)


def well(verb: str, *words: str | Path, **variables: str) -> str:
    """Call a verb that must succeed, and return the line that it says."""
    result = triplegain(verb, *words, **variables)
    assert (result.code, result.stderr) == (0, ""), result.stderr
    assert result.stdout.count("\n") == 1
    return result.stdout.rstrip("\n")


def test_a_backup_is_put_back_to_the_last_row(state: Path, log: Path, tmp_path: Path) -> None:
    where, file = Where(state), tmp_path / "main.backup"
    done("--state", state, "--for", "1200", "--speed", "max", log=log)
    before = dump(where)
    assert well("backup", file, "--state", state) == f"backed up 1 account (main) at schema {SCHEMA_HEAD} to {file}"
    done("--state", state, "--for", "1200", "--speed", "max", log=log)
    assert dump(where) != before
    assert (
        well("restore", file, "--state", state, "--replace")
        == f"restored 1 account (main) of schema {SCHEMA_HEAD} from {file}"
    )
    assert dump(where) == before
    other = tmp_path / "other"
    well("restore", file, "--state", other)
    assert dump(Where(other)) == before


def test_it_works_with_a_named_server(new_database: Callable[[], Where], log: Path, tmp_path: Path) -> None:
    source, target = new_database(), new_database()
    file = tmp_path / "main.backup"
    done("--for", "600", "--speed", "max", log=log, **source.variables)
    well("backup", file, **source.variables)
    well("restore", file, **target.variables)
    assert dump(target) == dump(source)


def test_a_backup_is_taken_while_an_engine_runs_and_a_restore_is_not(state: Path, log: Path, tmp_path: Path) -> None:
    file = tmp_path / "main.backup"
    with running("--state", state, "--speed", "300", log=log) as process:
        wait_until(lambda: log.read_text().count("ExecutionReported") >= 10, "some trading")
        well("backup", file, "--state", state)
        refused = triplegain("restore", file, "--state", state, "--replace")
        assert refused.code == 2
        assert refused.line == "triplegain: an engine owns the account 'main' in this database: stop it first"
        told = log.read_text().count("ExecutionReported")
        wait_until(lambda: log.read_text().count("ExecutionReported") > told, "more of it")
        assert stop(process, signal.SIGTERM, log).code == 0
    report = tmp_path / "report.json"
    well("restore", file, "--state", state, "--replace")
    done("--state", state, "--for", "600", "--speed", "max", "--report", report, log=log)
    assert_sound(read_report(report))


@pytest.mark.parametrize(("seed", "lost_s"), [(1, 1200), (2, 3600), (3, 3600)])
def test_an_engine_on_an_old_journal_reconciles_itself_with_an_exchange_of_the_present(
    state: Path, log: Path, tmp_path: Path, calm: Path, seed: int, lost_s: int
) -> None:
    where, file, report = Where(state), tmp_path / "main.backup", tmp_path / "report.json"
    words = ("--state", state, "--speed", "max", "--prices", f"random:{seed}", "--config", calm)
    done(*words, "--for", "1800", log=log)
    well("backup", file, "--state", state)
    done(*words, "--for", str(lost_s), log=log)
    ((traded,),) = (look(where, FILLS)[0],)
    well("restore", file, "--state", state, "--replace", "--keep-paper")
    ((kept,),) = (look(where, FILLS)[0],)
    assert kept["fills"] < traded["fills"], "something was lost"

    done(*words, "--for", "300", "--report", report, log=log)
    assert_sound(read_report(report))
    (fills,), (adopted,), theirs, ours = look(where, FILLS, ADOPTED, OPEN_AT_EXCHANGE, OPEN_IN_JOURNAL)
    assert fills["fills"] >= traded["fills"], "every fill of the lost time is booked"
    assert adopted["adopted"] > 0
    assert theirs == ours
    done(*words, "--for", "3600", "--report", report, log=log)
    assert_sound(read_report(report))


REFUSED = {
    ("backup", "{tmp}/nowhere/file"): "cannot be written",
    ("backup", "{tmp}"): "cannot be written",
    ("backup", "{tmp}/new"): "there is no database in",
    ("backup", "{file}"): "exists: give another name, or --force",
    ("restore", "{tmp}/missing"): "cannot be read: No such file or directory",
    ("restore", "{file}"): "is no backup of this engine",
    ("backup",): "FILE",
    ("restore", "{file}", "--nope"): "--nope",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_cannot_be_is_one_clear_line(words: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a shopping list")
    state = tmp_path / "state"
    verb, *rest = (word.format(tmp=tmp_path, file=file) for word in words)
    if "exists" in REFUSED[words]:
        (state / "postgres").mkdir(parents=True)
    result = triplegain(verb, *rest, "--state", state)
    assert result.code == 2
    assert REFUSED[words] in result.line
    assert file.read_text() == "a shopping list"
    assert not (state / "postgres" / "PG_VERSION").exists(), "nothing was made for its sake"


def test_a_database_that_is_away_is_exit_code_3(tmp_path: Path) -> None:
    result = triplegain("backup", tmp_path / "file", DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/books")
    assert result.code == 3
    assert "no connection to the database at 127.0.0.1:1/books" in result.line
    assert "s3cret" not in result.line


@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_help_names_every_word(verb: str) -> None:
    told = triplegain(verb, "--help").stdout
    for word in (
        "FILE",
        "--state",
        "DATABASE_URL",
        *(["--force"] if verb == "backup" else ["--replace", "--keep-paper"]),
    ):
        assert word in told

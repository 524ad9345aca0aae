"""The real command as a subprocess, and a look into the database that it leaves behind.

Read in order: Result, run(), Where, look(), do(), dump().
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from asyncpg import Connection

from persistence.database import Database, connect

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
FOREIGN = ("KRAKEN_", "TRIPLEGAIN_", "DATABASE_URL", "PG")
"""Beginnings of variables that would change what a run does."""

NOW_BY_SERVER = {"accounts": ("created_at",), "runs": ("started_at", "ended_at")}
"""Columns that the server's own clock fills: no two runs agree in them."""
KEYS = {
    "accounts": "account",
    "runs": "number",
    "trade_requests": "number",
    "orders": "id",
    "order_status_log": "id",
    "fills": "trade_id",
    "positions": "id",
    "position_snapshots": "timestamp, position_id",
    "equity_snapshots": "timestamp",
    "execution_events": "sequence",
    "risk_state": "account",
    "standings": "symbol",
    "paper_documents": "kind, key",
    "paper_progress": "account",
}


@attrs.frozen
class Result:
    """What a command that has ended leaves."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def line(self) -> str:
        """The one line on stderr: anything more is too much."""
        assert self.stderr.count("\n") == 1, self.stderr
        assert "Traceback" not in self.stderr
        return self.stderr.rstrip("\n")


def environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return own | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"} | more


@contextmanager
def running(*words: str | Path, log: Path, program: str = "", **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start `triplegain run WORDS`, its output in `log` and `log`.err; killed at the end if it still runs."""
    how = ["-c", program] if program else ["-m", "scripts.triplegain"]
    with log.open("w") as out, log.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(
            [sys.executable, *how, "run", *map(str, words)],
            cwd="/",
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def ended(process: subprocess.Popen[str], log: Path, began: float) -> Result:
    code = process.wait(PATIENCE_S)
    took = time.monotonic() - began
    return Result(code, log.read_text(), log.with_suffix(".err").read_text(), took)


def run(*words: str | Path, log: Path, program: str = "", **variables: str) -> Result:
    """Run `triplegain run WORDS` to its end."""
    began = time.monotonic()
    with running(*words, log=log, program=program, **variables) as process:
        return ended(process, log, began)


def done(*words: str | Path, log: Path, **variables: str) -> Result:
    """Run it to its end, which must be a good one: exit code 0 and nothing on stderr."""
    result = run(*words, log=log, **variables)
    assert (result.code, result.stderr) == (0, ""), result.stdout[-2000:] + result.stderr[-2000:]
    return result


def wait_until(is_so: Callable[[], bool], what: str, patience_s: float = 60) -> None:
    until = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < until, f"waited too long for: {what}"
        time.sleep(0.02)


def stop(process: subprocess.Popen[str], number: signal.Signals, log: Path) -> Result:
    """Send a signal, and wait for the end that it asks for."""
    began = time.monotonic()
    process.send_signal(number)
    return ended(process, log, began)


# Looking in -----------------------------------------------------------------------------------------


@attrs.frozen
class Where:
    """A database: that of a state directory, or one with an address."""

    state: Path | None = None
    dsn: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return () if self.state is None else ("--state", str(self.state))

    @property
    def variables(self) -> Mapping[str, str]:
        return {} if self.dsn is None else {"DATABASE_URL": self.dsn}


def look(where: Where, *queries: str) -> list[list[dict[str, Any]]]:
    """Return the rows of each query."""

    async def ask(connection: Connection) -> list[list[dict[str, Any]]]:
        return [[dict(row) for row in await connection.fetch(query)] for query in queries]

    return asyncio.run(_at(where, ask))


def do(where: Where, script: str) -> None:
    """Run statements that return nothing."""

    async def run_script(connection: Connection) -> None:
        await connection.execute(script)

    asyncio.run(_at(where, run_script))


def dump(where: Where) -> dict[str, list[str]]:
    """Return every row of every table as text, by key, without what the server's own clock has filled."""

    async def ask(connection: Connection) -> dict[str, list[str]]:
        await _check_clock_columns(connection)
        rows = {}
        for table, key in KEYS.items():
            without = "".join(f" - '{column}'" for column in NOW_BY_SERVER.get(table, ()))
            found = await connection.fetch(f"SELECT (to_jsonb(t){without})::text AS row FROM {table} t ORDER BY {key}")
            rows[table] = [row["row"] for row in found]
        return rows

    return asyncio.run(_at(where, ask))


async def _check_clock_columns(connection: Connection) -> None:
    """No table and no column of the server's clock is missing above."""
    tables = await connection.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'alembic_version'"
    )
    assert {row[0] for row in tables} == set(KEYS)
    clocked = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_default ~ 'now|clock_timestamp|CURRENT'"
    )
    assert {(row[0], row[1]) for row in clocked} == {("accounts", "created_at"), ("runs", "started_at")}


async def _at(where: Where, ask: Callable[[Connection], Any]) -> Any:
    if where.dsn is not None:
        return await _with(await connect(where.dsn), ask)
    assert where.state is not None
    database = await Database.open(None, where.state)
    try:
        return await _with(await database.connect(), ask)
    finally:
        await database.stop()


async def _with(connection: Connection, ask: Callable[[Connection], Any]) -> Any:
    try:
        return await ask(connection)
    finally:
        await connection.close()


# Reports and log lines --------------------------------------------------------------------------------


def read_report(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def apart_from_wall_time(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "wall_seconds"}


def assert_sound(report: Mapping[str, Any]) -> None:
    """The promises that hold at the end of every run."""
    broken = {name: report[name] for name in ("unprotected_positions", "orphan_orders", "invariant_violations")}
    assert broken == dict.fromkeys(broken, 0), report["violations"]
    change = Decimal(report["equity_end"]) - Decimal(report["equity_start"])
    assert change == Decimal(report["net_pnl"]) + Decimal(report["unrealised_pnl"])
    assert Decimal(report["gross_pnl"]) - Decimal(report["fees"]) == Decimal(report["net_pnl"])
    assert report["positions_opened"] - report["positions_closed"] == report["open_positions"]
    assert sum(report["by_reason"].values()) == report["positions_closed"]
    assert sum(report["rejections"].values()) == report["rejected"]

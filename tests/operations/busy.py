"""A busy replay by the real command, to be disturbed: what it is fed with, and what must be true at its end.

Read in order: Busy, a_busy_replay().
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

from tests.operations.command import Result, Where, assert_sound, done, dump, ended, look, read_report, running
from tests.operations.recordings import Recording, Script, a_busy_script, time_and_sales
from tests.operations.sums import assert_equal_to_sums, assert_nothing_twice, assert_same_orders

LOG_BYTES = 300_000
"""What an uninterrupted run logs, at least."""
LEFT_OUT = {"order_status_log": ("id",), "trade_requests": ("number",), "runs": ("arguments",)}
"""A sequence of the server leaves a gap where it was killed or rolled back; and arguments name files."""
Rows = dict[str, list[dict[str, Any]]]
REQUESTS = "SELECT id::text AS id FROM trade_requests ORDER BY number"


@attrs.frozen
class Busy:
    """One replay of one recording with one script, in one place."""

    where: Where
    recording: Recording
    script: Script
    words: tuple[str | Path, ...]
    report: Path
    log: Path

    @contextmanager
    def begun(self, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start it; it is killed at the end of the block if it still runs."""
        with running(*self.words, log=self.log, **{**self.where.variables, **variables}) as process:
            yield process

    def done(self) -> Result:
        """Run it to its end."""
        return done(*self.words, log=self.log, **self.where.variables)

    def ended(self, process: subprocess.Popen[str]) -> Result:
        """Wait for its end, which must be a good one."""
        result = ended(process, self.log, time.monotonic())
        assert (result.code, result.stderr) == (0, ""), result.stdout[-2000:] + result.stderr[-2000:]
        return result

    def come_to(self, process: subprocess.Popen[str], log_bytes: int) -> None:
        """Wait until it has logged so much. A moment of its work, whatever the machine's speed is."""
        until = time.monotonic() + 120
        while self.log.stat().st_size < log_bytes:
            assert process.poll() is None, f"it ended before: {self.log.with_suffix('.err').read_text()}"
            assert time.monotonic() < until, f"it came no further than {self.log.stat().st_size} bytes"
            time.sleep(0.0005)

    def moments(self, seed: int, count: int) -> list[int]:
        """Return so many random moments of its work, in bytes of the log."""
        chance = random.Random(seed)
        return sorted(chance.randrange(5_000, LOG_BYTES) for _ in range(count))

    def assert_books_agree(self) -> dict[str, Any]:
        """Nothing is lost, nothing is there twice, and what we believe is what the exchange has. Return the report."""
        told = read_report(self.report)
        assert_sound(told)
        assert told["ticks"] == len(self.recording.times_s)
        assert told["positions_opened"] >= 60
        assert_equal_to_sums(self.where, [self.recording], told)
        assert_nothing_twice(self.where)
        assert_same_orders(self.where)
        (requests,) = look(self.where, REQUESTS)
        ids = [row["id"] for row in requests]
        assert len(ids) == len(set(ids)) == len(self.script.lines)
        assert set(self.script.trades) <= set(ids)
        return told

    def assert_undisturbed(self, quiet: Rows) -> None:
        """The books agree, and nobody can see from the rows that anything happened."""
        self.assert_books_agree()
        rows = self.rows()
        for table, expected in quiet.items():
            assert rows[table] == expected

    def rows(self) -> Rows:
        """Return every row of every table in its order, without what does not belong to the replay itself."""
        return {
            table: [
                {
                    column: value
                    for column, value in json.loads(row, parse_float=Decimal).items()
                    if column not in left_out
                }
                for row in rows
            ]
            for table, rows in dump(self.where).items()
            for left_out in [LEFT_OUT.get(table, ())]
        }


def a_busy_replay(
    tmp_path: Path,
    where: Where,
    log: Path,
    calm: Path,
    *,
    seed: int = 0,
    fill_share_pct: int = 40,
    journal: str = "{}",
) -> Busy:
    """Write its prices, its proposals and its configuration. `calm` is the directory of the latter."""
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=20 + seed, trades=3_000)
    (calm / "execution.yaml").write_text(
        f"orders: {{expiry_s: 900}}\npaper: {{fill_share_pct: {fill_share_pct}}}\njournal: {journal}\n"
    )
    script = a_busy_script(recording, trades=150, seed=seed)
    proposals = script.write(tmp_path / "proposals.jsonl")
    report = tmp_path / "report.json"
    named: tuple[str | Path, ...] = ("--prices", recording.word, "--proposals", proposals, "--until-prices-end")
    words = (*named, "--speed", "max", "--report", report, "--config", calm, *where.words)
    return Busy(where, recording, script, words, report, log)

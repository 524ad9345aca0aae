"""kill -9 at random moments, start again with the same arguments: it ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.operations.command import Where, assert_sound, done, look, read_report, running
from tests.operations.recordings import a_busy_script, time_and_sales
from tests.operations.sums import assert_equal_to_sums, assert_nothing_twice, assert_same_orders

KILLS = 5
"""In each of four replays: twenty moments."""
LOG_BYTES = 300_000
"""What an uninterrupted run logs, at least."""
REQUESTS = "SELECT id::text AS id FROM trade_requests ORDER BY number"
STARTS = re.compile(r"(starting|resuming) run (\d+) of account main at (\S+ \S+)")


def killed(process: subprocess.Popen[str], log: Path, after_bytes: int) -> bool:
    """Kill the process once it has logged so much. Returns whether it still ran."""
    while process.poll() is None:
        if log.stat().st_size >= after_bytes:
            process.kill()
            return process.wait() == -signal.SIGKILL
        time.sleep(0.0005)
    return False


def kill_server(state: Path) -> None:
    """The database's server dies with the engine, as in a power cut: all that it had not written is lost."""
    pid = int((state / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("seed", "fill_share_pct"), [(0, 40), (1, 40), (2, 100), (3, 40)])
def test_killed_at_random_moments_it_resumes(
    tmp_path: Path, state: Path, log: Path, calm: Path, seed: int, fill_share_pct: int
) -> None:
    chance = random.Random(seed)
    where = Where(state)
    recording = time_and_sales(tmp_path / "XBTUSDT.csv", seed=20 + seed, trades=3_000)
    (calm / "execution.yaml").write_text(f"orders: {{expiry_s: 900}}\npaper: {{fill_share_pct: {fill_share_pct}}}\n")
    script = a_busy_script(recording, trades=150, seed=seed)
    proposals = script.write(tmp_path / "proposals.jsonl")
    report = tmp_path / "report.json"
    words: tuple[str | Path, ...] = (
        *("--prices", recording.word, "--proposals", proposals, "--state", state, "--until-prices-end"),
        *("--speed", "max", "--report", report, "--config", calm),
    )
    starts = []

    for kill in range(KILLS):
        # The first bytes come while it starts. Together less than an uninterrupted run logs.
        after_bytes = 1 if kill == seed else chance.randrange(LOG_BYTES // KILLS)
        with running(*words, log=log) as process:
            assert killed(process, log, after_bytes), log.with_suffix(".err").read_text()
        starts += STARTS.findall(log.read_text())
        if kill == 2:
            kill_server(state)
    result = done(*words, log=log)
    starts += STARTS.findall(result.stdout)

    assert [kind for kind, _number, _at in starts[1:]] == ["resuming"] * (len(starts) - 1)
    numbers = [int(number) for _kind, number, _at in starts]  # A run that was killed as it began has said nothing.
    assert numbers == sorted(set(numbers))
    assert [at for _kind, _number, at in starts] == sorted(at for _kind, _number, at in starts)
    told = read_report(report)
    assert_sound(told)
    assert told["ticks"] == len(recording.times_s)
    assert told["positions_opened"] >= 60
    assert_equal_to_sums(where, [recording], told)
    assert_nothing_twice(where)
    assert_same_orders(where)
    (requests,) = look(where, REQUESTS)
    ids = [row["id"] for row in requests]
    assert len(ids) == len(set(ids)) == len(script.lines)
    assert set(script.trades) <= set(ids)

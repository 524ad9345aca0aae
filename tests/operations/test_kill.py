"""kill -9 at fifty random moments, start again with the same arguments: it ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from persistence.embedded import EmbeddedPostgres
from tests.operations.busy import LOG_BYTES, a_busy_replay
from tests.operations.command import Where, do, done, look, running, wait_until
from tests.persistence.test_outages import COUNTING

KILLS = 10
"""In each of five replays: fifty moments."""
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


@pytest.mark.parametrize(("seed", "fill_share_pct"), [(0, 40), (1, 40), (2, 100), (3, 40), (4, 70)])
def test_killed_at_random_moments_it_resumes(
    tmp_path: Path, state: Path, log: Path, calm: Path, seed: int, fill_share_pct: int
) -> None:
    chance = random.Random(seed)
    busy = a_busy_replay(tmp_path, Where(state), log, calm, seed=seed, fill_share_pct=fill_share_pct)
    starts = []

    for kill in range(KILLS):
        # The first bytes come while it starts. Together less than an uninterrupted run logs.
        after_bytes = 1 if kill == seed else chance.randrange(LOG_BYTES // KILLS)
        with busy.begun() as process:
            assert killed(process, log, after_bytes), log.with_suffix(".err").read_text()
        starts += STARTS.findall(log.read_text())
        if kill == 2:
            kill_server(state)
    result = busy.done()
    starts += STARTS.findall(result.stdout)

    assert [kind for kind, _number, _at in starts[1:]] == ["resuming"] * (len(starts) - 1)
    numbers = [int(number) for _kind, number, _at in starts]  # A run that was killed as it began has said nothing.
    assert numbers == sorted(set(numbers))
    assert [at for _kind, _number, at in starts] == sorted(at for _kind, _number, at in starts)
    busy.assert_books_agree()


@pytest.mark.parametrize("victims", ["the engine", "the engine and its server"])
def test_killed_in_the_middle_of_its_first_migration_the_next_start_completes_it(
    victims: str, state: Path, log: Path
) -> None:
    where = Where(state)
    server = EmbeddedPostgres.start(state)
    do(Where(dsn=server.dsn), COUNTING.format(step=5))
    with running("--for", "1", "--speed", "max", *where.words, log=log) as process:
        count = "SELECT last_value FROM steps WHERE is_called AND last_value >= 5"
        wait_until(lambda: look(Where(dsn=server.dsn), count) != [[]], "the fifth step")
        process.kill()
        if victims != "the engine":
            kill_server(state)
    server.stop()

    assert "starting run 1" in done("--for", "60", "--speed", "max", *where.words, log=log).stdout

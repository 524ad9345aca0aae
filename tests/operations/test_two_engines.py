"""One account, two engines: the second is refused or waits, as configured, and takes over when the first is gone."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.operations.command import Where, ended, look, run, running, stop, wait_until
from tests.operations.sums import assert_nothing_twice, assert_same_orders

STARTED = re.compile(r"(starting|resuming) run (\d+) of account main")
WORDS = ("--prices", "random:5", "--speed", "20", "--demo")
END_OF_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND datname = current_database() AND pid <> pg_backend_pid()
"""


def waiting(directory: Path, seconds: int) -> Path:
    """Return a configuration in which a second engine waits so long."""
    (directory / "execution.yaml").write_text(f"journal: {{account_wait_s: {seconds}}}\n", encoding="utf-8")
    return directory


def has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


def assert_well(where: Where, summary: str) -> None:
    assert "broken invariants 0" in summary
    assert_nothing_twice(where)
    assert_same_orders(where)


def test_the_second_waits_and_takes_over_when_the_first_is_killed(state: Path, log: Path, calm: Path) -> None:
    words = (*WORDS, "--state", str(state), "--config", str(waiting(calm, 120)))
    second_log = log.with_name("second.log")
    with running(*words, log=log) as first, running(*words, log=second_log) as second:
        wait_until(lambda: has(log, "of account main at") or has(second_log, "of account main at"), "the first")
        pair = ((first, log), (second, second_log))
        # They started together: either may have been faster.
        (first, log), (second, second_log) = pair if has(log, "of account main at") else pair[::-1]  # noqa: PLW2901
        wait_until(lambda: has(second_log, "waiting up to 120 s for the account main"), "the second to wait")
        wait_until(lambda: has(log, "role=stop"), "a position to take over")
        assert not has(second_log, "of account main at")
        first.kill()
        wait_until(lambda: has(second_log, "resuming run 2 of account main"), "the second to take over")
        size = second_log.stat().st_size
        wait_until(lambda: second_log.stat().st_size > size + 5_000, "it to trade")
        result = stop(second, signal.SIGTERM, second_log)

    assert (result.code, result.stderr) == (0, "")
    assert_well(Where(state), result.stdout)


@pytest.mark.parametrize("account_wait_s", [0, 8])
def test_the_second_is_refused_after_account_wait_s(
    account_wait_s: int, elsewhere: Where, log: Path, calm: Path
) -> None:
    words = (*WORDS, "--config", str(waiting(calm, account_wait_s)))
    with running(*words, log=log, **elsewhere.variables) as first:
        wait_until(lambda: STARTED.search(log.read_text()) is not None, "the first start")
        second = run(*words, log=log.with_name("second.log"), **elsewhere.variables)
        assert second.code == 2
        assert "another engine owns the account 'main'" in second.line
        assert second.seconds >= account_wait_s
        assert ("waiting up to" in second.stdout) == (account_wait_s > 0)
        result = stop(first, signal.SIGTERM, log)

    assert (result.code, result.stderr) == (0, "")
    assert_well(elsewhere, result.stdout)


def test_a_signal_ends_the_waiting_and_nothing_else(elsewhere: Where, log: Path, calm: Path) -> None:
    words = (*WORDS, "--config", str(waiting(calm, 3_600)))
    second_log = log.with_name("second.log")
    with running(*words, log=log, **elsewhere.variables) as first:
        wait_until(lambda: STARTED.search(log.read_text()) is not None, "the first start")
        with running(*words, log=second_log, **elsewhere.variables) as second:
            wait_until(lambda: has(second_log, "waiting up to"), "the second to wait")
            waited = stop(second, signal.SIGTERM, second_log)
        assert (waited.code, waited.stderr) == (0, "")
        assert "stopped while the account main was waited for" in waited.stdout
        assert first.poll() is None
        result = stop(first, signal.SIGTERM, log)

    assert (result.code, result.stderr) == (0, "")


@pytest.mark.parametrize("speed", ["20", "max"])
def test_who_was_cut_off_ends_and_who_has_taken_over_goes_on(
    speed: str, elsewhere: Where, log: Path, calm: Path
) -> None:
    """The first stands still for a while, as a machine does that is moved, and believes that it is the only one."""
    words = ("--prices", "random:5", "--speed", speed, "--demo", "--config", str(waiting(calm, 120)))
    second_log = log.with_name("second.log")
    with running(*words, log=log, **elsewhere.variables) as first:
        wait_until(lambda: has(log, "role=stop"), "a position")
        with running(*words, log=second_log, **elsewhere.variables) as second:
            wait_until(lambda: has(second_log, "waiting up to"), "the second to wait")
            first.send_signal(signal.SIGSTOP)
            look(elsewhere, END_OF_SESSIONS)
            wait_until(lambda: has(second_log, "resuming run 2 of account main"), "the second to take over")
            first.send_signal(signal.SIGCONT)
            lost = ended(first, log, 0)
            size = second_log.stat().st_size
            wait_until(lambda: second_log.stat().st_size > size + 5_000, "the second to trade")
            result = stop(second, signal.SIGTERM, second_log)

    assert lost.code == 70
    assert "another engine" in lost.line
    assert (result.code, result.stderr) == (0, "")
    assert_well(elsewhere, result.stdout)

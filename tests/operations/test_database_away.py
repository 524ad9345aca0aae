"""The database dies, is restarted, cut off, slow or cross while a replay runs: the rows are those of a quiet replay.

The replay stands still while its journal is away, so every row of every table must be the same to the digit; and the
paper exchange's own books, which stand in the same database, must agree with ours.
"""

from __future__ import annotations

import os
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from persistence.embedded import EmbeddedPostgres
from tests.operations.busy import Rows, a_busy_replay
from tests.operations.command import Where, do, look, stop, wait_until
from tests.operations.proxy import Proxy

STRIKES = 4
SLOW_EVERY, SLOW_S = 300, 1.5
"""One insertion of orders in so many takes so long."""
END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'triplegain' AND pid <> pg_backend_pid() AND datname = current_database()
"""
WAITS = re.compile(r"(?:The replay stands still, the journal waits|The paper books wait) for the database: (.*)")
CROSS = """
CREATE SEQUENCE crossness;
CREATE FUNCTION be_cross() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE number bigint := nextval('crossness');
BEGIN
    IF number % {every} = 0 THEN {what} END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER cross_at_times AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION be_cross();
"""
ERRORS = ("40001", "40P01", "57014", "55P03", "53100")
RAISING = " ".join(
    f"IF number / 30 % {len(ERRORS)} = {place} THEN RAISE 'as if of {code}' USING ERRCODE = '{code}'; END IF;"
    for place, code in enumerate(ERRORS)
)


def has_more_than(reasons: int, log: Path) -> bool:
    """Say whether the log names more than so many reasons for waiting."""
    return len(WAITS.findall(log.read_text())) > reasons


def pid_of(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().splitlines()[0])


# The server ----------------------------------------------------------------------------------------------------


def test_a_server_of_our_own_that_is_killed_is_started_again(
    tmp_path: Path, state: Path, log: Path, calm: Path, quiet: Rows
) -> None:
    busy = a_busy_replay(tmp_path, Where(state), log, calm)
    killed = set()
    with busy.begun() as process:
        for moment in busy.moments(seed=1, count=STRIKES):
            busy.come_to(process, moment)
            wait_until((state / "postgres" / "postmaster.pid").exists, "a server to kill")
            killed.add(pid_of(state / "postgres"))
            os.kill(pid_of(state / "postgres"), signal.SIGKILL)
        busy.ended(process)
    assert len(killed) >= 2, "it was started again, and killed again"
    busy.assert_undisturbed(quiet)


@pytest.mark.parametrize("how", ["SIGKILL", "fast", "immediate"])
def test_a_named_server_that_goes_away_is_waited_for(
    how: str, tmp_path: Path, log: Path, calm: Path, quiet: Rows, own_server: EmbeddedPostgres
) -> None:
    busy = a_busy_replay(tmp_path, Where(dsn=own_server.dsn), log, calm)
    with busy.begun() as process:
        for moment in busy.moments(seed=2, count=2):
            busy.come_to(process, moment)
            heard = len(WAITS.findall(log.read_text()))
            if how == "SIGKILL":
                os.kill(pid_of(own_server._data), signal.SIGKILL)
            else:
                own_server._pg_ctl_stop(how)
            wait_until(partial(has_more_than, heard, log), "the reason")
            assert process.poll() is None, "it waits: the server is not ours to start"
            own_server.ensure_running()
        busy.ended(process)
    busy.assert_undisturbed(quiet)


def test_sessions_that_the_server_ends_are_taken_up_again(
    tmp_path: Path, log: Path, calm: Path, quiet: Rows, elsewhere: Where
) -> None:
    busy = a_busy_replay(tmp_path, elsewhere, log, calm)
    ended_sessions = 0
    with busy.begun() as process:
        for moment in busy.moments(seed=3, count=STRIKES):
            busy.come_to(process, moment)
            ended_sessions += len(look(elsewhere, END_SESSIONS)[0])
        busy.ended(process)
    assert ended_sessions >= STRIKES
    busy.assert_undisturbed(quiet)


# The network ---------------------------------------------------------------------------------------------------


def test_a_network_that_is_cut_at_once_costs_nothing(
    tmp_path: Path, log: Path, calm: Path, quiet: Rows, own_server: EmbeddedPostgres
) -> None:
    busy = a_busy_replay(tmp_path, Where(dsn=own_server.dsn), log, calm)
    cuts = []
    with Proxy(own_server.socket_directory) as proxy, busy.begun(DATABASE_URL=proxy.address("postgres")) as process:
        for moment in busy.moments(seed=4, count=STRIKES):
            busy.come_to(process, moment)
            cuts.append(proxy.cut())
        busy.ended(process)
    assert all(cuts), "each time there was a connection to cut"
    busy.assert_undisturbed(quiet)


@pytest.mark.parametrize("commit_timeout_s", [1, 4])
def test_a_black_hole_is_noticed_after_commit_timeout_s(
    commit_timeout_s: int, tmp_path: Path, log: Path, calm: Path, quiet: Rows, own_server: EmbeddedPostgres
) -> None:
    """Nobody is told anything: neither end of the connection hears that it is gone."""
    journal = f"{{commit_timeout_s: {commit_timeout_s}, commit_slow_ms: 500}}"
    busy = a_busy_replay(tmp_path, Where(dsn=own_server.dsn), log, calm, journal=journal)
    with Proxy(own_server.socket_directory) as proxy, busy.begun(DATABASE_URL=proxy.address("postgres")) as process:
        (moment,) = busy.moments(seed=5, count=1)
        busy.come_to(process, moment)
        proxy.swallow()
        began = time.monotonic()
        wait_until(partial(has_more_than, 0, log), "it to notice")
        noticed_s = time.monotonic() - began
        assert proxy.swallowed > 0
        assert process.poll() is None
        proxy.heal()
        busy.ended(process)
    assert noticed_s >= commit_timeout_s * 0.9
    busy.assert_undisturbed(quiet)


# A database that is slow or cross ------------------------------------------------------------------------------


def test_slow_commits_change_nothing(tmp_path: Path, log: Path, calm: Path, quiet: Rows, elsewhere: Where) -> None:
    """A commit that holds back for so long is waited for, and there are some: the run cannot have been quicker."""
    do(elsewhere, CROSS.format(every=SLOW_EVERY, what=f"PERFORM pg_sleep({SLOW_S});"))
    busy = a_busy_replay(tmp_path, elsewhere, log, calm, journal="{commit_slow_ms: 100}")
    began = time.monotonic()
    busy.done()
    took_s = time.monotonic() - began
    inserts = int(look(elsewhere, "SELECT last_value FROM crossness")[0][0]["last_value"])
    assert inserts >= SLOW_EVERY
    assert took_s >= SLOW_S * (inserts // SLOW_EVERY)
    busy.assert_undisturbed(quiet)


def test_errors_that_may_pass_are_tried_again(
    tmp_path: Path, log: Path, calm: Path, quiet: Rows, elsewhere: Where
) -> None:
    """Serialization, deadlock, statement timeout, lock timeout, disk full: each rolls back, none is the end."""
    do(elsewhere, CROSS.format(every=30, what=RAISING))
    busy = a_busy_replay(tmp_path, elsewhere, log, calm, journal="{retry_ms: 10}")
    result = busy.done()
    told = WAITS.findall(result.stdout)
    assert {reason.removeprefix("as if of ") for reason in told} == set(ERRORS)
    busy.assert_undisturbed(quiet)


# Stopping while it is away -------------------------------------------------------------------------------------


def test_a_signal_ends_a_run_whose_database_stays_away_and_the_next_start_goes_on(
    tmp_path: Path, log: Path, calm: Path, own_server: EmbeddedPostgres
) -> None:
    busy = a_busy_replay(tmp_path, Where(dsn=own_server.dsn), log, calm)
    with busy.begun() as process:
        busy.come_to(process, 100_000)
        own_server._pg_ctl_stop("immediate")
        wait_until(partial(has_more_than, 0, log), "the reason")
        result = stop(process, signal.SIGTERM, log)
    assert result.code == 3
    assert "stopped while the database was away" in result.line

    own_server.ensure_running()
    assert "resuming run 2" in busy.done().stdout
    busy.assert_books_agree()

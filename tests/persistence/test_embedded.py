"""The embedded server outlives whatever happens to engines, and ends with the last of them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from persistence.database import HOUSE, Database, connect
from persistence.embedded import SOCKET_NAME, EmbeddedPostgres, EmbeddedPostgresError
from persistence.journal import PostgresJournal

ENGINE = """
import asyncio, sys
from pathlib import Path
from persistence.database import Database
from persistence.journal import PostgresJournal
from tests.persistence.samples import a_filled

async def main():
    database = await Database.open(None, Path(sys.argv[1]))
    journal = PostgresJournal(database.connect, "main")
    await journal.commit([a_filled(1)])
    print("committed", flush=True)
    if sys.stdin.readline() == "stop\\n":
        await journal.close()
        await database.stop()

asyncio.run(main())
"""


def an_engine(state_dir: Path) -> subprocess.Popen[str]:
    """Start an engine and wait until it has committed something."""
    engine = subprocess.Popen(
        (sys.executable, "-c", ENGINE, str(state_dir)),
        env={**os.environ, "PYTHONPATH": HOUSE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    assert engine.stdout.readline() == "committed\n"
    return engine


def end(engine: subprocess.Popen[str], signal_number: int | None = None) -> None:
    """Kill the engine, or let it stop by itself."""
    if signal_number is None:
        engine.communicate("stop\n")
        assert engine.returncode == 0
    else:
        engine.send_signal(signal_number)
        engine.communicate()


async def answer(dsn: str) -> int:
    connection = await connect(dsn)
    number: int = await connection.fetchval("SELECT 42")
    await connection.close()
    return number


def test_it_starts_is_joined_and_ends_with_the_last(state_dir: Path) -> None:
    first = EmbeddedPostgres.start(state_dir)
    second = EmbeddedPostgres.start(state_dir)
    assert first.dsn == second.dsn
    assert first.pid == second.pid
    first.stop()
    first.stop()
    assert asyncio.run(answer(second.dsn)) == 42
    second.stop()
    assert second.pid is None


def test_an_engine_killed_leaves_its_server_and_its_account_to_the_next(state_dir: Path) -> None:
    end(an_engine(state_dir), signal.SIGKILL)

    async def next_engine() -> EmbeddedPostgres:
        database = await Database.open(None, state_dir)
        journal = PostgresJournal(database.connect, "main")
        await journal.open()
        assert (await journal.load()).fill_ids == ("fill 1",)
        await journal.close()
        await database.stop()
        assert database._embedded is not None
        return database._embedded

    assert asyncio.run(next_engine()).pid is None  # The dead engine's claim died with it.


def test_an_engine_that_stops_leaves_the_server_to_another(state_dir: Path) -> None:
    engine = an_engine(state_dir)
    ours = EmbeddedPostgres.start(state_dir)
    end(engine)
    assert asyncio.run(answer(ours.dsn)) == 42
    ours.stop()
    assert ours.pid is None


def test_a_server_killed_is_started_again(state_dir: Path) -> None:
    first = EmbeddedPostgres.start(state_dir)
    pid = first.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    second = EmbeddedPostgres.start(state_dir)
    assert asyncio.run(answer(second.dsn)) == 42
    assert second.pid != pid
    second.stop()
    first.stop()
    assert first.pid is None


def test_a_server_whose_socket_was_swept_away_is_started_anew(state_dir: Path) -> None:
    """As whoever tidies up /tmp does: the server lives, and nobody can reach it or start another beside it."""
    first = EmbeddedPostgres.start(state_dir)
    pid = first.pid
    (first.socket_directory / SOCKET_NAME).unlink()

    second = EmbeddedPostgres.start(state_dir)
    assert asyncio.run(answer(second.dsn)) == 42
    assert second.pid != pid

    (second.socket_directory / SOCKET_NAME).unlink()
    first.ensure_running()
    assert asyncio.run(answer(first.dsn)) == 42
    second.stop()
    first.stop()
    assert first.pid is None


def test_a_pid_that_another_process_has_now_does_not_confuse_us(state_dir: Path) -> None:
    first = EmbeddedPostgres.start(state_dir)
    first.stop()
    lines = [
        str(os.getpid()),
        str(state_dir / "postgres"),
        "1",
        "5432",
        str(first.socket_directory),
        "",
        "1 1",
        "ready",
    ]
    (state_dir / "postgres" / "postmaster.pid").write_text("\n".join(lines))
    second = EmbeddedPostgres.start(state_dir)
    assert asyncio.run(answer(second.dsn)) == 42
    second.stop()


@pytest.mark.parametrize("name", ["a" * 120, "with space, comma & 100 %"])
def test_a_path_that_fits_into_no_socket_address_works(state_dir: Path, name: str) -> None:
    server = EmbeddedPostgres.start(state_dir / name)
    assert server.socket_directory.parent == Path(tempfile.gettempdir())
    assert asyncio.run(answer(server.dsn)) == 42
    server.stop()
    assert not server.socket_directory.exists()


def test_a_first_start_that_was_killed_halfway_is_begun_again(state_dir: Path) -> None:
    (state_dir / "postgres.unfinished" / "base").mkdir(parents=True)
    (state_dir / "postgres.unfinished" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres.start(state_dir)
    assert asyncio.run(answer(server.dsn)) == 42
    server.stop()


def test_what_keeps_commits_through_a_power_cut_is_on(server: EmbeddedPostgres) -> None:
    async def story() -> None:
        connection = await connect(server.dsn)
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval(f"SHOW {name}") == "on"
        assert await connection.fetchval("SHOW jit") == "off"
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.close()

    asyncio.run(story())


def test_data_of_another_version_is_refused_by_name(state_dir: Path) -> None:
    (state_dir / "postgres").mkdir()
    (state_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match="of PostgreSQL 16, this engine brings 18"):
        EmbeddedPostgres.start(state_dir)

"""Places to run the command in: state directories, and a server with an empty database for each test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asyncpg import Connection

from persistence.database import connect, ensure_schema
from persistence.embedded import EmbeddedPostgres
from tests.operations.busy import Rows, a_busy_replay
from tests.operations.command import Where

CALM = """\
limits:
  positions_per_symbol_max: 4
  positions_total_max: 8
  exposure_max_pct: 400
cooldowns:
  after_loss_s: 0
  after_3_losses_s: 0
  after_5_losses_s: 0
"""
"""Rules that let a busy script open what it asks for."""


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """A server elsewhere, as DATABASE_URL would name it; its own database holds the tables, empty."""
    directory = Path(tempfile.mkdtemp(prefix="triplegain-elsewhere-"))
    running = EmbeddedPostgres.start(directory)
    asyncio.run(ensure_schema(running.dsn))
    yield running
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def new_database(server: EmbeddedPostgres) -> Callable[[], Where]:
    """Make an empty database with all tables on the session's server: cheaper than a server for each test."""
    numbers = itertools.count(1)

    async def make(name: str) -> None:
        connection: Connection = await connect(server.dsn.replace("/postgres?", "/template1?"))
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
        await connection.close()

    def new() -> Where:
        name = f"run_{next(numbers)}"
        asyncio.run(make(name))
        return Where(dsn=server.dsn.replace("/postgres?", f"/{name}?"))

    return new


@pytest.fixture
def elsewhere(new_database: Callable[[], Where]) -> Where:
    """An empty database on a server that is not the embedded one of the run."""
    return new_database()


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], Where]) -> Rows:
    """Return the rows of the same replay that nothing disturbs."""
    directory = tmp_path_factory.mktemp("quiet")
    calm = directory / "calm"
    calm.mkdir()
    (calm / "risk.yaml").write_text(CALM, encoding="utf-8")
    busy = a_busy_replay(directory, new_database(), directory / "run.log", calm)
    busy.done()
    busy.assert_books_agree()
    return busy.rows()


@pytest.fixture
def own_server() -> Iterator[EmbeddedPostgres]:
    """A server that somebody else runs, for one test: it may be stopped and started."""
    directory = Path(tempfile.mkdtemp(prefix="triplegain-own-"))
    running = EmbeddedPostgres.start(directory)
    yield running
    running.ensure_running()
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture
def state() -> Iterator[Path]:
    """A fresh state directory."""
    directory = Path(tempfile.mkdtemp(prefix="triplegain-state-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the command's output goes."""
    return tmp_path / "run.log"


@pytest.fixture
def calm(tmp_path: Path) -> Path:
    """A configuration without cooldowns and with room for several positions."""
    directory = tmp_path / "calm"
    directory.mkdir()
    (directory / "risk.yaml").write_text(CALM, encoding="utf-8")
    return directory

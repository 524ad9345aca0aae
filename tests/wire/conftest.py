"""A stage or a world for each test, with BTC/USDT at 100,000."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.exchange.wire.counters import STARTER
from tests.wire.stage import Stage
from tests.wire.world import WireWorld


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that obey the environment's proxies would not find this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    stage.tick("100000")
    yield stage
    stage.close()


@pytest.fixture
def limited() -> Iterator[Stage]:
    """A stage on which Starter's rate limits are kept."""
    stage = Stage(tier=STARTER)
    stage.tick("100000")
    yield stage
    stage.close()


@pytest.fixture
def world() -> Iterator[WireWorld]:
    """An engine that trades over the wire."""
    with WireWorld() as world:
        world.price("BTC/USDT", 100_000)
        yield world

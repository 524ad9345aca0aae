"""A simulation takes nothing from the world: no clock, no chance of its own, no thread, no socket, no file."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import secrets
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from loguru import logger

from actors.position.actor import PositionActor
from actors.simulator.simulation import simulate
from actors.simulator.workload import plan_of
from tests.simulation.closed_world import closed_world

clock_by_another_name = time.perf_counter_ns
SEEDS = range(1, 26)


def sleeps_a_moment() -> None:
    time.sleep(0)


def starts_a_thread() -> None:
    threading.Thread(target=int).start()


def opens_a_socket() -> None:
    socket.socket().close()


def starts_a_loop() -> None:
    asyncio.new_event_loop().close()


WAYS_OUT: list[Callable[[], object]] = [
    lambda: time.time(),  # noqa: PLW0108 - The guard must see a call made from Python.
    lambda: time.monotonic(),  # noqa: PLW0108
    lambda: time.monotonic_ns(),  # noqa: PLW0108
    lambda: time.perf_counter(),  # noqa: PLW0108
    lambda: clock_by_another_name(),  # noqa: PLW0108
    lambda: time.process_time(),  # noqa: PLW0108
    lambda: datetime.now(UTC),
    lambda: datetime.utcnow(),  # noqa: DTZ003, PLW0108
    lambda: date.today(),  # noqa: DTZ011, PLW0108
    lambda: uuid.uuid4(),  # noqa: PLW0108
    lambda: uuid.uuid1(),  # noqa: PLW0108
    lambda: os.urandom(1),
    lambda: secrets.token_hex(1),
    lambda: random.random(),  # noqa: PLW0108
    lambda: random.getrandbits(1),
    lambda: random.choice((1, 2)),
    lambda: random.Random(),  # noqa: PLW0108
    lambda: random.SystemRandom().random(),
    lambda: asyncio.sleep(0).close(),
    lambda: threading.Lock().acquire(),
    lambda: Path(__file__).read_text(),
    lambda: tempfile.gettempdir(),  # noqa: PLW0108
    lambda: logger.info("heard"),
    sleeps_a_moment,
    starts_a_thread,
    opens_a_socket,
    starts_a_loop,
]


@pytest.fixture(autouse=True, scope="module")
def _everything_is_read_in() -> None:
    """What is imported or read once is imported and read now: the settings, for instance."""
    simulate(plan_of(0, 1))


@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_the_guard_notices_every_way_out(way_out: Callable[[], object]) -> None:
    with closed_world() as notes:
        way_out()

    assert notes != []


def test_the_guard_lets_pass_what_comes_from_a_seed() -> None:
    with closed_world() as notes:
        chance = random.Random("a seed")
        chance.choice((1, 2))
        chance.getrandbits(20)
        datetime.fromtimestamp(0, UTC).isoformat()

    assert notes == []


def test_the_guard_overlooks_what_the_garbage_collector_calls() -> None:
    def times_it(_phase: str, _told: dict[str, int]) -> None:
        time.perf_counter()

    gc.callbacks.append(times_it)
    try:
        with closed_world() as notes:
            gc.collect()
        assert notes == []
        assert times_it in gc.callbacks
    finally:
        gc.callbacks.remove(times_it)


def test_the_guard_sees_into_the_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that looks at the real clock once is caught, and named."""
    original = PositionActor.on_receive

    def on_receive(self: PositionActor, message: object) -> None:
        time.time()
        original(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(PositionActor, "on_receive", on_receive)
    with closed_world() as notes:
        simulate(plan_of(1, 1))

    assert "time.time from" in notes[0]
    assert "test_closed_world.py" in notes[0]


def test_a_simulation_never_leaves_its_world() -> None:
    with closed_world() as notes:
        for seed in SEEDS:
            simulate(plan_of(seed, 2))

    assert notes == []

"""The same seed is the same story, message by message: here, in other processes, and however many work on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors.simulator import simulation
from actors.simulator.peace import leave_in_peace
from actors.simulator.simulation import simulate
from actors.simulator.stage import Stage
from actors.simulator.workload import plan_of
from messages.orders import Fill, Order
from messages.positions import Position
from scripts.simulating import simulate_batch

HOUSE = Path(__file__).resolve().parents[2]
PATIENCE_S = 120


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `triplegain simulate WORDS`."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.triplegain", "simulate", *words],
        env={**os.environ, "PYTHONPATH": str(HOUSE), "COLUMNS": "120", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def figures(*words: str, **variables: str) -> dict[str, Any]:
    """Return what `--json` prints, without the time that it took."""
    ran = command(*words, "--json", **variables)
    assert ran.returncode in {0, 1}, ran.stderr
    (line,) = ran.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert found.pop("seconds") > 0
    return found


@pytest.mark.parametrize("seed", [1, 7, 41])
def test_twice_in_one_process(seed: int) -> None:
    first, second = (simulate(plan_of(seed, 2)) for _ in range(2))

    assert first.trace_hash == second.trace_hash
    assert (first.messages, first.exercised) == (second.messages, second.exercised)
    assert [str(message) for _at, message in first.story] == [str(message) for _at, message in second.story]


def test_who_listens_changes_nothing() -> None:
    read: list[object] = []

    outcome = simulate(plan_of(3, 2), lambda *what: read.append(what))

    assert len(read) == outcome.messages
    assert outcome.trace_hash == simulate(plan_of(3, 2)).trace_hash


@pytest.mark.parametrize("rows", ["fills", "orders", "positions", "events"])
def test_the_hash_is_of_what_was_kept_to_the_digit(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who read what in which order is not enough: the same messages could have carried other prices."""

    def tampering(stage: Stage) -> None:
        leave_in_peace(stage)
        kept: Any = getattr(stage.kept, rows)
        place = len(kept) - 1 if rows == "events" else next(iter(kept))
        kept[place] = _changed(kept[place])

    sound = simulate(plan_of(2, 2)).trace_hash
    monkeypatch.setattr(simulation, "leave_in_peace", tampering)

    assert simulate(plan_of(2, 2)).trace_hash != sound


def _changed(row: Any) -> Any:
    match row:
        case Fill():
            return attrs.evolve(row, price_quote=row.price_quote + Decimal("0.00000001"))
        case Order():
            return attrs.evolve(row, filled_base=row.filled_base + Decimal("0.00000001"))
        case Position():
            return attrs.evolve(row, stop_loss_quote=Decimal("0.00000001"))
        case _:
            return attrs.evolve(row, event=attrs.evolve(row.event, at_us=row.event.at_us + 1))


def test_other_seeds_and_other_lengths_are_other_stories() -> None:
    hashes = {simulate(plan_of(seed, minutes)).trace_hash for seed in range(1, 6) for minutes in (1, 2)}

    assert len(hashes) == 10


def test_across_processes_and_hash_seeds() -> None:
    words = ("--seed", "11", "--seeds", "20", "--minutes", "2", "--jobs", "1")
    here = simulate_batch(range(11, 31), 2)

    one = figures(*words, PYTHONHASHSEED="1")
    other = figures(*words, PYTHONHASHSEED="4242")

    assert one == other
    assert one["messages"] == here.messages
    assert one["exercised"] == here.exercised


def test_with_one_job_and_with_two() -> None:
    words = ("--seed", "5", "--seeds", "45", "--minutes", "1")

    assert figures(*words, "--jobs", "1") == figures(*words, "--jobs", "2")

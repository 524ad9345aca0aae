"""Every benchmark runs at its tiniest size and prints one JSON object. How fast it was is not asked here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmarks.__main__ import BENCHMARKS
from scripts.benchmarks.figures import Outcome, percentile

HOUSE = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
COMMON = {"name": str, "floor": dict, "aim": str, "met": bool}


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.benchmarks", *words],
        cwd=HOUSE,
        env={name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_one_json_object(name: str) -> None:
    ran = bench(name, "--tiny")

    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    printed: dict[str, Any] = json.loads(line)
    assert printed["name"] == name
    assert {key: type(printed[key]) for key in COMMON} == COMMON
    assert printed["ratio"] > 0
    assert printed["floor"]
    assert all(value is not None for value in printed.values())


def test_the_benchmarks_can_be_listed() -> None:
    ran = bench("--list")

    assert ran.stdout.split() == list(BENCHMARKS)


def test_an_unknown_name_is_an_error_that_names_the_known_ones() -> None:
    ran = bench("no_such_thing")

    assert ran.returncode == 2
    assert "no_such_thing" in ran.stderr
    assert all(name in ran.stderr for name in BENCHMARKS)


def test_figures_are_rounded_to_what_they_can_mean() -> None:
    outcome = Outcome(name="x", figures={"a_us": 1.23456}, floor={"b_us": 0.1}, ratio=12.3456, aim="none", met=True)

    assert json.loads(outcome.as_json()) == {
        "name": "x", "a_us": 1.235, "floor": {"b_us": 0.1}, "ratio": 12.35, "aim": "none", "met": True,
    }  # fmt: skip


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([1, 2, 3, 4], 99) == 4

"""`triplegain simulate`: its options, its exit codes, and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from actors.simulator.exercised import possible
from actors.simulator.simulation import simulate
from actors.simulator.workload import plan_of
from scripts.simulating import Wanted, simulate_seeds
from tests.simulation import defects
from tests.simulation.test_same_story import HOUSE, command, figures

FEW = ("--minutes", "1", "--jobs", "1")


def wanted(**other: object) -> Wanted:
    usual: dict[str, object] = {
        "first": 1,
        "count": 6,
        "minutes": 1,
        "jobs": 1,
        "shrinks": None,
        "traces": False,
        "as_json": False,
    }
    return Wanted(**{**usual, **other})  # type: ignore[arg-type]


def test_json_is_one_object_with_all_figures() -> None:
    found = figures("--seed", "1", "--seeds", "4", *FEW)

    assert {"seeds", "failures", "messages", "trace_hash", "exercised"} <= set(found)
    assert (found["seeds"], found["failures"], found["failed"], found["interrupted"]) == (4, 0, [], False)
    assert len(found["trace_hash"]) == 32
    assert {group: set(names) for group, names in possible().items()}.items() <= {
        group: set(names) & set(possible()[group]) for group, names in found["exercised"].items()
    }.items()


def test_a_seed_alone_is_one_story() -> None:
    assert figures("--seed", "3", *FEW)["seeds"] == 1


def test_seeds_alone_begin_with_the_first() -> None:
    assert figures("--seeds", "2", *FEW) == figures("--seed", "1", "--seeds", "2", *FEW)


def test_the_hash_and_the_figures_are_printed() -> None:
    ran = command("--seeds", "3", *FEW)

    assert ran.returncode == 0
    assert f"trace hash {figures('--seeds', '3', *FEW)['trace_hash']}" in ran.stdout
    assert "3 seeds from 1 on, 1 min each" in ran.stdout
    assert "seeds/s" in ran.stdout
    assert "every invariant held" in ran.stdout
    assert "0 !" in ran.stdout  # Three seeds cannot reach everything, and that shows.
    assert "never reached: " in ran.stdout
    assert ran.stderr == "simulating 3 seeds from 1 on\n"


def test_a_trace_shows_every_message_as_it_is_read() -> None:
    ran = command("--seed", "2", "--minutes", "1", "--trace")

    lines = [line for line in ran.stdout.splitlines() if line.startswith("  ") and line[14:16] == "  "]
    assert len(lines) >= simulate(plan_of(2, 1)).messages
    assert "supervisor             StartEngine" in ran.stdout
    assert ran.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--seeds", "0"),
        ("--seeds", "many"),
        ("--seed", "-1"),
        ("--minutes", "0"),
        ("--jobs", "0"),
        ("--trace", "--seeds", "5"),
        ("--trace", "--json"),
        ("--sideways",),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_code_2(words: tuple[str, ...]) -> None:
    ran = command(*words)

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("triplegain: ")
    assert ran.stderr.count("\n") == 1


def test_help_tells_every_option() -> None:
    said = command("--help").stdout

    for option in ("--seeds", "--seed", "--minutes", "--jobs", "--trace", "--shrink", "--no-shrink", "--json"):
        assert option in said


# An engine with a defect --------------------------------------------------------------------------


@pytest.fixture
def _with_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    defects.sends_before_the_intent_is_committed(monkeypatch)


@pytest.mark.usefixtures("_with_a_defect")
def test_a_failing_seed_is_told_with_its_story(capsys: pytest.CaptureFixture[str]) -> None:
    code = simulate_seeds(wanted())

    said = capsys.readouterr()
    assert code == 1
    assert "FAILED" in said.out
    assert "breaks I1: order " in said.out
    assert "replay: triplegain simulate --seed " in said.out
    assert "PlaceOrder order=" in said.out
    assert "exchange" in said.out
    assert said.out.count("the shortest story found that fails so: ") == 1
    assert "a strategy " in said.out
    assert " fails: I1: " in said.err


@pytest.mark.usefixtures("_with_a_defect")
@pytest.mark.parametrize(("shrinks", "at_least", "at_most"), [(True, 2, 5), (False, 0, 0)])
def test_how_much_is_shrunk_is_for_the_person_to_say(
    capsys: pytest.CaptureFixture[str],
    *,
    shrinks: bool,
    at_least: int,
    at_most: int,
) -> None:
    assert simulate_seeds(wanted(shrinks=shrinks, count=9)) == 1

    assert at_least <= capsys.readouterr().out.count("the shortest story found") <= at_most


@pytest.mark.usefixtures("_with_a_defect")
def test_json_names_the_failures(capsys: pytest.CaptureFixture[str]) -> None:
    code = simulate_seeds(wanted(as_json=True, shrinks=True))

    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert found["failures"] == len(found["failed"]) > 0
    assert found["failed"][0]["invariant"] == "I1"
    assert any("a strategy " in line for line in found["failed"][0]["plan"])


# Ending early -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("jobs", "number"), [("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_an_interrupt_ends_it_with_what_was_done(jobs: str, number: signal.Signals) -> None:
    words = ("--seeds", "1000000", "--minutes", "1", "--jobs", jobs, "--json", "--no-shrink")
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.triplegain", "simulate", *words],
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "simulating 1,000,000 seeds from 1 on\n"
        time.sleep(3)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # As a terminal does it: to everybody.
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)

    found = json.loads(out)
    assert process.returncode == (1 if found["failures"] else 0)
    assert found["interrupted"]
    assert 0 < found["seeds"] < 1_000_000
    assert [line for line in err.splitlines() if " fails: " not in line and " seeds/s" not in line] == []


def test_a_reader_who_goes_away_is_no_error() -> None:
    line = f"{sys.executable} -m scripts.triplegain simulate --seed 1 --trace | head -1"
    ran = subprocess.run(
        ["/bin/sh", "-c", line],
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stderr == ""
    assert "StartEngine" in ran.stdout

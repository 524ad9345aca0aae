"""The simulator finds bugs: every deliberate defect breaks a promise within a few hundred stories.

`pytest -s` shows how many each took; the table in docs/reliability.md says the same, or the last test says so.
"""

from __future__ import annotations

import sys

import pytest

from actors.risk.reservations import Reservations
from actors.simulator.simulation import simulate
from actors.simulator.workload import plan_of
from tests.simulation.defects import Defect, StaleDefectError
from tests.simulation.mutations import (
    DEFECTS,
    MINUTES,
    SEEDS_MAX,
    TABLE,
    hunt,
    row_of,
)
from tests.simulation.page import PAGE

ROWS: dict[str, str] = {}
"""What this run has found, for the table."""
SEEDS: list[int] = []

SOUND = Defect(
    name="nothing",
    text="the words stay as they are",
    where=Reservations.release,
    old="[reservation.side] -= 1",
    new="[reservation.side] -= 1",
    breaks=(),
)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_is_found(defect: Defect) -> None:
    found = hunt(defect)

    assert found is not None, f"{defect.text}: no story of {SEEDS_MAX} tells of it"
    ROWS[defect.name] = row_of(defect, found)
    SEEDS.append(found.seed)
    sys.stdout.write(f"{ROWS[defect.name]}\n")
    assert found.violation.invariant in defect.breaks, found.violation


def test_without_a_defect_the_same_stories_are_sound() -> None:
    """As many as the slowest defect needs."""
    broken = {seed: simulate(plan_of(seed, MINUTES)).violation for seed in range(1, max(SEEDS, default=50) + 1)}

    assert {seed: violation for seed, violation in broken.items() if violation is not None} == {}


def test_the_table_in_the_docs_says_what_was_found() -> None:
    """`python -m tests.simulation.mutations` writes it anew."""
    told = TABLE.rows_in(PAGE.read_text(encoding="utf-8"))

    assert [row.split("|")[1].strip() for row in told] == [defect.name for defect in DEFECTS]
    assert [row for row in ROWS.values() if row not in told] == []


# The defects themselves ---------------------------------------------------------------------------


def test_there_are_enough_and_each_is_its_own() -> None:
    assert len(DEFECTS) >= 25
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert len({(defect.where, defect.old, defect.new) for defect in DEFECTS}) == len(DEFECTS)


def test_a_defect_that_is_switched_off_leaves_nothing_behind() -> None:
    sound = [defect.where.__code__ for defect in DEFECTS]
    for defect in DEFECTS:
        with defect.switched_on():
            assert defect.where.__code__ not in sound
    assert [defect.where.__code__ for defect in DEFECTS] == sound


def test_an_edit_that_changes_nothing_is_not_found() -> None:
    """What is found is the defect, not the way it is switched on."""
    assert hunt(SOUND, seeds_max=20) is None


def test_a_defect_that_no_longer_fits_the_engine_says_so() -> None:
    stale = Defect(name="stale", text="", where=Reservations.release, old="no such words", new="", breaks=())
    with pytest.raises(StaleDefectError, match="stand 0 times"), stale.switched_on():
        pass

"""What the simulator has found stays found: each story breaks its promise with the defect, and is clean without it."""

from __future__ import annotations

import pytest

from actors.simulator.simulation import simulate
from tests.simulation import found as stories
from tests.simulation.found import FOUND, TABLE, Found, a_story, as_source, rows
from tests.simulation.page import PAGE


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.name)
def test_a_defect_that_was_fixed_is_found_again(found: Found) -> None:
    with found.brought_back():
        violation = simulate(found.plan).violation

    assert violation is not None, f"{found.text} The story no longer leads there: hunt for a new one"
    assert violation.invariant == found.breaks, violation
    assert simulate(found.plan).violation is None


# The data -----------------------------------------------------------------------------------------


def test_each_is_its_own() -> None:
    assert len({found.name for found in FOUND}) == len(FOUND)
    assert len({found.swaps for found in FOUND}) == len(FOUND)


def test_the_table_in_the_docs_names_each() -> None:
    """`python -m tests.simulation.found` writes it anew."""
    assert TABLE.rows_in(PAGE.read_text(encoding="utf-8")) == rows()


def test_what_was_brought_back_is_gone_again() -> None:
    functions = [swap.where for found in FOUND for swap in found.swaps]
    sound = [function.__code__ for function in functions]
    for found in FOUND:
        with found.brought_back():
            assert [swap.where.__code__ in sound for swap in found.swaps] == [False] * len(found.swaps)
    assert [function.__code__ for function in functions] == sound


def test_a_story_printed_as_source_is_the_same_story() -> None:
    """So that the plan of a new seed can be pasted."""
    for found in FOUND:
        assert eval(as_source(found.plan), vars(stories)) == found.plan


def test_a_setting_by_its_name() -> None:
    plan = a_story(1, settings={"execution.orders.history_max": 3})

    assert plan.settings.execution.orders.history_max == 3
    assert plan.settings.execution.journal == a_story(1).settings.execution.journal

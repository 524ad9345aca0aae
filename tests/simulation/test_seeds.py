"""Two thousand stories end well, and reach everything that can be reached.

A failure names its seeds: `triplegain simulate --seed SEED --minutes 2` tells the story of one.
"""

from __future__ import annotations

from functools import cache

import pytest

from actors.simulator.exercised import merged, zeros
from scripts.simulating import Batch, simulate_batch

CHUNKS, SEEDS_IN_A_CHUNK = 8, 250
MINUTES = 2


@cache
def chunk(number: int) -> Batch:
    first = 1 + number * SEEDS_IN_A_CHUNK
    return simulate_batch(range(first, first + SEEDS_IN_A_CHUNK), MINUTES)


@pytest.mark.parametrize("number", range(CHUNKS))
def test_every_invariant_holds(number: int) -> None:
    assert chunk(number).failed == ()


def test_nothing_is_a_blind_spot() -> None:
    reached = merged(chunk(number).exercised for number in range(CHUNKS))

    assert zeros(reached) == ()

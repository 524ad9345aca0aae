"""What few stories have, drawn apart: a new rarity leaves all other stories as they are.

Read in order: with_low_caps(), with_strangers().
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

from actors.simulator.faults import ORDERED_BY_HAND
from actors.simulator.plan import Step, Strike
from config.settings import Settings

STORIES_WITH_LOW_CAPS = 6
"""One story in so many may borrow less than is asked for, or nothing."""
STORIES_WITH_STRANGERS = 6
"""In one story in so many somebody else leaves orders on the account."""


def with_low_caps(settings: Settings, seed: int) -> Settings:
    """Return the settings, in some stories with a leverage limit that is met: with 1, a short cannot be borrowed."""
    chance = Random(f"{seed} caps")  # noqa: S311 - A story, no secret.
    if chance.randrange(STORIES_WITH_LOW_CAPS):
        return settings
    limits = attrs.evolve(settings.risk.limits, leverage_max=chance.choice((1, 2, 3)))
    return attrs.evolve(settings, risk=attrs.evolve(settings.risk, limits=limits))


def with_strangers(steps: Sequence[Step], seed: int) -> Sequence[Step]:
    """Return the steps, in some stories with orders of somebody else: they rest, hold money back, and fill."""
    chance = Random(f"{seed} strangers")  # noqa: S311 - The same.
    if chance.randrange(STORIES_WITH_STRANGERS):
        return steps
    story = list(steps)
    for _ in range(chance.choice((1, 2, 4))):
        strike = Strike(fault=ORDERED_BY_HAND, amount=1 + chance.randrange(4))
        story.insert(chance.randrange(len(story) + 1), strike)
    return story

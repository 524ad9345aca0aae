"""What few stories have, drawn apart: a new rarity leaves all other stories as they are.

Read in order: with_low_caps().
"""

from __future__ import annotations

from random import Random

import attrs

from config.settings import Settings

STORIES_WITHOUT_CAPS = 6
"""One story in so many may borrow less than is asked for, or nothing."""


def with_low_caps(settings: Settings, seed: int) -> Settings:
    """Return the settings, in some stories with a leverage limit that is met: with 1, a short cannot be borrowed."""
    chance = Random(f"{seed} caps")  # noqa: S311 - A story, no secret.
    if chance.randrange(STORIES_WITHOUT_CAPS):
        return settings
    limits = attrs.evolve(settings.risk.limits, leverage_max=chance.choice((1, 2, 3)))
    return attrs.evolve(settings, risk=attrs.evolve(settings.risk, limits=limits))

"""Kraken's own limits, as data: what each tier of account may use, and what each call costs.

Two counters rise with every call and fall with time. The REST counter is one for the whole account; the engine's
counter is one for each pair, and charges for moving or cancelling an order by how young the order is. Besides, only so
many orders may be open in a pair. Decays are thousandths of a point each second, so that all of it is whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from messages.permits import CallKind

MILLI = 1_000
"""Thousandths in a point."""
SECOND_US = 1_000_000
ENDLESS = 10**9
UNEVEN_S = 1
"""How much later than another, which left with it, a call may arrive at Kraken: calls that left apart may arrive
together, so this much of the decay is not counted on."""


@attrs.frozen(kw_only=True)
class Tier:
    """What one tier of account may use."""

    rest_points: int
    rest_decay_milli_per_s: int
    engine_points: int
    engine_decay_milli_per_s: int
    places: int
    """Orders that may be open in one pair."""

    @property
    def rest_limit_milli(self) -> int:
        """How far our REST counter may rise."""
        return self.rest_points * MILLI - UNEVEN_S * self.rest_decay_milli_per_s

    @property
    def engine_limit_milli(self) -> int:
        """How far our counter of a pair may rise."""
        return self.engine_points * MILLI - UNEVEN_S * self.engine_decay_milli_per_s

    @property
    def places_for_opening(self) -> int:
        """Up to how many open orders of a pair an opening may add one: each may come to need a stop besides."""
        return self.places // 2


TIERS: Mapping[str, Tier] = {
    "starter": Tier(
        rest_points=15, rest_decay_milli_per_s=330, engine_points=60, engine_decay_milli_per_s=1_000, places=60
    ),
    "intermediate": Tier(
        rest_points=20, rest_decay_milli_per_s=500, engine_points=125, engine_decay_milli_per_s=2_340, places=80
    ),
    "pro": Tier(
        rest_points=20, rest_decay_milli_per_s=1_000, engine_points=180, engine_decay_milli_per_s=3_750, places=225
    ),
    "none": Tier(  # Nothing is ever in the way, but what the exchange says is still obeyed.
        rest_points=ENDLESS,
        rest_decay_milli_per_s=ENDLESS,
        engine_points=ENDLESS,
        engine_decay_milli_per_s=ENDLESS,
        places=ENDLESS,
    ),
}

AMEND_REST_POINTS = 1
QUERY_REST_POINTS_MAX = 4
"""What the dearest query costs: one of the history."""

PLACE_POINTS = 1
NEVER_OLDER_US = 10**18
ENGINE_POINTS: Mapping[CallKind, tuple[tuple[int, int], ...]] = {
    # While the order is younger than this: the call costs so many points of its pair.
    CallKind.PLACE: ((NEVER_OLDER_US, PLACE_POINTS),),
    CallKind.AMEND: ((5 * SECOND_US, 4), (10 * SECOND_US, 3), (15 * SECOND_US, 2), (NEVER_OLDER_US, 1)),
    CallKind.CANCEL: (
        (5 * SECOND_US, 8),
        (10 * SECOND_US, 6),
        (15 * SECOND_US, 5),
        (45 * SECOND_US, 4),
        (90 * SECOND_US, 2),
        (300 * SECOND_US, 1),
        (NEVER_OLDER_US, 0),
    ),
}

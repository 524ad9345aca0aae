"""The place where live trading happens, as it was found before the engine starts: wires, pairs, and the clock there."""

from __future__ import annotations

import attrs

from actors.exchange.kraken.links import Links
from actors.exchange.kraken.pairs import Pairs


@attrs.frozen(kw_only=True)
class Venue:
    """Everything that KrakenActor needs of the world."""

    links: Links
    pairs: Pairs
    clock_ahead_us: int
    """How far the exchange's clock is ahead of ours."""

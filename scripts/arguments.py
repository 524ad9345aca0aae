"""What the command line asked a run for."""

from __future__ import annotations

import json
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Arguments:
    """What the command line asked for."""

    config: Path | None
    state: Path
    prices: tuple[str, ...]
    speed: int | None
    """How many times the wall clock; None for as fast as it goes."""
    proposals: Path | None
    demo: bool
    for_seconds: int | None
    until_prices_end: bool
    report: Path | None
    log_json: bool
    log_level: str

    @property
    def identity(self) -> str:
        """The same for a run that is started again with the same arguments."""
        return json.dumps([*self.prices, str(self.proposals), self.demo, self.for_seconds, self.until_prices_end])

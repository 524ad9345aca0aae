"""What the command line says to every benchmark."""

from __future__ import annotations

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Options:
    """The defaults are the sizes of the aims; `tiny` is for the test that runs everything once."""

    tiny: bool = False
    prices: str | None = None
    """SYMBOL=FILE for the replay; random prices without it."""
    proposals: Path | None = None

    def size(self, full: int, tiny: int) -> int:
        """Return how much of something to measure with."""
        return tiny if self.tiny else full

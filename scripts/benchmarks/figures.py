"""What a benchmark answers, and the arithmetic that it shares with the others."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping, Sequence

import attrs

Figure = float | int | str | None


@attrs.frozen(kw_only=True)
class Outcome:
    """One line of output. The names of figures carry their units; `ratio` is the figure over its floor."""

    name: str
    figures: Mapping[str, Figure]
    floor: Mapping[str, Figure]
    """What the machine itself takes for the irreducible part, measured in the same run."""
    ratio: float | None
    aim: str
    met: bool

    def as_json(self) -> str:
        """Return the line."""
        return json.dumps(
            {
                "name": self.name,
                **_rounded(self.figures),
                "floor": _rounded(self.floor),
                "ratio": None if self.ratio is None else _round(self.ratio),
                "aim": self.aim,
                "met": self.met,
            }
        )


def _rounded(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name: _round(value) if isinstance(value, float) else value for name, value in figures.items()}


def _round(value: float) -> float:
    """Return four digits that mean something."""
    return float(f"{value:.4g}")


def median(values: Sequence[float]) -> float:
    """Return the middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def note(text: str) -> None:
    """Say on stderr what is going on: stdout is for the JSON lines alone."""
    print(f"bench: {text}", file=sys.stderr, flush=True)

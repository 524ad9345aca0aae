"""The tables of docs/reliability.md, which are written by what they tell of and compared by tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"


@attrs.frozen
class Table:
    """A table between two markers; the rest of the page is somebody else's."""

    name: str
    head: str

    @property
    def begin(self) -> str:
        """The marker before it."""
        return f"<!-- {self.name} -->"

    @property
    def end(self) -> str:
        """The marker after it."""
        return f"<!-- /{self.name} -->"

    def rows_in(self, page: str) -> list[str]:
        """Return the rows that stand on the page, without the head."""
        return page.partition(self.begin)[2].partition(self.end)[0].strip().splitlines()[2:]

    def rewritten(self, page: str, rows: Iterable[str]) -> str:
        """Return the page with these rows; without its markers there is no place for them, which is a ValueError."""
        before, begin, rest = page.partition(self.begin)
        _old, end, after = rest.partition(self.end)
        if not begin or not end:
            raise ValueError(f"the page has no place for the table: {self.begin} and {self.end} mark it")
        return before + begin + "\n" + self.head + "\n" + "".join(f"{row}\n" for row in rows) + end + after

    def write(self, rows: Iterable[str]) -> None:
        """Write them into the docs."""
        PAGE.write_text(self.rewritten(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")

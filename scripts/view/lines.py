"""Lines of styled text, and tables whose columns stand still. What is drawn depends on the size, never on the content.

rich's own Table measures every cell of every frame, so its columns move with the figures and a frame costs ten times
as much. Here a column has its width once and for all. Read in order: Line, Column, fitted(), table(), Canvas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import attrs
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

Piece = tuple[str, str]
"""A text and its style."""
Line = tuple[Piece, ...]

PLAIN = ""
FAINT = "bright_black"
TITLE = "bold cyan"
GAP_MAX = 6
MORE = "…"
BLANK: Line = ()
PARTS = re.compile(r"^ +|.*?[^ ](?= *$)| +$")
"""The spaces around a text are pieces of their own: in an exported picture, nothing can swallow them."""


@attrs.frozen(kw_only=True)
class Column:
    """One column of a table."""

    title: str
    width: int
    is_number: bool = False
    """Numbers end at the right, under each other."""
    goes: int = 0
    """When there is no room: the column with the highest number goes first, 0 stays."""
    grows: bool = False
    """Whether it takes the room that is left."""


@attrs.frozen
class Fitted:
    """The columns that have room, by their place, with the widths they got."""

    places: tuple[int, ...]
    columns: tuple[Column, ...]
    gap: int


def cut(text: str, width: int) -> str:
    """Return the text, ended by an ellipsis where it is too long."""
    return text if len(text) <= width else text[: max(0, width - 1)] + MORE[:width]


def length(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(len(text) for text, _style in line)


def cropped(line: Line, width: int) -> Line:
    """Return the part of a line that has room."""
    kept: list[Piece] = []
    for text, style in line:
        kept.append((cut(text, width), style))
        width -= len(text)
        if width <= 0:
            break
    return tuple(kept)


def padded(line: Line, width: int) -> Line:
    """Return the line, exactly `width` long."""
    line = cropped(line, width)
    return (*line, (" " * (width - length(line)), PLAIN))


def spread(left: Line, right: Line, width: int) -> Line:
    """Return one line with something at either end; what is at the right goes when there is no room for both."""
    if length(left) + length(right) + 1 > width:
        return cropped(left, width)
    return (*padded(left, width - length(right)), *right)


def heading(title: str, detail: str, width: int) -> Line:
    """Return the line above a table: its name, what to know of it, and a rule to the end."""
    name: Line = (("─ ", FAINT), (title, TITLE), (f" {detail} " if detail else " ", FAINT))
    return cropped((*name, ("─" * max(0, width - length(name)), FAINT)), width)


def fitted(columns: Sequence[Column], width: int) -> Fitted:
    """Return the columns that have room in `width`, and spread them a little where there is more."""
    places = list(range(len(columns)))
    while len(places) > 1 and _width_of(columns, places) > width:
        going = max(places, key=lambda place: columns[place].goes)
        if columns[going].goes == 0:
            break
        places.remove(going)
    spare = max(0, width - _width_of(columns, places))
    gap = 1 + min(GAP_MAX - 1, spare // max(1, len(places) - 1))
    spare -= (gap - 1) * (len(places) - 1)
    kept = tuple(
        attrs.evolve(columns[place], width=columns[place].width + spare) if columns[place].grows else columns[place]
        for place in places
    )
    return Fitted(tuple(places), kept, gap)


def _width_of(columns: Sequence[Column], places: Sequence[int]) -> int:
    return sum(columns[place].width for place in places) + len(places) - 1


def row(cells: Sequence[Piece], fit: Fitted) -> Line:
    """Return one row: a cell for every column of the table, of which those without room are left out."""
    pieces: list[Piece] = []
    for place, column in zip(fit.places, fit.columns, strict=True):
        text, style = cells[place]
        text = cut(text, column.width)
        pieces.append((text.rjust(column.width) if column.is_number else text.ljust(column.width), style))
        pieces.append((" " * fit.gap, PLAIN))
    return tuple(pieces[:-1])


def table(
    title: str, detail: str, columns: Sequence[Column], rows: Sequence[Sequence[Piece]], size: Size
) -> list[Line]:
    """Return a table of exactly this size: heading, column titles, rows; the last row counts those without room."""
    fit = fitted(columns, size.width)
    room = size.height - 2
    shown = rows if len(rows) <= room else rows[: room - 1]
    lines = [heading(title, detail, size.width), row([(column.title, FAINT) for column in columns], fit)]
    lines += [row(cells, fit) for cells in shown]
    if len(shown) < len(rows):
        lines.append(((f"{MORE} and {len(rows) - len(shown)} more", FAINT),))
    return filled(lines, size.height)


def filled(lines: Sequence[Line], height: int) -> list[Line]:
    """Return exactly `height` lines."""
    return [*lines[:height], *[BLANK] * (height - len(lines))]


def beside(left: Sequence[Line], right: Sequence[Line], left_width: int, gap: int) -> list[Line]:
    """Return two blocks of the same height next to each other."""
    return [
        (*padded(first, left_width), (" " * gap, PLAIN), *second) for first, second in zip(left, right, strict=True)
    ]


@attrs.frozen(kw_only=True)
class Size:
    """Cells across and lines down."""

    width: int
    height: int


class Canvas:
    """Lines as rich draws them."""

    def __init__(self, lines: Iterable[Line], width: int, margin: int) -> None:
        self.lines = tuple(cropped(((" " * margin, PLAIN), *line), width) for line in lines)

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> RenderResult:
        """Yield the lines, each with its end."""
        for line in self.lines:
            for text, style in line:
                for part in PARTS.findall(text):
                    yield Segment(part, console.get_style(style) if style else None)
            yield Segment.line()

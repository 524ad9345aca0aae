"""Draws who tells whom what, from what the actors declare, into docs/message-flow.md.

`python -m scripts.draw_messages` writes the page; with `--check` it only says whether the page is up to date.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from actors.runtime.switchboard import Declaration
from actors.runtime.typed_actor import TypedActor
from actors.system import SPOKEN_OUTSIDE
from messages.base import Command, Event, Message, Query

HOUSE = Path(__file__).parents[1]
PAGE = HOUSE / "docs" / "message-flow.md"
OUTSIDE = "outside"
NAMES_ON_AN_ARROW_MAX = 4


def actor_classes() -> tuple[type[TypedActor], ...]:
    """Return every actor there is: the subclasses of TypedActor that an `actor.py` under actors/ defines."""
    found: list[type[TypedActor]] = []
    for path in sorted((HOUSE / "actors").rglob("actor.py")):
        name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
        module = importlib.import_module(name)
        found += [one for one in vars(module).values() if _is_actor(one) and one.__module__ == name]
    return tuple(found)


def _is_actor(one: object) -> bool:
    return inspect.isclass(one) and issubclass(one, TypedActor)


def declaration_of(actor: type[TypedActor]) -> Declaration:
    """Return what an actor hears and says."""
    return Declaration(actor.role, actor.accepts, actor.emits)


def is_private(kind: type[Message]) -> bool:
    """Say whether a message is an actor's word to itself: a timer, the result of I/O."""
    return kind.__module__.startswith("actors.")


def page(declarations: Iterable[Declaration], spoken_outside: frozenset[type[Message]]) -> str:
    """Return the whole page."""
    everyone = sorted(declarations, key=lambda one: one.role)
    outside = Declaration(OUTSIDE, frozenset(), spoken_outside)
    return "\n".join(
        (
            "# Who tells whom what",
            "",
            "Drawn by `python -m scripts.draw_messages` from what the actors declare. Do not edit: a test compares.",
            "",
            "```mermaid",
            *_chart([*everyone, outside]),
            "```",
            "",
            *_table(everyone),
            "## What people, the prices and the engine itself put in",
            "",
            _names(spoken_outside),
            "",
        )
    )


def _chart(everyone: list[Declaration]) -> list[str]:
    lines = ["flowchart LR", *(f"    {one.role}[{one.role}]" for one in everyone)]
    for (sender, receiver), kinds in sorted(_arrows(everyone).items()):
        names = sorted(kind.__name__ for kind in kinds)
        shown = names[:NAMES_ON_AN_ARROW_MAX]
        more = len(names) - len(shown)
        label = "<br/>".join([*shown, *([f"and {more} more"] if more else [])])
        lines.append(f'    {sender} -->|"{label}"| {receiver}')
    return lines


def _arrows(everyone: list[Declaration]) -> dict[tuple[str, str], list[type[Message]]]:
    arrows: dict[tuple[str, str], list[type[Message]]] = defaultdict(list)
    for sender in everyone:
        for receiver in everyone:
            heard = sender.emits & receiver.accepts
            if heard and sender.role != receiver.role:
                arrows[sender.role, receiver.role] += heard
    return arrows


def _table(everyone: list[Declaration]) -> list[str]:
    lines: list[str] = []
    for one in everyone:
        private = frozenset(filter(is_private, one.accepts))
        lines += [
            f"## {one.role}",
            "",
            "| | commands and queries | events |",
            "|---|---|---|",
            _row("hears", one.accepts - private),
            _row("says", one.emits),
            *([_row("tells itself", private)] if private else []),
            "",
        ]
    return lines


def _row(verb: str, kinds: frozenset[type[Message]]) -> str:
    wishes = frozenset(kind for kind in kinds if issubclass(kind, Command | Query))
    facts = frozenset(kind for kind in kinds if issubclass(kind, Event))
    return f"| {verb} | {_names(wishes)} | {_names(facts)} |"


def _names(kinds: frozenset[type[Message]]) -> str:
    return ", ".join(sorted(f"`{kind.__name__}`" for kind in kinds)) or "nothing"


def current_page() -> str:
    """Return the page as the code of today asks for it."""
    return page(map(declaration_of, actor_classes()), SPOKEN_OUTSIDE)


def is_fresh() -> bool:
    """Say whether the page in docs/ is the one that the code asks for."""
    return PAGE.exists() and PAGE.read_text(encoding="utf-8") == current_page()


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    if arguments == ["--check"]:
        if is_fresh():
            return 0
        print(f"{PAGE.relative_to(HOUSE)} is stale: run python -m scripts.draw_messages", file=sys.stderr)
        return 1
    if arguments:
        print("usage: python -m scripts.draw_messages [--check]", file=sys.stderr)
        return 2
    PAGE.write_text(current_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

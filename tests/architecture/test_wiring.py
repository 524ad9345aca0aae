"""The actors that exist fit together, keep to the page that says who hears what, and the drawing shows it."""

from __future__ import annotations

import ast
from itertools import product

import attrs
import pytest

from actors.exchange.kraken.actor import KrakenActor
from actors.runtime.switchboard import Declaration, WiringError, check_wiring
from actors.runtime.typed_actor import TypedActor, kinds
from actors.system import HEARD_ELSEWHERE, SPOKEN_OUTSIDE
from messages import protocols
from messages.base import Command, Event, Message
from scripts import draw_messages
from scripts.draw_messages import actor_classes, declaration_of, is_private
from tests.architecture.rules import sources, text_of

NOTHING: frozenset[type[Message]] = frozenset()
ACTORS = actor_classes()

# Role: what it hears and what it says, by the page in messages/protocols.py.
PAGE: dict[str, tuple[frozenset[type[Message]], frozenset[type[Message]]]] = {
    "order": (kinds(protocols.OrderInbox), kinds(protocols.OrderOutbox)),
    "position": (kinds(protocols.PositionInbox), kinds(protocols.PositionOutbox)),
    "risk": (kinds(protocols.RiskInbox), kinds(protocols.RiskOutbox)),
    "rate_limiter": (kinds(protocols.RateLimiterInbox), kinds(protocols.RateLimiterOutbox)),
    "snapshot": (kinds(protocols.SnapshotInbox), kinds(protocols.SnapshotOutbox)),
    "journal": (kinds(protocols.JournalInbox), kinds(protocols.JournalOutbox)),
    "exchange": (kinds(protocols.MockExchangeInbox), kinds(protocols.ExchangeOutbox)),
    "market": (kinds(protocols.MarketInbox), kinds(protocols.MarketOutbox)),
    "bus": (kinds(protocols.EventBusInbox), NOTHING),
    "supervisor": (kinds(protocols.SupervisorInbox), kinds(protocols.SupervisorOutbox)),
}
KRAKEN = (kinds(protocols.KrakenInbox), kinds(protocols.KrakenOutbox))
"""The other actor that may stand for the exchange."""


def complaints(declaration: Declaration, *, is_kraken: bool = False) -> list[str]:
    """Return how an actor's declaration differs from the page."""
    hears, says = KRAKEN if is_kraken else PAGE[declaration.role]
    public = frozenset(kind for kind in declaration.accepts if not is_private(kind))
    differences = {
        "hears, and is not on the page": public - hears,
        "is on the page, and not heard": hears - declaration.accepts,
        "says, and is not on the page": declaration.emits - says,
        "is on the page, and not said": says - declaration.emits,
    }
    return [f"{kind.__name__}: {what}" for what, found in differences.items() for kind in found]


def machines(actors: tuple[type[TypedActor], ...]) -> list[tuple[Declaration, ...]]:
    """Return every machine that can be built: one actor of each role, Kraken's or the mock as exchange."""
    by_role: dict[str, list[Declaration]] = {}
    for actor in actors:
        by_role.setdefault(actor.role, []).append(declaration_of(actor))
    return list(product(*by_role.values()))


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.__name__)
def test_an_actor_keeps_to_the_page(actor: type[TypedActor]) -> None:
    assert complaints(declaration_of(actor), is_kraken=actor.__name__ == KrakenActor.__name__) == []


def test_there_is_an_actor_for_every_role_and_none_besides() -> None:
    assert {actor.role for actor in ACTORS} == set(PAGE)


def test_every_machine_that_can_be_built_fits_together() -> None:
    for machine in machines(ACTORS):
        check_wiring(machine, SPOKEN_OUTSIDE, HEARD_ELSEWHERE)


def test_private_words_stay_private() -> None:
    """Nobody says to others what an actor only tells itself, and no two actors share such a word."""
    said = frozenset[type[Message]]().union(*(actor.emits for actor in ACTORS))
    assert not list(filter(is_private, said))
    for actor in ACTORS:
        room = actor.__module__.rpartition(".")[0]
        strangers = [
            kind
            for kind in actor.accepts
            if is_private(kind) and not kind.__module__.startswith((room, "actors.runtime"))
        ]
        assert strangers == []


def started_by(source: str) -> set[str]:
    """Return the names of the actor classes that a system's `parts` starts, from its `Part(...)` calls."""
    return {
        node.args[0].id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Part"
        and isinstance(node.args[0], ast.Name)
    }


def test_the_system_starts_an_actor_of_every_role() -> None:
    started = started_by(text_of("actors/system.py"))
    assert {actor.role for actor in ACTORS if actor.__name__ in started} == set(PAGE)


def test_every_protocol_of_the_page_belongs_to_an_actor() -> None:
    """A new Inbox or Outbox on the page must be compared with somebody here."""
    compared = {*KRAKEN, *(kinds_ for pair in PAGE.values() for kinds_ in pair)}
    for name, union in vars(protocols).items():
        if name.endswith(("Inbox", "Outbox")) and name != "ExchangeInbox":  # A part of the mock's.
            assert kinds(union) in compared, name


# The checks can fail ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Unheard(Event):
    """Nobody hears this."""


@attrs.frozen(kw_only=True)
class Unasked(Command):
    """Nobody does this."""


def test_a_stranger_on_the_page_is_noticed() -> None:
    hears, says = PAGE["rate_limiter"]
    assert complaints(Declaration("rate_limiter", hears, says)) == []
    assert complaints(Declaration("rate_limiter", hears | {Unheard}, says)) == [
        "Unheard: hears, and is not on the page"
    ]
    assert complaints(Declaration("rate_limiter", hears, says | {Unheard})) == ["Unheard: says, and is not on the page"]
    assert len(complaints(Declaration("rate_limiter", NOTHING, NOTHING))) == len(hears) + len(says)


@pytest.mark.parametrize("kind", [Unheard, Unasked])
def test_a_message_that_leads_nowhere_breaks_the_machine(kind: type[Message]) -> None:
    [machine, *_others] = machines(ACTORS)
    with pytest.raises(WiringError, match=kind.__name__):
        check_wiring([*machine, Declaration("stranger", NOTHING, frozenset({kind}))], SPOKEN_OUTSIDE, HEARD_ELSEWHERE)


def test_a_missing_actor_breaks_the_machine() -> None:
    [machine, *_others] = machines(tuple(actor for actor in ACTORS if actor.role != "journal"))
    with pytest.raises(WiringError):
        check_wiring(machine, SPOKEN_OUTSIDE, HEARD_ELSEWHERE)


def test_an_actor_that_the_system_forgot_is_noticed() -> None:
    assert started_by("parts = (Part(OrderActor, {}), Part(RiskActor, {'a': 1}))") == {"OrderActor", "RiskActor"}


# The drawing --------------------------------------------------------------------------------------


def test_the_drawing_is_of_today() -> None:
    assert draw_messages.is_fresh(), "run python -m scripts.draw_messages"


def test_a_stale_drawing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = [Declaration("a", NOTHING, frozenset({Unheard})), Declaration("b", frozenset({Unheard}), NOTHING)]
    drawn = draw_messages.page(stale, frozenset({Unasked}))
    monkeypatch.setattr(draw_messages, "current_page", lambda: drawn)
    monkeypatch.setattr(draw_messages, "print", lambda *_args, **_kwargs: None, raising=False)
    assert not draw_messages.is_fresh()
    assert draw_messages.main(["--check"]) == 1


def test_the_drawing_shows_who_tells_whom_what() -> None:
    speaker = Declaration("a", NOTHING, frozenset({Unheard}))
    drawn = draw_messages.page(
        [speaker, Declaration("b", frozenset({Unheard, Unasked}), NOTHING)], frozenset({Unasked})
    )
    assert '    a -->|"Unheard"| b' in drawn
    assert '    outside -->|"Unasked"| b' in drawn
    assert "| hears | `Unasked` | `Unheard` |" in drawn


def test_every_actor_file_holds_an_actor() -> None:
    """The drawing looks into every actor.py; one that holds none was written for nothing, or is misnamed."""
    shells = {path for path in sources("actors") if path.endswith("/actor.py")}
    assert {f"{actor.__module__.replace('.', '/')}.py" for actor in ACTORS} == shells

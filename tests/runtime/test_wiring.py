"""What does not fit together is an error before the first message passes."""

from __future__ import annotations

import attrs
import pytest

from actors.runtime.switchboard import Declaration, WiringError, check_wiring
from actors.runtime.typed_actor import Recover
from messages.base import Command, Event, Message, Query

NOTHING: frozenset[type[Message]] = frozenset()


@attrs.frozen(kw_only=True)
class Wish(Command):
    """A wish."""


@attrs.frozen(kw_only=True)
class Fact(Event):
    """A fact."""


@attrs.frozen(kw_only=True)
class Question(Query):
    """A question."""


def hears(role: str, *kinds: type[Message]) -> Declaration:
    return Declaration(role, frozenset(kinds), NOTHING)


def says(role: str, *kinds: type[Message]) -> Declaration:
    return Declaration(role, NOTHING, frozenset(kinds))


def test_one_receiver_for_a_command_and_any_number_for_an_event() -> None:
    check_wiring([says("a", Wish, Fact, Question), hears("b", Wish, Fact), hears("c", Fact, Question)], NOTHING)


@pytest.mark.parametrize("kind", [Wish, Question])
def test_a_command_or_query_without_a_receiver_is_an_error(kind: type[Message]) -> None:
    with pytest.raises(WiringError, match=f"{kind.__name__} needs exactly one receiver, has none"):
        check_wiring([says("a", kind)], NOTHING)


@pytest.mark.parametrize("kind", [Wish, Question])
def test_a_command_or_query_with_two_receivers_is_an_error(kind: type[Message]) -> None:
    with pytest.raises(WiringError, match=r"has \['b', 'c'\]"):
        check_wiring([says("a", kind), hears("b", kind), hears("c", kind)], NOTHING)


def test_an_event_that_nobody_hears_is_an_error() -> None:
    with pytest.raises(WiringError, match="nobody hears Fact"):
        check_wiring([says("a", Fact)], NOTHING)


def test_what_is_spoken_outside_needs_a_receiver_too() -> None:
    with pytest.raises(WiringError, match="Wish needs exactly one receiver, has none"):
        check_wiring([hears("a", Fact)], frozenset({Wish}))


def test_many_actors_may_recover() -> None:
    check_wiring([hears("a", Recover), hears("b", Recover)], frozenset({Recover}))

"""A stage for a few actors: real runtime, stepped clock, either dispatcher.

A test is an `async def test_...(stage)` under `@on_both`, `@on_shared` or `@on_threads`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeVar, cast

import pykka
import pytest

from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import LoopDispatcher, SharedDispatcher, ThreadDispatcher
from actors.runtime.ports import Ports
from actors.runtime.switchboard import Switchboard
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import GetState, TypedActor
from messages.base import UNSTAMPED, Message, ProposalId

ANSWER_MAX_S = 10
"""How long a test waits for an answer before it says that there is none."""
START_US = 1_700_000_000_000_000

A = TypeVar("A", bound=TypedActor)
M = TypeVar("M", bound=Message)


class Stage:
    """The ports, the actors on stage, and all that has been said."""

    def __init__(self, dispatcher: LoopDispatcher) -> None:
        self.dispatcher = dispatcher
        self.clock = SteppedClock(START_US)
        self.timers = Timers()
        self.switchboard = Switchboard()
        self.actors: dict[str, TypedActor] = {}
        self.failures: list[tuple[str, BaseException]] = []
        self.said: list[Message] = []
        ids = count(1)
        self.ports = Ports(
            clock=self.clock,
            new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
            timers=self.timers,
            io=dispatcher,
            switchboard=self.switchboard,
            report_failure=lambda role, error: self.failures.append((role, error)),
        )
        self.switchboard.tap(self.said.append)

    def enter(self, actor_class: Callable[..., A], **arguments: Any) -> A:
        """Start an actor and introduce it to the others; a second one of a role takes the first one's place."""
        actor: Any = self.dispatcher.runnable(cast("type[TypedActor]", actor_class))(self.ports, **arguments)
        pykka.ActorRegistry.register(actor.actor_ref)
        self.actors[actor.role] = actor
        self.switchboard.connect(self.actors, self.dispatcher.post_of)
        actor.begin()
        return cast("A", actor)

    def audience(self, *kinds: type[Message]) -> Audience:
        """Start an actor that hears these types and keeps what it heard."""

        class Here(Audience):
            role = f"audience {len(self.actors)}"
            accepts = frozenset(kinds)

        return self.enter(Here)

    def say(self, message: Message, proposal_id: ProposalId | None = None) -> None:
        """Say something from outside, to whoever hears it."""
        self.switchboard.route(message, UNSTAMPED, proposal_id)

    async def ask(self, actor: TypedActor, message: Message) -> Any:
        """Ask an actor from another thread and return its reply."""
        return await asyncio.to_thread(actor.actor_ref.ask, message, timeout=ANSWER_MAX_S)

    async def state_of(self, actor: TypedActor) -> Any:
        """Return what the actor says of itself."""
        return await self.ask(actor, GetState())

    async def settle(self) -> None:
        """Wait until nobody has anything left to do."""
        await self.dispatcher.until_quiet()

    async def advance(self, by_us: int) -> None:
        """Let time pass, timer by timer."""
        until_us = self.clock.now_us() + by_us
        await self.settle()
        while (due_us := self.timers.next_due_us()) is not None and due_us <= until_us:
            self.clock.advance_to(due_us)
            self.timers.fire_next()
            await self.settle()
        self.clock.advance_to(until_us)

    def of(self, kind: type[M]) -> list[M]:
        """Return what has been said of one type, in order."""
        return [message for message in self.said if type(message) is kind]

    async def leave(self) -> None:
        """Stop everybody."""
        for actor in self.actors.values():
            if actor.actor_ref.is_alive():
                actor.actor_ref.stop(block=False)
        await self.settle()
        await self.dispatcher.close()


class Audience(TypedActor):
    """Keeps what it hears."""

    role = "audience"
    emits = frozenset()

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.heard: list[Message] = []

    def on_receive(self, message: Message) -> None:
        """Keep it."""
        self.heard.append(message)


def dispatcher_named(name: str, *, ordered_io: bool = True) -> LoopDispatcher:
    """Return one of the two dispatchers; a loop must be running."""
    return SharedDispatcher(ordered_io=ordered_io) if name == "shared" else ThreadDispatcher()


Scenario = Callable[[Stage], Awaitable[None]]


async def _play(scenario: Scenario, name: str, *, ordered_io: bool) -> None:
    stage = Stage(dispatcher_named(name, ordered_io=ordered_io))
    try:
        await scenario(stage)
    finally:
        await stage.leave()


def play(scenario: Scenario, name: str = "shared", *, ordered_io: bool = True) -> None:
    """Play one scenario on a stage of its own."""
    asyncio.run(_play(scenario, name, ordered_io=ordered_io))


def _test_of(scenario: Scenario, *names: str) -> Callable[[str], None]:
    def test(dispatcher: str) -> None:
        play(scenario, dispatcher)

    test.__name__ = test.__qualname__ = scenario.__name__
    test.__module__ = scenario.__module__
    test.__doc__ = scenario.__doc__
    return pytest.mark.parametrize("dispatcher", names)(test)


def on_both(scenario: Scenario) -> Callable[[str], None]:
    """Play it under both dispatchers."""
    return _test_of(scenario, "shared", "threads")


def on_shared(scenario: Scenario) -> Callable[[str], None]:
    """Play it on one loop only: it counts on an order that threads do not have."""
    return _test_of(scenario, "shared")


def on_threads(scenario: Scenario) -> Callable[[str], None]:
    """Play it on threads only."""
    return _test_of(scenario, "threads")

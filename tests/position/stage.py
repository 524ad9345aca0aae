"""A stage for one PositionActor: a loop, a clock that stands still, and a probe that hears all it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import pykka

from actors.position.actor import PositionActor
from actors.position.view import BookSummary
from actors.runtime.clock import SteppedClock
from actors.runtime.dispatchers import SharedDispatcher
from actors.runtime.ports import Ports
from actors.runtime.switchboard import Switchboard
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import PositionSettings
from messages.base import Currency, Message
from messages.market import Instrument
from messages.protocols import PositionInbox, PositionOutbox

from .values import BTC, XRP_BTC, an_instrument

M = TypeVar("M", bound=Message)


@attrs.frozen
class SaidBy:
    """A message and the trade it was said to belong to."""

    message: Message
    proposal_id: str | None


class Probe(TypedActor):
    role = "probe"
    accepts = kinds(PositionOutbox)
    emits = kinds(PositionInbox)

    def __init__(self, ports: Ports) -> None:
        self.heard: list[SaidBy] = []
        super().__init__(ports)

    def on_receive(self, message: Any) -> None:
        self.heard.append(SaidBy(message, message.proposal_id))


def _never() -> str:
    raise AssertionError("nobody here needs an id")


class Stage:
    def __init__(self, settings: PositionSettings, instruments: tuple[Instrument, ...]) -> None:
        self._dispatcher = SharedDispatcher(ordered_io=True)
        self.clock = SteppedClock()
        self.timers = Timers()
        self.failures: list[BaseException] = []
        switchboard = Switchboard()
        self._ports = Ports(
            clock=self.clock,
            new_id=_never,
            timers=self.timers,
            io=self._dispatcher,
            switchboard=switchboard,
            report_failure=lambda _role, error: self.failures.append(error),
        )
        self.probe: Any = self._dispatcher.runnable(Probe)(self._ports)  # type: ignore[type-abstract]
        make: Any = self._dispatcher.runnable(PositionActor)  # type: ignore[type-abstract]
        self.actor = make(
            self._ports,
            settings=settings,
            instruments={instrument.symbol: instrument for instrument in instruments},
            usd_equivalents=(Currency("USDT"), Currency("USD")),
        )
        switchboard.connect({"position": self.actor, "probe": self.probe}, self._dispatcher.post_of)
        for actor in (self.actor, self.probe):
            pykka.ActorRegistry.register(actor.actor_ref)
            actor._start_actor_loop()
        self._dispatcher.drain()

    def says(self, *messages: Message) -> None:
        """Let the actor hear these, and everybody all that follows."""
        for message in messages:
            self.probe.emit(message)
            self._dispatcher.drain()

    def passes(self, until_us: int) -> None:
        """Let time pass, and every timer on the way ring."""
        while (due_us := self.timers.next_due_us()) is not None and due_us <= until_us:
            self.clock.advance_to(due_us)
            self.timers.fire_next()
            self._dispatcher.drain()
        self.clock.advance_to(until_us)

    @property
    def heard(self) -> list[Message]:
        return [said.message for said in self.probe.heard]

    def all_of(self, kind: type[M]) -> list[M]:
        return [message for message in self.heard if isinstance(message, kind)]

    def forget(self) -> None:
        self.probe.heard.clear()

    @property
    def book(self) -> BookSummary:
        summary: BookSummary = self.actor.describe()
        return summary

    def close(self) -> None:
        pykka.ActorRegistry.stop_all(block=False)


def on_stage(
    play: Callable[[Stage], None],
    settings: PositionSettings | None = None,
    instruments: tuple[Instrument, ...] = (an_instrument(BTC), an_instrument(XRP_BTC, "0.00000001")),
) -> None:
    """Run a play with a fresh stage."""

    async def perform() -> None:
        stage = Stage(settings or PositionSettings(), instruments)
        try:
            play(stage)
        finally:
            stage.close()
            await asyncio.sleep(0)

    asyncio.run(perform())

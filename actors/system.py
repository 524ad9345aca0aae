"""The whole machine, top to bottom: every actor, in the order in which they start, and who lives in what world.

Here nobody runs: `actors/engine.py` runs the machine on an event loop, `actors/simulator/` from a seed.
Read in order: World, parts(), Machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import attrs
from loguru import logger

from actors.bus.actor import EventBusActor
from actors.exchange.kraken.actor import KrakenActor
from actors.exchange.kraken.venue import Venue
from actors.exchange.mock.actor import MockExchangeActor
from actors.exchange.mock.faults import Faults
from actors.exchange.mock.store import BookStore
from actors.journal.actor import JournalActor
from actors.market.actor import MarketActor
from actors.order.actor import OrderActor
from actors.position.actor import PositionActor
from actors.rate_limiter.actor import RateLimiterActor
from actors.risk.actor import RiskActor
from actors.runtime.clock import PacedClock, SteppedClock
from actors.runtime.dispatchers import Dispatcher
from actors.runtime.ports import Ports
from actors.runtime.statistics import ActorReport
from actors.runtime.switchboard import Declaration, Switchboard, check_wiring
from actors.runtime.timers import Timers
from actors.runtime.typed_actor import TypedActor
from actors.snapshot.actor import SnapshotActor
from actors.supervisor.actor import SupervisorActor
from actors.supervisor.policy import EXIT_FAILED
from config.settings import Settings
from messages.base import UNSTAMPED, Message, ProposalId
from messages.bus import Subscribe, Unsubscribe
from messages.exchange import CompareAccount
from messages.lifecycle import ActorFailed, DrainEngine, EngineReady, StartEngine
from messages.market import Tick
from messages.permits import CallGranted
from messages.protocols import FromStrategy
from messages.risk import SetTradingState
from persistence.protocol import Journal

SPOKEN_OUTSIDE = frozenset(
    {
        *(StartEngine, DrainEngine, ActorFailed, Tick, SetTradingState, CompareAccount, Subscribe, Unsubscribe),
        *FromStrategy.__args__,
    }
)
"""What people, the prices and the engine itself put in."""
HEARD_ELSEWHERE = frozenset({CallGranted})
"""What only a client of the real exchange listens to: the mock has no REST calls to ask for."""


@attrs.frozen(kw_only=True)
class World:
    """What surrounds the actors. Production, the harness and the benchmarks each bring their own."""

    settings: Settings
    clock: SteppedClock | PacedClock
    new_id: Callable[[], str]
    journal: Journal
    equity_start_usd: Decimal
    book_store: BookStore | None
    """Where the mock exchange keeps its books; None for books that die with it."""
    faults: Faults | None = None
    venue: Venue | None = None
    """Where real money is traded; None for the mock exchange."""
    is_repeatable: bool
    """Whether results of I/O are told in the order in which it was started."""
    io_suspends: bool = True
    """Whether any I/O ever waits; a journal and books in memory do not."""


@attrs.frozen
class Part:
    """One actor of the machine: its class, and what it is made with besides the ports."""

    actor_class: type[Any]
    made_with: Mapping[str, Any]


def parts(world: World, engine: Machine) -> tuple[Part, ...]:
    """Return the whole machine, in the order of starting: who must hear comes before who speaks."""
    execution = world.settings.execution
    market = {"instruments": execution.instruments, "usd_equivalents": execution.usd_equivalents}
    equity = {"equity_start_usd": world.equity_start_usd}
    return (
        Part(SupervisorActor, {"settings": execution.actors, "control": engine}),
        Part(JournalActor, {"journal": world.journal, "settings": execution.journal}),
        Part(EventBusActor, {"settings": execution.bus}),
        _exchange(world, market),
        Part(RateLimiterActor, {"settings": execution.rate_limits}),
        Part(PositionActor, {"settings": execution.positions, **market}),
        Part(RiskActor, {"settings": world.settings.risk, **equity, **market}),
        Part(
            OrderActor,
            {
                "settings": execution.orders,
                "instruments": execution.instruments,
                "reconcile_s": execution.kraken.reconcile_s,
            },
        ),
        Part(SnapshotActor, {"settings": execution.snapshots, "started": engine.is_ready, **equity}),
        Part(MarketActor, market),
    )


def _exchange(world: World, market: Mapping[str, Any]) -> Part:
    """Return the actor that stands for the exchange: Kraken where there is a venue, the mock otherwise."""
    execution, venue = world.settings.execution, world.venue
    if venue is None:
        made_with = {"paper": execution.paper, "store": world.book_store, "faults": world.faults, **market}
        return Part(MockExchangeActor, made_with)
    made_with = {
        "settings": execution.kraken,
        "links": venue.links,
        "pairs": venue.pairs,
        "wanted": execution.instruments,
        "clock_ahead_us": venue.clock_ahead_us,
    }
    return Part(KrakenActor, made_with)


@cache
def _check(actor_classes: tuple[type[TypedActor], ...]) -> None:
    """Raise WiringError unless what these actors declare fits together; once for each set of them."""
    declarations = [Declaration(actor.role, actor.accepts, actor.emits) for actor in actor_classes]
    check_wiring(declarations, SPOKEN_OUTSIDE, HEARD_ELSEWHERE)


class Machine:
    """The actors, introduced to each other. Whoever runs them brings the dispatcher and the timers.

    It is also what the supervisor holds in its hand (`Control`): stop, restart, is_drained.
    """

    def __init__(self, world: World, dispatcher: Dispatcher, timers: Timers, switchboard: Switchboard) -> None:
        self._world = world
        self._dispatcher = dispatcher
        self.clock = world.clock
        self.switchboard = switchboard
        self.actors: dict[str, TypedActor] = {}
        self.is_ready = False
        self.exit_code: int | None = None
        self.exit_reason = ""
        self.ports = Ports(
            clock=world.clock,
            new_id=world.new_id,
            timers=timers,
            io=dispatcher,
            switchboard=switchboard,
            report_failure=self.report_failure,
        )

    def start(self) -> None:
        """Make every actor, introduce them to each other, and tell the supervisor to begin."""
        machine = parts(self._world, self)
        _check(tuple(part.actor_class for part in machine))
        for part in machine:
            self._make(part)
        self._connect()
        self.switchboard.tap(self._note_ready)
        for actor in self.actors.values():
            actor.begin()
        self.tell(StartEngine())

    def _make(self, part: Part) -> None:
        actor = self._dispatcher.runnable(part.actor_class)(self.ports, **part.made_with)
        self._dispatcher.register(actor)
        self.actors[part.actor_class.role] = actor

    def _connect(self) -> None:
        self.switchboard.connect(self.actors, self._dispatcher.post_of, HEARD_ELSEWHERE)

    def _note_ready(self, message: Message) -> None:
        if type(message) is EngineReady:
            self.is_ready = True
            self.switchboard.untap(self._note_ready)

    # For those outside --------------------------------------------------------------------------------

    def tell(self, message: Message, proposal_id: ProposalId | None = None) -> None:
        """Say something from outside, on the thread that runs the machine."""
        self.switchboard.route(message, UNSTAMPED, proposal_id)

    @property
    def failed(self) -> bool:
        """Whether the engine has ended."""
        return self.exit_code is not None

    def drain(self) -> None:
        """Take nothing new, settle, and end with exit code 0."""
        self.tell(DrainEngine())

    def reports(self) -> tuple[ActorReport, ...]:
        """Return the figures of every actor, in the order of starting."""
        return tuple(actor.report() for actor in self.actors.values())

    # For the supervisor -------------------------------------------------------------------------------

    def stop(self, exit_code: int, reason: str) -> None:
        """End the engine; the first reason is the one that counts."""
        if self.exit_code is None:
            self.exit_code = exit_code
            self.exit_reason = reason

    def restart(self, role: str) -> None:
        """Put a new actor in the place of one that failed: empty inbox, recovered by itself."""
        logger.warning("restarting {}", role)
        for part in parts(self._world, self):
            if part.actor_class.role == role:
                self._make(part)
        self._connect()
        self.actors[role].begin()

    def is_drained(self) -> bool:
        """Say whether no order is under way and nothing waits for the journal."""
        settling = (self.actors[role] for role in ("order", "journal", "exchange"))
        return all(actor.is_settled() for actor in settling)  # type: ignore[attr-defined]

    def report_failure(self, role: str, error: BaseException) -> None:
        """Take note that an actor met what it did not expect; the supervisor judges what that means."""
        logger.opt(exception=error).error("actor {} failed", role)
        reason = f"{type(error).__name__}: {error}"
        if role == SupervisorActor.role:
            self.stop(EXIT_FAILED, f"{role} failed: {reason}")
        else:
            self.tell(ActorFailed(role=role, reason=reason))

"""SupervisorActor: starts the engine in order, judges failures, drains."""

from __future__ import annotations

from enum import Enum
from typing import assert_never

import attrs

from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from actors.supervisor.outbox import exchange_event
from actors.supervisor.policy import (
    EXIT_DRAINED,
    EXIT_FAILED,
    EXIT_NOT_DRAINED,
    EXIT_REFUSED,
    Control,
    OnFailure,
    RestartLimit,
    on_failure_of,
)
from config.settings import ActorSettings
from messages.base import Event
from messages.exchange import AccountReported, ExchangeAlert, GetAccount
from messages.journal import JournalLoaded, JournalStalled, LoadJournal, RecordAlert
from messages.lifecycle import (
    ActorFailed,
    DrainEngine,
    EngineDrained,
    EngineReady,
    ExchangeRefusesUs,
    OrdersReconciled,
    StartEngine,
    StopOpening,
)
from messages.protocols import SupervisorInbox, SupervisorOutbox

MICROSECONDS_PER_S = 1_000_000
LOOK_EVERY_US = 100_000
DRAIN_MAX_US = 10_000_000


@attrs.frozen(kw_only=True)
class LookIfDrained(Event):
    """Time to look whether everything has settled."""


class Phase(Enum):
    """How far the engine is in its life."""

    CREATED = "created"
    LOADING = "loading"
    RECONCILING = "reconciling"
    READY = "ready"
    DRAINING = "draining"
    DRAINED = "drained"
    STOPPED = "stopped"


@attrs.frozen(kw_only=True)
class SupervisorReport:
    """The engine's life at one instant, what last went wrong, and the account as the exchange last told it."""

    phase: Phase
    restarts: int
    last_trouble: str
    account: AccountReported | None


# It hears EngineDrained, its own fact, as well: all that was said before has been heard by then.
Heard = SupervisorInbox | LookIfDrained


class SupervisorActor(TypedActor):
    """Knows when the engine may trade, and when it must end."""

    role = "supervisor"
    accepts = kinds(Heard)
    emits = kinds(SupervisorOutbox)

    def __init__(self, ports: Ports, *, settings: ActorSettings, control: Control) -> None:
        super().__init__(ports)
        self._control = control
        self._limit = RestartLimit(
            restarts_max=settings.restarts_max, window_us=settings.restart_window_s * MICROSECONDS_PER_S
        )
        self._phase = Phase.CREATED
        self._drain_until_us = 0
        self._restarts = 0
        self._last_trouble = ""
        self._account: AccountReported | None = None

    def on_receive(self, message: Heard) -> None:  # noqa: C901 - flat: a line for each message.
        """Take the engine one step further in its life."""
        match message:
            case StartEngine():
                self._start()
            case JournalLoaded():
                self._reconcile()
            case OrdersReconciled():
                self._open()
            case AccountReported():
                self._account = message
            case DrainEngine():
                self._drain()
            case LookIfDrained():
                self._look_if_drained()
            case EngineDrained():
                self._end(EXIT_DRAINED, "drained")
            case ActorFailed():
                self._judge(message)
            case ExchangeAlert():
                self._last_trouble = f"{message.kind}: {message.text}"
                self.emit(RecordAlert(events=(exchange_event(message, self.now_us),)))
            case ExchangeRefusesUs():
                self._last_trouble = message.reason
                self._end(EXIT_REFUSED, f"the exchange refuses us: {message.reason}; see to the key, then start again")
            case JournalStalled():
                self._last_trouble = f"the journal stalled: {message.reason}"
            case _:
                assert_never(message)

    def describe(self) -> SupervisorReport:
        """Return how far the engine is and what last went wrong."""
        return SupervisorReport(
            phase=self._phase, restarts=self._restarts, last_trouble=self._last_trouble, account=self._account
        )

    def _start(self) -> None:
        if self._phase is Phase.CREATED:
            self._phase = Phase.LOADING
            self.emit(LoadJournal())

    def _reconcile(self) -> None:
        if self._phase is Phase.LOADING:
            self._phase = Phase.RECONCILING
            self.emit(GetAccount())  # What the books are compared with, and the first sign of life.

    def _open(self) -> None:
        if self._phase is Phase.RECONCILING:  # Reconciled again later, the engine is open already.
            self._phase = Phase.READY
            self.emit(EngineReady())

    def _drain(self) -> None:
        if self._phase not in (Phase.DRAINING, Phase.DRAINED, Phase.STOPPED):
            self._phase = Phase.DRAINING
            self._drain_until_us = self.now_us + DRAIN_MAX_US
            self.emit(StopOpening())
            self.after(LOOK_EVERY_US, LookIfDrained())

    def _look_if_drained(self) -> None:
        if self._phase is not Phase.DRAINING:
            return
        if self._control.is_drained():
            self._phase = Phase.DRAINED
            self.emit(EngineDrained())
        elif self.now_us >= self._drain_until_us:
            self._end(EXIT_NOT_DRAINED, f"not drained within {DRAIN_MAX_US // MICROSECONDS_PER_S} s")
        else:
            self.after(LOOK_EVERY_US, LookIfDrained())

    def _judge(self, failure: ActorFailed) -> None:
        self._last_trouble = f"{failure.role}: {failure.reason}"
        if self._phase is Phase.STOPPED:
            return
        if on_failure_of(failure.role) is OnFailure.STOP_ENGINE:
            self._end(EXIT_FAILED, f"{failure.role} failed: {failure.reason}")
        elif (limit := self._limit.after_restart(self.now_us)) is None:
            self._end(EXIT_FAILED, f"{failure.role} failed too often: {failure.reason}")
        else:
            self._limit = limit
            self._restarts += 1
            self._control.restart(failure.role)

    def _end(self, exit_code: int, reason: str) -> None:
        if self._phase is not Phase.STOPPED:  # The first reason is the one that counts.
            self._phase = Phase.STOPPED
            self._control.stop(exit_code, reason)

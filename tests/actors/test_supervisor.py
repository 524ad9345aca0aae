"""The engine starts in order, ends for a reason, and loses nothing when it drains."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervisor.actor import Phase, SupervisorActor
from actors.supervisor.policy import (
    EXIT_DRAINED,
    EXIT_FAILED,
    EXIT_NOT_DRAINED,
    ON_FAILURE,
    OnFailure,
    RestartLimit,
    on_failure_of,
)
from config.settings import ActorSettings
from messages.base import Currency
from messages.bus import EventPriority, Topic
from messages.exchange import AccountReported, ExchangeAlert, GetAccount
from messages.journal import JournalLoaded, JournalStalled, LoadJournal, RecordAlert, RecoveredState
from messages.lifecycle import (
    ActorFailed,
    DrainEngine,
    EngineDrained,
    EngineReady,
    OrdersReconciled,
    StartEngine,
    StopOpening,
)
from tests.runtime.driver import Stage, on_both, play

SECOND_US = 1_000_000


class PaperControl:
    """Keeps what the supervisor wanted of the engine."""

    def __init__(self, looks_until_drained: int = 0) -> None:
        self.stops: list[tuple[int, str]] = []
        self.restarts: list[str] = []
        self.looks = 0
        self._looks_until_drained = looks_until_drained

    def stop(self, exit_code: int, reason: str) -> None:
        self.stops.append((exit_code, reason))

    def restart(self, role: str) -> None:
        self.restarts.append(role)

    def is_drained(self) -> bool:
        self.looks += 1
        return self.looks > self._looks_until_drained


def enter(stage: Stage, control: PaperControl, **settings: int) -> SupervisorActor:
    stage.audience(LoadJournal, GetAccount, RecordAlert, EngineReady, StopOpening)
    return stage.enter(SupervisorActor, settings=ActorSettings(**settings), control=control)  # type: ignore[arg-type]


def spoken(stage: Stage) -> list[str]:
    """What the supervisor has said, in order."""
    return [type(one).__name__ for one in stage.said if type(one) in SupervisorActor.emits]


async def start(stage: Stage) -> None:
    for message in (
        StartEngine(),
        JournalLoaded(state=RecoveredState()),
        OrdersReconciled(orders=0, repaired=0),
    ):
        stage.say(message)
        await stage.settle()


@on_both
async def test_the_engine_is_ready_once_journal_and_exchange_agree(stage: Stage) -> None:
    supervisor = enter(stage, PaperControl())
    stage.say(StartEngine())
    await stage.settle()
    assert spoken(stage) == ["LoadJournal"]
    stage.say(JournalLoaded(state=RecoveredState()))
    await stage.settle()
    assert spoken(stage) == ["LoadJournal", "GetAccount"]
    stage.say(OrdersReconciled(orders=3, repaired=1))
    await stage.settle()
    assert spoken(stage) == ["LoadJournal", "GetAccount", "EngineReady"]
    assert (await stage.state_of(supervisor)).phase is Phase.READY


@on_both
async def test_reconciling_again_or_starting_twice_changes_nothing(stage: Stage) -> None:
    enter(stage, PaperControl())
    await start(stage)
    await start(stage)
    assert spoken(stage) == ["LoadJournal", "GetAccount", "EngineReady"]


@on_both
async def test_draining_stops_opening_and_ends_once_all_has_settled(stage: Stage) -> None:
    control = PaperControl(looks_until_drained=2)
    supervisor = enter(stage, control)
    await start(stage)
    stage.say(DrainEngine())
    stage.say(DrainEngine())
    await stage.advance(299_999)
    assert spoken(stage)[3:] == ["StopOpening"]
    assert (control.looks, control.stops) == (2, [])
    assert (await stage.state_of(supervisor)).phase is Phase.DRAINING

    await stage.advance(1)

    assert spoken(stage)[3:] == ["StopOpening", "EngineDrained"]
    assert control.stops == [(EXIT_DRAINED, "drained")]
    await stage.advance(60 * SECOND_US)
    assert len(stage.of(EngineDrained)) == 1
    assert control.looks == 3


@on_both
async def test_what_does_not_settle_within_ten_seconds_is_left_to_the_next_start(stage: Stage) -> None:
    control = PaperControl(looks_until_drained=10_000)
    enter(stage, control)
    await start(stage)
    stage.say(DrainEngine())
    await stage.advance(60 * SECOND_US)

    assert control.stops == [(EXIT_NOT_DRAINED, "not drained within 10 s")]
    assert stage.of(EngineDrained) == []
    assert control.looks == 100


@on_both
async def test_draining_before_it_was_ready_never_opens(stage: Stage) -> None:
    enter(stage, PaperControl())
    stage.say(StartEngine())
    stage.say(DrainEngine())
    stage.say(JournalLoaded(state=RecoveredState()))
    stage.say(OrdersReconciled(orders=0, repaired=0))
    await stage.advance(SECOND_US)
    assert spoken(stage) == ["LoadJournal", "StopOpening", "EngineDrained"]


@pytest.mark.parametrize("role", [role for role, what in ON_FAILURE.items() if what is OnFailure.STOP_ENGINE])
def test_the_loss_of_a_trading_actor_stops_the_engine(role: str) -> None:
    async def scenario(stage: Stage) -> None:
        control = PaperControl()
        supervisor = enter(stage, control)
        stage.say(ActorFailed(role=role, reason="KeyError: 'x'"))
        stage.say(ActorFailed(role="bus", reason="a second one"))
        await stage.settle()
        assert control.stops == [(EXIT_FAILED, f"{role} failed: KeyError: 'x'")]
        assert control.restarts == [], "nothing is restarted in an engine that ends"
        assert (await stage.state_of(supervisor)).last_trouble == "bus: a second one"

    play(scenario)


@on_both
async def test_snapshot_and_bus_are_restarted_three_times_a_minute_and_no_more(stage: Stage) -> None:
    control = PaperControl()
    supervisor = enter(stage, control, restarts_max=3, restart_window_s=60)
    for role in ("bus", "snapshot", "bus"):
        stage.say(ActorFailed(role=role, reason="?"))
        await stage.advance(10 * SECOND_US)
    assert (control.restarts, control.stops) == (["bus", "snapshot", "bus"], [])

    await stage.advance(30 * SECOND_US)  # A minute since the first: it counts no more.
    stage.say(ActorFailed(role="snapshot", reason="?"))
    await stage.settle()
    assert len(control.restarts) == (await stage.state_of(supervisor)).restarts == 4

    stage.say(ActorFailed(role="bus", reason="again"))
    await stage.settle()
    assert control.stops == [(EXIT_FAILED, "bus failed too often: again")]


@on_both
async def test_troubles_elsewhere_are_kept_for_those_who_look_in(stage: Stage) -> None:
    control = PaperControl()
    supervisor = enter(stage, control)
    account = AccountReported(balances=((Currency("USD"), Decimal(5)),), holdings=(), open_orders=(), at_us=1)
    stage.say(account)
    stage.say(ExchangeAlert(kind="liquidation", text="BTC/USD"))
    await stage.settle()
    assert (await stage.state_of(supervisor)).last_trouble == "liquidation: BTC/USD"
    stage.say(JournalStalled(reason="gone"))
    await stage.settle()
    state = await stage.state_of(supervisor)
    assert (state.last_trouble, state.account) == ("the journal stalled: gone", account)
    assert (control.stops, control.restarts) == ([], [])


@on_both
async def test_what_the_exchange_warns_of_is_kept(stage: Stage) -> None:
    enter(stage, PaperControl())
    stage.say(ExchangeAlert(kind="liquidation", text="BTC/USD"))
    stage.say(ExchangeAlert(kind="feed_lost", text="silence"))
    await stage.settle()
    events = [event for record in stage.of(RecordAlert) for event in record.events]
    assert [(event.kind, event.topic, event.priority, event.details) for event in events] == [
        ("liquidation", Topic.RISK_ALERTS, EventPriority.URGENT, (("reason", "BTC/USD"),)),
        ("feed_lost", Topic.SYSTEM_EVENTS, EventPriority.HIGH, (("reason", "silence"),)),
    ]


def test_only_snapshot_and_bus_are_restarted_and_an_unknown_role_stops_the_engine() -> None:
    restarted = {role for role, what in ON_FAILURE.items() if what is OnFailure.RESTART}
    assert restarted == {"snapshot", "bus"}
    assert on_failure_of("somebody new") is OnFailure.STOP_ENGINE


@given(st.integers(0, 4), st.integers(1, 100), st.lists(st.integers(0, 60), max_size=40))
def test_no_window_holds_more_restarts_than_allowed(restarts_max: int, window_us: int, waits_us: list[int]) -> None:
    limit = RestartLimit(restarts_max=restarts_max, window_us=window_us)
    restarted_us: list[int] = []
    now_us = 0
    for wait_us in waits_us:
        now_us += wait_us
        in_window = [at_us for at_us in restarted_us if at_us > now_us - window_us]
        next_limit = limit.after_restart(now_us)
        assert (next_limit is None) == (len(in_window) >= restarts_max)
        if next_limit is not None:
            limit = next_limit
            restarted_us.append(now_us)
    assert len(limit.at_us) <= restarts_max

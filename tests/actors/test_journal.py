"""The journal commits everything, in order, in groups, and nothing is said before it is in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from actors.journal.actor import JournalActor
from actors.journal.commits import JournalReport, QueueFullError
from config.settings import JournalSettings
from messages.base import Currency, OrderId, PositionId, ProposalId, Symbol
from messages.bus import EventPriority, EventsCommitted, NumberedEvent, PublicEvent, Topic
from messages.journal import (
    IntentRecorded,
    JournalLoaded,
    JournalResumed,
    JournalStalled,
    LoadJournal,
    RecordAlert,
    RecordIntent,
    RecordUnit,
    RecoveredState,
)
from messages.orders import Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.trades import OrderType, Side
from persistence.protocol import JournalUnavailableError
from tests.runtime.driver import Stage, on_both, on_shared

SECOND_US = 1_000_000
STATE = RecoveredState(requests=(ProposalId("trade-0"),))


class PaperJournal:
    """Keeps the groups it was handed, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.groups: list[tuple[RecordUnit, ...]] = []
        self.attempts = 0
        self.errors: deque[Exception] = deque()
        self.gate: asyncio.Event | None = None
        self._sequence = 0
        self._under_way = False

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        assert not self._under_way, "one commit at a time"
        self._under_way = True
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        self._under_way = False
        if self.errors:
            raise self.errors.popleft()
        self.groups.append(tuple(units))
        return tuple(self._numbered(event) for unit in units for event in unit.events)  # type: ignore[union-attr]

    def _numbered(self, event: PublicEvent) -> NumberedEvent:
        self._sequence += 1
        return NumberedEvent(sequence=self._sequence, event=event)

    async def load(self) -> RecoveredState:
        if self.errors:
            raise self.errors.popleft()
        return STATE

    async def open_account(self, balances: Mapping[Currency, Decimal]) -> Mapping[Currency, Decimal]:
        return balances

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        return frozenset(ids)

    @property
    def kept(self) -> list[RecordUnit]:
        """What others have recorded: the journal's own word on its outages is `told`."""
        return [unit for group in self.groups for unit in group if not is_of_journal(unit)]

    @property
    def told(self) -> list[RecordUnit]:
        return [unit for group in self.groups for unit in group if is_of_journal(unit)]


def is_of_journal(unit: RecordUnit) -> bool:
    return isinstance(unit, RecordAlert) and unit.events[0].kind == "journal_stalled"


def alert(number: int) -> RecordAlert:
    event = PublicEvent(
        topic=Topic.SYSTEM_EVENTS,
        kind=f"alert {number}",
        priority=EventPriority.NORMAL,
        proposal_id=None,
        at_us=number,
        details=(),
    )
    return RecordAlert(events=(event,))


def intent(number: int) -> RecordIntent:
    made = OrderIntent(
        id=OrderId(f"order-{number}"),
        proposal_id=ProposalId(f"trade-{number}"),
        position_id=PositionId("position"),
        symbol=Symbol("BTC/USDT"),
        side=Side.BUY,
        role=OrderRole.ENTRY,
        order_type=OrderType.MARKET,
        volume_base=Decimal(1),
        limit_price_quote=None,
        trigger_price_quote=None,
        reference_price_quote=Decimal(100),
        leverage=1,
        reduce_only=False,
        time_in_force=TimeInForce.IOC,
        expires_at_us=None,
        attempt=1,
        created_at_us=0,
    )
    order = Order(
        intent=made, status=OrderStatus.PENDING, volume_base=Decimal(1), trigger_price_quote=None, updated_at_us=0
    )
    return RecordIntent(order=order)


HEARD = (IntentRecorded, EventsCommitted, JournalLoaded, JournalStalled, JournalResumed)


def enter(stage: Stage, journal: PaperJournal, **settings: int) -> JournalActor:
    stage.audience(*HEARD)
    return stage.enter(JournalActor, journal=journal, settings=JournalSettings(**settings))


def outage() -> JournalUnavailableError:
    return JournalUnavailableError("connection refused")


def sequences(stage: Stage) -> list[int]:
    return [event.sequence for committed in stage.of(EventsCommitted) for event in committed.events]


@on_shared
async def test_whatever_waits_is_one_group_and_the_next_starts_when_it_is_in(stage: Stage) -> None:
    journal = PaperJournal()
    journal.gate = asyncio.Event()
    actor = enter(stage, journal)

    for number in range(3):
        stage.say(alert(number))
    stage.dispatcher.settle()
    for number in range(3, 10):
        stage.say(alert(number))
    journal.gate.set()
    await stage.settle()

    assert journal.groups == [tuple(map(alert, range(3))), tuple(map(alert, range(3, 10)))]
    assert sequences(stage) == list(range(1, 11))
    assert await stage.state_of(actor) == JournalReport(
        commits=2, units=10, waiting=0, in_flight=0, stalled=False, stalled_by=""
    )


@on_both
async def test_a_group_is_bounded_and_nothing_is_lost_or_reordered(stage: Stage) -> None:
    journal = PaperJournal()
    enter(stage, journal, group_max=4)
    units = [alert(number) for number in range(103)]

    for unit in units:
        stage.say(unit)
    await stage.settle()

    assert journal.kept == units
    assert max(map(len, journal.groups)) <= 4
    assert sequences(stage) == list(range(1, 104))


@on_shared
async def test_an_intent_is_recorded_only_once_it_is_in_and_belongs_to_its_trade(stage: Stage) -> None:
    journal = PaperJournal()
    journal.gate = asyncio.Event()
    enter(stage, journal)
    for number in (1, 2):
        stage.say(intent(number), ProposalId(f"trade-{number}"))

    stage.dispatcher.settle()
    for _ in range(10):
        await asyncio.sleep(0)
    assert stage.of(IntentRecorded) == []
    journal.gate.set()
    await stage.settle()

    recorded = stage.of(IntentRecorded)
    assert [(one.order_id, one.proposal_id) for one in recorded] == [("order-1", "trade-1"), ("order-2", "trade-2")]
    assert stage.of(EventsCommitted) == [], "no events, nothing to say of them"


@on_both
async def test_an_outage_is_told_once_retried_in_order_and_its_end_told_once(stage: Stage) -> None:
    journal = PaperJournal()
    journal.errors.extend(outage() for _ in range(3))
    actor = enter(stage, journal, retry_ms=1_000, group_max=2)
    stage.say(intent(1))
    await stage.settle()
    for number in range(2, 8):
        stage.say(intent(number))
    await stage.advance(2 * SECOND_US)

    state = await stage.state_of(actor)
    assert (journal.attempts, state.stalled, state.in_flight + state.waiting) == (3, True, 7 + 1)
    assert stage.of(JournalStalled) == [JournalStalled(reason="connection refused")]
    assert stage.of(IntentRecorded) == []
    assert not actor.is_settled()

    await stage.advance(SECOND_US)

    assert journal.kept == [intent(number) for number in range(1, 8)]
    assert len(stage.of(JournalStalled)) == len(stage.of(JournalResumed)) == 1
    said = [message for message in stage.said if isinstance(message, IntentRecorded | JournalResumed)]
    assert isinstance(said[-1], JournalResumed), "everything that waited is in before it is said"
    assert actor.is_settled()
    (told,) = journal.told
    assert isinstance(told, RecordAlert)
    assert told.events[0].priority is EventPriority.URGENT
    assert told.events[0].details == (("reason", "connection refused"),)


@on_shared
async def test_a_second_outage_while_catching_up_is_the_same_outage(stage: Stage) -> None:
    journal = PaperJournal()
    journal.errors.append(outage())
    enter(stage, journal, retry_ms=1_000, group_max=1)
    for number in range(3):
        stage.say(alert(number))
    await stage.settle()
    journal.gate = asyncio.Event()
    stage.clock.advance_to(stage.timers.next_due_us() or 0)
    stage.timers.fire_next()
    stage.dispatcher.settle()
    journal.gate.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    journal.errors.append(outage())
    await stage.settle()

    assert len(stage.of(JournalStalled)) == 1
    assert stage.of(JournalResumed) == []
    await stage.advance(SECOND_US)
    assert journal.kept == [alert(number) for number in range(3)]
    assert len(stage.of(JournalResumed)) == 1


@on_shared
async def test_an_answer_that_is_late_is_an_outage_until_it_comes(stage: Stage) -> None:
    """Whoever protects must not wait for it; the commit itself goes on, and is made once."""
    journal = PaperJournal()
    journal.gate = asyncio.Event()
    enter(stage, journal, commit_slow_ms=2_000)
    stage.say(alert(0))
    stage.dispatcher.settle()
    stage.clock.advance_to(stage.clock.now_us() + SECOND_US)
    stage.say(alert(1))
    stage.dispatcher.settle()
    fire_until(stage, stage.clock.now_us() + SECOND_US - 1)
    assert stage.of(JournalStalled) == []

    fire_until(stage, stage.clock.now_us() + 1)
    assert [said.reason for said in stage.of(JournalStalled)] == ["the database has not answered a commit in time"]
    assert stage.of(JournalResumed) == []

    journal.gate.set()
    await stage.settle()
    assert journal.kept == [alert(0), alert(1)]
    assert journal.attempts == 2
    assert len(stage.of(JournalResumed)) == 1


@on_shared
async def test_commits_that_are_answered_in_time_are_no_outage_however_many(stage: Stage) -> None:
    journal = PaperJournal()
    enter(stage, journal, commit_slow_ms=2_000)
    for number in range(50):
        stage.say(alert(number))
        await stage.advance(SECOND_US)
    assert stage.of(JournalStalled) == []
    assert len(journal.kept) == 50


def fire_until(stage: Stage, until_us: int) -> None:
    """Let time pass while I/O is under way, which `advance` would wait for."""
    while (due_us := stage.timers.next_due_us()) is not None and due_us <= until_us:
        stage.clock.advance_to(due_us)
        stage.timers.fire_next()
        stage.dispatcher.settle()
    stage.clock.advance_to(until_us)


@on_both
async def test_too_many_waiting_units_stop_the_engine_instead_of_being_dropped(stage: Stage) -> None:
    journal = PaperJournal()
    journal.errors.append(outage())
    enter(stage, journal, waiting_max=5)
    stage.say(alert(0))
    await stage.settle()
    for number in range(1, 5):  # Beside the journal's own word on its outage.
        stage.say(alert(number))
    await stage.settle()
    assert stage.failures == []

    stage.say(alert(5))
    await stage.settle()

    [(role, error)] = stage.failures
    assert role == "journal"
    assert isinstance(error, QueueFullError)
    assert str(error) == "more than 5 units wait for the journal (connection refused)"


@on_both
async def test_what_is_not_an_outage_stops_the_engine(stage: Stage) -> None:
    journal = PaperJournal()
    journal.errors.append(ValueError("numeric field overflow"))
    enter(stage, journal)
    stage.say(alert(0))
    await stage.settle()

    [(role, error)] = stage.failures
    assert (role, str(error)) == ("journal", "numeric field overflow")
    assert stage.of(JournalStalled) == []


@on_both
async def test_loading_answers_with_what_is_remembered(stage: Stage) -> None:
    enter(stage, PaperJournal())
    stage.say(LoadJournal())
    await stage.settle()
    assert stage.of(JournalLoaded) == [JournalLoaded(state=STATE)]


@on_both
async def test_a_journal_that_cannot_be_read_stops_the_engine(stage: Stage) -> None:
    journal = PaperJournal()
    journal.errors.append(outage())
    enter(stage, journal)
    stage.say(LoadJournal())
    await stage.settle()
    assert [(role, type(error)) for role, error in stage.failures] == [("journal", JournalUnavailableError)]


def test_every_kind_of_unit_is_accepted() -> None:
    units = set(attrs_unions())
    assert units <= JournalActor.accepts
    assert len(units) == 9


def attrs_unions() -> tuple[type, ...]:
    kinds: tuple[type, ...] = RecordUnit.__args__
    assert all(attrs.has(kind) for kind in kinds)
    return kinds

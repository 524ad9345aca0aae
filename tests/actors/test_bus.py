"""Subscribers hear what is committed, the urgent first; a slow one harms itself alone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.bus.actor import EventBusActor
from actors.bus.subscription import Subscription
from config.settings import BusSettings
from messages.bus import EventPriority, EventsCommitted, NumberedEvent, PublicEvent, Subscribe, Topic, Unsubscribe
from messages.risk import TradingState, TradingStateChanged
from tests.runtime.driver import Stage, on_both, play

ORDERS = frozenset({Topic.EXECUTION_EVENTS})
EVERYTHING = frozenset(Topic)


def event(
    sequence: int, priority: EventPriority = EventPriority.NORMAL, topic: Topic = Topic.EXECUTION_EVENTS
) -> NumberedEvent:
    return NumberedEvent(
        sequence=sequence,
        event=PublicEvent(
            topic=topic, kind="order_filled", priority=priority, proposal_id=None, at_us=sequence, details=()
        ),
    )


def committed(*events: NumberedEvent) -> EventsCommitted:
    return EventsCommitted(events=events)


def sequences(events: tuple[NumberedEvent, ...]) -> list[int]:
    return [one.sequence for one in events]


async def subscribe(stage: Stage, bus: EventBusActor, name: str, capacity: int = 100) -> Subscription:
    subscription = await stage.ask(bus, Subscribe(name=name, topics=ORDERS, capacity=capacity))
    assert isinstance(subscription, Subscription)
    return subscription


def enter(stage: Stage) -> EventBusActor:
    return stage.enter(EventBusActor, settings=BusSettings(capacity_max=1_000))


@on_both
async def test_a_subscriber_hears_its_topics_from_now_on(stage: Stage) -> None:
    bus = enter(stage)
    stage.say(committed(event(1)))
    subscription = await subscribe(stage, bus, "desk")

    stage.say(committed(event(2), event(3, topic=Topic.RISK_ALERTS), event(4)))
    await stage.settle()

    assert subscription.pending == 2
    assert sequences(subscription.take(10)) == [2, 4]
    assert (subscription.pending, subscription.lost, subscription.ended) == (0, 0, False)


@on_both
async def test_the_urgent_come_first_and_equals_in_order(stage: Stage) -> None:
    bus = enter(stage)
    subscription = await subscribe(stage, bus, "desk")
    low, normal, high, urgent = EventPriority
    stage.say(committed(*(event(n, p) for n, p in enumerate((low, urgent, normal, high, urgent, normal), start=1))))
    await stage.settle()

    assert sequences(subscription.take(4)) == [2, 5, 4, 3]
    assert sequences(subscription.take(4)) == [6, 1]


@on_both
async def test_a_slow_subscriber_loses_the_oldest_of_the_least_urgent_and_nobody_else_does(stage: Stage) -> None:
    bus = enter(stage)
    slow = await subscribe(stage, bus, "slow", capacity=3)
    quick = await subscribe(stage, bus, "quick")

    events = [event(1, EventPriority.URGENT), event(2), event(3), event(4), event(5, EventPriority.LOW)]
    stage.say(committed(*events))
    await stage.settle()

    assert (slow.lost, slow.pending) == (2, 3)
    assert sequences(slow.take(10)) == [1, 3, 4]
    assert (quick.lost, sequences(quick.take(10))) == (0, [1, 2, 3, 4, 5])
    report = await stage.state_of(bus)
    assert [(one.name, one.lost) for one in report.subscribers] == [("slow", 2), ("quick", 0)]
    assert report.events == 5


@on_both
async def test_unsubscribing_ends_the_subscription(stage: Stage) -> None:
    bus = enter(stage)
    subscription = await subscribe(stage, bus, "desk")
    stage.say(committed(event(1)))
    stage.say(Unsubscribe(name="desk"))
    stage.say(Unsubscribe(name="nobody"))
    stage.say(committed(event(2)))
    await stage.settle()

    assert subscription.ended
    assert sequences(subscription.take(10)) == [1]


@on_both
async def test_who_comes_back_under_its_name_takes_the_place_of_its_dead_self(stage: Stage) -> None:
    bus = enter(stage)
    dead = await subscribe(stage, bus, "desk")
    alive = await subscribe(stage, bus, "desk")
    stage.say(committed(event(1)))
    await stage.settle()

    assert (dead.ended, dead.pending) == (True, 0)
    assert (alive.ended, alive.pending) == (False, 1)


@pytest.mark.parametrize("capacity", [0, -1, 1_001])
def test_an_impossible_capacity_is_refused_to_the_asker_alone(capacity: int) -> None:
    async def scenario(stage: Stage) -> None:
        bus = enter(stage)
        with pytest.raises(ValueError, match="capacity of desk must be 1 to 1000"):
            await subscribe(stage, bus, "desk", capacity)
        assert stage.failures == []
        assert (await subscribe(stage, bus, "desk")).pending == 0

    for dispatcher in ("shared", "threads"):
        play(scenario, dispatcher)


@on_both
async def test_restarted_in_place_it_serves_new_subscribers_and_the_old_see_that_it_is_over(stage: Stage) -> None:
    old_bus = enter(stage)
    old = await subscribe(stage, old_bus, "desk")
    stage.say(committed(event(1)))
    old_bus.actor_ref.tell("nonsense")  # Whatever it does not understand stops an actor.
    await stage.settle()
    assert [role for role, _error in stage.failures] == ["bus"]
    assert old.ended
    assert sequences(old.take(10)) == [1]

    new = await subscribe(stage, enter(stage), "desk")
    stage.say(committed(event(2)))
    await stage.settle()
    assert sequences(new.take(10)) == [2]


@on_both
async def test_a_change_of_the_trading_state_reaches_subscribers_only_as_a_committed_event(stage: Stage) -> None:
    bus = enter(stage)
    subscription = await stage.ask(bus, Subscribe(name="desk", topics=EVERYTHING, capacity=10))
    stage.say(TradingStateChanged(state=TradingState.HALTED, reason="drawdown"))
    await stage.settle()
    assert subscription.pending == 0


@given(st.lists(st.sampled_from(EventPriority), max_size=60), st.integers(1, 10))
def test_what_is_kept_is_the_best_that_fits(priorities: list[EventPriority], capacity: int) -> None:
    """Highest priorities, newest of the lowest kept; kept and lost are everything."""
    subscription = Subscription("desk", ORDERS, capacity)
    kept: list[tuple[EventPriority, int]] = []
    for sequence, priority in enumerate(priorities):
        subscription.put(event(sequence, priority))
        kept.append((priority, sequence))
        if len(kept) > capacity:
            kept.remove(min(kept))

    taken = subscription.take(capacity)
    assert [(one.event.priority, one.sequence) for one in taken] == sorted(kept, key=lambda one: (-one[0], one[1]))
    assert len(taken) + subscription.lost == len(priorities)


@on_both
async def test_taking_while_the_bus_puts_loses_and_doubles_nothing(stage: Stage) -> None:
    """Two threads, no lock: every event is taken once, or counted as lost."""
    bus = enter(stage)
    subscription = await subscribe(stage, bus, "desk", capacity=50)
    priorities = list(EventPriority)
    total = 5_000
    taken: list[int] = []

    def take_all() -> None:
        while len(taken) + subscription.lost < total:
            taken.extend(sequences(subscription.take(7)))

    taker = asyncio.get_running_loop().run_in_executor(None, take_all)
    for sequence in range(total):
        stage.say(committed(event(sequence, priorities[sequence % 4])))
    await stage.settle()
    await asyncio.wait_for(taker, 30)

    assert len(taken) == len(set(taken))
    assert len(taken) + subscription.lost == total
    for priority in range(4):
        of_one_priority = [sequence for sequence in taken if sequence % 4 == priority]
        assert of_one_priority == sorted(of_one_priority)

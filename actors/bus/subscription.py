"""One subscriber's own queue: the urgent first, the oldest of the least urgent lost when it is full.

The bus puts in on its thread, the subscriber takes out on its own. Nothing is locked, because nothing is shared but
deques, whose `append` and `popleft` are atomic, and each number is written by one side alone.
"""

from __future__ import annotations

from collections import deque

import attrs

from messages.bus import EventPriority, NumberedEvent, Topic

MOST_URGENT_FIRST = tuple(sorted(EventPriority, reverse=True))


class Subscription:
    """A bounded queue between the bus, which calls `put` and `end`, and one subscriber, which calls `take`."""

    def __init__(self, name: str, topics: frozenset[Topic], capacity: int) -> None:
        self.name = name
        self.topics = topics
        self.capacity = capacity
        self._lanes: tuple[deque[NumberedEvent], ...] = tuple(deque() for _ in EventPriority)
        self._lost = 0
        self._ended = False

    @property
    def lost(self) -> int:
        """How many events this subscriber was too slow for, since it subscribed."""
        return self._lost

    @property
    def pending(self) -> int:
        """How many events wait to be taken."""
        return sum(map(len, self._lanes))

    @property
    def ended(self) -> bool:
        """Whether no more events will come: subscribe again to hear what follows."""
        return self._ended

    def take(self, max_: int) -> tuple[NumberedEvent, ...]:
        """Return at most `max_` events, the most urgent first, in outbox order within one priority."""
        taken: list[NumberedEvent] = []
        for priority in MOST_URGENT_FIRST:
            lane = self._lanes[priority]
            while len(taken) < max_ and (event := _next_of(lane)) is not None:
                taken.append(event)
        return tuple(taken)

    def put(self, event: NumberedEvent) -> None:
        """Queue an event; over capacity, the oldest of the lowest priority is lost."""
        self._lanes[event.event.priority].append(event)
        # The subscriber may take at the same moment: then there is room, and nothing need be lost.
        while self.pending > self.capacity and self._lose_one():
            self._lost += 1

    def end(self) -> None:
        """Say that no more events will come. What waits may still be taken."""
        self._ended = True

    def _lose_one(self) -> bool:
        return any(_next_of(lane) is not None for lane in self._lanes)


def _next_of(lane: deque[NumberedEvent]) -> NumberedEvent | None:
    """Take the oldest event of a lane, None when the other side was quicker."""
    try:
        return lane.popleft()
    except IndexError:
        return None


@attrs.frozen(kw_only=True)
class SubscriberReport:
    """One subscriber at one instant."""

    name: str
    topics: tuple[str, ...]
    pending: int
    lost: int


@attrs.frozen(kw_only=True)
class BusReport:
    """The bus at one instant: events fanned out so far, and who hears them."""

    events: int
    subscribers: tuple[SubscriberReport, ...]


def report_of(subscription: Subscription) -> SubscriberReport:
    """Return the figures of one subscriber."""
    return SubscriberReport(
        name=subscription.name,
        topics=tuple(sorted(topic.value for topic in subscription.topics)),
        pending=subscription.pending,
        lost=subscription.lost,
    )

"""What the world outside may hear: four topics, four priorities, and the events themselves."""

from __future__ import annotations

from enum import Enum, IntEnum

import attrs

from messages.base import Command, Event, ProposalId


class Topic(Enum):
    """What an event is about."""

    EXECUTION_EVENTS = "execution_events"
    PORTFOLIO_UPDATES = "portfolio_updates"
    RISK_ALERTS = "risk_alerts"
    SYSTEM_EVENTS = "system_events"


class EventPriority(IntEnum):
    """How urgent it is: the higher is delivered first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    URGENT = 3


@attrs.frozen(kw_only=True)
class PublicEvent:
    """One event of the outbox. `details` are names and values as text, money as decimal strings."""

    topic: Topic
    kind: str
    priority: EventPriority
    proposal_id: ProposalId | None
    at_us: int
    details: tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class NumberedEvent:
    """A committed event with its place in the outbox."""

    sequence: int
    event: PublicEvent


@attrs.frozen(kw_only=True)
class EventsCommitted(Event):
    """These events are facts in the database now, in this order."""

    events: tuple[NumberedEvent, ...]


@attrs.frozen(kw_only=True)
class Subscribe(Command):
    """Hear topics from now on, through a bounded queue of one's own, named for the log.

    A subscriber that does not keep up loses the oldest events and is told how many; nobody else notices.
    """

    name: str
    topics: frozenset[Topic]
    capacity: int


@attrs.frozen(kw_only=True)
class Unsubscribe(Command):
    """Stop hearing."""

    name: str

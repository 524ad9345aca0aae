"""What the world hears of the exchange's alerts: each as a public event, kept like every other."""

from __future__ import annotations

from messages.bus import EventPriority, PublicEvent, Topic
from messages.exchange import ExchangeAlert

OF_THE_LINE = frozenset(
    {"exchange_status", "feed_lost", "feed_unreadable", "feed_incomplete", "pairs_unreadable", "dead_man_switch"}
)
"""Kinds that are about the exchange and the way to it; all others are about the account, and a person's money."""


def exchange_event(alert: ExchangeAlert, now_us: int) -> PublicEvent:
    """Return the alert as the outside hears it: what touches the account is urgent."""
    is_of_the_line = alert.kind in OF_THE_LINE
    return PublicEvent(
        topic=Topic.SYSTEM_EVENTS if is_of_the_line else Topic.RISK_ALERTS,
        kind=alert.kind,
        priority=EventPriority.HIGH if is_of_the_line else EventPriority.URGENT,
        proposal_id=None,
        at_us=now_us,
        details=(("reason", alert.text),),
    )

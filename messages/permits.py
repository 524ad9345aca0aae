"""Permits: when a call may leave for the exchange."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

import attrs

from messages.base import Command, Event, OrderId


class CallPriority(IntEnum):
    """Who goes first when calls must wait: the smaller number."""

    PROTECT = 0
    CANCEL = 1
    OPEN = 2
    QUERY = 3


class CallKind(IntEnum):
    """What the call is for: a permit is spent on the call it was asked for."""

    PLACE = 0
    AMEND = 1
    CANCEL = 2
    LOOK_UP = 3
    POLL = 4


@attrs.frozen(kw_only=True)
class RequestPermit(Command):
    """May this call leave? Answered by PermitGranted, or by PermitExpired once `deadline_us` has passed."""

    kind: CallKind
    priority: CallPriority
    order_id: OrderId | None
    """None for a poll, which is about all orders."""
    deadline_us: int


@attrs.frozen(kw_only=True)
class PermitGranted(Event):
    """The call may leave now; its tokens are spent."""

    kind: CallKind
    order_id: OrderId | None


@attrs.frozen(kw_only=True)
class PermitExpired(Event):
    """The call waited past its deadline; nothing was spent."""

    kind: CallKind
    order_id: OrderId | None

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class TokensReported(Event):
    """Exact figures on request: tokens in each bucket (thousandths of a token) and calls that wait."""

    api_millitokens: int
    order_millitokens: int
    waiting: int

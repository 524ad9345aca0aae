"""Permits: when a call may leave for the exchange."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import ClassVar

import attrs

from messages.base import Command, Event, OrderId, Symbol


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


class ThrottleScope(Enum):
    """What the exchange will hear no more of for a while."""

    REST = "rest"
    """Calls that the REST counter counts: its limit was hit."""
    ORDERS = "orders"
    """Orders of one pair, amends and cancels included: the limit of the engine's counter was hit."""
    OPENINGS = "openings"
    """New entries alone: the exchange takes none for now, or nobody would tell what becomes of them."""
    ALL = "all"
    """Anything at all."""


@attrs.frozen(kw_only=True)
class RequestPermit(Command):
    """May this call leave? Answered by PermitGranted or PermitExpired."""

    kind: CallKind
    priority: CallPriority
    order_id: OrderId | None
    """None for a poll, which is about all orders."""
    symbol: Symbol | None = None
    """The pair; None for a poll."""
    touched_at_us: int | None = None
    """For an amend or a cancel: the latest instant at which the exchange may have taken the order up or moved it.
    The younger the order, the dearer the call; without an instant it counts as new."""
    open_orders: int = 0
    """Other orders of ours that are open in the pair or about to be, those included that wait for their permits."""
    deadline_us: int


@attrs.frozen(kw_only=True)
class PermitGranted(Event):
    """The call may leave now; its tokens are spent."""

    kind: CallKind
    order_id: OrderId | None


@attrs.frozen(kw_only=True)
class PermitExpired(Event):
    """The call may not leave, and nothing was spent: it waited past its deadline, or no more orders may be open."""

    kind: CallKind
    order_id: OrderId | None

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class RequestCall(Command):
    """May this REST call leave, which is not an order? Answered by CallGranted, however long that takes."""

    call: int
    """The asker's number for it."""
    points_milli: int
    """What it costs of the exchange's REST counter, in thousandths of a point."""
    priority: CallPriority


@attrs.frozen(kw_only=True)
class CallGranted(Event):
    """The REST call may leave now; its points are spent."""

    call: int


@attrs.frozen(kw_only=True)
class CallsThrottled(Event):
    """The exchange says that there were too many calls: until then it would refuse more."""

    scope: ThrottleScope
    symbol: Symbol | None
    """The pair whose orders are meant; None when the scope is wider."""
    until_us: int
    reason: str

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class PairReported:
    """What we reckon that the exchange counts of one pair."""

    symbol: Symbol
    engine_millipoints: int
    open_orders: int
    full_until_us: int | None
    """Until when the exchange has called its counter full."""


@attrs.frozen(kw_only=True)
class TokensReported(Event):
    """Exact figures on request: tokens in each bucket, points on each counter (thousandths), and calls that wait."""

    api_millitokens: int
    order_millitokens: int
    waiting: int
    rest_millipoints: int
    rest_full_until_us: int | None
    """Until when the exchange has called its REST counter full."""
    pairs: tuple[PairReported, ...]
    held_until_us: int | None
    """Until when nothing at all may leave."""

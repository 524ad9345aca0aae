"""The life of one order, as a table.

Rule: every change of status is a row of TRANSITIONS. What has no row does not happen.
Read in order: Happening, TRANSITIONS, EXPECTED_LATE, advance(), apply_fill().
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

import attrs

from messages.base import ExternalOrderId, OrderId
from messages.orders import TERMINAL, Fill, Order, OrderIntent, OrderStatus

ZERO = Decimal(0)
PENDING = OrderStatus.PENDING
OPEN = OrderStatus.OPEN
PARTIALLY_FILLED = OrderStatus.PARTIALLY_FILLED
FILLED = OrderStatus.FILLED
CANCELLED = OrderStatus.CANCELLED
EXPIRED = OrderStatus.EXPIRED
ERROR = OrderStatus.ERROR


class Happening(Enum):
    """What can happen to an order."""

    ACCEPTED = "accepted"
    UNCERTAIN = "outcome unknown"
    REFUSED = "refused"
    PROVEN_ABSENT = "proven never placed"
    WITHDRAWN = "withdrawn before it was sent"
    FILLED_IN_PART = "filled in part"
    FILLED_WHOLLY = "filled wholly"
    CANCEL_CONFIRMED = "cancel confirmed"
    EXPIRY_CONFIRMED = "expiry confirmed"


TRANSITIONS: Mapping[tuple[OrderStatus, Happening], OrderStatus] = {
    # while it is, and this happens                     it becomes
    (PENDING, Happening.ACCEPTED):                      OPEN,
    (PENDING, Happening.UNCERTAIN):                     PENDING,  # Silence is not refusal: look it up, never resend.
    (PENDING, Happening.REFUSED):                       ERROR,
    (PENDING, Happening.PROVEN_ABSENT):                 ERROR,  # Deadline and lag have passed, nobody knows it.
    (PENDING, Happening.WITHDRAWN):                     CANCELLED,
    (PENDING, Happening.FILLED_IN_PART):                PARTIALLY_FILLED,  # The fill may overtake the acceptance.
    (PENDING, Happening.FILLED_WHOLLY):                 FILLED,
    (PENDING, Happening.CANCEL_CONFIRMED):              CANCELLED,
    (PENDING, Happening.EXPIRY_CONFIRMED):              EXPIRED,
    (OPEN, Happening.FILLED_IN_PART):                   PARTIALLY_FILLED,
    (OPEN, Happening.FILLED_WHOLLY):                    FILLED,
    (OPEN, Happening.CANCEL_CONFIRMED):                 CANCELLED,
    (OPEN, Happening.EXPIRY_CONFIRMED):                 EXPIRED,
    (PARTIALLY_FILLED, Happening.FILLED_IN_PART):       PARTIALLY_FILLED,
    (PARTIALLY_FILLED, Happening.FILLED_WHOLLY):        FILLED,
    (PARTIALLY_FILLED, Happening.CANCEL_CONFIRMED):     CANCELLED,
    (PARTIALLY_FILLED, Happening.EXPIRY_CONFIRMED):     EXPIRED,
    # A late fill counts; a terminal status stays.
    (FILLED, Happening.FILLED_IN_PART):                 FILLED,
    (FILLED, Happening.FILLED_WHOLLY):                  FILLED,
    (CANCELLED, Happening.FILLED_IN_PART):              CANCELLED,
    (CANCELLED, Happening.FILLED_WHOLLY):               CANCELLED,
    (EXPIRED, Happening.FILLED_IN_PART):                EXPIRED,
    (EXPIRED, Happening.FILLED_WHOLLY):                 EXPIRED,
    (ERROR, Happening.FILLED_IN_PART):                  ERROR,
    (ERROR, Happening.FILLED_WHOLLY):                   ERROR,
}  # fmt: skip

LIVE = (OPEN, PARTIALLY_FILLED)
OVER = tuple(status for status in OrderStatus if status in TERMINAL)
EXPECTED_LATE = frozenset(
    {(status, Happening.ACCEPTED) for status in (*LIVE, *OVER)}  # Fills, polls and recovery may tell first.
    | {(status, Happening.UNCERTAIN) for status in (*LIVE, *OVER)}  # The answer came after all, by another way.
    | {
        (status, happening)
        for status in OVER
        for happening in (
            Happening.CANCEL_CONFIRMED,  # Told by push and by poll.
            Happening.EXPIRY_CONFIRMED,
            Happening.PROVEN_ABSENT,
            Happening.REFUSED,  # A refusal of an order that we have already settled.
            Happening.WITHDRAWN,
        )
    }
)
"""What may come after it no longer matters: it changes nothing."""


class ImpossibleTransitionError(Exception):
    """Something happened to an order that its status has no row for. A bug, so the actor stops."""

    def __init__(self, order_id: OrderId, status: OrderStatus, happening: Happening) -> None:
        super().__init__(f"order {order_id} is {status.value} and has no row for '{happening.value}'")


def new_order(intent: OrderIntent, retries: int = 0) -> Order:
    """Return the order that an intent begins as, after so many failures in a row."""
    return Order(
        intent=intent,
        status=PENDING,
        volume_base=intent.volume_base,
        trigger_price_quote=intent.trigger_price_quote,
        updated_at_us=intent.created_at_us,
        retries=retries,
    )


def advance(
    order: Order,
    happening: Happening,
    now_us: int,
    *,
    reason: str = "",
    external_id: ExternalOrderId | None = None,
) -> Order:
    """Return the order after `happening`; the very same object when that changes nothing.

    Raises ImpossibleTransitionError where the table has no row and lateness is no excuse.
    """
    key = (order.status, happening)
    status = TRANSITIONS.get(key)
    if status is None:
        if key not in EXPECTED_LATE:
            raise ImpossibleTransitionError(order.id, order.status, happening)
        return _with_external_id(order, external_id)
    is_over = status in TERMINAL
    return attrs.evolve(
        order,
        status=status,
        external_id=order.external_id or external_id,
        opened_at_us=now_us if happening is Happening.ACCEPTED else order.opened_at_us,
        updated_at_us=now_us,
        ended_at_us=now_us if is_over and order.ended_at_us is None else order.ended_at_us,
        reason=reason or order.reason,
    )


def _with_external_id(order: Order, external_id: ExternalOrderId | None) -> Order:
    if external_id is None or order.external_id is not None:
        return order
    return attrs.evolve(order, external_id=external_id)


class OverfillError(Exception):
    """The exchange filled more than was asked for. Nothing about this order can be trusted any more."""


def happening_of(order: Order, fill: Fill, asked_base: Decimal = ZERO) -> Happening:
    """Return what this fill is to the order: the rest of it, or a part."""
    is_whole = order.filled_base + fill.volume_base >= max(order.volume_base, asked_base)
    return Happening.FILLED_WHOLLY if is_whole else Happening.FILLED_IN_PART


def apply_fill(order: Order, fill: Fill, asked_base: Decimal = ZERO) -> Order:
    """Return the order with the fill in it. The status follows the table, so a terminal one stays.

    `asked_base` is the volume of an amend whose answer is still out: the exchange may have it already.
    """
    filled_base = order.filled_base + fill.volume_base
    if filled_base > max(order.volume_base, asked_base, order.intent.volume_base):
        raise OverfillError(f"order {order.id} of {order.volume_base} is filled {filled_base} by {fill.trade_id}")
    status = TRANSITIONS[order.status, happening_of(order, fill, asked_base)]
    ends_now = status in TERMINAL and order.ended_at_us is None
    return attrs.evolve(
        order,
        status=status,
        filled_base=filled_base,
        filled_cost_quote=order.filled_cost_quote + fill.price_quote * fill.volume_base,
        fees_quote=order.fees_quote + fill.fee_quote,
        external_id=order.external_id or fill.external_order_id or None,
        opened_at_us=fill.at_us if order.opened_at_us is None else order.opened_at_us,
        first_fill_at_us=min(fill.at_us, order.first_fill_at_us or fill.at_us),  # They may be told out of order.
        updated_at_us=fill.at_us,
        ended_at_us=fill.at_us if ends_now else order.ended_at_us,
    )


def completed(order: Order, now_us: int) -> Order:
    """Return the order as wholly filled, because the exchange says that nothing of it is left."""
    return attrs.evolve(
        order,
        status=TRANSITIONS[order.status, Happening.FILLED_WHOLLY],
        volume_base=order.filled_base,
        updated_at_us=now_us,
        ended_at_us=now_us if order.ended_at_us is None else order.ended_at_us,
    )


def amended(order: Order, volume_base: Decimal, trigger_price_quote: Decimal | None, now_us: int) -> Order:
    """Return the order with the volume and the trigger that the exchange has confirmed."""
    return attrs.evolve(order, volume_base=volume_base, trigger_price_quote=trigger_price_quote, updated_at_us=now_us)

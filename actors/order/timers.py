"""What OrderActor says to itself for later. Timers are never cancelled: a late one finds nothing to do."""

from __future__ import annotations

import attrs

from messages.base import Command, OrderId, ProposalId
from messages.orders import OrderRole
from messages.positions import CloseReason


@attrs.frozen(kw_only=True)
class AnswerOverdue(Command):
    """The exchange actor owes an answer about this order since its deadline."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class LookAgain(Command):
    """Look for an order of unknown outcome once more."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class LookUpOverdue(Command):
    """The exchange has had its time to answer the look-up that left at this instant."""

    order_id: OrderId
    sent_at_us: int


@attrs.frozen(kw_only=True)
class AmendOverdue(Command):
    """The exchange has had its time to answer the amend that left at this instant."""

    order_id: OrderId
    sent_at_us: int


@attrs.frozen(kw_only=True)
class ExpiryDue(Command):
    """A resting entry has reached the end of its time."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class RetryDue(Command):
    """The wait before the next attempt of this role is over."""

    trade_id: ProposalId
    role: OrderRole


@attrs.frozen(kw_only=True)
class ProtectionDue(Command):
    """The configured delay between fill and protection is over."""

    trade_id: ProposalId


@attrs.frozen(kw_only=True)
class GraceOver(Command):
    """A position that could not be protected has had its time."""

    trade_id: ProposalId


@attrs.frozen(kw_only=True)
class WatchOverdue(Command):
    """The resting order should have acted on this level by now."""

    trade_id: ProposalId
    reason: CloseReason


@attrs.frozen(kw_only=True)
class PollDue(Command):
    """Compare the live orders with the exchange."""


@attrs.frozen(kw_only=True)
class AskAgain(Command):
    """Ask once more what the exchange has not answered since the start."""


@attrs.frozen(kw_only=True)
class CompareDue(Command):
    """Compare the account with our books."""


OrderTimer = (
    AnswerOverdue
    | LookUpOverdue
    | AmendOverdue
    | LookAgain
    | ExpiryDue
    | RetryDue
    | ProtectionDue
    | GraceOver
    | WatchOverdue
    | PollDue
    | AskAgain
    | CompareDue
)

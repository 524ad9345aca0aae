"""What is committed together. Each Record* is one unit: it is never split over two transactions."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from messages.base import Command, Event, OrderId, ProposalId, Symbol, TradeId
from messages.bus import PublicEvent
from messages.orders import Fill, Order
from messages.positions import Position, PositionMark
from messages.risk import RiskState
from messages.trades import RequestRow, Side

ADOPTED = "adopted"
"""The kind of a request that nobody handed in: a trade made of orders of ours that the journal had forgotten."""


@attrs.frozen(kw_only=True)
class RecordRequest(Command):
    """Keep a request that leads to no order of its own: rejected, unreadable, a cancel, a close, levels."""

    request: RequestRow
    events: tuple[PublicEvent, ...] = ()

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class RecordIntent(Command):
    """Keep an order before it is sent, with the request it came from if it is an entry's first attempt."""

    order: Order
    request: RequestRow | None = None
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class IntentRecorded(Event):
    """The intent is committed: it may be sent."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class RecordOrder(Command):
    """Keep an order's new state, and append it to its history."""

    order: Order
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class RecordFill(Command):
    """Keep a fill with the order and the position after it: one transaction."""

    fill: Fill
    order: Order
    position: Position
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class RecordPosition(Command):
    """Keep a position's new state: levels moved, closing begun; with the request that has moved them, if one has."""

    position: Position
    request: RequestRow | None = None
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class RecordRiskState(Command):
    """Keep what risk remembers."""

    state: RiskState
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class Standing:
    """How account and books stand to each other in one symbol."""

    symbol: Symbol
    external_base: Decimal = Decimal(0)
    """What others hold there on margin, signed, as a person has been told."""
    is_stale: bool = False
    """Whether others have traded since that was known: what they hold now is to be learnt."""
    differs: str = ""
    """What could not be explained, in words: nothing is opened in the symbol while there is something."""


@attrs.frozen(kw_only=True)
class RecordStanding(Command):
    """Keep how account and books stand to each other in one symbol."""

    standing: Standing
    events: tuple[PublicEvent, ...] = ()


@attrs.frozen(kw_only=True)
class RecordAlert(Command):
    """Keep an event that changes no state of its own."""

    events: tuple[PublicEvent, ...]


@attrs.frozen(kw_only=True)
class Snapshot:
    """The whole book at one instant."""

    at_us: int
    equity_usd: Decimal
    realised_usd: Decimal
    unrealised_usd: Decimal
    exposure_usd: Decimal
    marks: tuple[PositionMark, ...]


@attrs.frozen(kw_only=True)
class RecordSnapshots(Command):
    """Keep photographs of the book; they go by COPY."""

    snapshots: tuple[Snapshot, ...]


RecordUnit = (
    RecordRequest
    | RecordIntent
    | RecordOrder
    | RecordFill
    | RecordPosition
    | RecordRiskState
    | RecordStanding
    | RecordAlert
    | RecordSnapshots
)
"""What may be committed."""


@attrs.frozen(kw_only=True)
class MarginExit:
    """How much an execution closed of a position on margin, where the exchange nets all positions of a symbol."""

    symbol: Symbol
    side: Side
    """Of the execution."""
    volume_base: Decimal
    at_us: int
    entered_at_us: int
    """When the position was opened that it was booked on."""


@attrs.frozen(kw_only=True)
class RecoveredState:
    """All that a start needs of the past: what lives, and what must not be done again."""

    orders: tuple[Order, ...] = ()
    """Every order that is not over or ended a moment before the newest end (a fill of it may be told late), and every
    order of the positions below."""
    positions: tuple[Position, ...] = ()
    """Every position that is not over, and the positions of orders that are not over, or only just."""
    booked: tuple[tuple[TradeId, Decimal], ...] = ()
    """The trades that are booked, with how much of each: those of these orders, and the newest of the account. One that
    several positions share is booked in parts, and a crash may leave some of them out."""
    last_fill_at_us: int | None = None
    """When the newest execution of the account happened; the exchange can tell what came since then."""
    unbooked: tuple[tuple[OrderId, Decimal], ...] = ()
    """What some of those orders count as filled beyond the fills that are booked: exits that were told before the
    entry fill they close were counted, and died with the process before they could be booked."""
    margin_exits: tuple[MarginExit, ...] = ()
    """The newest exits on margin since the oldest of those orders was made, oldest first: an execution that is told
    late may have been before them, and then they closed something else."""
    opened_at_us: int | None = None
    """When the account began: where no execution is known, what came since then is ours to know. None if unknown."""
    is_new: bool = False
    """Whether the account begins with this start: nothing of it can have been forgotten."""
    order_ids: tuple[OrderId, ...] = ()
    """The newest orders of the account, over or not: the journal has not forgotten those."""
    requests: tuple[ProposalId, ...] = ()
    """The newest requests, newest last: the same id again is the same intent."""
    approved: tuple[RequestRow, ...] = ()
    """The approved requests behind the orders above: their levels and sizes."""
    taken: tuple[RequestRow, ...] = ()
    """The cancels, closes and changed levels of those trades that were taken, in their order."""
    risk: RiskState = attrs.field(factory=RiskState)
    standings: tuple[Standing, ...] = ()
    """How account and books stood to each other, where that was not simply equal."""
    realised_by_quote: tuple[tuple[str, Decimal], ...] = ()
    """Net P&L of all positions that are over, by quote currency."""
    initial_balances: tuple[tuple[str, Decimal], ...] = ()

    @property
    def living(self) -> frozenset[ProposalId]:
        """The trades of which an order or a position is not over."""
        orders = (order.intent.proposal_id for order in self.orders if not order.is_over)
        return frozenset((*orders, *(one.proposal_id for one in self.positions if not one.is_over)))

    @property
    def fill_ids(self) -> tuple[TradeId, ...]:
        """The trades that are booked, wholly or in part."""
        return tuple(trade_id for trade_id, _volume_base in self.booked)


@attrs.frozen(kw_only=True)
class LoadJournal(Command):
    """Read back what a start needs."""


@attrs.frozen(kw_only=True)
class JournalLoaded(Event):
    """What the journal remembers: every actor takes up its own part."""

    state: RecoveredState


@attrs.frozen(kw_only=True)
class JournalStalled(Event):
    """The database does not take commits: no new intent may leave until JournalResumed."""

    reason: str

    log_level: ClassVar[str | None] = "ERROR"


@attrs.frozen(kw_only=True)
class JournalResumed(Event):
    """The database takes commits again, and everything that waited is in."""

    log_level: ClassVar[str | None] = "WARNING"

"""Positions: what we hold, why it is closed, and what is said about its protection."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import ClassVar

import attrs

from messages.base import Command, Event, OrderId, PositionId, ProposalId, Query, Symbol
from messages.orders import Fill, Order
from messages.trades import RequestRow


class PositionSide(Enum):
    """Which way a position profits."""

    LONG = "LONG"
    SHORT = "SHORT"


class PositionStatus(Enum):
    """The four states. A position is CLOSED by fills alone."""

    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"
    LIQUIDATED = "LIQUIDATED"


class CloseReason(Enum):
    """How a position came to its end."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"
    MANUAL = "manual"
    HOLDING_LIMIT = "holding_limit"
    LIQUIDATED = "liquidated"
    BREAKER = "breaker"
    PROTECTION_FAILED = "protection_failed"


@attrs.frozen(kw_only=True)
class Position:
    """What we hold of one trade. Volumes are the exchange's (leverage included), costs exact sums of fills.

    Exact: P&L so far is `exit_cost - entry_cost` (turned round for a short), without any division.
    """

    id: PositionId
    proposal_id: ProposalId
    symbol: Symbol
    side: PositionSide
    leverage: int
    entry_order_id: OrderId
    status: PositionStatus
    entry_base: Decimal
    entry_cost_quote: Decimal
    exit_base: Decimal = Decimal(0)
    exit_cost_quote: Decimal = Decimal(0)
    fees_quote: Decimal = Decimal(0)
    stop_loss_quote: Decimal | None = None
    take_profit_quote: Decimal | None = None
    trailing: bool = False
    watermark_quote: Decimal | None = None
    """The best price since trailing was activated; None before."""
    stop_is_trailing: bool = False
    """Whether `stop_loss_quote` was moved there by trailing."""
    opened_at_us: int
    protected_at_us: int | None = None
    closed_at_us: int | None = None
    close_reason: CloseReason | None = None
    notes: str = ""

    @property
    def volume_base(self) -> Decimal:
        """What is still held."""
        return self.entry_base - self.exit_base

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to it, late fills apart."""
        return self.status in (PositionStatus.CLOSED, PositionStatus.LIQUIDATED)


@attrs.frozen(kw_only=True)
class ApplyFill(Command):
    """Book this fill: `order` is the order with the fill already in it.

    The levels are those that a position opened by this fill starts with.
    """

    fill: Fill
    order: Order
    stop_loss_quote: Decimal | None = None
    take_profit_quote: Decimal | None = None
    trailing: bool = False


@attrs.frozen(kw_only=True)
class PositionChanged(Event):
    """A position has a new value: a fill, a level, a state."""

    position: Position
    last_price_quote: Decimal


class Level(Enum):
    """Which level a price has reached."""

    STOP = "stop"
    TARGET = "target"
    TRAILING = "trailing"


@attrs.frozen(kw_only=True)
class LevelReached(Event):
    """The price is at or beyond a level of an open position."""

    position_id: PositionId
    level: Level
    level_price_quote: Decimal
    price_quote: Decimal

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class ClosePosition(Command):
    """Get out of this position, whatever it takes."""

    position_id: PositionId
    reason: CloseReason

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class BeginClosing(Command):
    """An exit is under way: the position is CLOSING from now on."""

    position_id: PositionId
    reason: CloseReason


@attrs.frozen(kw_only=True)
class ConfirmProtection(Command):
    """The protective stop rests on the exchange, since `at_us`."""

    position_id: PositionId
    at_us: int


@attrs.frozen(kw_only=True)
class MoveStop(Command):
    """Change the levels of a position; the resting order follows. None leaves a level as it is.

    `request` is what a strategy has asked for: it is kept together with the levels, or as refused.
    """

    position_id: PositionId
    stop_loss_quote: Decimal | None
    take_profit_quote: Decimal | None
    trailing: bool | None
    request: RequestRow | None = None


@attrs.frozen(kw_only=True)
class GetBook(Query):
    """All open positions with their prices, for a photograph."""

    at_us: int


@attrs.frozen(kw_only=True)
class PositionMark:
    """One open position at one price."""

    position_id: PositionId
    symbol: Symbol
    price_quote: Decimal | None
    """None while no price has been heard: unknown, never the entry price."""
    unrealised_quote: Decimal
    unrealised_pct: Decimal


@attrs.frozen(kw_only=True)
class BookReported(Event):
    """The answer to GetBook. Money is in the account's valuation currency."""

    at_us: int
    marks: tuple[PositionMark, ...]
    realised_usd: Decimal
    """Net of fees, all positions that are over."""
    unrealised_usd: Decimal
    """Net of the fees already paid, all open positions."""
    exposure_usd: Decimal

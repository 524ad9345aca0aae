"""Proposals: what a strategy may ask for, and what becomes of the request."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

import attrs

from messages.base import Command, Event, ProposalId, Symbol


class Side(Enum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> Side:
        """The side that undoes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(Enum):
    """The six order types; the values are the exchange's own words."""

    MARKET = "market"
    LIMIT = "limit"
    STOP_LOSS = "stop-loss"
    TAKE_PROFIT = "take-profit"
    STOP_LOSS_LIMIT = "stop-loss-limit"
    TAKE_PROFIT_LIMIT = "take-profit-limit"


class Regime(Enum):
    """What the strategy believes of the market; the risk rules lean on it."""

    TRENDING_BULL = "trending_bull"
    TRENDING_BEAR = "trending_bear"
    RANGING = "ranging"
    VOLATILE_BULL = "volatile_bull"
    VOLATILE_BEAR = "volatile_bear"
    CHOPPY = "choppy"
    BREAKOUT_POTENTIAL = "breakout_potential"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class TradeProposal:
    """What a strategy wants. `size_usd` is own funds in the quote currency; leverage multiplies it."""

    id: ProposalId
    at_us: int
    symbol: Symbol
    side: Side
    size_usd: Decimal
    order_type: OrderType
    entry_price_quote: Decimal | None = None
    stop_loss_quote: Decimal | None = None
    take_profit_quote: Decimal | None = None
    leverage: int = 1
    confidence: Decimal | None = None
    trailing: bool = False
    regime: Regime = Regime.UNKNOWN


@attrs.frozen(kw_only=True)
class ExecuteTrade(Command):
    """Take this proposal from review to closed position. The same id again is the same intent."""

    proposal: TradeProposal


@attrs.frozen(kw_only=True)
class RejectRequest(Command):
    """Put on record a request that could not be read: it never reaches risk."""

    request_id: ProposalId
    code: str
    reason: str
    raw: str


@attrs.frozen(kw_only=True)
class CancelTrade(Command):
    """Cancel what is unfilled of a trade's entry. What has filled stays, protected."""

    request_id: ProposalId
    target_id: ProposalId


@attrs.frozen(kw_only=True)
class CloseTrade(Command):
    """Cancel what is unfilled of a trade's entry and close its position."""

    request_id: ProposalId
    target_id: ProposalId


@attrs.frozen(kw_only=True)
class ChangeProtection(Command):
    """Change stop, target or trailing of a trade; None leaves a level as it is.

    Of an open position at once; while its entry waits, the position will open with them.
    """

    request_id: ProposalId
    target_id: ProposalId
    stop_loss_quote: Decimal | None = None
    take_profit_quote: Decimal | None = None
    trailing: bool | None = None


@attrs.frozen(kw_only=True)
class RequestRow:
    """One request of a strategy as it is kept, with what became of it: a proposal, cancel, close, or changed levels."""

    id: ProposalId
    kind: str
    """trade, cancel, close, protect, unreadable or adopted."""
    at_us: int
    symbol: str
    body: str
    """The request as JSON, money as strings."""
    verdict: str
    """approved, rejected or taken."""
    codes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class ReviewTrade(Command):
    """Ask risk whether this trade may happen, at what size and leverage."""

    proposal: TradeProposal
    price_quote: Decimal
    price_at_us: int
    quote_usd: Decimal | None = None
    """What one unit of the quote currency is worth in account money; None while nobody knows."""


@attrs.frozen(kw_only=True)
class TradeApproved(Event):
    """The trade may happen as `proposal` now says; its slot and exposure are reserved."""

    proposal: TradeProposal
    price_quote: Decimal
    exposure_usd: Decimal = Decimal(0)
    """What is reserved for it: its notional in account money."""
    changes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class TradeRejected(Event):
    """The trade may not happen. Codes are the rule book's, reasons carry the numbers."""

    proposal: TradeProposal
    codes: tuple[str, ...]
    reasons: tuple[str, ...]


@attrs.frozen(kw_only=True)
class TradeEnded(Event):
    """Nothing of this trade lives any more: no entry, no position. What was reserved is free."""

    trade_id: ProposalId

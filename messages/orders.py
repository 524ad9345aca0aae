"""Orders: the intent, its progress, and what is said between the engine and the exchange about them."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import ClassVar

import attrs

from messages.base import (
    Command,
    Event,
    ExternalOrderId,
    OrderId,
    PositionId,
    ProposalId,
    Query,
    Symbol,
    TradeId,
)
from messages.trades import OrderType, Side


class OrderStatus(Enum):
    """The seven states. The last four are terminal and never change."""

    __hash__ = object.__hash__  # By identity: Enum hashes the name, in Python, at every look into a table.

    PENDING = "PENDING"
    OPEN = "OPEN"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    ERROR = "ERROR"


TERMINAL = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.ERROR})


class OrderRole(Enum):
    """Why an order exists: a fill is booked by role."""

    __hash__ = object.__hash__  # By identity: Enum hashes the name, in Python, at every look into a table.

    ENTRY = "entry"
    STOP = "stop"
    TARGET = "target"
    EXIT = "exit"


class TimeInForce(Enum):
    """How long an order rests."""

    GTC = "GTC"
    IOC = "IOC"
    GTD = "GTD"


@attrs.frozen(kw_only=True)
class OrderIntent:
    """What we asked for. Committed before it is sent; never changes."""

    id: OrderId
    proposal_id: ProposalId
    position_id: PositionId
    symbol: Symbol
    side: Side
    role: OrderRole
    order_type: OrderType
    volume_base: Decimal
    limit_price_quote: Decimal | None
    trigger_price_quote: Decimal | None
    reference_price_quote: Decimal
    leverage: int
    reduce_only: bool
    time_in_force: TimeInForce
    expires_at_us: int | None
    attempt: int
    created_at_us: int


@attrs.frozen(kw_only=True)
class Order:
    """An intent and how far it has come. Volume and trigger are today's: an amend moves them."""

    intent: OrderIntent
    status: OrderStatus
    volume_base: Decimal
    trigger_price_quote: Decimal | None
    filled_base: Decimal = Decimal(0)
    filled_cost_quote: Decimal = Decimal(0)
    fees_quote: Decimal = Decimal(0)
    external_id: ExternalOrderId | None = None
    opened_at_us: int | None = None
    first_fill_at_us: int | None = None
    updated_at_us: int
    ended_at_us: int | None = None
    retries: int = 0
    reason: str = ""

    @property
    def id(self) -> OrderId:
        """The id of the intent."""
        return self.intent.id

    @property
    def is_over(self) -> bool:
        """Whether the status is terminal."""
        return self.status in TERMINAL

    @property
    def remaining_base(self) -> Decimal:
        """What has not filled yet."""
        return self.volume_base - self.filled_base


@attrs.frozen(kw_only=True)
class Fill:
    """One execution, as the exchange tells it. Fees are in the quote currency of the symbol."""

    trade_id: TradeId
    order_id: OrderId
    external_order_id: ExternalOrderId
    symbol: Symbol
    side: Side
    price_quote: Decimal
    volume_base: Decimal
    fee_quote: Decimal
    is_maker: bool
    is_liquidation: bool
    at_us: int
    is_margin: bool = False
    """Whether it was traded with borrowed funds: what was bought outright is closed by other trades than a position."""


@attrs.frozen(kw_only=True)
class OrderTerms:
    """What an order was placed as: enough to take up one that the journal has forgotten."""

    side: Side
    order_type: OrderType
    limit_price_quote: Decimal | None
    leverage: int
    """1 is cash spot, 2 and more is margin."""
    reduce_only: bool
    opened_at_us: int


@attrs.frozen(kw_only=True)
class ExchangeOrder:
    """What the exchange says of one order. `order_id` is our id of it, or the exchange's own where it has none."""

    order_id: OrderId
    external_id: ExternalOrderId
    symbol: Symbol
    status: OrderStatus
    volume_base: Decimal
    filled_base: Decimal
    trigger_price_quote: Decimal | None
    reason: str = ""
    terms: OrderTerms | None = None
    """None from an exchange that does not say."""


# Wishes to the exchange ---------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PlaceOrder(Command):
    """Send this committed intent. After `deadline_us` the exchange must no longer take it."""

    intent: OrderIntent
    deadline_us: int

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class AmendOrder(Command):
    """Move trigger or volume of a resting order, in place."""

    order_id: OrderId
    external_id: ExternalOrderId
    symbol: Symbol
    volume_base: Decimal
    trigger_price_quote: Decimal | None
    deadline_us: int

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class CancelOrder(Command):
    """Take a resting order off the exchange."""

    order_id: OrderId
    external_id: ExternalOrderId
    symbol: Symbol

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class LookUpOrder(Query):
    """Does the exchange know this order, open or over? OrderFound or OrderNotFound answers."""

    order_id: OrderId
    symbol: Symbol
    sent_at_us: int
    external_id: ExternalOrderId | None = None
    """The exchange's own id of it, where that is known."""


@attrs.frozen(kw_only=True)
class PollOrders(Query):
    """What became of these orders, and which trades happened after `after_trade`? OrdersPolled answers.

    `after_trade` is the newest trade we know, or the `cursor` of the last answer. Without one, trades are told from the
    instant `since_us` on; without either, all trades of the orders asked about are told, and no others.
    """

    order_ids: tuple[OrderId, ...]
    after_trade: TradeId | None
    since_us: int | None = None


# Facts from the exchange --------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OrderAccepted(Event):
    """The exchange took the order."""

    order_id: OrderId
    external_id: ExternalOrderId
    at_us: int

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class OrderRefused(Event):
    """The exchange said no, so nothing was placed. `may_retry`: the same wish may succeed later."""

    order_id: OrderId
    reason: str
    may_retry: bool
    lacks_position: bool = False
    """Whether it was to reduce a position, and there is none."""
    is_too_small: bool = False
    """Whether its volume or its worth is below the exchange's minimum."""

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class OutcomeUnknown(Event):
    """The exchange has not said whether it took the order: it may be live. It is looked up, never resent."""

    order_id: OrderId
    reason: str

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class ExecutionReported(Event):
    """An execution happened. May be told more than once, by push and by poll: it counts once."""

    fill: Fill

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class OrderEnded(Event):
    """The exchange ended a resting order: cancelled or expired."""

    order_id: OrderId
    status: OrderStatus
    reason: str
    at_us: int
    filled_base: Decimal | None = None
    """What of it had filled by then, by the exchange's own count; None when it does not say."""

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class CancelRefused(Event):
    """The cancel found nothing to cancel, or its outcome is unknown: the order's state must be looked up."""

    order_id: OrderId
    reason: str

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class OrderAmended(Event):
    """The exchange moved the order to this volume and trigger."""

    order_id: OrderId
    volume_base: Decimal
    trigger_price_quote: Decimal | None
    at_us: int

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class AmendRefused(Event):
    """The amend was refused or its outcome is unknown: the order rests as before, or is gone."""

    order_id: OrderId
    reason: str

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class OrderFound(Event):
    """The exchange knows the order; its trades come along."""

    order: ExchangeOrder
    fills: tuple[Fill, ...]


@attrs.frozen(kw_only=True)
class OrderNotFound(Event):
    """Neither open, nor over, nor in the trades, as of `as_of_us` by the exchange's own reckoning."""

    order_id: OrderId
    as_of_us: int


@attrs.frozen(kw_only=True)
class OrdersPolled(Event):
    """The answer to PollOrders: what is known of each order asked about, and the trades since."""

    orders: tuple[ExchangeOrder, ...]
    fills: tuple[Fill, ...]
    cursor: TradeId | None

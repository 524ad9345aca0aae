"""One order as the exchange keeps it: its terms, how far it has come, and at which price it waits.

Read in order: BookOrder, Rest.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from messages.base import NO_TRADE, ExternalOrderId, OrderId, ProposalId, Symbol
from messages.orders import ExchangeOrder, OrderStatus, OrderTerms, TimeInForce
from messages.trades import OrderType, Side

STOPS = frozenset({OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT})
TRIGGERED_TYPES = STOPS | {OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT}
LIMITED_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
ZERO = Decimal(0)


@attrs.frozen
class Rest:
    """Where an order waits: a falling order is reached when the price comes down to it, a rising one from below."""

    is_falling: bool
    price_quote: Decimal


@attrs.define(eq=False, kw_only=True)
class BookOrder:
    """An order in the books. Whoever changes it calls `touch`, so that the cached view is made anew."""

    sequence: int
    external_id: ExternalOrderId
    order_id: OrderId
    proposal_id: ProposalId
    symbol: Symbol
    side: Side
    order_type: OrderType
    leverage: int
    """1 is cash spot, 2 and more is margin."""
    reduce_only: bool
    time_in_force: TimeInForce
    expires_at_us: int | None
    limit_price_quote: Decimal | None
    trigger_price_quote: Decimal | None
    volume_base: Decimal
    opened_at_us: int
    first_share_pct: Decimal | None = None
    """At most this share goes in the first fill; None leaves it to the settings."""
    is_triggered: bool = False
    filled_base: Decimal = ZERO
    status: OrderStatus = OrderStatus.OPEN
    reason: str = ""
    ended_at_us: int | None = None
    ended_number: int = 0
    """The how-manyth order to end; 0 while it is open."""
    held: Decimal = ZERO
    """What is held back for it: quote currency of a resting spot buy, base currency of a resting spot sell."""
    _view: ExchangeOrder | None = None
    _terms: OrderTerms | None = None

    @classmethod
    def of_others(
        cls,
        external_id: ExternalOrderId,
        symbol: Symbol,
        side: Side,
        volume_base: Decimal,
        opened_at_us: int,
        *,
        sequence: int = 0,
        leverage: int = 1,
        reduce_only: bool = False,
        limit_price_quote: Decimal | None = None,
        time_in_force: TimeInForce = TimeInForce.GTC,
    ) -> BookOrder:
        """Return an order that we have not sent, at market unless it has a limit: it bears the exchange's id alone."""
        return cls(
            sequence=sequence,
            external_id=external_id,
            order_id=OrderId(external_id),
            proposal_id=NO_TRADE,
            symbol=symbol,
            side=side,
            order_type=OrderType.MARKET if limit_price_quote is None else OrderType.LIMIT,
            leverage=leverage,
            reduce_only=reduce_only,
            time_in_force=time_in_force,
            expires_at_us=None,
            limit_price_quote=limit_price_quote,
            trigger_price_quote=None,
            volume_base=volume_base,
            opened_at_us=opened_at_us,
        )

    @property
    def is_open(self) -> bool:
        """Whether anything may still happen to it."""
        return self.ended_number == 0

    @property
    def remaining_base(self) -> Decimal:
        """What has not filled yet."""
        return self.volume_base - self.filled_base

    @property
    def is_margin(self) -> bool:
        """Whether it trades with borrowed funds."""
        return self.leverage > 1

    @property
    def is_waiting(self) -> bool:
        """Whether its trigger has not been reached."""
        return self.order_type in TRIGGERED_TYPES and not self.is_triggered

    @property
    def working_limit_quote(self) -> Decimal | None:
        """The worst price it takes; None for a market order, fired stops and targets included."""
        return self.limit_price_quote if self.order_type in LIMITED_TYPES else None

    def rest(self) -> Rest | None:
        """Return where it waits, None for a market order: that trades at every tick until it is filled."""
        is_buy = self.side is Side.BUY
        if self.is_waiting and self.trigger_price_quote is not None:
            is_stop = self.order_type in STOPS
            return Rest(is_buy is not is_stop, self.trigger_price_quote)
        limit_quote = self.working_limit_quote
        return None if limit_quote is None else Rest(is_buy, limit_quote)

    def touch(self) -> None:
        """Forget the cached view."""
        self._view = None

    def view(self) -> ExchangeOrder:
        """Return what the exchange says of the order, made once for each change."""
        if self._view is None:
            self._view = self.view_with(self.status, self.filled_base)
        return self._view

    def view_with(self, status: OrderStatus, filled_base: Decimal) -> ExchangeOrder:
        """Return what the exchange would have said of the order at another stage."""
        return ExchangeOrder(
            order_id=self.order_id,
            external_id=self.external_id,
            symbol=self.symbol,
            status=status,
            volume_base=self.volume_base,
            filled_base=filled_base,
            trigger_price_quote=self.trigger_price_quote,
            reason=self.reason,
            terms=self.terms(),
        )

    def terms(self) -> OrderTerms:
        """Return what it was placed as, made once: that never changes."""
        if self._terms is None:
            self._terms = OrderTerms(
                side=self.side,
                order_type=self.order_type,
                limit_price_quote=self.limit_price_quote,
                leverage=self.leverage,
                reduce_only=self.reduce_only,
                opened_at_us=self.opened_at_us,
            )
        return self._terms

"""What people do on the account outside the engine: acts of the fault plan that change the books.

Each is true and is booked like everything else; only nobody asked the engine. `name` is what it is counted under.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from messages.base import Currency, OrderId, Symbol
from messages.trades import Side


@attrs.frozen
class FundsMoved:
    """Funds appear, or vanish when the amount is below zero."""

    currency: Currency
    amount: Decimal

    name: ClassVar[str] = "move_funds"


@attrs.frozen
class ClosedByHand:
    """Somebody closes the margin position of a symbol."""

    symbol: Symbol

    name: ClassVar[str] = "close_by_hand"


@attrs.frozen
class TradedByHand:
    """Somebody trades at the last price: on spot, or on margin with leverage 2."""

    symbol: Symbol
    side: Side
    volume_base: Decimal
    on_margin: bool

    name: ClassVar[str] = "trade_by_hand"


@attrs.frozen
class OrderedByHand:
    """Somebody leaves an order to buy on spot, so many basis points below the last price."""

    symbol: Symbol
    volume_base: Decimal
    below_bps: int

    name: ClassVar[str] = "order_by_hand"


@attrs.frozen
class CancelledByHand:
    """Somebody cancels one of our resting orders."""

    order_id: OrderId

    name: ClassVar[str] = "cancel_by_hand"


Act = FundsMoved | ClosedByHand | TradedByHand | OrderedByHand | CancelledByHand
ACT_NAMES = (FundsMoved.name, ClosedByHand.name, TradedByHand.name, OrderedByHand.name, CancelledByHand.name)

"""Positions on borrowed funds: lots in the order of their opening, closed first in, first out.

Realised profit is a sum of volume x price difference, so it is exact. Used margin is cost / leverage; it is kept
2520 times as large, because every leverage from 1 to 10 divides 2520 and so nothing is ever rounded.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import attrs

from messages.base import OrderId, Symbol
from messages.trades import Side

MARGIN_SCALE = 2520
LEVERAGE_MAX = 10
"""Above it the scale would no longer be exact; Kraken ends there too."""
ZERO = Decimal(0)


@attrs.define(eq=False, kw_only=True)
class Lot:
    """What one execution opened: BUY is long, SELL is short. `volume_base` is what of it is still open."""

    number: int
    symbol: Symbol
    order_id: OrderId
    """The order that opened it."""
    side: Side
    volume_base: Decimal
    price_quote: Decimal
    leverage: int
    opened_base: Decimal | None = None
    """What was opened; None of a lot that was read from older books."""


def scaled_margin(cost_quote: Decimal, leverage: int) -> Decimal:
    """Return cost / leverage, times 2520, exactly."""
    return cost_quote * (MARGIN_SCALE // leverage)


def sign_of(side: Side) -> int:
    """Return 1 for a buy, -1 for a sell."""
    return 1 if side is Side.BUY else -1


class MarginPosition:
    """All lots of one symbol; they are always on the same side. The sums are kept, so reading them costs nothing."""

    __slots__ = ("cost_quote", "lots", "scaled_margin_quote", "volume_base")

    def __init__(self) -> None:
        self.lots: deque[Lot] = deque()
        self.volume_base = ZERO
        """Signed: below zero is short."""
        self.cost_quote = ZERO
        """Volume x opening price, signed like the volume."""
        self.scaled_margin_quote = ZERO

    @property
    def side(self) -> Side | None:
        """Which way it lies; None when nothing is open."""
        return self.lots[0].side if self.lots else None

    def closable_base(self, side: Side) -> Decimal:
        """Return how much an order on `side` could close."""
        return abs(self.volume_base) if self.side is side.opposite else ZERO

    def add(self, lot: Lot) -> None:
        """Open a lot."""
        self.lots.append(lot)
        self._count(lot, lot.volume_base)

    def take(self, volume_base: Decimal, price_quote: Decimal) -> tuple[Decimal, list[Lot]]:
        """Close so much, oldest first. Returns the profit, fees apart, and the lots that changed."""
        profit_quote, touched = ZERO, []
        while volume_base > 0:
            lot = self.lots[0]
            taken_base = min(volume_base, lot.volume_base)
            profit_quote += taken_base * (price_quote - lot.price_quote) * sign_of(lot.side)
            self._count(lot, -taken_base)
            lot.volume_base -= taken_base
            volume_base -= taken_base
            touched.append(lot)
            if lot.volume_base == 0:
                self.lots.popleft()
        return profit_quote, touched

    def _count(self, lot: Lot, volume_base: Decimal) -> None:
        cost_quote = volume_base * lot.price_quote
        sign = sign_of(lot.side)
        self.volume_base += sign * volume_base
        self.cost_quote += sign * cost_quote
        self.scaled_margin_quote += scaled_margin(cost_quote, lot.leverage)

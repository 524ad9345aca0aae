"""What approved trades have taken of the limits, from approval until nothing of them lives."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import attrs

from actors.risk.funds import Claim
from messages.base import Currency, ProposalId, Symbol
from messages.trades import Side


@attrs.frozen(kw_only=True)
class Reservation:
    """One slot and its notional in account money."""

    trade_id: ProposalId
    symbol: Symbol
    side: Side
    exposure_usd: Decimal
    claim: Claim
    """What it holds, and what it is paid with."""


class Reservations:
    """Every reservation, with running sums: asking costs the same with one trade or a thousand."""

    def __init__(self) -> None:
        self._by_trade: dict[ProposalId, Reservation] = {}
        self._by_symbol: dict[Symbol, dict[Side, int]] = {}
        self._holding: Counter[Currency] = Counter()
        self._spending: Counter[Currency] = Counter()
        self.exposure_usd = Decimal(0)

    def take(self, reservation: Reservation) -> None:
        """Reserve; a trade that has a reservation keeps the one it has."""
        if reservation.trade_id in self._by_trade:
            return
        self._by_trade[reservation.trade_id] = reservation
        sides = self._by_symbol.setdefault(reservation.symbol, {Side.BUY: 0, Side.SELL: 0})
        sides[reservation.side] += 1
        self._count_claim(reservation.claim, 1)
        self.exposure_usd += reservation.exposure_usd

    def release(self, trade_id: ProposalId) -> Reservation | None:
        """Free what the trade had reserved, once, and return it."""
        reservation = self._by_trade.pop(trade_id, None)
        if reservation is None:
            return None
        self._by_symbol[reservation.symbol][reservation.side] -= 1
        self._count_claim(reservation.claim, -1)
        self.exposure_usd -= reservation.exposure_usd
        return reservation

    def _count_claim(self, claim: Claim, by: int) -> None:
        self._spending[claim.spends] += by
        if claim.holds is not None:
            self._holding[claim.holds] += by

    def __len__(self) -> int:
        """Return how many slots are taken."""
        return len(self._by_trade)

    def __contains__(self, trade_id: object) -> bool:
        """Say whether a trade has a reservation."""
        return trade_id in self._by_trade

    def count(self, symbol: Symbol, side: Side | None = None) -> int:
        """Return how many slots of a symbol are taken, by one side or by both."""
        sides = self._by_symbol.get(symbol)
        if sides is None:
            return 0
        return sides[side] if side is not None else sum(sides.values())

    def holding(self, currency: Currency) -> int:
        """Return how many trades hold coins of this currency, or are about to."""
        return self._holding[currency]

    def spending(self, currency: Currency) -> int:
        """Return how many trades are paid with this currency."""
        return self._spending[currency]

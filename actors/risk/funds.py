"""Whose coins are whose: what a trade holds, what it is paid with, and what the account has lost of its own.

The exchange keeps one balance of each currency. What a spot position holds lies in it beside everything else, and
whatever is quoted in that currency takes its price, its fees and its losses out of the same balance.
Read in order: Claim, claim_of(), OwnFunds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal

import attrs

from actors.position.profit import realised
from messages.base import Currency, PositionId
from messages.market import Instrument
from messages.positions import Position

ZERO = Decimal(0)
RESULTS_REMEMBERED = 1_000


@attrs.frozen(kw_only=True)
class Claim:
    """What a trade has to do with the balances of the account."""

    spends: Currency
    """What pays for it, for its fees and for its losses."""
    holds: Currency | None
    """What it buys and must be able to sell again; None on margin, where everything is borrowed."""


def claim_of(instrument: Instrument, leverage: int) -> Claim:
    """Return the claim of a trade in this pair."""
    return Claim(spends=instrument.quote, holds=instrument.base if leverage == 1 else None)


class OwnFunds:
    """What the account has of each currency by our own books, apart from what open positions hold.

    What it began with, what positions that are over have brought, and what open ones on margin have paid in fees: a
    remainder that is too small to be closed stays open, and its trade has ended. An account whose beginning is unknown
    began with nothing.
    """

    def __init__(self) -> None:
        self._own: dict[Currency, Decimal] = {}
        self._counted: OrderedDict[PositionId, Decimal] = OrderedDict()

    def begin(
        self,
        balances: Iterable[tuple[str, Decimal]],
        realised_by_quote: Iterable[tuple[str, Decimal]],
        positions: Iterable[tuple[Position, Currency]],
    ) -> None:
        """Take up what the journal remembers; the results of positions that are over are among those realised."""
        for currency, amount in (*balances, *realised_by_quote):
            self._add(Currency(currency), amount)
        for position, quote in positions:
            if position.is_over:
                self._counted[position.id] = realised(position)
            else:
                self.count(position, quote)

    def count(self, position: Position, quote: Currency) -> None:
        """Count what a position has brought or taken so far, once; told again it counts with what has changed."""
        result_quote = _taken(position)
        self._add(quote, result_quote - self._counted.get(position.id, ZERO))
        self._counted[position.id] = result_quote
        if len(self._counted) > RESULTS_REMEMBERED:
            self._counted.popitem(last=False)

    def owed(self, currency: Currency) -> Decimal:
        """Return how much of a currency the account has lost beyond what was its own."""
        return max(ZERO, -self._own.get(currency, ZERO))

    def _add(self, currency: Currency, amount: Decimal) -> None:
        self._own[currency] = self._own.get(currency, ZERO) + amount


def _taken(position: Position) -> Decimal:
    """Return what a position has brought for certain: its result when it is over, its fees so far on margin."""
    if position.is_over:
        return realised(position)
    return -position.fees_quote if position.leverage > 1 else ZERO

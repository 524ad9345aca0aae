"""All positions, and what they come to. Sums are kept for each symbol: a valuation looks at symbols, not at positions.

Read in order: Totals, Portfolio, in_account_money.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from actors.position.profit import ZERO, realised, turned
from messages.base import Currency, PositionId, Symbol
from messages.positions import Position

PriceOf = Callable[[Symbol], Decimal | None]
"""The last price of a symbol, None while none has been heard."""


def quote_of(symbol: Symbol) -> Currency:
    """Return the currency in which this symbol is priced."""
    return Currency(symbol.partition("/")[2])


class Totals:
    """Sums over the open positions of one symbol. Signed sums count shorts as negative."""

    __slots__ = ("cash_quote", "fees_quote", "positions", "signed_base", "volume_base")

    def __init__(self) -> None:
        self.positions = 0
        self.volume_base = ZERO
        self.signed_base = ZERO
        self.cash_quote = ZERO
        """Taken out less put in, turned round for shorts."""
        self.fees_quote = ZERO

    def add(self, position: Position) -> None:
        """Count this position."""
        self.positions += 1
        volume_base = position.entry_base - position.exit_base
        self.volume_base += volume_base
        self.signed_base += turned(position.side, volume_base)
        self.cash_quote += turned(position.side, position.exit_cost_quote - position.entry_cost_quote)
        self.fees_quote += position.fees_quote

    def remove(self, position: Position) -> None:
        """Count this position no longer."""
        self.positions -= 1
        volume_base = position.entry_base - position.exit_base
        self.volume_base -= volume_base
        self.signed_base -= turned(position.side, volume_base)
        self.cash_quote -= turned(position.side, position.exit_cost_quote - position.entry_cost_quote)
        self.fees_quote -= position.fees_quote

    def unrealised(self, price_quote: Decimal | None) -> Decimal:
        """Return gross profit so far less fees paid. Without a price only the fees are known, so only they count."""
        if price_quote is None:
            return -self.fees_quote
        return self.signed_base * price_quote + self.cash_quote - self.fees_quote

    def exposure(self, price_quote: Decimal | None) -> Decimal:
        """Return what is held, longs and shorts alike, at this price; 0 while there is none."""
        return ZERO if price_quote is None else self.volume_base * price_quote


@attrs.frozen(kw_only=True)
class Valuation:
    """What all positions come to, in account money."""

    realised_usd: Decimal
    """Net of fees, all positions that are over."""
    unrealised_usd: Decimal
    """Net of the fees already paid, all open positions."""
    exposure_usd: Decimal
    exposure_by_symbol_usd: tuple[tuple[Symbol, Decimal], ...]


class Portfolio:
    """The positions that are open, the newest of those that are over, and their sums."""

    def __init__(
        self,
        *,
        history_max: int,
        positions: Iterable[Position] = (),
        realised_by_quote: Iterable[tuple[str, Decimal]] = (),
    ) -> None:
        self._history_max = history_max
        self._open: dict[PositionId, Position] = {}
        self._over: OrderedDict[PositionId, Position] = OrderedDict()
        self._totals: dict[Symbol, Totals] = {}
        self._realised = {Currency(quote): amount for quote, amount in realised_by_quote}
        self.closed = 0
        """How many positions have come to their end since the start."""
        for position in positions:
            self._take_in(position)

    def get(self, position_id: PositionId) -> Position | None:
        """Return a position, None when it is unknown or forgotten."""
        return self._open.get(position_id) or self._over.get(position_id)

    def open_position(self, position_id: PositionId) -> Position | None:
        """Return a position that is not over, else None."""
        return self._open.get(position_id)

    @property
    def open_positions(self) -> Iterable[Position]:
        """The positions that are not over, in the order of their opening."""
        return self._open.values()

    @property
    def remembered(self) -> int:
        """How many positions that are over are still in memory."""
        return len(self._over)

    def put(self, position: Position) -> None:
        """Take this value of a position in place of the earlier one."""
        self._take_out(position.id)
        self._take_in(position)

    def remember(self, position: Position) -> None:
        """Take up a position that was over before the start: its result is among the sums already."""
        self._over[position.id] = position
        self.closed += 1

    def relabel(self, position: Position) -> None:
        """Take this value of an open position, of which no volume, cost or fee has changed."""
        self._open[position.id] = position

    def value(self, price_of: PriceOf, usd_equivalents: Iterable[Currency]) -> Valuation:
        """Return what all positions come to. What has no price yet counts as 0: see `in_account_money`."""
        rates = _Rates(price_of, tuple(usd_equivalents))
        unrealised = exposure = ZERO
        by_symbol: list[tuple[Symbol, Decimal]] = []
        for symbol, totals in self._totals.items():
            price_quote, rate = price_of(symbol), rates.of(quote_of(symbol))
            worth = totals.exposure(price_quote) * rate
            unrealised += totals.unrealised(price_quote) * rate
            exposure += worth
            by_symbol.append((symbol, worth))
        return Valuation(
            realised_usd=sum((amount * rates.of(quote) for quote, amount in self._realised.items()), ZERO),
            unrealised_usd=unrealised,
            exposure_usd=exposure,
            exposure_by_symbol_usd=tuple(by_symbol),
        )

    def realised_by_quote(self) -> Mapping[Currency, Decimal]:
        """Return the net result of all positions that are over, by quote currency."""
        return dict(self._realised)

    def _take_out(self, position_id: PositionId) -> None:
        position = self._open.get(position_id)
        if position is not None:
            self._totals_of(position.symbol).remove(position)
            return
        position = self._over.pop(position_id, None)
        if position is not None:
            self.closed -= 1
            self._realise(position, -realised(position))

    def _take_in(self, position: Position) -> None:
        if not position.is_over:
            self._open[position.id] = position
            self._totals_of(position.symbol).add(position)
            return
        self._open.pop(position.id, None)
        self._over[position.id] = position
        self.closed += 1
        self._realise(position, realised(position))
        if len(self._over) > self._history_max:
            self._over.popitem(last=False)

    def _realise(self, position: Position, amount_quote: Decimal) -> None:
        quote = quote_of(position.symbol)
        self._realised[quote] = self._realised.get(quote, ZERO) + amount_quote

    def _totals_of(self, symbol: Symbol) -> Totals:
        totals = self._totals.get(symbol)
        if totals is None:
            totals = self._totals[symbol] = Totals()
        return totals


def in_account_money(currency: Currency, price_of: PriceOf, usd_equivalents: Iterable[Currency]) -> Decimal:
    """Return what one unit of `currency` is worth in account money, by its last price against an equivalent.

    0 while no such price has been heard: the caller's sums then leave this currency out, and are too small by it.
    """
    equivalents = tuple(usd_equivalents)
    if currency in equivalents:
        return Decimal(1)
    prices = (price_of(Symbol(f"{currency}/{equivalent}")) for equivalent in equivalents)
    return next((price for price in prices if price is not None), ZERO)


class _Rates:
    """What each currency is worth, looked up once."""

    def __init__(self, price_of: PriceOf, usd_equivalents: tuple[Currency, ...]) -> None:
        self._price_of = price_of
        self._equivalents = usd_equivalents
        self._known: dict[Currency, Decimal] = {}

    def of(self, currency: Currency) -> Decimal:
        if currency not in self._known:
            self._known[currency] = in_account_money(currency, self._price_of, self._equivalents)
        return self._known[currency]

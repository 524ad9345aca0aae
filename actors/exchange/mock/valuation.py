"""What the account is worth, and how near the exchange is to closing its margin positions.

Equity = balances valued in account money + unrealised profit of the margin positions. Currencies that count as
account money count one to one, the others at the last price of CUR/USD (or CUR/USDT and so on, whichever pair
there is); a currency without a price counts nothing, as collateral that nobody can sell.

A `Gauge` is equity as a function of the prices. As long as every position is quoted in account money that function
is a straight line in each price, so a tick moves it by slope x change and the check costs the same for any account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from actors.exchange.mock.margin import MARGIN_SCALE, MarginPosition
from messages.base import Currency, Symbol
from messages.market import Instrument

PriceOf = Callable[[Symbol], Decimal | None]
ZERO = Decimal(0)
ONE = Decimal(1)


@attrs.define(eq=False)
class Gauge:
    """Equity at the last prices, what it gains for each unit that a symbol rises, and the margin in use."""

    equity_usd: Decimal
    scaled_margin_usd: Decimal
    """2520 times the used margin."""
    slopes: Mapping[Symbol, Decimal]
    is_linear: bool
    """Whether the slopes tell the whole truth; they do not for a position quoted in something like BTC."""

    def is_under(self, level_pct: Decimal, change_usd: Decimal = ZERO) -> bool:
        """Say whether equity, changed by so much, is at or below this per cent of the used margin."""
        scaled_equity_usd = (self.equity_usd + change_usd) * (MARGIN_SCALE * 100)
        return self.scaled_margin_usd > 0 and scaled_equity_usd <= level_pct * self.scaled_margin_usd

    @property
    def scaled_free_usd(self) -> Decimal:
        """2520 times what is free for new positions."""
        return self.equity_usd * MARGIN_SCALE - self.scaled_margin_usd


class Valuer:
    """Knows which pair prices which currency."""

    def __init__(self, instruments: Iterable[Instrument], usd_equivalents: tuple[Currency, ...]) -> None:
        self._equivalents = frozenset(usd_equivalents)
        self._pairs_of: dict[Currency, list[Symbol]] = {}
        self._quote_of: dict[Symbol, Currency] = {}
        ranked = sorted(
            instruments, key=lambda one: usd_equivalents.index(one.quote) if one.quote in self._equivalents else -1
        )
        for instrument in ranked:
            self._quote_of[instrument.symbol] = instrument.quote
            if instrument.quote in self._equivalents:
                self._pairs_of.setdefault(instrument.base, []).append(instrument.symbol)

    def usd_per(self, currency: Currency, price_of: PriceOf) -> Decimal | None:
        """Return what one unit of the currency is worth, None while nobody knows."""
        if currency in self._equivalents:
            return ONE
        pair = self._pair_of(currency, price_of)
        return None if pair is None else price_of(pair)

    def _pair_of(self, currency: Currency, price_of: PriceOf) -> Symbol | None:
        """Return the pair that prices the currency: the first that has a price."""
        return next((pair for pair in self._pairs_of.get(currency, ()) if price_of(pair) is not None), None)

    def gauge(
        self, balances: Mapping[Currency, Decimal], positions: Mapping[Symbol, MarginPosition], price_of: PriceOf
    ) -> Gauge:
        """Measure the account from scratch."""
        equity_usd, slopes, is_linear = ZERO, dict[Symbol, Decimal](), True
        for currency, amount in balances.items():
            equity_usd += amount * (self.usd_per(currency, price_of) or ZERO)
            pair = self._pair_of(currency, price_of)
            if pair is not None and currency not in self._equivalents:
                _steepen(slopes, pair, amount)
        scaled_margin_usd = ZERO
        for symbol, position in positions.items():
            quote = self._quote_of[symbol]
            usd_per_quote = self.usd_per(quote, price_of) or ZERO
            price_quote = price_of(symbol)
            if price_quote is not None:
                equity_usd += (position.volume_base * price_quote - position.cost_quote) * usd_per_quote
            scaled_margin_usd += position.scaled_margin_quote * usd_per_quote
            is_linear = is_linear and quote in self._equivalents
            _steepen(slopes, symbol, position.volume_base)
        return Gauge(equity_usd, scaled_margin_usd, slopes, is_linear)


def _steepen(slopes: dict[Symbol, Decimal], symbol: Symbol, by: Decimal) -> None:
    slopes[symbol] = slopes.get(symbol, ZERO) + by

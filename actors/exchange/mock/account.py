"""The money: balances, what is held back for resting orders, margin positions, and whether a trade can be paid.

Read in order: Account, why_not, book, the gauge.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.levels import Market
from actors.exchange.mock.margin import MARGIN_SCALE, Lot, MarginPosition, scaled_margin
from actors.exchange.mock.pricing import fee_of
from actors.exchange.mock.refusals import INSUFFICIENT_FUNDS, INSUFFICIENT_MARGIN, NO_POSITION, OPPOSING_POSITION
from actors.exchange.mock.valuation import Gauge, Valuer
from messages.base import Currency, Symbol
from messages.trades import Side

ZERO = Decimal(0)


class Account:
    """Everything that is owned and owed. What changed since the last save is noted in the `changed_*` sets."""

    def __init__(
        self,
        markets: Mapping[Symbol, Market],
        usd_equivalents: tuple[Currency, ...],
        *,
        nets_positions: bool = False,
    ) -> None:
        self._markets = markets
        self._nets_positions = nets_positions
        """Whether an order against an open position closes it, as far as that goes; otherwise it is refused."""
        self._valuer = Valuer((market.instrument for market in markets.values()), usd_equivalents)
        self._gauge: Gauge | None = None
        self._held: dict[Currency, Decimal] = {}
        self.balances: dict[Currency, Decimal] = {}
        self.moved: dict[Currency, Decimal] = {}
        """Deposits less withdrawals since the books were opened."""
        self.positions: dict[Symbol, MarginPosition] = {}
        """Only symbols in which something is open."""
        self.lot_count = 0
        self.changed_balances: dict[Currency, None] = {}
        self.changed_lots: dict[int, Lot] = {}

    # Balances -------------------------------------------------------------------------------------

    def add(self, currency: Currency, amount: Decimal) -> None:
        """Change a balance."""
        self.balances[currency] = self.balances.get(currency, ZERO) + amount
        self.changed_balances[currency] = None
        self._gauge = None

    def move(self, currency: Currency, amount: Decimal) -> None:
        """Take in a deposit, or pay out when `amount` is below zero."""
        self.moved[currency] = self.moved.get(currency, ZERO) + amount
        self.add(currency, amount)

    def hold(self, order: BookOrder) -> None:
        """Hold back what a resting spot order may need, and give back what it no longer does."""
        currency, amount = self._hold_of(order)
        self._held[currency] = self._held.get(currency, ZERO) + amount - order.held
        order.held = amount

    def release(self, order: BookOrder) -> None:
        """Give back what was held for an order that does not rest any more."""
        if order.held:
            self._held[self._currency_of(order)] -= order.held
            order.held = ZERO

    def held(self, currency: Currency) -> Decimal:
        """Return how much of a currency is held back."""
        return self._held.get(currency, ZERO)

    def _hold_of(self, order: BookOrder) -> tuple[Currency, Decimal]:
        """Return what a resting order holds. Waiting stops and targets hold nothing, and margin orders neither."""
        limit_quote = order.working_limit_quote
        if order.is_margin or order.is_waiting or limit_quote is None:
            return self._currency_of(order), ZERO
        if order.side is Side.SELL:
            return self._currency_of(order), order.remaining_base
        cost_quote = order.remaining_base * limit_quote
        fee_quote = fee_of(self._markets[order.symbol].instrument, cost_quote, is_maker=False)
        return self._currency_of(order), cost_quote + fee_quote

    def _currency_of(self, order: BookOrder) -> Currency:
        instrument = self._markets[order.symbol].instrument
        return instrument.quote if order.side is Side.BUY else instrument.base

    # May it trade, and what the trade does --------------------------------------------------------

    def why_not(self, order: BookOrder, volume_base: Decimal, price_quote: Decimal, fee_quote: Decimal) -> str | None:
        """Return why the order cannot trade so much at this price now, None when it can."""
        if not order.is_margin:
            return self._why_not_spot(order, volume_base, price_quote, fee_quote)
        position = self.positions.get(order.symbol)
        if order.reduce_only:
            closable = ZERO if position is None else position.closable_base(order.side)
            return None if closable > 0 else NO_POSITION
        if position is not None and position.side is order.side.opposite:
            return self._why_not_net(order, position, volume_base, price_quote, fee_quote)
        return self._why_not_margin(order, volume_base * price_quote, fee_quote)

    def _why_not_net(
        self, order: BookOrder, position: MarginPosition, volume_base: Decimal, price_quote: Decimal, fee_quote: Decimal
    ) -> str | None:
        if not self._nets_positions:
            return OPPOSING_POSITION
        beyond_base = volume_base - position.closable_base(order.side)
        return None if beyond_base <= 0 else self._why_not_margin(order, beyond_base * price_quote, fee_quote)

    def _why_not_spot(
        self, order: BookOrder, volume_base: Decimal, price_quote: Decimal, fee_quote: Decimal
    ) -> str | None:
        needed = volume_base * price_quote + fee_quote if order.side is Side.BUY else volume_base
        currency = self._currency_of(order)
        # A waiting stop or target is measured against all there is: it holds nothing, so nothing is held against it.
        others_hold = ZERO if order.is_waiting else self.held(currency) - order.held
        return None if self.balances.get(currency, ZERO) - others_hold >= needed else INSUFFICIENT_FUNDS

    def _why_not_margin(self, order: BookOrder, cost_quote: Decimal, fee_quote: Decimal) -> str | None:
        usd_per_quote = self._valuer.usd_per(self._markets[order.symbol].instrument.quote, self._price_of)
        if usd_per_quote is None:
            return INSUFFICIENT_MARGIN
        scaled_quote = scaled_margin(cost_quote, order.leverage) + fee_quote * MARGIN_SCALE
        return None if self.gauge().scaled_free_usd >= scaled_quote * usd_per_quote else INSUFFICIENT_MARGIN

    def book(self, order: BookOrder, volume_base: Decimal, price_quote: Decimal, fee_quote: Decimal) -> None:
        """Let the trade change hands. `why_not` has been asked, and a reduce-only volume is within the position."""
        instrument = self._markets[order.symbol].instrument
        if order.is_margin and order.reduce_only:
            self.reduce(order.symbol, volume_base, price_quote, fee_quote)
        elif order.is_margin:
            closed_base = min(volume_base, self.closable_base(order.symbol, order.side))
            if closed_base:
                self.reduce(order.symbol, closed_base, price_quote, fee_quote)
            else:
                self.add(instrument.quote, -fee_quote)
            if volume_base > closed_base:
                self._open_lot(order, volume_base - closed_base, price_quote)
        else:
            base = volume_base if order.side is Side.BUY else -volume_base
            self.add(instrument.base, base)
            self.add(instrument.quote, -base * price_quote - fee_quote)

    def reduce(self, symbol: Symbol, volume_base: Decimal, price_quote: Decimal, fee_quote: Decimal) -> None:
        """Close so much of a margin position, oldest lots first."""
        position = self.positions[symbol]
        profit_quote, touched = position.take(volume_base, price_quote)
        for lot in touched:
            self.changed_lots[lot.number] = lot
        if not position.lots:
            del self.positions[symbol]
        self.add(self._markets[symbol].instrument.quote, profit_quote - fee_quote)

    def closable_base(self, symbol: Symbol, side: Side) -> Decimal:
        """Return how much a reduce-only order on `side` could close."""
        position = self.positions.get(symbol)
        return ZERO if position is None else position.closable_base(side)

    def _open_lot(self, order: BookOrder, volume_base: Decimal, price_quote: Decimal) -> None:
        self.lot_count += 1
        lot = Lot(
            number=self.lot_count,
            symbol=order.symbol,
            order_id=order.order_id,
            side=order.side,
            volume_base=volume_base,
            price_quote=price_quote,
            leverage=order.leverage,
            opened_base=volume_base,
        )
        self.changed_lots[lot.number] = lot
        self.restore_lot(lot)

    def restore_lot(self, lot: Lot) -> None:
        """Put a lot into its position."""
        self.positions.setdefault(lot.symbol, MarginPosition()).add(lot)
        self._gauge = None

    # What it is worth -----------------------------------------------------------------------------

    def gauge(self) -> Gauge:
        """Return the account measured at the last prices, anew only after something was booked."""
        if self._gauge is None:
            self._gauge = self._valuer.gauge(self.balances, self.positions, self._price_of)
        return self._gauge

    def usd_per(self, currency: Currency) -> Decimal | None:
        """Return what one unit of a currency is worth in account money, None while nobody knows."""
        return self._valuer.usd_per(currency, self._price_of)

    def follow(self, symbol: Symbol, before_quote: Decimal | None, last_quote: Decimal) -> None:
        """Take note that the last price of a symbol went from one to the other."""
        gauge = self._gauge
        if gauge is None:
            return
        if before_quote is None or not gauge.is_linear:
            self._gauge = None
            return
        slope = gauge.slopes.get(symbol)
        if slope is not None:
            gauge.equity_usd += slope * (last_quote - before_quote)

    def breaking_price(
        self, symbol: Symbol, low_quote: Decimal, high_quote: Decimal, level_pct: Decimal
    ) -> Decimal | None:
        """Return at which of a tick's extremes the margin level is too low, None when it is so at neither."""
        gauge = self.gauge()
        if not gauge.is_linear:
            return self._breaking_price_slowly(symbol, low_quote, high_quote, level_pct)
        slope = gauge.slopes.get(symbol)
        last_quote = self._price_of(symbol)
        if slope is None or last_quote is None:
            return None
        worst_quote = low_quote if slope > 0 else high_quote
        return worst_quote if gauge.is_under(level_pct, slope * (worst_quote - last_quote)) else None

    def _breaking_price_slowly(
        self, symbol: Symbol, low_quote: Decimal, high_quote: Decimal, level_pct: Decimal
    ) -> Decimal | None:
        for extreme_quote in (low_quote, high_quote):

            def price_of(asked: Symbol, extreme_quote: Decimal = extreme_quote) -> Decimal | None:
                return extreme_quote if asked == symbol else self._price_of(asked)

            if self._valuer.gauge(self.balances, self.positions, price_of).is_under(level_pct):
                return extreme_quote
        return None

    def _price_of(self, symbol: Symbol) -> Decimal | None:
        return self._markets[symbol].last_quote

"""A demonstration strategy: it knows nothing, and hands in a trade every now and then.

It uses the same message any strategy would. Its choices come from a seed, so a replay makes the same ones.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from decimal import Decimal

from config.settings import DemoSettings
from messages.base import Message, ProposalId, Symbol
from messages.market import Instrument, PriceMoved
from messages.trades import ExecuteTrade, OrderType, Regime, Side, TradeProposal

MICROSECONDS = 1_000_000
HUNDRED = Decimal(100)
LEVERAGES = (2, 3, 5)


class DemoStrategy:
    """Listens to prices as they pass, and answers some of them with a proposal."""

    def __init__(
        self,
        *,
        settings: DemoSettings,
        instruments: Mapping[Symbol, Instrument],
        usd_equivalents: tuple[str, ...],
        new_id: Callable[[], str],
        seed: str,
        tell: Callable[[Message, ProposalId], None],
    ) -> None:
        self._settings = settings
        self._instruments = instruments
        self._usd_equivalents = usd_equivalents
        self._quotes = frozenset(instrument.quote for instrument in instruments.values())
        self._new_id = new_id
        self._choices = random.Random(seed)  # noqa: S311 - a toy strategy, no secret.
        self._tell = tell
        self._prices: dict[Symbol, Decimal] = {}
        self._next_at_us: int | None = None

    def listen(self, message: Message) -> None:
        """Remember a price; when it is time, propose a trade at it."""
        if type(message) is not PriceMoved:
            return
        self._prices[message.symbol] = message.last_quote
        if self._next_at_us is None:
            self._next_at_us = message.at_us + MICROSECONDS
        if message.at_us < self._next_at_us:
            return
        self._next_at_us = message.at_us + self._settings.every_s * MICROSECONDS
        proposal = self._propose(self._choices.choice(sorted(self._prices)), message.at_us)
        if proposal is not None:
            self._tell(ExecuteTrade(proposal=proposal), proposal.id)

    def _propose(self, symbol: Symbol, at_us: int) -> TradeProposal | None:
        """Return a trade with a stop and a target, its size in what the symbol is quoted in."""
        instrument = self._instruments[symbol]
        rate = self._rate(instrument.quote)
        if rate is None:
            return None
        price = self._prices[symbol]
        side = self._choices.choice((Side.BUY, Side.SELL))
        sign = 1 if side is Side.BUY else -1
        # Coins in which another pair is quoted pay its fees and losses: bought for cash, they might be gone by then.
        may_be_cash = side is Side.BUY and rate == 1 and instrument.base not in self._quotes
        is_cash = may_be_cash and self._choices.random() < 1 / 3
        return TradeProposal(
            id=ProposalId(self._new_id()),
            at_us=at_us,
            symbol=symbol,
            side=side,
            size_usd=(self._settings.size_usd / rate).quantize(Decimal("0.00000001")),
            order_type=OrderType.MARKET,
            stop_loss_quote=_moved(price, -sign * self._settings.stop_pct, instrument),
            take_profit_quote=_moved(price, sign * self._settings.target_pct, instrument),
            leverage=1 if is_cash else min(self._choices.choice(LEVERAGES), instrument.leverage_max),
            confidence=Decimal("0.8"),
            trailing=self._choices.random() < 1 / 4,
            regime=Regime.RANGING,
        )

    def _rate(self, currency: str) -> Decimal | None:
        if currency in self._usd_equivalents:
            return Decimal(1)
        prices = (self._prices.get(Symbol(f"{currency}/{dollar}")) for dollar in self._usd_equivalents)
        return next((price for price in prices if price is not None), None)


def _moved(price_quote: Decimal, by_pct: Decimal, instrument: Instrument) -> Decimal:
    """Return a price so many per cent away, on the tick."""
    moved = price_quote * (1 + by_pct / HUNDRED)
    return (moved / instrument.price_tick_quote).to_integral_value() * instrument.price_tick_quote

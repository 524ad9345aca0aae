"""Prices, and what the exchange demands of orders in a pair."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from messages.base import Command, Currency, Event, ProposalId, Query, Symbol


@attrs.frozen(kw_only=True)
class Instrument:
    """What the exchange demands of an order in one pair."""

    symbol: Symbol
    base: Currency
    quote: Currency
    price_tick_quote: Decimal
    lot_step_base: Decimal
    volume_min_base: Decimal
    notional_min_quote: Decimal
    leverage_max: int
    fee_maker_pct: Decimal
    fee_taker_pct: Decimal


@attrs.frozen(kw_only=True)
class Tick(Command):
    """A trade happened at this price: handed to MarketActor by a price source."""

    symbol: Symbol
    price_quote: Decimal
    at_us: int
    sequence: int
    """Its place in the stream of all ticks, from 1: a replay resumes behind the last one that is safe."""


@attrs.frozen(kw_only=True)
class PriceMoved(Event):
    """The last price of a symbol, with the extremes since the reader last looked."""

    symbol: Symbol
    last_quote: Decimal
    low_quote: Decimal
    high_quote: Decimal
    at_us: int
    sequence: int

    conflates: ClassVar[bool] = True

    def conflation_key(self) -> str:
        """Ticks of one symbol queue as one."""
        return self.symbol

    def merged_with(self, later: PriceMoved) -> PriceMoved:
        """Keep the last price and both extremes, so that no stop in between is missed."""
        return PriceMoved(
            symbol=self.symbol,
            last_quote=later.last_quote,
            low_quote=min(self.low_quote, later.low_quote),
            high_quote=max(self.high_quote, later.high_quote),
            at_us=later.at_us,
            sequence=later.sequence,
        )


@attrs.frozen(kw_only=True)
class GetPrice(Query):
    """Which price has this symbol now? Asked for the sake of one proposal."""

    symbol: Symbol
    wanted_for: ProposalId


@attrs.frozen(kw_only=True)
class PriceReported(Event):
    """The answer to GetPrice. `last_quote` is None while no price has been heard."""

    symbol: Symbol
    wanted_for: ProposalId
    last_quote: Decimal | None
    heard_at_us: int
    quote_usd: Decimal | None = None
    """What one unit of the quote currency is worth in account money; None while nobody knows."""

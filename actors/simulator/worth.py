"""What everything comes to: every fill at what it moved, and what is held at the last price. Risk leans on it.

Counted from the fills alone; what the engine says of its positions is held against it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from actors.position.view import BookSummary
from messages.base import Currency, Symbol
from messages.orders import Fill
from messages.trades import Side

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

ZERO = Decimal(0)


def worth_differs(stage: Stage, book: BookSummary) -> str:
    """Say how far the engine's results, with what is still open, are from the fills; nothing when they agree."""
    told_usd = book.totals.realised_usd + book.totals.unrealised_usd
    worth_usd = _worth_usd(stage, stage.kept.fills.values())
    return "" if told_usd == worth_usd else f"all positions come to {told_usd}, their fills to {worth_usd}"


def _worth_usd(stage: Stage, fills: Iterable[Fill]) -> Decimal:
    execution, prices = stage.plan.settings.execution, stage.watch.prices
    moved: defaultdict[Currency, Decimal] = defaultdict(Decimal)
    held: defaultdict[Symbol, Decimal] = defaultdict(Decimal)
    for fill in fills:
        sign = 1 if fill.side is Side.BUY else -1
        held[fill.symbol] += sign * fill.volume_base
        moved[execution.instruments[fill.symbol].quote] -= sign * fill.price_quote * fill.volume_base + fill.fee_quote
    for symbol, volume_base in held.items():
        moved[execution.instruments[symbol].quote] += volume_base * prices.get(symbol, ZERO)
    return sum((amount * _rate(stage, currency) for currency, amount in moved.items()), ZERO)


def _rate(stage: Stage, currency: Currency) -> Decimal:
    """Return what one of it is worth in account money, by the last price."""
    equivalents = stage.plan.settings.execution.usd_equivalents
    if currency in equivalents:
        return Decimal(1)
    known = (stage.watch.prices.get(Symbol(f"{currency}/{equivalent}")) for equivalent in equivalents)
    return next((price for price in known if price is not None), ZERO)

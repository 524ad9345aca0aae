"""The positions as others see them: marks for a photograph, and a summary for those who look in."""

from __future__ import annotations

from decimal import Decimal

import attrs

from actors.position.portfolio import Portfolio, PriceOf, Valuation
from actors.position.profit import ZERO, unrealised, unrealised_pct
from messages.positions import BookReported, Position, PositionMark


@attrs.frozen(kw_only=True)
class BookSummary:
    """The whole book at one instant, for the live view and the shell."""

    at_us: int
    positions: tuple[Position, ...]
    """Those that are not over, in the order of their opening."""
    marks: tuple[PositionMark, ...]
    """One for each of `positions`, in their order."""
    totals: Valuation
    closed: int
    """How many have come to their end since the start."""
    trailing: int
    """How many follow a watermark."""


def mark(position: Position, price_quote: Decimal | None) -> PositionMark:
    """Return what is still held of a position at this price, fees apart; 0 and 0 while there is no price."""
    return PositionMark(
        position_id=position.id,
        symbol=position.symbol,
        price_quote=price_quote,
        unrealised_quote=ZERO if price_quote is None else unrealised(position, price_quote),
        unrealised_pct=ZERO if price_quote is None else unrealised_pct(position, price_quote),
    )


def marks(portfolio: Portfolio, price_of: PriceOf) -> tuple[PositionMark, ...]:
    """Return a mark for each open position."""
    return tuple(mark(position, price_of(position.symbol)) for position in portfolio.open_positions)


def book_report(at_us: int, portfolio: Portfolio, totals: Valuation, price_of: PriceOf) -> BookReported:
    """Return the whole book, for a photograph."""
    return BookReported(
        at_us=at_us,
        marks=marks(portfolio, price_of),
        realised_usd=totals.realised_usd,
        unrealised_usd=totals.unrealised_usd,
        exposure_usd=totals.exposure_usd,
    )

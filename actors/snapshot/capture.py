"""What one photograph shows, and when the next is due."""

from __future__ import annotations

from decimal import Decimal

from messages.journal import Snapshot
from messages.positions import BookReported


def capture(book: BookReported, equity_start_usd: Decimal) -> Snapshot:
    """Return the book as one photograph: equity is what there was at the start, plus all that was earned since."""
    return Snapshot(
        at_us=book.at_us,
        equity_usd=equity_start_usd + book.realised_usd + book.unrealised_usd,
        realised_usd=book.realised_usd,
        unrealised_usd=book.unrealised_usd,
        exposure_usd=book.exposure_usd,
        marks=book.marks,
    )


def next_due_us(now_us: int, every_us: int) -> int:
    """Return the first multiple of `every_us` after now: photographs of different days line up."""
    return (now_us // every_us + 1) * every_us

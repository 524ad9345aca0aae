"""All that was ever filled, summed by the database: one side of the comparison with the exchange's books."""

from __future__ import annotations

from decimal import Decimal

import attrs
from asyncpg import Connection

FILL_SUMS = """
SELECT symbol, side, sum(volume) AS volume, sum(price * volume) AS cost, sum(fee) AS fees, count(*) AS trades
FROM fills WHERE account = $1 GROUP BY symbol, side ORDER BY symbol, side
"""


@attrs.frozen(kw_only=True)
class FillSum:
    """The fills of one symbol and side: base volume, cost and fees in the quote currency, all exact, and how many."""

    symbol: str
    side: str
    volume: Decimal
    cost: Decimal
    fees: Decimal
    trades: int


async def fill_sums(connection: Connection, account: str) -> tuple[FillSum, ...]:
    """Return the sums of every symbol and side that the account has ever traded."""
    return tuple(FillSum(**dict(row)) for row in await connection.fetch(FILL_SUMS, account))

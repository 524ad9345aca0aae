"""What an account's life comes to, in figures: counted by the database, all of it as of one instant."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import attrs
from asyncpg import Connection


@attrs.frozen(kw_only=True)
class Spread:
    """How values are spread: nearest rank, so each figure is one that occurred. None without any value."""

    count: int = 0
    p50: Decimal | None = None
    p99: Decimal | None = None
    max: Decimal | None = None


@attrs.frozen(kw_only=True)
class Profit:
    """What the positions that are over have brought, in one quote currency."""

    gross_pnl: Decimal
    fees: Decimal
    net_pnl: Decimal


@attrs.frozen(kw_only=True)
class Figures:
    """An account's life."""

    proposals: int
    """Trades asked for, readable or not."""
    rejected: int
    rejections_by_code: Mapping[str, int]
    """By the first code of each."""
    orders_placed: int
    """Orders that reached the exchange."""
    orders_filled: int
    orders_partially_filled: int
    """Orders of which a part has filled: so far, or when they ended."""
    orders_cancelled: int
    orders_expired: int
    orders_failed: int
    positions_opened: int
    positions_closed: int
    open_positions: int
    profit_by_quote: Mapping[str, Profit]
    closed_by_reason: Mapping[str, int]
    fill_seconds: Spread
    """From OPEN to FILLED, entries and exits; a stop that waits for its price is not slow."""
    slippage_pct: Spread
    """Average price against the reference, entries and exits at market; positive is worse than expected."""
    retries: Spread
    seconds_unprotected: Spread
    """From a position's first fill to its stop resting on the exchange; positions without a stop are left out."""


REQUESTS = """
SELECT count(*) AS proposals, count(*) FILTER (WHERE verdict = 'rejected') AS rejected
FROM trade_requests WHERE account = $1 AND kind IN ('trade', 'unreadable')
"""
REJECTIONS = """
SELECT coalesce(codes[1], '') AS name, count(*) AS number
FROM trade_requests WHERE account = $1 AND kind IN ('trade', 'unreadable') AND verdict = 'rejected'
GROUP BY 1 ORDER BY 2 DESC, 1
"""
ORDERS = """
SELECT count(*) FILTER (WHERE opened_at IS NOT NULL OR external_id IS NOT NULL) AS orders_placed,
       count(*) FILTER (WHERE status = 'FILLED') AS orders_filled,
       count(*) FILTER (WHERE status = 'PARTIALLY_FILLED' OR (is_over AND filled_volume > 0 AND filled_volume < volume))
           AS orders_partially_filled,
       count(*) FILTER (WHERE status = 'CANCELLED') AS orders_cancelled,
       count(*) FILTER (WHERE status = 'EXPIRED') AS orders_expired,
       count(*) FILTER (WHERE status = 'ERROR') AS orders_failed
FROM orders WHERE account = $1
"""
POSITIONS = """
SELECT count(*) AS positions_opened, count(*) FILTER (WHERE is_over) AS positions_closed,
       count(*) FILTER (WHERE NOT is_over) AS open_positions
FROM positions WHERE account = $1
"""
PROFIT = """
SELECT split_part(symbol, '/', 2) AS quote, sum(gross_pnl) AS gross_pnl, sum(fees) AS fees, sum(realized_pnl) AS net_pnl
FROM positions WHERE account = $1 AND is_over GROUP BY 1 ORDER BY 1
"""
CLOSED_BY_REASON = """
SELECT coalesce(close_reason, 'unknown') AS name, count(*) AS number
FROM positions WHERE account = $1 AND is_over GROUP BY 1 ORDER BY 2 DESC, 1
"""
SPREAD = """
SELECT count(value) AS count, percentile_disc(0.5) WITHIN GROUP (ORDER BY value) AS p50,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY value) AS p99, max(value) AS max
FROM ({values}) AS measured (value)
"""
FILL_SECONDS = """
SELECT extract(epoch FROM ended_at - opened_at)
FROM orders WHERE account = $1 AND role IN ('entry', 'exit')
                  AND status = 'FILLED' AND opened_at IS NOT NULL AND ended_at IS NOT NULL
"""
# A market entry is sent as an immediate-or-cancel limit; exits at market are market orders.
SLIPPAGE_PCT = """
SELECT round(CASE side WHEN 'buy' THEN 1 ELSE -1 END
             * (filled_cost / filled_volume - reference_price) / reference_price * 100, 8)
FROM orders WHERE account = $1 AND role IN ('entry', 'exit') AND filled_volume > 0 AND reference_price > 0
              AND (order_type = 'market' OR time_in_force = 'IOC')
"""
RETRIES = "SELECT retries::numeric FROM orders WHERE account = $1"
SECONDS_UNPROTECTED = """
SELECT extract(epoch FROM protected_at - opened_at)
FROM positions WHERE account = $1 AND stop_loss IS NOT NULL AND protected_at IS NOT NULL
"""


async def figures(connection: Connection, account: str) -> Figures:
    """Return the figures of the account, from its first day to now."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        counts = {
            **dict(await _row(connection, REQUESTS, account)),
            **dict(await _row(connection, ORDERS, account)),
            **dict(await _row(connection, POSITIONS, account)),
        }
        return Figures(
            **counts,
            rejections_by_code=await _counts(connection, REJECTIONS, account),
            closed_by_reason=await _counts(connection, CLOSED_BY_REASON, account),
            profit_by_quote=await _profit(connection, account),
            fill_seconds=await _spread(connection, FILL_SECONDS, account),
            slippage_pct=await _spread(connection, SLIPPAGE_PCT, account),
            retries=await _spread(connection, RETRIES, account),
            seconds_unprotected=await _spread(connection, SECONDS_UNPROTECTED, account),
        )


async def _row(connection: Connection, query: str, account: str) -> Mapping[str, int]:
    row = await connection.fetchrow(query, account)
    return dict(row) if row is not None else {}


async def _counts(connection: Connection, query: str, account: str) -> dict[str, int]:
    return {row["name"]: row["number"] for row in await connection.fetch(query, account)}


async def _profit(connection: Connection, account: str) -> dict[str, Profit]:
    rows = await connection.fetch(PROFIT, account)
    return {row["quote"]: Profit(gross_pnl=row["gross_pnl"], fees=row["fees"], net_pnl=row["net_pnl"]) for row in rows}


async def _spread(connection: Connection, values: str, account: str) -> Spread:
    row = await connection.fetchrow(SPREAD.format(values=values), account)
    if row is None:
        return Spread()
    return Spread(count=row["count"], p50=row["p50"], p99=row["p99"], max=row["max"])

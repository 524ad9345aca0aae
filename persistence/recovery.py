"""What a start needs of the past, read in a few statements of one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from asyncpg import Connection

from messages.base import OrderId, ProposalId, Symbol, TradeId
from messages.journal import MarginExit, RecoveredState, Standing
from messages.orders import Order
from messages.positions import Position
from messages.risk import RiskState
from messages.trades import RequestRow, Side
from persistence.protocol import (
    FILLS_REMEMBERED,
    LATE_S,
    MARGIN_EXITS_REMEMBERED,
    ORDERS_REMEMBERED,
    REQUESTS_REMEMBERED,
    margin_since_us,
)
from persistence.rows import (
    balances_from_json,
    order_from_row,
    position_from_row,
    request_from_row,
    risk_from_row,
    standing_from_row,
    target_as_json,
)

LATE_SINCE = "SELECT max(ended_at) - make_interval(secs => $2) FROM orders WHERE account = $1"
POSITIONS = """
SELECT * FROM (
    SELECT * FROM positions WHERE account = $1 AND NOT is_over
    UNION ALL
    SELECT * FROM positions WHERE account = $1 AND is_over
        AND id IN (SELECT position_id FROM orders WHERE account = $1 AND (NOT is_over OR ended_at >= $2))
) AS wanted ORDER BY opened_at, id
"""
ORDERS = """
SELECT * FROM (
    SELECT * FROM orders WHERE account = $1 AND NOT is_over
    UNION ALL
    SELECT * FROM orders WHERE account = $1 AND is_over AND (position_id = ANY($2::uuid[]) OR ended_at >= $3)
) AS wanted ORDER BY created_at, id
"""
BOOKED = """
WITH trades AS (
    SELECT split_part(trade_id, '#', 1) COLLATE "C" AS trade, sum(volume) AS volume, min(at) AS at,
           bool_or(order_id = ANY($2::uuid[])) AS is_wanted
    FROM fills WHERE account = $1 GROUP BY 1
)
SELECT trade, volume FROM (
    SELECT * FROM trades WHERE is_wanted
    UNION
    (SELECT * FROM trades ORDER BY at DESC, trade DESC LIMIT $3)
) AS wanted ORDER BY at, trade
"""
ORDER_IDS = """
SELECT id FROM (
    SELECT id, created_at FROM orders WHERE account = $1 ORDER BY created_at DESC, id DESC LIMIT $2
) AS newest ORDER BY created_at, id
"""
LAST_FILL_AT = "SELECT max(at) FROM fills WHERE account = $1"
COUNTED = """
SELECT external_order_id, sum(volume) FROM fills
WHERE account = $1 AND external_order_id = ANY($2::text[]) GROUP BY external_order_id
"""
MARGIN_EXITS = """
SELECT symbol, side, volume, at, opened_at FROM (
    SELECT fills.symbol, fills.side, fills.volume, fills.at, positions.opened_at, fills.trade_id COLLATE "C" AS trade_id
    FROM fills
    JOIN orders ON orders.account = fills.account AND orders.id = fills.order_id
    JOIN positions ON positions.account = orders.account AND positions.id = orders.position_id
    WHERE fills.account = $1 AND fills.at >= $2 AND orders.role <> 'entry' AND orders.leverage > 1
    ORDER BY at DESC, trade_id DESC LIMIT $3
) AS newest ORDER BY at, trade_id
"""
REQUEST_IDS = """
SELECT id FROM (
    SELECT id, number FROM trade_requests WHERE account = $1 ORDER BY number DESC LIMIT $2
) AS newest ORDER BY number
"""
APPROVED = """
SELECT * FROM trade_requests
WHERE account = $1 AND verdict = 'approved' AND id = ANY($2::uuid[]) ORDER BY number
"""
TAKEN = """
SELECT * FROM trade_requests
WHERE account = $1 AND verdict = 'taken' AND CASE kind
    WHEN 'protect' THEN (body -> 'target')::text = ANY($2::text[])
    WHEN 'cancel' THEN body::text = ANY($2::text[])
    WHEN 'close' THEN body::text = ANY($2::text[])
    ELSE false END
ORDER BY number
"""
STANDINGS = 'SELECT * FROM standings WHERE account = $1 ORDER BY symbol COLLATE "C"'
RISK = "SELECT * FROM risk_state WHERE account = $1"
REALISED = """
SELECT split_part(symbol, '/', 2) COLLATE "C" AS quote, sum(realized_pnl) AS realised
FROM positions WHERE account = $1 AND is_over GROUP BY 1 ORDER BY 1
"""
ACCOUNT = "SELECT initial_balances, opened_at FROM accounts WHERE account = $1"


async def recover(connection: Connection, account: str) -> RecoveredState:
    """Return the account's past, all of it as of one instant."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        late_since_us = await connection.fetchval(LATE_SINCE, account, LATE_S)
        positions = await _positions(connection, account, late_since_us)
        orders = await _orders(connection, account, positions, late_since_us)
        begun = await connection.fetchrow(ACCOUNT, account)
        return RecoveredState(
            orders=orders,
            positions=positions,
            booked=await _booked(connection, account, orders),
            last_fill_at_us=await connection.fetchval(LAST_FILL_AT, account),
            unbooked=await _unbooked(connection, account, orders),
            margin_exits=await _margin_exits(connection, account, orders),
            opened_at_us=None if begun is None else begun["opened_at"],
            order_ids=await _order_ids(connection, account),
            requests=await _request_ids(connection, account),
            approved=await _approved(connection, account, orders),
            taken=await _taken(connection, account, orders),
            risk=await _risk(connection, account),
            standings=await _standings(connection, account),
            realised_by_quote=await _realised(connection, account),
            initial_balances=_balances(None if begun is None else begun["initial_balances"]),
        )


async def _positions(connection: Connection, account: str, late_since_us: int | None) -> tuple[Position, ...]:
    rows = await connection.fetch(POSITIONS, account, late_since_us)
    return tuple(position_from_row(row) for row in rows)


async def _orders(
    connection: Connection, account: str, positions: Sequence[Position], late_since_us: int | None
) -> tuple[Order, ...]:
    rows = await connection.fetch(ORDERS, account, [position.id for position in positions], late_since_us)
    return tuple(order_from_row(row) for row in rows)


async def _booked(connection: Connection, account: str, orders: Sequence[Order]) -> tuple[tuple[TradeId, Decimal], ...]:
    rows = await connection.fetch(BOOKED, account, [order.id for order in orders], FILLS_REMEMBERED)
    return tuple((TradeId(row["trade"]), row["volume"]) for row in rows)


async def _order_ids(connection: Connection, account: str) -> tuple[OrderId, ...]:
    rows = await connection.fetch(ORDER_IDS, account, ORDERS_REMEMBERED)
    return tuple(OrderId(str(row[0])) for row in rows)


async def _unbooked(
    connection: Connection, account: str, orders: Sequence[Order]
) -> tuple[tuple[OrderId, Decimal], ...]:
    rows = await connection.fetch(COUNTED, account, [order.external_id for order in orders if order.external_id])
    booked = {row[0]: row[1] for row in rows}
    left = ((order.id, order.filled_base - booked.get(order.external_id, Decimal(0))) for order in orders)
    return tuple((order_id, left_base) for order_id, left_base in left if left_base > 0)


async def _margin_exits(connection: Connection, account: str, orders: Sequence[Order]) -> tuple[MarginExit, ...]:
    since_us = margin_since_us(orders)
    if since_us is None:
        return ()
    rows = await connection.fetch(MARGIN_EXITS, account, since_us, MARGIN_EXITS_REMEMBERED)
    return tuple(
        MarginExit(
            symbol=Symbol(row["symbol"]),
            side=Side(row["side"]),
            volume_base=row["volume"],
            at_us=row["at"],
            entered_at_us=row["opened_at"],
        )
        for row in rows
    )


async def _request_ids(connection: Connection, account: str) -> tuple[ProposalId, ...]:
    return tuple(ProposalId(str(row[0])) for row in await connection.fetch(REQUEST_IDS, account, REQUESTS_REMEMBERED))


async def _approved(connection: Connection, account: str, orders: Sequence[Order]) -> tuple[RequestRow, ...]:
    rows = await connection.fetch(APPROVED, account, list({order.intent.proposal_id for order in orders}))
    return tuple(request_from_row(row) for row in rows)


async def _taken(connection: Connection, account: str, orders: Sequence[Order]) -> tuple[RequestRow, ...]:
    targets = [target_as_json(proposal_id) for proposal_id in {order.intent.proposal_id for order in orders}]
    return tuple(request_from_row(row) for row in await connection.fetch(TAKEN, account, targets))


async def _risk(connection: Connection, account: str) -> RiskState:
    row = await connection.fetchrow(RISK, account)
    return RiskState() if row is None else risk_from_row(row)


async def _standings(connection: Connection, account: str) -> tuple[Standing, ...]:
    return tuple(standing_from_row(row) for row in await connection.fetch(STANDINGS, account))


async def _realised(connection: Connection, account: str) -> tuple[tuple[str, Decimal], ...]:
    return tuple((row["quote"], row["realised"]) for row in await connection.fetch(REALISED, account))


def _balances(text: str | None) -> tuple[tuple[str, Decimal], ...]:
    return () if text is None else tuple(sorted(balances_from_json(text).items()))

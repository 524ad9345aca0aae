"""What the database says that was done at the exchange: to be laid beside the exchange's own books."""

from __future__ import annotations

from decimal import Decimal

import attrs
from asyncpg import Connection

SENT = "SELECT id::text AS id, external_id, status, is_over FROM orders WHERE account = $1"
BOOKED = """
SELECT split_part(trade_id, '#', 1) AS trade_id, sum(volume) AS volume, sum(fee) AS fee
FROM fills WHERE account = $1 GROUP BY 1
"""
FLOWS = """
SELECT symbol, sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) AS base,
       sum(CASE side WHEN 'buy' THEN -volume * price ELSE volume * price END - fee) AS quote
FROM fills WHERE account = $1 GROUP BY 1
"""
STATE = """
SELECT (SELECT count(*) FROM trade_requests WHERE account = $1 AND kind IN ('trade', 'unreadable')) AS requests,
       (SELECT count(*) FROM positions WHERE account = $1) AS positions,
       (SELECT count(*) FROM positions WHERE account = $1 AND NOT is_over) AS open_positions,
       (SELECT count(*) FROM orders WHERE account = $1 AND NOT is_over) AS live_orders
"""


@attrs.frozen(kw_only=True)
class SentOrder:
    """One order, by our id and the exchange's."""

    id: str
    external_id: str | None
    status: str
    is_over: bool


@attrs.frozen(kw_only=True)
class BookedTrade:
    """One trade of the exchange, with all parts of it that were booked on different positions."""

    trade_id: str
    volume: Decimal
    fee: Decimal


@attrs.frozen(kw_only=True)
class Flow:
    """What all fills in a pair have moved: signed volume, and signed money after fees."""

    symbol: str
    base: Decimal
    quote: Decimal


@attrs.frozen(kw_only=True)
class State:
    """How far an account has come."""

    requests: int
    positions: int
    open_positions: int
    live_orders: int


async def sent_orders(connection: Connection, account: str) -> list[SentOrder]:
    """Return every order."""
    return [SentOrder(**dict(row)) for row in await connection.fetch(SENT, account)]


async def booked_trades(connection: Connection, account: str) -> list[BookedTrade]:
    """Return every trade of the exchange that was booked."""
    return [BookedTrade(**dict(row)) for row in await connection.fetch(BOOKED, account)]


async def flows(connection: Connection, account: str) -> list[Flow]:
    """Return what was moved, by pair."""
    return [Flow(**dict(row)) for row in await connection.fetch(FLOWS, account)]


async def state(connection: Connection, account: str) -> State:
    """Return how far the account has come."""
    row = await connection.fetchrow(STATE, account)
    if row is None:
        raise LookupError(f"the database has counted nothing of account {account}")
    return State(**dict(row))

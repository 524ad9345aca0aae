"""What the database says that was done at the exchange: to be laid beside the exchange's own books."""

from __future__ import annotations

from decimal import Decimal

import attrs
from asyncpg import Connection

SENT = """
SELECT id::text AS id, external_id, position_id::text AS position_id, role, filled_volume, is_over
FROM orders WHERE account = $1
"""
BOOKED = """
SELECT split_part(trade_id, '#', 1) AS trade_id, sum(volume) AS volume, sum(fee) AS fee
FROM fills WHERE account = $1 GROUP BY 1
"""
FLOWS = """
SELECT symbol, sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) AS base,
       sum(CASE side WHEN 'buy' THEN -volume * price ELSE volume * price END - fee) AS quote
FROM fills WHERE account = $1 GROUP BY 1
"""
RESULTS = "SELECT symbol, sum(realized_pnl) AS net FROM positions WHERE account = $1 AND is_over GROUP BY 1"
HELD = """
SELECT id::text AS id, symbol, volume, stop_loss IS NOT NULL AND status = 'OPEN' AS wants_stop
FROM positions WHERE account = $1 AND NOT is_over
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
    position_id: str
    role: str
    filled_volume: Decimal
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
class HeldPosition:
    """One position that is not over."""

    id: str
    symbol: str
    volume: Decimal
    wants_stop: bool
    """Whether one was asked for; a position that is being left has none any more."""


@attrs.frozen(kw_only=True)
class State:
    """How far an account has come."""

    requests: int
    positions: int
    open_positions: int
    live_orders: int


@attrs.frozen(kw_only=True)
class Ours:
    """Everything that was done, as the database has it."""

    orders: tuple[SentOrder, ...]
    trades: tuple[BookedTrade, ...]
    flows: tuple[Flow, ...]
    results: dict[str, Decimal]
    """What the positions that are over have gained after fees, by pair."""
    held: tuple[HeldPosition, ...]


async def ours(connection: Connection, account: str) -> Ours:
    """Return everything, as of one instant."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return Ours(
            orders=tuple(SentOrder(**dict(row)) for row in await connection.fetch(SENT, account)),
            trades=tuple(BookedTrade(**dict(row)) for row in await connection.fetch(BOOKED, account)),
            flows=tuple(Flow(**dict(row)) for row in await connection.fetch(FLOWS, account)),
            results={row["symbol"]: row["net"] for row in await connection.fetch(RESULTS, account)},
            held=tuple(HeldPosition(**dict(row)) for row in await connection.fetch(HELD, account)),
        )


async def state(connection: Connection, account: str) -> State:
    """Return how far the account has come."""
    row = await connection.fetchrow(STATE, account)
    if row is None:
        raise LookupError(f"the database has counted nothing of account {account}")
    return State(**dict(row))

"""The floors in PostgreSQL: what the database alone takes for one row of the size of ours, and for many in groups."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from decimal import Decimal
from uuid import uuid4

from asyncpg import Connection

from messages.base import OrderId, PositionId, ProposalId
from messages.orders import Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.trades import OrderType, Side
from persistence.database import PLAN_ONCE
from persistence.rows import ORDER_COLUMNS, Row, order_row
from scripts.benchmarks.stage import PRICE, START_US, SYMBOL

TABLE = "CREATE TABLE bench_orders (LIKE orders INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)"
NAMES = (*ORDER_COLUMNS, "is_over")
COLUMNS = ", ".join(NAMES)
PLACES = ", ".join(f"${place}" for place in range(1, len(NAMES) + 1))
INSERT_ONE = f"INSERT INTO bench_orders ({COLUMNS}) VALUES ({PLACES})"  # noqa: S608 - Our own names.
INSERT_MANY = (
    f"INSERT INTO bench_orders ({COLUMNS}) "  # noqa: S608 - Our own names.
    f"SELECT {', '.join(f'r.{column}' for column in NAMES)} FROM unnest($1::bench_orders[]) AS r"
)


async def prepare(connection: Connection) -> None:
    """Make a table like the one that our orders go to."""
    await connection.execute(PLAN_ONCE)
    await connection.execute(TABLE)


def a_row() -> Row:
    """Return a new order as the journal writes it."""
    intent = OrderIntent(
        id=OrderId(str(uuid4())),
        proposal_id=ProposalId(str(uuid4())),
        position_id=PositionId(str(uuid4())),
        symbol=SYMBOL,
        side=Side.BUY,
        role=OrderRole.ENTRY,
        order_type=OrderType.LIMIT,
        volume_base=Decimal("0.00498700"),
        limit_price_quote=Decimal("100500.0"),
        trigger_price_quote=None,
        reference_price_quote=PRICE,
        leverage=1,
        reduce_only=False,
        time_in_force=TimeInForce.IOC,
        expires_at_us=None,
        attempt=1,
        created_at_us=START_US,
    )
    order = Order(
        intent=intent,
        status=OrderStatus.PENDING,
        volume_base=intent.volume_base,
        trigger_price_quote=None,
        updated_at_us=START_US,
    )
    return (*order_row("bench", order)[: len(ORDER_COLUMNS)], False)


async def insert_us(connection: Connection) -> float:
    """Return how long one committed insert takes."""
    row = a_row()
    began_ns = time.perf_counter_ns()
    await connection.execute(INSERT_ONE, *row)
    return (time.perf_counter_ns() - began_ns) / 1_000


async def pipeline_per_s(connection: Connection, rows: int, in_flight: int) -> float:
    """Return how many proposals a second become a committed row and are handed over, committed in groups."""
    waiting = deque(a_row() for _ in range(min(in_flight, rows)))
    made, handed_over = len(waiting), 0
    began_ns = time.perf_counter_ns()
    while waiting:
        group = list(waiting)
        waiting.clear()
        await connection.execute(INSERT_MANY, group)
        handed_over += len(group)
        for _ in range(min(len(group), rows - made)):
            waiting.append(a_row())
            made += 1
        await asyncio.sleep(0)
    return handed_over / ((time.perf_counter_ns() - began_ns) / 1_000_000_000)

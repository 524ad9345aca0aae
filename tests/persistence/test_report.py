"""The figures of an account, against a life that was counted by hand."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import attrs

from messages.base import Symbol
from messages.journal import RecordFill, RecordOrder, RecordPosition, RecordRequest, RecordUnit
from messages.orders import Order, OrderRole, OrderStatus
from messages.positions import CloseReason, PositionSide, PositionStatus
from persistence.database import Database
from persistence.journal import PostgresJournal
from persistence.report import Figures, Profit, Spread, figures
from tests.persistence.samples import SECOND, T0, a_fill, a_position, a_request, an_order


def filled(name: str, *, seconds: int, price: str, role: OrderRole = OrderRole.ENTRY) -> Order:
    """Return an order that filled whole at `price` against a reference of 100."""
    order = an_order(name, OrderStatus.FILLED, trade=name, role=role)
    return attrs.evolve(
        order,
        intent=attrs.evolve(order.intent, reference_price_quote=Decimal(100), side=order.intent.side),
        volume_base=Decimal(2),
        filled_base=Decimal(2),
        filled_cost_quote=2 * Decimal(price),
        opened_at_us=T0,
        ended_at_us=T0 + seconds * SECOND,
        retries=0,
    )


def unsent(name: str, status: OrderStatus) -> Order:
    return attrs.evolve(
        an_order(name, status),
        external_id=None,
        opened_at_us=None,
        filled_base=Decimal(0),
        filled_cost_quote=Decimal(0),
        retries=3,
    )


LIFE: tuple[RecordUnit, ...] = (
    RecordRequest(request=a_request("r1")),
    RecordRequest(request=a_request("r2", verdict="rejected", code="LOW_RR")),
    RecordRequest(request=a_request("r3", verdict="rejected", code="LOW_RR")),
    RecordRequest(request=a_request("r4", verdict="rejected", code="UNREADABLE", kind="unreadable")),
    RecordRequest(request=a_request("r5", verdict="taken", kind="cancel")),
    RecordRequest(request=a_request("r6", verdict="rejected", kind="close", code="UNKNOWN")),
    RecordOrder(order=filled("o1", seconds=1, price="101")),
    RecordOrder(order=filled("o2", seconds=3, price="99.5")),
    RecordOrder(order=filled("o3", seconds=7, price="98", role=OrderRole.EXIT)),
    RecordOrder(order=filled("o4", seconds=9, price="90", role=OrderRole.STOP)),
    RecordOrder(order=an_order("o5", OrderStatus.PARTIALLY_FILLED, trade="x", role=OrderRole.TARGET)),
    RecordOrder(order=attrs.evolve(an_order("o6", OrderStatus.CANCELLED, trade="x", role=OrderRole.TARGET), retries=1)),
    RecordOrder(order=unsent("o7", OrderStatus.EXPIRED)),
    RecordOrder(order=unsent("o8", OrderStatus.ERROR)),
    RecordFill(fill=a_fill(), order=filled("o1", seconds=1, price="101"), position=a_position("p1")),
    RecordPosition(position=a_position("p2", PositionStatus.CLOSED)),
    RecordPosition(
        position=attrs.evolve(
            a_position("p3", PositionStatus.CLOSED),
            side=PositionSide.SHORT,
            close_reason=CloseReason.STOP_LOSS,
            protected_at_us=T0 + 2 + 3 * SECOND // 2,
        )
    ),
    RecordPosition(
        position=attrs.evolve(
            a_position("p4", PositionStatus.LIQUIDATED), symbol=Symbol("XRP/BTC"), stop_loss_quote=None
        )
    ),
)


def test_every_figure(database: Database, account: str) -> None:
    async def story() -> Figures:
        journal = PostgresJournal(database.connect, account)
        await journal.commit(LIFE)
        await journal.close()
        connection = await database.connect()
        found = await figures(connection, account)
        await connection.close()
        return found

    found = asyncio.run(story())
    gain, fee = Decimal("131.978"), Decimal("6.6768572")
    assert found == Figures(
        proposals=4,
        rejected=3,
        rejections_by_code={"LOW_RR": 2, "UNREADABLE": 1},
        orders_placed=6,
        orders_filled=4,
        orders_partially_filled=2,
        orders_cancelled=1,
        orders_expired=1,
        orders_failed=1,
        positions_opened=4,
        positions_closed=3,
        open_positions=1,
        profit_by_quote={
            "BTC": Profit(gross_pnl=gain, fees=fee, net_pnl=gain - fee),
            "USDT": Profit(gross_pnl=Decimal(0), fees=2 * fee, net_pnl=-2 * fee),
        },
        closed_by_reason={"take_profit": 2, "stop_loss": 1},
        fill_seconds=Spread(count=3, p50=Decimal(3), p99=Decimal(7), max=Decimal(7)),
        slippage_pct=Spread(count=3, p50=Decimal(1), p99=Decimal(2), max=Decimal(2)),
        retries=Spread(count=8, p50=Decimal(0), p99=Decimal(3), max=Decimal(3)),
        seconds_unprotected=Spread(count=3, p50=Decimal("0.000007"), p99=Decimal("1.5"), max=Decimal("1.5")),
    )


def test_a_life_not_begun_has_no_figures_and_no_error(database: Database, account: str) -> None:
    async def story() -> Figures:
        connection = await database.connect()
        found = await figures(connection, account)
        await connection.close()
        return found

    found = asyncio.run(story())
    assert (found.proposals, found.orders_placed, found.open_positions) == (0, 0, 0)
    assert found.fill_seconds == Spread(count=0)
    assert found.profit_by_quote == {}

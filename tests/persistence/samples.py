"""Orders, positions and fills to record: complete, so that a field that is lost is seen."""

from __future__ import annotations

import uuid
from decimal import Decimal

import attrs

from messages.base import ExternalOrderId, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.bus import EventPriority, PublicEvent, Topic
from messages.journal import RecordFill, Snapshot
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import CloseReason, Position, PositionMark, PositionSide, PositionStatus
from messages.trades import OrderType, RequestRow, Side

T0 = 1_767_225_599_123_456
"""2025-12-31 23:59:59.123456 UTC: the next second is another month and another year."""
SECOND = 1_000_000
BTC = Symbol("BTC/USDT")


def uid(name: str) -> str:
    """Return the UUID that belongs to a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def an_intent(name: str = "o1", *, trade: str = "t1", role: OrderRole = OrderRole.ENTRY) -> OrderIntent:
    return OrderIntent(
        id=OrderId(uid(name)),
        proposal_id=ProposalId(uid(trade)),
        position_id=PositionId(uid(f"position of {trade}")),
        symbol=BTC,
        side=Side.BUY if role is OrderRole.ENTRY else Side.SELL,
        role=role,
        order_type=OrderType.MARKET,
        volume_base=Decimal("0.12345678"),
        limit_price_quote=Decimal("64321.5"),
        trigger_price_quote=Decimal("64000.1"),
        reference_price_quote=Decimal("64200.55"),
        leverage=3,
        reduce_only=role is not OrderRole.ENTRY,
        time_in_force=TimeInForce.IOC,
        expires_at_us=T0 + 5,
        attempt=2,
        created_at_us=T0,
    )


def an_order(
    name: str = "o1",
    status: OrderStatus = OrderStatus.OPEN,
    *,
    trade: str = "t1",
    role: OrderRole = OrderRole.ENTRY,
) -> Order:
    return Order(
        intent=an_intent(name, trade=trade, role=role),
        status=status,
        volume_base=Decimal("0.1"),
        trigger_price_quote=Decimal("64000.2"),
        filled_base=Decimal("0.04"),
        filled_cost_quote=Decimal("2568.0220"),
        fees_quote=Decimal("6.67685720"),
        external_id=ExternalOrderId(f"X-{name}"),
        opened_at_us=T0 + 1,
        first_fill_at_us=T0 + 2,
        updated_at_us=T0 + 3,
        ended_at_us=T0 + 4 if status not in (OrderStatus.PENDING, OrderStatus.OPEN) else None,
        retries=1,
        reason='as "agreed" \\ ü 漢',
    )


def a_fill(name: str = "f1", *, order: str = "o1") -> Fill:
    return Fill(
        trade_id=TradeId(name),
        order_id=OrderId(uid(order)),
        external_order_id=ExternalOrderId(f"X-{order}"),
        symbol=BTC,
        side=Side.BUY,
        price_quote=Decimal("64200.55"),
        volume_base=Decimal("0.04"),
        fee_quote=Decimal("6.67685720"),
        is_maker=True,
        is_liquidation=False,
        at_us=T0 + 2,
    )


def a_position(trade: str = "t1", status: PositionStatus = PositionStatus.OPEN) -> Position:
    position = Position(
        id=PositionId(uid(f"position of {trade}")),
        proposal_id=ProposalId(uid(trade)),
        symbol=BTC,
        side=PositionSide.LONG,
        leverage=3,
        entry_order_id=OrderId(uid("o1")),
        status=status,
        entry_base=Decimal("0.04"),
        entry_cost_quote=Decimal("2568.0220"),
        exit_base=Decimal("0.01"),
        exit_cost_quote=Decimal("650.1234"),
        fees_quote=Decimal("6.67685720"),
        stop_loss_quote=Decimal(63000),
        take_profit_quote=Decimal(66000),
        trailing=True,
        watermark_quote=Decimal("64999.9"),
        stop_is_trailing=True,
        opened_at_us=T0 + 2,
        protected_at_us=T0 + 9,
        closed_at_us=None,
        close_reason=CloseReason.TAKE_PROFIT,
        notes="ä note",
    )
    return closed(position) if position.is_over else position


def closed(position: Position) -> Position:
    """Return the position, sold for 2700 with all it had."""
    return attrs.evolve(
        position, exit_base=position.entry_base, exit_cost_quote=Decimal(2700), closed_at_us=T0 + 60 * SECOND
    )


def an_event(kind: str = "order_filled", at_us: int = T0) -> PublicEvent:
    return PublicEvent(
        topic=Topic.EXECUTION_EVENTS,
        kind=kind,
        priority=EventPriority.HIGH,
        proposal_id=ProposalId(uid("t1")),
        at_us=at_us,
        details=(("order_id", uid("o1")), ("price", "64200.55")),
    )


def a_request(name: str = "t1", *, verdict: str = "approved", kind: str = "trade", code: str = "") -> RequestRow:
    return RequestRow(
        id=ProposalId(uid(name)),
        kind=kind,
        at_us=T0,
        symbol=BTC,
        body='{"size_usd":"100.50", "symbol": "BTC/USDT"}',
        verdict=verdict,
        codes=(code,) if code else (),
        reasons=("because ü",) if code else (),
    )


def a_filled(number: int, at_us: int = T0) -> RecordFill:
    """Return the unit of one fill of a trade of its own, with its event."""
    trade, order = f"trade {number}", f"order {number}"
    return RecordFill(
        fill=a_fill(f"fill {number}", order=order),
        order=an_order(order, OrderStatus.OPEN, trade=trade),
        position=a_position(trade),
        events=(an_event(at_us=at_us),),
    )


def a_snapshot(at_us: int, *, equity: int = 1000, marks: int = 2) -> Snapshot:
    return Snapshot(
        at_us=at_us,
        equity_usd=Decimal(equity),
        realised_usd=Decimal("1.5"),
        unrealised_usd=Decimal("-2.25"),
        exposure_usd=Decimal("3000.123456789"),
        marks=tuple(
            PositionMark(
                position_id=PositionId(uid(f"position of {number}")),
                symbol=BTC,
                price_quote=None if number else Decimal("64200.5"),
                unrealised_quote=Decimal("1.1"),
                unrealised_pct=Decimal("0.25"),
            )
            for number in range(marks)
        ),
    )

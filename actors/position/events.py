"""What the world outside is told of positions and of the orders that fill them. Money is text, never in exponents."""

from __future__ import annotations

from decimal import Decimal

from actors.position.profit import average_entry, average_exit, gross, realised
from messages.bus import EventPriority, PublicEvent, Topic
from messages.orders import Fill, Order, OrderStatus
from messages.positions import Position, PositionStatus

Details = tuple[tuple[str, str], ...]


def text(amount: Decimal | None) -> str:
    """Return an amount in plain digits; nothing for None."""
    return "" if amount is None else format(amount, "f")


def fill_events(before: Position | None, after: Position, fill: Fill, order: Order) -> tuple[PublicEvent, ...]:
    """Return what one fill is worth telling: how far the order is, and what became of the position."""
    return (_order_event(fill, order), _position_event(before, after, fill))


def _order_event(fill: Fill, order: Order) -> PublicEvent:
    intent = order.intent
    return PublicEvent(
        topic=Topic.EXECUTION_EVENTS,
        # An order that ended before this fill arrived stays as it ended: its fill is still a part of it.
        kind="order_filled" if order.status is OrderStatus.FILLED else "order_partially_filled",
        priority=EventPriority.NORMAL,
        proposal_id=intent.proposal_id,
        at_us=fill.at_us,
        details=(
            ("order_id", intent.id),
            ("position_id", intent.position_id),
            ("external_id", fill.external_order_id),
            ("trade_id", fill.trade_id),
            ("symbol", fill.symbol),
            ("side", fill.side.value),
            ("role", intent.role.value),
            ("status", order.status.value),
            ("price", text(fill.price_quote)),
            ("volume", text(fill.volume_base)),
            ("fee", text(fill.fee_quote)),
            ("filled", text(order.filled_base)),
            ("ordered", text(order.volume_base)),
        ),
    )


def _position_event(before: Position | None, after: Position, fill: Fill) -> PublicEvent:
    kind, priority = "position_changed", EventPriority.NORMAL
    if before is None or (before.is_over and not after.is_over):
        kind = "position_opened"
    elif after.status is PositionStatus.CLOSED:
        kind, priority = "position_closed", EventPriority.HIGH
    elif after.status is PositionStatus.LIQUIDATED:
        kind, priority = "position_liquidated", EventPriority.URGENT
    details = _identity(after) + _figures(after, fill)
    return _portfolio_event(kind, priority, after, fill.at_us, details + _result(after) if after.is_over else details)


def _identity(position: Position) -> Details:
    return (
        ("position_id", position.id),
        ("symbol", position.symbol),
        ("side", position.side.value),
        ("status", position.status.value),
    )


def _figures(position: Position, fill: Fill) -> Details:
    return (
        ("order_id", fill.order_id),
        ("trade_id", fill.trade_id),
        ("price", text(fill.price_quote)),
        ("volume", text(position.volume_base)),
        ("entry_price", text(average_entry(position))),
        ("leverage", str(position.leverage)),
        ("fees", text(position.fees_quote)),
        ("net_pnl", text(gross(position, fill.price_quote) - position.fees_quote)),
    )


def _result(position: Position) -> Details:
    return (
        ("exit_price", text(average_exit(position))),
        ("gross_pnl", text(realised(position) + position.fees_quote)),
        ("reason", "" if position.close_reason is None else position.close_reason.value),
    )


def closing_begun(position: Position, at_us: int) -> PublicEvent:
    """Return the news that an exit is under way."""
    reason = "" if position.close_reason is None else position.close_reason.value
    details = (*_identity(position), ("volume", text(position.volume_base)), ("reason", reason))
    return _portfolio_event("position_changed", EventPriority.NORMAL, position, at_us, details)


def stop_moved(before: Position, after: Position, at_us: int) -> PublicEvent:
    """Return the news that levels have moved, by trailing or by hand."""
    details = (
        *_identity(after),
        ("stop_loss_before", text(before.stop_loss_quote)),
        ("stop_loss", text(after.stop_loss_quote)),
        ("take_profit", text(after.take_profit_quote)),
        ("trailing", "yes" if after.trailing else "no"),
        ("watermark", text(after.watermark_quote)),
    )
    return _portfolio_event("stop_moved", EventPriority.NORMAL, after, at_us, details)


def _portfolio_event(
    kind: str, priority: EventPriority, position: Position, at_us: int, details: Details
) -> PublicEvent:
    return PublicEvent(
        topic=Topic.PORTFOLIO_UPDATES,
        kind=kind,
        priority=priority,
        proposal_id=position.proposal_id,
        at_us=at_us,
        details=details,
    )

"""How a fill changes a position. Fills alone open, grow, shrink and close it.

Rule: a position is over when exits have consumed its whole entry volume, and not a lot earlier.
Read in order: book, open_from, add_entry, apply_exit.
"""

from __future__ import annotations

import attrs

from messages.base import PositionId
from messages.orders import Fill, Order, OrderRole
from messages.positions import ApplyFill, CloseReason, Position, PositionSide, PositionStatus
from messages.trades import Side

ENTRY_SIDE = {Side.BUY: PositionSide.LONG, Side.SELL: PositionSide.SHORT}
REOPENED = "reopened by a late entry fill"
REMAINDER = "opened by a late entry fill: the earlier part of this trade is over and no longer in memory"


class ImpossibleFillError(Exception):
    """A fill does not fit the position it is booked on. A bug, or books that are wrong: the actor stops."""


class UnknownPositionError(Exception):
    """An exit has filled for a position that nobody knows. Its books cannot be right, so the actor stops."""

    def __init__(self, position_id: PositionId, fill: Fill) -> None:
        super().__init__(f"trade {fill.trade_id} ({fill.side.value} {fill.volume_base}) exits unknown {position_id}")


def book(held: Position | None, command: ApplyFill, *, trails: bool) -> Position:
    """Return the position after this fill. `held` is its value before, None when it is not known.

    `trails` says whether positions trail that did not ask for it.
    """
    fill, order = command.fill, command.order
    if fill.is_liquidation or order.intent.role is not OrderRole.ENTRY:
        if held is None:
            raise UnknownPositionError(order.intent.position_id, fill)
        return apply_exit(held, fill, order)
    return open_from(command, trails=trails) if held is None else add_entry(held, fill)


def open_from(command: ApplyFill, *, trails: bool) -> Position:
    """Return the position that an entry's first fill opens, with the levels that came along."""
    fill, intent = command.fill, command.order.intent
    return Position(
        id=intent.position_id,
        proposal_id=intent.proposal_id,
        symbol=fill.symbol,
        side=ENTRY_SIDE[fill.side],
        leverage=intent.leverage,
        entry_order_id=intent.id,
        status=PositionStatus.OPEN,
        entry_base=fill.volume_base,
        entry_cost_quote=fill.price_quote * fill.volume_base,
        fees_quote=fill.fee_quote,
        stop_loss_quote=command.stop_loss_quote,
        take_profit_quote=command.take_profit_quote,
        trailing=command.trailing or trails,
        opened_at_us=fill.at_us,
        notes=REMAINDER if command.order.filled_base > fill.volume_base else "",
    )


def add_entry(position: Position, fill: Fill) -> Position:
    """Return the position grown by one more fill of its entry. One that was over is open again, and bare."""
    if ENTRY_SIDE[fill.side] is not position.side:
        raise ImpossibleFillError(f"trade {fill.trade_id} enters {position.id} by a {fill.side.value}")
    grown = attrs.evolve(
        position,
        entry_base=position.entry_base + fill.volume_base,
        entry_cost_quote=position.entry_cost_quote + fill.price_quote * fill.volume_base,
        fees_quote=position.fees_quote + fill.fee_quote,
    )
    return _reopened(grown) if position.is_over else grown


def _reopened(position: Position) -> Position:
    """The stop that protected it has gone with its end, so its protection has to be confirmed anew."""
    return attrs.evolve(
        position,
        status=PositionStatus.OPEN,
        closed_at_us=None,
        close_reason=None,
        protected_at_us=None,
        notes=f"{position.notes}; {REOPENED}" if position.notes else REOPENED,
    )


def apply_exit(position: Position, fill: Fill, order: Order) -> Position:
    """Return the position shrunk by one fill of an exit: stop, target, market exit or liquidation."""
    _check_exit(position, fill)
    exit_base = position.exit_base + fill.volume_base
    exit_cost_quote = position.exit_cost_quote + fill.price_quote * fill.volume_base
    fees_quote = position.fees_quote + fill.fee_quote
    if exit_base < position.entry_base:
        return attrs.evolve(position, exit_base=exit_base, exit_cost_quote=exit_cost_quote, fees_quote=fees_quote)
    return attrs.evolve(
        position,
        exit_base=exit_base,
        exit_cost_quote=exit_cost_quote,
        fees_quote=fees_quote,
        status=PositionStatus.LIQUIDATED if fill.is_liquidation else PositionStatus.CLOSED,
        closed_at_us=fill.at_us,
        close_reason=close_reason(position, fill, order),
    )


def _check_exit(position: Position, fill: Fill) -> None:
    if ENTRY_SIDE[fill.side] is position.side:
        raise ImpossibleFillError(f"trade {fill.trade_id} exits {position.id} by a {fill.side.value}")
    if fill.volume_base > position.volume_base:
        raise ImpossibleFillError(
            f"trade {fill.trade_id} exits {fill.volume_base} of {position.id}, which holds {position.volume_base}"
        )


def close_reason(position: Position, fill: Fill, order: Order) -> CloseReason:
    """Name how the position came to its end: by the order that filled, not by what was planned."""
    if fill.is_liquidation:
        return CloseReason.LIQUIDATED
    if order.intent.role is OrderRole.STOP:
        return CloseReason.TRAILING_STOP if position.stop_is_trailing else CloseReason.STOP_LOSS
    if order.intent.role is OrderRole.TARGET:
        return CloseReason.TAKE_PROFIT
    # An exit says why when it begins; one that nobody announced was somebody's own doing.
    return position.close_reason or CloseReason.MANUAL

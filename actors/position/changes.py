"""How a position changes without a fill: its levels, its protection, and that an exit has begun."""

from __future__ import annotations

from decimal import Decimal

import attrs

from messages.positions import CloseReason, MoveStop, Position, PositionSide, PositionStatus


def closing(position: Position, reason: CloseReason) -> Position:
    """Return the position with an exit under way."""
    return attrs.evolve(position, status=PositionStatus.CLOSING, close_reason=reason)


def protected(position: Position, at_us: int) -> Position:
    """Return the position with its stop resting on the exchange since `at_us`."""
    return attrs.evolve(position, protected_at_us=at_us)


def moved(position: Position, command: MoveStop) -> Position:
    """Return the position with the levels of `command`; None leaves a level as it is.

    A stop that was set by hand is no longer the trailing one. Trailing that is switched off forgets its watermark.
    """
    stop, target = command.stop_loss_quote, command.take_profit_quote
    trailing = position.trailing if command.trailing is None else command.trailing
    return attrs.evolve(
        position,
        stop_loss_quote=position.stop_loss_quote if stop is None else stop,
        take_profit_quote=position.take_profit_quote if target is None else target,
        stop_is_trailing=position.stop_is_trailing and stop is None,
        trailing=trailing,
        watermark_quote=position.watermark_quote if trailing else None,
    )


def trailed(position: Position, watermark_quote: Decimal, level_quote: Decimal) -> Position | None:
    """Return the position with what its trailing has reached, or None when that changes nothing.

    The stop only tightens. Where it is tighter already, only the first watermark is kept: it says that trailing is on
    its way, and a higher one that moves no stop is covered by the stop itself.
    """
    if tightens(position, level_quote):
        return attrs.evolve(
            position, stop_loss_quote=level_quote, stop_is_trailing=True, watermark_quote=watermark_quote
        )
    if position.watermark_quote is None:
        return attrs.evolve(position, watermark_quote=watermark_quote)
    return None


def tightens(position: Position, level_quote: Decimal) -> bool:
    """Say whether a stop at `level_quote` is nearer to the price than the position's own."""
    stop = position.stop_loss_quote
    if stop is None:
        return True
    return level_quote > stop if position.side is PositionSide.LONG else level_quote < stop

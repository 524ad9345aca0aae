"""What a position has earned, in the quote currency of its symbol.

With `size = volume / leverage` (own funds in the base currency) these are the familiar formulas
`(price - entry) x size x leverage` and, for a short, the same turned round. Computed from volumes and from the exact
sums of what was paid and received, they need no division, so nothing is rounded: 28 digits hold any price times volume.

Read in order: turned, gross, net, unrealised, unrealised_pct, exposure.
"""

from __future__ import annotations

from decimal import Decimal

from messages.positions import Position, PositionSide

ZERO = Decimal(0)
HUNDRED = Decimal(100)


def turned(side: PositionSide, amount: Decimal) -> Decimal:
    """Return `amount` as a long earns it: as it is for a long, negated for a short."""
    return amount if side is PositionSide.LONG else -amount


def gross(position: Position, price_quote: Decimal) -> Decimal:
    """Return what has been earned so far, fees apart: what was taken out, plus what is held at `price_quote`."""
    value = position.exit_cost_quote + (position.entry_base - position.exit_base) * price_quote
    return turned(position.side, value - position.entry_cost_quote)


def net(position: Position, price_quote: Decimal) -> Decimal:
    """Return `gross` less the fees paid so far."""
    return gross(position, price_quote) - position.fees_quote


def realised(position: Position) -> Decimal:
    """Return the net result of a position that holds nothing any more: no price is needed."""
    return turned(position.side, position.exit_cost_quote - position.entry_cost_quote) - position.fees_quote


def average_entry(position: Position) -> Decimal:
    """Return the volume-weighted entry price; 0 when nothing was entered."""
    return position.entry_cost_quote / position.entry_base if position.entry_base else ZERO


def average_exit(position: Position) -> Decimal | None:
    """Return the volume-weighted exit price; None while nothing has left."""
    return position.exit_cost_quote / position.exit_base if position.exit_base else None


def unrealised(position: Position, price_quote: Decimal) -> Decimal:
    """Return what the volume still held would earn at `price_quote`, fees apart.

    The only division is the share of the entry cost that is still held, and only after a part has left.
    """
    held = position.entry_base - position.exit_base
    if not position.entry_cost_quote:
        return ZERO
    cost = position.entry_cost_quote
    if position.exit_base:
        cost = cost * held / position.entry_base
    return turned(position.side, held * price_quote - cost)


def unrealised_pct(position: Position, price_quote: Decimal) -> Decimal:
    """Return the per cent earned on own funds: difference / entry x 100 x leverage. An entry of 0 gives 0."""
    cost = position.entry_cost_quote
    if not cost:
        return ZERO
    difference = turned(position.side, position.entry_base * price_quote - cost)
    return difference * HUNDRED * position.leverage / cost


def exposure(position: Position, price_quote: Decimal) -> Decimal:
    """Return what the volume still held is worth at `price_quote`: size x price x leverage."""
    return (position.entry_base - position.exit_base) * price_quote

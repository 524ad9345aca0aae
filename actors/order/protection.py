"""What a trade needs on the exchange, compared with what is there.

Rule: plan() looks at the whole trade and names every step that is missing, so it may be called after anything
that happened, as often as anyone likes: when all is as it should be, it answers with nothing.
Read in order: the steps, plan().
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from actors.order.book import Phase, Tracked, Trade
from actors.order.sizing import exit_level_quote, is_dust
from messages.market import Instrument
from messages.orders import OrderRole
from messages.positions import CloseReason, Position, PositionSide, PositionStatus
from messages.trades import OrderType, Side

PROTECTIVE = (OrderRole.STOP, OrderRole.TARGET)
TRIGGER_TYPES = {OrderRole.STOP: OrderType.STOP_LOSS, OrderRole.TARGET: OrderType.TAKE_PROFIT}


@attrs.frozen
class Place:
    """Send a new order of this role for `volume_base`; market exits have no trigger."""

    role: OrderRole
    volume_base: Decimal
    trigger_price_quote: Decimal | None


@attrs.frozen
class Amend:
    """Move a resting order, in place."""

    tracked: Tracked
    volume_base: Decimal
    trigger_price_quote: Decimal


@attrs.frozen
class Withdraw:
    """Get rid of an order: unsent it stays unsent, resting it is cancelled."""

    tracked: Tracked


@attrs.frozen
class CloseNow:
    """The level is passed already: get out instead of placing an order that fires at once."""

    reason: CloseReason


Step = Place | Amend | Withdraw | CloseNow


def plan(trade: Trade, instrument: Instrument, *, is_alone: bool) -> tuple[Step, ...]:
    """Return the steps that are missing between the trade as it is and as it should be.

    `is_alone`: no other trade holds anything of the symbol, so reduce-only guards this one and not their sum.
    """
    position = trade.position
    if position is None and (trade.live(OrderRole.ENTRY) is not None or OrderRole.ENTRY in trade.waiting):
        return ()
    if position is None or position.is_over or position.volume_base == 0:
        return tuple(Withdraw(leg) for leg in trade.live_legs if not leg.is_withdrawn)
    if trade.closing is not None:
        return _closing_steps(trade, position, instrument, is_alone=is_alone)
    if is_too_little(trade, position.volume_base, instrument):
        return _too_large(trade, position)
    if trade.is_delayed:
        return ()
    return (*_stop_steps(trade, position, instrument), *_target_steps(trade, position, instrument))


def is_too_little(trade: Trade, held_base: Decimal, instrument: Instrument) -> bool:
    """Say whether what is held is too little for any order, by our reckoning or by the exchange's word."""
    return held_base <= trade.too_small_base or is_dust(held_base, trade.last_price_quote, instrument)


def _too_large(trade: Trade, position: Position) -> tuple[Step, ...]:
    """What is left is too small for any order, so an order that rests for more cannot be amended to it: it goes."""
    legs = (trade.live(role) for role in PROTECTIVE)
    return tuple(
        Withdraw(leg)
        for leg in legs
        if leg is not None and not leg.is_withdrawn and leg.order.remaining_base > position.volume_base
    )


def exit_side(position: Position) -> Side:
    """Return the side that closes the position."""
    return Side.SELL if position.side is PositionSide.LONG else Side.BUY


def is_passed(position: Position, role: OrderRole, level_quote: Decimal, price_quote: Decimal) -> bool:
    """Say whether a protective order at this level would fire at once. An unheard price (0) passes nothing."""
    if price_quote == 0:
        return False
    fires_below = (role is OrderRole.STOP) == (position.side is PositionSide.LONG)
    return price_quote <= level_quote if fires_below else price_quote >= level_quote


def _closing_steps(trade: Trade, position: Position, instrument: Instrument, *, is_alone: bool) -> tuple[Step, ...]:
    """Clear the way, then go: no exit leaves while another order could still sell the same coins."""
    in_the_way = [trade.live(role) for role in (OrderRole.ENTRY, *PROTECTIVE)]
    legs = [leg for leg in in_the_way if leg is not None]
    steps: tuple[Step, ...] = tuple(Withdraw(leg) for leg in legs if not leg.is_withdrawn)
    if any(_blocks_exit(leg, position, is_alone=is_alone) for leg in legs):
        return steps
    leaving = trade.live(OrderRole.EXIT)
    if leaving is not None and (_is_outdated(leaving, position) or _is_too_large(leaving, position)):
        return (*steps, Withdraw(leaving))
    if position.status is not PositionStatus.CLOSING:
        return steps  # Why it is left is recorded first: its PositionChanged comes back here.
    if leaving is None and OrderRole.EXIT not in trade.waiting:
        if is_too_little(trade, position.volume_base, instrument):
            return steps
        return (*steps, Place(OrderRole.EXIT, position.volume_base, None))
    return steps


def _is_outdated(leaving: Tracked, position: Position) -> bool:
    """Say whether an exit that has not left yet is for more or less than is held by now."""
    is_here = leaving.phase in (Phase.RECORDING, Phase.WAITING) and not leaving.is_withdrawn
    return is_here and leaving.order.volume_base != position.volume_base


def _is_too_large(leaving: Tracked, position: Position) -> bool:
    """Say whether an exit that rests would sell more than is held: something else has sold a part meanwhile."""
    is_there = leaving.phase is Phase.RESTING and not leaving.is_withdrawn
    return is_there and leaving.order.remaining_base > position.volume_base


def _blocks_exit(leg: Tracked, position: Position, *, is_alone: bool) -> bool:
    """Say whether an exit must wait for this order.

    On margin every exit is reduce-only, so beside an order of unknown outcome it cannot sell more than is held;
    but that guards the sum of a symbol's positions, and on cash spot nothing guards us: there its fate is waited for.
    """
    if leg.order.intent.role is OrderRole.ENTRY:
        return False
    return not (leg.phase is Phase.SETTLING and position.leverage > 1 and is_alone)


def _stop_steps(trade: Trade, position: Position, instrument: Instrument) -> tuple[Step, ...]:
    if position.stop_loss_quote is None:
        return _withdrawn(trade.live(OrderRole.STOP))
    return _leg_steps(trade, position, OrderRole.STOP, position.stop_loss_quote, instrument)


def _target_steps(trade: Trade, position: Position, instrument: Instrument) -> tuple[Step, ...]:
    """The target rests beside the stop on margin only: on cash spot both could sell the same coins."""
    rests = position.take_profit_quote is not None and position.leverage > 1 and not trade.is_target_local
    if not rests or position.take_profit_quote is None:
        return _withdrawn(trade.live(OrderRole.TARGET))
    return _leg_steps(trade, position, OrderRole.TARGET, position.take_profit_quote, instrument)


def _withdrawn(leg: Tracked | None) -> tuple[Step, ...]:
    return () if leg is None or leg.is_withdrawn else (Withdraw(leg),)


def _leg_steps(
    trade: Trade, position: Position, role: OrderRole, level_quote: Decimal, instrument: Instrument
) -> tuple[Step, ...]:
    trigger = exit_level_quote(TRIGGER_TYPES[role], exit_side(position), level_quote, instrument)
    leg = trade.live(role)
    if leg is None:
        return _placing_steps(trade, position, role, trigger)
    if leg.phase is not Phase.RESTING or leg.is_withdrawn or leg.is_amend_asked:
        return ()
    order = leg.order
    volume = order.filled_base + position.volume_base
    if order.volume_base == volume and order.trigger_price_quote == trigger:
        return ()
    if is_passed(position, role, trigger, trade.last_price_quote) and order.trigger_price_quote != trigger:
        return (CloseNow(_reason(position, role)),)
    return (Amend(leg, volume, trigger),)


def _placing_steps(trade: Trade, position: Position, role: OrderRole, trigger: Decimal) -> tuple[Step, ...]:
    if is_passed(position, role, trigger, trade.last_price_quote):
        return (CloseNow(_reason(position, role)),)
    if role in trade.waiting:
        return ()
    return (Place(role, position.volume_base, trigger),)


def _reason(position: Position, role: OrderRole) -> CloseReason:
    if role is OrderRole.TARGET:
        return CloseReason.TAKE_PROFIT
    return CloseReason.TRAILING_STOP if position.stop_is_trailing else CloseReason.STOP_LOSS


def covers(trade: Trade, role: OrderRole, price_quote: Decimal) -> bool:
    """Say whether a resting order of this role must fire at `price_quote` by itself."""
    leg = trade.live(role)
    position = trade.position
    if leg is None or position is None or leg.phase is not Phase.RESTING or leg.is_withdrawn:
        return False
    trigger = leg.order.trigger_price_quote
    return trigger is not None and is_passed(position, role, trigger, price_quote)

"""The local watch (I4): no price runs past a level that a trader has named without the position being on its way out.

Counted from the prices of the market and the levels of the positions alone, whatever rests on the exchange.
Read in order: Neglect, neglected(), then one function for each level.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from actors.audit import may_be_dust
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from messages.base import PositionId, Symbol
from messages.orders import OrderRole
from messages.positions import Position, PositionSide, PositionStatus

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

ONE_HUNDRED = Decimal(100)
TAKEN = ("stop_loss", "take_profit", "trailing")


@attrs.frozen(kw_only=True)
class Neglect:
    """A level that should have been acted on."""

    position_id: PositionId
    symbol: Symbol
    what: str
    text: str = attrs.field(eq=False)


def neglected(stage: Stage, book: BookSummary) -> Iterable[Neglect]:
    """Yield the levels that the last prices have passed, of positions that are not being closed."""
    for position in _open_positions(stage, book):
        price = stage.watch.prices.get(position.symbol)
        if price is not None:
            yield from _passed(position, price)
            yield from _left_behind(stage, position, price)


def _open_positions(stage: Stage, book: BookSummary) -> Iterable[Position]:
    instruments = stage.plan.settings.execution.instruments
    for position in book.positions:
        is_dust = may_be_dust(position, position.volume_base, instruments[position.symbol])
        if position.status is PositionStatus.OPEN and not is_dust:
            yield position


def _passed(position: Position, price_quote: Decimal) -> Iterable[Neglect]:
    sign = 1 if position.side is PositionSide.LONG else -1
    stop, target = position.stop_loss_quote, position.take_profit_quote
    if stop is not None and sign * (price_quote - stop) <= 0:
        yield _neglect(position, "stop", f"the price of {price_quote} has passed the stop at {stop}")
    if target is not None and sign * (price_quote - target) >= 0:
        yield _neglect(position, "target", f"the price of {price_quote} has passed the target at {target}")


def _left_behind(stage: Stage, position: Position, price_quote: Decimal) -> Iterable[Neglect]:
    """A trailing stop is no farther from the price of the moment than configured, once the price has come so far.

    The best price that it follows is this one or a better one.
    """
    if not position.trailing:
        return
    trailing = stage.plan.settings.execution.positions.trailing
    tick_quote = stage.plan.settings.execution.instruments[position.symbol].price_tick_quote
    sign = 1 if position.side is PositionSide.LONG else -1
    begins_cost = position.entry_cost_quote * (ONE_HUNDRED + sign * trailing.activation_pct)
    if sign * ((price_quote - sign * tick_quote) * position.entry_base * ONE_HUNDRED - begins_cost) < 0:
        return
    nearest_quote = price_quote * (ONE_HUNDRED - sign * trailing.distance_pct) / ONE_HUNDRED - sign * tick_quote
    stop = position.stop_loss_quote
    if stop is None or sign * (stop - nearest_quote) < 0:
        yield _neglect(position, "trailing", f"the trailing stop at {stop} has not followed to {nearest_quote}")


def _neglect(position: Position, what: str, text: str) -> Neglect:
    return Neglect(position_id=position.id, symbol=position.symbol, what=what, text=f"position {position.id}: {text}")


def without_target(stage: Stage, book: BookSummary) -> Iterable[str]:
    """Yield the positions on margin whose target does not rest on the exchange, although that has not turned it down.

    A trade that was taken up from forgotten orders has the levels that were found, and no others.
    """
    orders: OrderSummary = stage.machine.actors["order"].describe()  # type: ignore[assignment]
    history = stage.books_of_exchange.books.history
    there = {
        order.intent.position_id
        for order in orders.live
        if order.intent.role is OrderRole.TARGET and history.find_open(order.id) is not None
    }
    for position in _open_positions(stage, book):
        wants = position.take_profit_quote is not None and position.leverage > 1
        if wants and position.id not in there and stage.watch.promises.may_have_target(position):
            yield f"I4: the target of position {position.id} at {position.take_profit_quote} is not on the exchange"


def not_as_taken(stage: Stage, book: BookSummary) -> Iterable[str]:
    """Yield the positions whose levels are not those that were taken last, as a person was told.

    A stop that trails goes its own way, and a start may take it from the exchange as it is there. A start may also have
    found younger levels on the exchange, on its grid: those of a change that a crash has taken from the journal.
    """
    taken = _levels_taken(stage)
    execution = stage.plan.settings.execution
    for position in _open_positions(stage, book):
        tick_quote = execution.instruments[position.symbol].price_tick_quote
        named = taken.get(position.proposal_id, {})
        younger = tuple(stage.watch.promises.forgotten_changes(position.proposal_id))
        levels = [("take_profit", position.take_profit_quote, [change.take_profit_quote for change in younger])]
        if not (position.trailing or position.stop_is_trailing):
            levels.append(("stop_loss", position.stop_loss_quote, [change.stop_loss_quote for change in younger]))
        for name, value, asked in levels:
            if name in named and not _is_one_of(value, (Decimal(named[name]), *asked), tick_quote):
                yield f"I4: position {position.id} has {name} {value}, and {named[name]} was taken"
        if not execution.positions.trailing.enabled and named.get("trailing", position.trailing) != position.trailing:
            yield f"I4: position {position.id} has trailing {position.trailing}, and the other was taken"


def _levels_taken(stage: Stage) -> dict[str, dict[str, Any]]:
    """Return the levels that were taken for each trade; a later change leaves what it does not name."""
    taken: dict[str, dict[str, Any]] = {}
    for row in stage.kept.requests.values():
        if row.kind == "protect" and row.verdict == "taken":
            body = json.loads(row.body)
            levels = taken.setdefault(body["target"], {})
            levels.update((name, body[name]) for name in TAKEN if body[name] is not None)
    return taken


def _is_one_of(level: Decimal | None, wanted: Iterable[Decimal | None], tick_quote: Decimal) -> bool:
    return level is not None and any(one is not None and abs(one - level) < tick_quote for one in wanted)

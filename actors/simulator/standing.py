"""Whether the engine holds openings just where the account really differs from its books: no less, and no more.

What is asked of is the exchange itself and the journal, so that what nobody has told counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from actors.order.actor import OrderSummary
from actors.order.comparison import Books, Resting, What, compare
from messages.base import Symbol
from messages.orders import OrderStatus
from messages.positions import PositionSide

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

ZERO = Decimal(0)
RESTING = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)


def held_in_vain(stage: Stage) -> Iterable[str]:
    """Yield the symbols that are held though nothing differs, and those where something does and nobody is told."""
    summary: OrderSummary = stage.machine.actors["order"].describe()  # type: ignore[assignment]
    account = stage.books_of_exchange.books.report(stage.clock.now_us())
    found = {one.symbol: one.text for one in compare(account, _books(stage, summary)) if one.what is not What.OTHERS}
    for symbol in sorted(summary.differing.keys() - found.keys()):
        yield f"I6: openings in {symbol} are held and nothing differs: {summary.differing[symbol]}"
    for symbol in sorted(found.keys() - summary.differing.keys()):
        yield f"I6: openings in {symbol} are not held, and account and books differ: {found[symbol]}"


def _books(stage: Stage, summary: OrderSummary) -> Books:
    margin: dict[Symbol, Decimal] = {}
    coins: dict[Symbol, Decimal] = {}
    for position in stage.kept.positions.values():
        held_base = position.volume_base
        if position.is_over or not held_base:
            continue
        sums, sign = (margin, 1 if position.side is PositionSide.LONG else -1) if position.leverage > 1 else (coins, 1)
        sums[position.symbol] = sums.get(position.symbol, ZERO) + sign * held_base
    return Books(
        symbols=stage.plan.settings.execution.instruments.keys(),
        margin=margin,
        coins=coins,
        external={
            symbol: None if standing.is_stale else standing.external_base
            for symbol, standing in stage.kept.standings.items()
        },
        resting={
            order.id: Resting(symbol=order.intent.symbol, left_base=order.volume_base - order.filled_base)
            for order in summary.live
            if order.status in RESTING
        },
        live={order.id for order in summary.live},
    )

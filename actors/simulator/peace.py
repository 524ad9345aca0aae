"""Left in peace, everything must come right: quiet, consistent, and each position protected or closed.

Read in order: leave_in_peace(), unrest(), differences().
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from actors.audit import Books, Flow, Violation, audit, may_be_dust
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from actors.risk.actor import RiskSummary
from actors.runtime.simulation.pace import SECOND_US
from actors.simulator.faults import give_back, heal
from actors.simulator.levels import neglected, not_as_taken, without_target
from actors.simulator.standing import held_in_vain
from actors.simulator.worth import worth_differs
from messages.base import Currency, Symbol, TradeId
from messages.exchange import CompareAccount
from messages.orders import Fill, OrderRole, OrderStatus
from messages.permits import TokensReported
from messages.positions import PositionStatus
from messages.risk import SetTradingState, TradingState
from persistence.memory import MemoryJournal

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

ZERO = Decimal(0)
LOOK_EVERY_US = 5 * SECOND_US
PEACE_MAX_US = 900 * SECOND_US
"""Longer than the longest chain of waits: a lost order is proven absent after 70 s, retries wait up to 30 s."""
MESSAGES_MIN = 300
"""A story shorter than this goes on for a while: it would hardly have tried anything."""
QUIET_LOOKS = 2
"""It must be calm so many times in a row, with the same engine: one that has just started has heard no price."""


def leave_in_peace(stage: Stage) -> None:
    """Let everything work again, and time pass with steady prices, until nothing is left to wait for."""
    heal(stage.around)
    stage.machine.tell(SetTradingState(state=TradingState.ACTIVE, reason="peace", operator="story"))
    stage.machine.tell(CompareAccount())
    calm = 0
    for _ in range(PEACE_MAX_US // LOOK_EVERY_US):
        if not stage.exchange.acts:
            give_back(stage.around, stage.books_of_exchange.books.account.moved)
        machine = stage.machine
        stage.tick_all()
        stage.passes(LOOK_EVERY_US)
        if stage.watch.broken is not None:
            return
        may_be_calm = stage.machine is machine and stage.handled >= MESSAGES_MIN and stage.scheduler.is_still
        calm = calm + 1 if may_be_calm and not any(unrest(stage)) else 0
        if calm == QUIET_LOOKS:
            break
    for reason in unrest(stage):
        stage.watch.breaks(*_named(reason))
    for violation in differences(stage):
        stage.watch.breaks(violation.invariant, violation.text)
    book: BookSummary = stage.machine.actors["position"].describe()  # type: ignore[assignment]
    text = worth_differs(stage, book)
    if text:
        stage.watch.breaks("I6", text)


def _named(reason: str) -> tuple[str, str]:
    """Return the invariant that a reason names, and the rest of it; what names none is a matter of coming to rest."""
    invariant, _colon, text = reason.partition(": ")
    return (invariant, text) if invariant.startswith("I") and invariant[1:].isdigit() else ("liveness", reason)


def unrest(stage: Stage) -> Iterable[str]:
    """Yield what is still on its way."""
    if not stage.machine.is_ready:
        yield "the engine does not become ready"
        return
    yield from _waiting(stage.machine.actors)
    yield from _closing(stage)
    for violation in chain(audit(books_of(stage)), trades(stage)):
        yield f"{violation.invariant}: {violation.text}"
    yield from stage.watch.promises.unkept(stage)
    yield from stage.watch.alarms.unsaid()
    book: BookSummary = stage.machine.actors["position"].describe()  # type: ignore[assignment]
    yield from (f"I4: {neglect.text}" for neglect in neglected(stage, book))
    yield from without_target(stage, book)
    yield from not_as_taken(stage, book)
    yield from held_in_vain(stage)


def _waiting(actors: Mapping[str, Any]) -> Iterable[str]:
    if not actors["exchange"].is_settled():
        yield "the exchange still waits for its store"
    if not actors["journal"].is_settled():
        yield "units still wait for the journal"
    tokens: TokensReported = actors["rate_limiter"].describe()
    if tokens.waiting:
        yield f"{tokens.waiting} permits are never granted"
    orders: OrderSummary = actors["order"].describe()
    for order in orders.live:
        if order.status is OrderStatus.PENDING:
            yield f"order {order.id} ({order.intent.role.value}) stays PENDING"
    if not actors["order"].is_settled():
        yield "orders are still on their way"


def _closing(stage: Stage) -> Iterable[str]:
    book: BookSummary = stage.machine.actors["position"].describe()  # type: ignore[assignment]
    for position in book.positions:
        instrument = stage.plan.settings.execution.instruments[position.symbol]
        if position.status is PositionStatus.CLOSING and not may_be_dust(position, position.volume_base, instrument):
            yield f"position {position.id} stays CLOSING"


def differences(stage: Stage) -> Iterable[Violation]:
    """Yield where memory, journal and exchange differ, now that nothing is on its way."""
    kept, actors = stage.kept, stage.machine.actors
    orders: OrderSummary = actors["order"].describe()  # type: ignore[assignment]
    book: BookSummary = actors["position"].describe()  # type: ignore[assignment]
    risk: RiskSummary = actors["risk"].describe()  # type: ignore[assignment]
    live = {order.id: order for order in kept.orders.values() if not order.is_over}
    for order in orders.live:
        if live.pop(order.id, None) != order:
            yield Violation(
                "I9", f"order {order.id} is {order} in memory and {kept.orders.get(order.id)} in the journal"
            )
    for order in live.values():
        yield Violation("I9", f"order {order.id} is {order.status.value} in the journal and unknown in memory")
    held = {position.id: position for position in kept.positions.values() if not position.is_over}
    for position in book.positions:
        if held.pop(position.id, None) != position:
            text = f"position is {position} in memory and {kept.positions.get(position.id)} in the journal"
            yield Violation("I9", text)
    for position in held.values():
        yield Violation("I9", f"position {position.id} is {position.status.value} in the journal and unknown in memory")
    if risk.state != kept.risk:
        yield Violation("I9", f"risk is {risk.state} in memory and {kept.risk} in the journal")
    yield from _uncounted(stage, risk)


def _uncounted(stage: Stage, risk: RiskSummary) -> Iterable[Violation]:
    """Yield where risk counts otherwise than what was approved and reported."""
    alive = stage.watch.alive
    if risk.slots_taken != len(alive):
        yield Violation("I7", f"risk counts {risk.slots_taken} trades, alive are {sorted(alive)}")
    for text in (stage.watch.promises.exposure_differs(risk), stage.watch.limits.equity_differs(risk)):
        if text:
            yield Violation("I7", text)


def trades(stage: Stage) -> Iterable[Violation]:
    """Every trade of ours on the exchange is booked once, to the digit.

    Where somebody else has traded in the symbol, an exit of ours may have taken their coins or reduced their position,
    because ours was closed by them already: so much of it, at most, is nobody's. An engine that died before the journal
    knew of its exit is one of the others.
    """
    volumes = booked(stage.kept)
    excused = _traded_by_others(stage)
    for fill in stage.books_of_exchange.books.history.trades():
        volume_base, fee_quote = volumes.get(fill.trade_id, (ZERO, ZERO))
        left_base = fill.volume_base - volume_base
        if left_base < 0:
            yield Violation("I6", f"trade {fill.trade_id} of {fill.volume_base} is booked with {volume_base}")
        elif _is_ours(stage, fill) and (left_base or fee_quote != fill.fee_quote):
            leaves = stage.kept.orders[fill.order_id].intent.role is not OrderRole.ENTRY
            if leaves and left_base <= excused[fill.symbol]:
                excused[fill.symbol] -= left_base
            else:
                yield Violation("I6", f"trade {fill.trade_id} of {fill.volume_base} is booked with {volume_base}")


def _is_ours(stage: Stage, fill: Fill) -> bool:
    return fill.order_id in stage.kept.orders and not fill.is_liquidation


def _traded_by_others(stage: Stage) -> defaultdict[Symbol, Decimal]:
    """Return how much others have traded, by symbol."""
    traded: defaultdict[Symbol, Decimal] = defaultdict(Decimal)
    for fill in stage.books_of_exchange.books.history.trades():
        if not _is_ours(stage, fill) or fill.order_id in stage.watch.sent_in_stall:
            traded[fill.symbol] += fill.volume_base
    return traded


def booked(kept: MemoryJournal) -> Mapping[TradeId, tuple[Decimal, Decimal]]:
    """Return volume and fee booked of each trade; its parts on several positions are one."""
    volumes: defaultdict[TradeId, tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    for fill in kept.fills.values():
        id_ = TradeId(fill.trade_id.partition("#")[0])
        volume_base, fee_quote = volumes[id_]
        volumes[id_] = (volume_base + fill.volume_base, fee_quote + fill.fee_quote)
    return volumes


def books_of(stage: Stage) -> Books:
    """Return both sides as they are now; what others traded and we do not hold counts as theirs."""
    actors = stage.machine.actors
    orders: OrderSummary = actors["order"].describe()  # type: ignore[assignment]
    book: BookSummary = actors["position"].describe()  # type: ignore[assignment]
    execution = stage.plan.settings.execution
    return Books(
        account=stage.books_of_exchange.books.report(stage.clock.now_us()),
        initial_balances=_paid_in(stage),
        instruments=execution.instruments,
        flows=tuple(flow_of(fill) for fill in stage.kept.fills.values()),
        foreign_flows=tuple(_foreign_flows(stage)),
        live_orders=orders.live,
        open_positions=book.positions,
        closed_net={Currency(quote): net for quote, net in stage.kept.realised_by_quote()},
    )


def _paid_in(stage: Stage) -> Mapping[Currency, Decimal]:
    """Return what the account began with, and what came or went without any trade."""
    paid_in = defaultdict(Decimal, stage.plan.settings.execution.paper.balances)
    for currency, amount in stage.books_of_exchange.books.account.moved.items():
        paid_in[currency] += amount
    return paid_in


def _foreign_flows(stage: Stage) -> Iterable[Flow]:
    """Yield what was traded on the account and belongs to no position of ours; `_trades` says what of it may."""
    volumes = booked(stage.kept)
    for fill in stage.books_of_exchange.books.history.trades():
        volume_base, fee_quote = volumes.get(fill.trade_id, (ZERO, ZERO))
        if volume_base != fill.volume_base:
            left_base = fill.volume_base - volume_base
            yield flow_of(attrs.evolve(fill, volume_base=left_base, fee_quote=fill.fee_quote - fee_quote))


def flow_of(fill: Fill) -> Flow:
    """Return what one fill moved."""
    return Flow(
        symbol=fill.symbol,
        side=fill.side,
        volume_base=fill.volume_base,
        cost_quote=fill.price_quote * fill.volume_base,
        fees_quote=fill.fee_quote,
    )

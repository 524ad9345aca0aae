"""Are the books right? The exchange's own books are the truth, and every difference is named.

Pure, and it shares no arithmetic with the engine: sums of fills on one side, balances on the other.
Read in order: Books, audit(), then one function for each invariant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from messages.base import Currency, OrderId, PositionId, Symbol
from messages.exchange import AccountReported
from messages.market import Instrument
from messages.orders import Order, OrderRole
from messages.positions import Position, PositionSide, PositionStatus
from messages.trades import Side

ZERO, ONE = Decimal(0), Decimal(1)
PROTECTIVE = (OrderRole.STOP, OrderRole.TARGET)
COARSEST_DIGIT, COST_DIGIT, USUAL_DIGIT, FINEST_DIGIT = -4, -5, -8, -16
"""Kraken tells dollars to four places, costs to five, everything else to eight or more; zeros that say nothing may be
left out. What has more digits than anybody tells is a share of a cost."""


@attrs.frozen(kw_only=True)
class Flow:
    """All fills of one symbol and side: how much, for how much, at what fees."""

    symbol: Symbol
    side: Side
    volume_base: Decimal
    cost_quote: Decimal
    fees_quote: Decimal
    trades: int = 0
    """How many fills these are."""


@attrs.frozen(kw_only=True)
class Books:
    """Both sides at one quiet instant."""

    account: AccountReported
    """The exchange's."""
    initial_balances: Mapping[Currency, Decimal]
    instruments: Mapping[Symbol, Instrument]
    flows: tuple[Flow, ...]
    """Every fill ever booked."""
    foreign_flows: tuple[Flow, ...] = ()
    """What others have traded on the account and no position of ours has felt; where somebody knows it."""
    live_orders: tuple[Order, ...]
    open_positions: tuple[Position, ...]
    closed_net: Mapping[Currency, Decimal]
    """Net P&L of all positions that are over, by quote currency."""
    alerted: frozenset[PositionId] = frozenset()
    """Positions that are bare, watched locally, and of which a person has been told."""
    is_told_rounded: bool = False
    """Whether the exchange rounds what it tells of money, and what it books for each trade."""


@attrs.frozen
class Violation:
    """A broken promise: which invariant, and what differs."""

    invariant: str
    text: str


def audit(books: Books) -> tuple[Violation, ...]:
    """Return every difference between our books and the exchange's."""
    texts = (
        ("I2", _strangers(books)),
        ("I4", [f"position {position.id} is bare" for position in unprotected(books)]),
        ("I5", _wrong_volumes(books)),
        ("I5", [f"order {order_id} protects nothing" for order_id in orphans(books)]),
        ("I6", _money(books)),
    )
    return tuple(Violation(invariant, text) for invariant, found in texts for text in found)


def unprotected(books: Books) -> tuple[Position, ...]:
    """Return the open positions that asked for a stop and have none on the exchange, nor a watch and an alert."""
    resting = {order.order_id for order in books.account.open_orders}
    stops = {
        order.intent.position_id
        for order in books.live_orders
        if order.intent.role is OrderRole.STOP and order.id in resting
    }
    return tuple(
        position
        for position in books.open_positions
        if is_owed_a_stop(position, books.instruments) and position.id not in stops | books.alerted
    )


def is_owed_a_stop(position: Position, instruments: Mapping[Symbol, Instrument]) -> bool:
    """Say whether an open position has asked for a stop, and is large enough for one."""
    return (
        position.stop_loss_quote is not None
        and position.status is PositionStatus.OPEN
        and not may_be_dust(position, position.volume_base, instruments[position.symbol])
    )


def may_be_dust(position: Position, left_base: Decimal, instrument: Instrument) -> bool:
    """Say whether what is left of a position may be too small for any order.

    By its entry price: today's is the engine's business, and does not halve or double it here.
    """
    if left_base < instrument.volume_min_base:
        return True
    return left_base * position.entry_cost_quote < 2 * instrument.notional_min_quote * position.entry_base


def orphans(books: Books) -> tuple[OrderId, ...]:
    """Return the resting orders of ours that are for nothing: neither a live entry nor an exit of an open position.

    What bears no id of ours was left by somebody else, and is none of our business.
    """
    held = {position.id for position in books.open_positions}
    ours = {
        order.id
        for order in books.live_orders
        if order.intent.role is OrderRole.ENTRY or order.intent.position_id in held
    }
    return tuple(
        order.order_id
        for order in books.account.open_orders
        if order.order_id not in ours and order.order_id != OrderId(order.external_id)
    )


def _strangers(books: Books) -> Iterable[str]:
    """An intent has at most one order on the exchange."""
    seen: set[OrderId] = set()
    for order in books.account.open_orders:
        if order.order_id in seen:
            yield f"intent {order.order_id} has two open orders on the exchange"
        seen.add(order.order_id)


def _wrong_volumes(books: Books) -> Iterable[str]:
    """A protective order covers exactly what is held."""
    held = {position.id: position for position in books.open_positions}
    resting = {order.order_id: order for order in books.account.open_orders}
    for order in books.live_orders:
        position = held.get(order.intent.position_id)
        at_exchange = resting.get(order.id)
        if order.intent.role not in PROTECTIVE or position is None or at_exchange is None:
            continue
        covered = at_exchange.volume_base - at_exchange.filled_base
        if position.status is PositionStatus.OPEN and covered != position.volume_base:
            yield f"order {order.id} covers {covered} of position {position.id}, which holds {position.volume_base}"


def _money(books: Books) -> Iterable[str]:
    """Currency by currency, and coin by coin, nothing came from nowhere: exact, and without any price.

    Every fill moves its cost into or out of the quote currency and its volume out of or into the base, less fees.
    A margin position has not been paid yet: its cost and volume stand among the holdings instead of the balances.
    """
    ours: defaultdict[Currency, Decimal] = defaultdict(Decimal, books.initial_balances)
    for flow in (*books.flows, *books.foreign_flows):
        instrument = books.instruments[flow.symbol]
        sign = 1 if flow.side is Side.BUY else -1
        ours[instrument.base] += sign * flow.volume_base
        ours[instrument.quote] -= sign * flow.cost_quote + flow.fees_quote
    theirs: defaultdict[Currency, Decimal] = defaultdict(Decimal, books.account.balances)
    for holding in books.account.holdings:
        instrument = books.instruments[holding.symbol]
        sign = 1 if holding.volume_base > 0 else -1
        theirs[instrument.base] += holding.volume_base
        theirs[instrument.quote] -= sign * holding.cost_quote
    for currency in sorted(ours.keys() | theirs.keys()):
        if abs(ours[currency] - theirs[currency]) > _lost_in_rounding(books, currency):
            yield f"{currency}: we book {ours[currency]}, the exchange {theirs[currency]}"
    yield from _profit_against_fills(books)
    yield from _positions_against_fills(books)


def _lost_in_rounding(books: Books, currency: Currency) -> Decimal:
    """Return how far both sides may differ because the exchange rounds: its last digit, once for all that it rounds.

    That is each trade that moved the currency, each holding's cost, and the balance, today's and the first one.
    """
    if not books.is_told_rounded:
        return ZERO
    quoted = {symbol for symbol, instrument in books.instruments.items() if instrument.quote == currency}
    costs = [holding.cost_quote for holding in books.account.holdings if holding.symbol in quoted]
    told = [amount for owner, amount in books.account.balances if owner == currency]
    trades = sum(flow.trades for flow in (*books.flows, *books.foreign_flows) if flow.symbol in quoted)
    return max(map(_last_digit, (*told, *costs)), default=ZERO) * (trades + len(costs) + 2)


def _last_digit(amount: Decimal) -> Decimal:
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent > COARSEST_DIGIT:
        return ONE.scaleb(USUAL_DIGIT)
    return ONE.scaleb(exponent if exponent >= FINEST_DIGIT else COST_DIGIT)


def _profit_against_fills(books: Books) -> Iterable[str]:
    """What the positions say was earned is what the fills have moved: nothing is booked twice or forgotten."""
    from_fills: defaultdict[Currency, Decimal] = defaultdict(Decimal)
    for flow in books.flows:
        sign = 1 if flow.side is Side.SELL else -1
        from_fills[books.instruments[flow.symbol].quote] += sign * flow.cost_quote - flow.fees_quote
    from_positions: defaultdict[Currency, Decimal] = defaultdict(Decimal, books.closed_net)
    for position in books.open_positions:
        sign = 1 if position.side is PositionSide.LONG else -1
        moved = sign * (position.exit_cost_quote - position.entry_cost_quote) - position.fees_quote
        from_positions[books.instruments[position.symbol].quote] += moved
    for currency in sorted(from_fills.keys() | from_positions.keys()):
        if from_fills[currency] != from_positions[currency]:
            yield f"{currency}: positions moved {from_positions[currency]}, fills {from_fills[currency]}"


def _positions_against_fills(books: Books) -> Iterable[str]:
    """What the open positions of a symbol hold is what its fills have left."""
    from_fills: defaultdict[Symbol, Decimal] = defaultdict(Decimal)
    for flow in books.flows:
        from_fills[flow.symbol] += flow.volume_base if flow.side is Side.BUY else -flow.volume_base
    from_positions: defaultdict[Symbol, Decimal] = defaultdict(Decimal)
    for position in books.open_positions:
        sign = 1 if position.side is PositionSide.LONG else -1
        from_positions[position.symbol] += sign * position.volume_base
    for symbol in sorted(from_fills.keys() | from_positions.keys()):
        if from_fills[symbol] != from_positions[symbol]:
            yield f"{symbol}: positions hold {from_positions[symbol]}, fills left {from_fills[symbol]}"

"""Orders that are ours and that the journal has forgotten, as after a restore: what they were, and whose they are.

An order bears our id if that has the form of the ids that we give: a human's order has no client id at all. What it
was for follows from what it is: on margin only exits are reduce-only, on cash spot only a sell gets out. Which
position an exit belongs to nobody has kept; it is given to the one that it fits, and what it takes beyond that one
is booked as any surplus is.
Read in order: is_our_id(), role_of(), sort_out(), then how a trade is made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

import attrs

from messages.base import OrderId, PositionId, ProposalId, Symbol
from messages.orders import (
    ExchangeOrder,
    Order,
    OrderFound,
    OrderIntent,
    OrderRole,
    OrderStatus,
    OrderTerms,
    TimeInForce,
)
from messages.trades import OrderType, Side, TradeProposal

OUR_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""A UUID of version 4, as canonical text."""
ROLES = {
    OrderType.STOP_LOSS: OrderRole.STOP,
    OrderType.STOP_LOSS_LIMIT: OrderRole.STOP,
    OrderType.TAKE_PROFIT: OrderRole.TARGET,
    OrderType.TAKE_PROFIT_LIMIT: OrderRole.TARGET,
}
OPEN = (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)
ZERO = Decimal(0)
ONE = Decimal(1)


TAG_LENGTH = 8
"""All orders of a trade begin with the same characters as the id of its position."""


def tag_of(id_: OrderId | PositionId) -> str:
    """Return what the ids of a position and of its orders have in common."""
    return id_[:TAG_LENGTH]


def is_our_id(order_id: OrderId) -> bool:
    """Say whether this is an id as we give them, and not the exchange's own."""
    return OUR_ID.fullmatch(order_id) is not None


def role_of(terms: OrderTerms) -> OrderRole:
    """Return what an order of ours was for."""
    opens = not terms.reduce_only if terms.leverage > 1 else terms.side is Side.BUY
    return OrderRole.ENTRY if opens else ROLES.get(terms.order_type, OrderRole.EXIT)


# Whose is it? -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Holder:
    """A trade that holds something, or has: known, or found with its entry."""

    key: str
    """The trade's id; the order's id of an entry that was found."""
    tag: str
    symbol: Symbol
    side: Side
    leverage: int
    since_us: int
    left_base: Decimal
    may_grow: bool = False
    """Whether its entry lives: it may have filled further than has been told."""
    resting: frozenset[OrderRole] = frozenset()
    """The roles in which an order of it rests already."""
    triggers: tuple[Decimal, ...] = ()
    """Where the orders that protect it stand."""


@attrs.frozen(kw_only=True)
class Adopted:
    """A forgotten order, what it was for, and whose it is."""

    found: OrderFound
    terms: OrderTerms
    role: OrderRole
    holder: str | None
    """The key of its holder: itself for an entry, None for an exit of nothing that we know."""

    @property
    def order(self) -> ExchangeOrder:
        """What the exchange says of it."""
        return self.found.order

    @property
    def is_open(self) -> bool:
        """Whether it rests on the exchange."""
        return self.order.status in OPEN


def sort_out(forgotten: Iterable[OrderFound], known: Iterable[Holder]) -> tuple[Adopted, ...]:
    """Return what the forgotten orders were: entries first, then exits, each in the order of their placing.

    Exits that have filled come before those that only rest: what rests fits what is left.
    """
    adopted = [
        Adopted(found=found, terms=found.order.terms, role=role_of(found.order.terms), holder=None)
        for found in forgotten
        if found.order.terms is not None
    ]
    adopted.sort(key=lambda one: (one.terms.opened_at_us, one.order.external_id))
    entries = [attrs.evolve(one, holder=one.order.order_id) for one in adopted if one.role is OrderRole.ENTRY]
    exits = [one for one in adopted if one.role is not OrderRole.ENTRY]
    holders = {holder.key: holder for holder in (*known, *map(_holder_of, entries))}
    exits.sort(key=lambda one: not one.order.filled_base)
    return (*entries, *(_given_to_its_holder(one, holders) for one in exits))


def _holder_of(entry: Adopted) -> Holder:
    return Holder(
        key=entry.order.order_id,
        tag=tag_of(entry.order.order_id),
        symbol=entry.order.symbol,
        side=entry.terms.side,
        leverage=entry.terms.leverage,
        since_us=entry.terms.opened_at_us,
        left_base=entry.order.filled_base,
        may_grow=entry.is_open,
    )


def _given_to_its_holder(exit_: Adopted, holders: dict[str, Holder]) -> Adopted:
    """Give an exit to the holder it fits: the one that it names, whose level or volume it has, else the oldest."""
    fitting = [holder for holder in holders.values() if _fits(exit_, holder)]
    if not fitting:
        return exit_
    wanted_base = exit_.order.volume_base if exit_.is_open else exit_.order.filled_base
    trigger = exit_.order.trigger_price_quote
    holder = min(
        fitting,
        key=lambda one: (
            one.tag != tag_of(exit_.order.order_id),
            trigger is not None and trigger not in one.triggers,
            one.left_base != wanted_base,
            not one.left_base,
            one.since_us,
        ),
    )
    holders[holder.key] = attrs.evolve(
        holder,
        left_base=max(ZERO, holder.left_base - exit_.order.filled_base),
        resting=holder.resting | {exit_.role} if exit_.is_open else holder.resting,
    )
    return attrs.evolve(exit_, holder=holder.key)


def _fits(exit_: Adopted, holder: Holder) -> bool:
    terms = exit_.terms
    is_named = holder.tag == tag_of(exit_.order.order_id)
    is_taken = exit_.is_open and exit_.role in holder.resting
    return (
        holder.symbol == exit_.order.symbol
        and (holder.side, holder.leverage) == (terms.side.opposite, terms.leverage)
        and holder.since_us <= terms.opened_at_us
        and (is_named or ((holder.left_base > 0 or holder.may_grow) and not is_taken))
    )


# A trade is made of them --------------------------------------------------------------------------


def proposal_of(first: Adopted, legs: Iterable[Adopted], trade_id: ProposalId) -> TradeProposal:
    """Return a proposal that would have led to this: its levels are those of the orders that protect it.

    `first` is the entry, or an exit that is nobody's.
    """
    terms, order = first.terms, first.order
    side = terms.side if first.role is OrderRole.ENTRY else terms.side.opposite
    levels = {leg.role: leg.order.trigger_price_quote for leg in sorted(legs, key=lambda leg: leg.is_open)}
    return TradeProposal(
        id=trade_id,
        at_us=terms.opened_at_us,
        symbol=order.symbol,
        side=side,
        size_usd=_worth_quote(first) / terms.leverage,
        order_type=OrderType.MARKET if terms.limit_price_quote is None else OrderType.LIMIT,
        entry_price_quote=terms.limit_price_quote if first.role is OrderRole.ENTRY else None,
        stop_loss_quote=levels.get(OrderRole.STOP),
        take_profit_quote=levels.get(OrderRole.TARGET),
        leverage=terms.leverage,
    )


def _worth_quote(adopted: Adopted) -> Decimal:
    """Return what it has cost, or what it would; at least something, so that nobody divides by nothing."""
    cost_quote = sum((fill.price_quote * fill.volume_base for fill in adopted.found.fills), ZERO)
    price_quote = adopted.terms.limit_price_quote or adopted.order.trigger_price_quote or ONE
    return cost_quote or adopted.order.volume_base * price_quote or ONE


def order_of(adopted: Adopted, trade_id: ProposalId, position_id: PositionId, now_us: int) -> Order:
    """Return the order as our books begin with it: open and unfilled; its fills and its end are told like any other's.

    What it was measured against when it was sent is lost: its reference price is 0, which no statistics count.
    """
    order, terms = adopted.order, adopted.terms
    intent = OrderIntent(
        id=order.order_id,
        proposal_id=trade_id,
        position_id=position_id,
        symbol=order.symbol,
        side=terms.side,
        role=adopted.role,
        order_type=terms.order_type,
        volume_base=order.volume_base,
        limit_price_quote=terms.limit_price_quote,
        trigger_price_quote=order.trigger_price_quote,
        reference_price_quote=ZERO,
        leverage=terms.leverage,
        reduce_only=terms.reduce_only,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=1,
        created_at_us=terms.opened_at_us,
    )
    return Order(
        intent=intent,
        status=OrderStatus.OPEN,
        volume_base=order.volume_base,
        trigger_price_quote=order.trigger_price_quote,
        external_id=order.external_id,
        opened_at_us=terms.opened_at_us,
        updated_at_us=now_us,
        reason="adopted: the journal had forgotten it",
    )


def is_tighter(side: Side, level_quote: Decimal, than_quote: Decimal | None) -> bool:
    """Say whether a stop of a trade entered by `side` guards more than the other level; any guards more than none."""
    if than_quote is None:
        return True
    return level_quote > than_quote if side is Side.BUY else level_quote < than_quote

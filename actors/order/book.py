"""What OrderActor remembers: trades, the orders of each, and a bounded history of those that are over."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum, auto

import attrs

from messages.base import OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.journal import RecordOrder
from messages.orders import ExchangeOrder, Fill, Order, OrderRole
from messages.positions import CloseReason, Position
from messages.trades import Side, TradeProposal


class Phase(Enum):
    """Where an order is on its way to the exchange. The status says what it is, the phase what we wait for."""

    RECORDING = auto()
    """Its intent is being committed."""
    WAITING = auto()
    """It waits for a permit."""
    SENT = auto()
    """It is on its way; the answer is out."""
    SETTLING = auto()
    """Its outcome is unknown: it is being looked for."""
    RESTING = auto()
    """The exchange has it."""
    OVER = auto()
    """Its status is terminal."""


@attrs.define(kw_only=True)
class Tracked:
    """One order and what we are waiting for."""

    order: Order
    trade: Trade
    phase: Phase
    deadline_us: int = 0
    """After this the exchange no longer takes it, if it was under way."""
    heard_at_us: int = 0
    is_withdrawn: bool = False
    """It must not live: unsent it is not sent, resting it is cancelled."""
    has_expired: bool = False
    """It is withdrawn because its time was over."""
    asked_base: Decimal = Decimal(0)
    """The volume of an amend whose answer is out; the exchange may have taken it."""
    polled: ExchangeOrder | None = None
    """What the last poll said of it: the same again is no news."""
    is_cancel_asked: bool = False
    is_amend_asked: bool = False
    is_look_up_set: bool = False
    """A timer will ask for it to be looked up."""
    is_look_up_asked: bool = False
    """A look-up waits for its permit."""
    looked_up_at_us: int | None = None
    """When the look-up left that has not been answered yet."""
    amended_at_us: int | None = None
    """When the amend left that has not been answered yet."""
    touched_at_us: int | None = None
    """The latest instant at which the exchange may have taken it up or moved it; None before it has left."""
    fill_ids: set[TradeId] = attrs.field(factory=set)
    counted_base: Decimal = Decimal(0)
    """Of fills that were counted before the start and never booked: they will be told again."""

    @property
    def is_live(self) -> bool:
        """Whether it may still fill."""
        return self.phase is not Phase.OVER


@attrs.define(kw_only=True)
class Trade:
    """One proposal from approval to its end: the entry, the position, and what protects and closes it."""

    proposal: TradeProposal
    position_id: PositionId
    position: Position | None = None
    last_price_quote: Decimal = Decimal(0)
    legs: dict[OrderRole, Tracked] = attrs.field(factory=dict)
    """The newest order of each role."""
    closing: CloseReason | None = None
    is_adopted: bool = False
    """It is made of orders that the journal had forgotten: nobody knows what it was to be."""
    is_bare_told: bool = False
    """It is adopted and has no stop, and a person has been told."""
    is_withdrawn: bool = False
    """The strategy does not want the entry any more."""
    close_when_held: CloseReason | None = None
    """The strategy wants out: what still fills of the entry is closed at once."""
    is_target_local: bool = False
    """The exchange does not take the target; the local watch has it."""
    failures: dict[OrderRole, int] = attrs.field(factory=dict)
    """Refusals in a row, by role."""
    waiting: set[OrderRole] = attrs.field(factory=set)
    """Roles whose next attempt waits for a timer."""
    bare_since_us: int | None = None
    """Since when the position lacks the stop that it asked for: watched locally, and a person has been told."""
    is_exit_alerted: bool = False
    too_small_base: Decimal = Decimal(0)
    """So much is too small for an order, says the exchange."""
    is_dust_named: bool = False
    """What is left is too small for any order, and a person has been told."""
    known_stop_quote: Decimal | None = None
    """The tightest stop that it is known to have had, before somebody last named levels of it."""
    levels_named_at_us: int = 0
    """When somebody last named levels of it."""
    is_delayed: bool = False
    """The first protection waits for the configured delay."""
    entered_base: Decimal = Decimal(0)
    exited_base: Decimal = Decimal(0)
    """What fills have brought and taken, as far as they were passed on: ahead of `position` by what is under way."""
    ahead: list[tuple[Order, Fill]] = attrs.field(factory=list)
    """Exits that were told before the entry fills they close: they wait for those."""
    unrecorded: list[RecordOrder] = attrs.field(factory=list)
    """States of its orders that wait for fills under way: a fill is recorded by the position, one hop later."""
    is_released: bool = False
    """Risk has been told that nothing of it lives."""

    @property
    def id(self) -> ProposalId:
        """The proposal's id: the correlation id of everything about this trade."""
        return self.proposal.id

    def live(self, role: OrderRole) -> Tracked | None:
        """Return the order of this role while it may still fill."""
        leg = self.legs.get(role)
        return leg if leg is not None and leg.is_live else None

    def note_levels(self, at_us: int, stops_quote: Iterable[Decimal]) -> None:
        """Remember that somebody has named levels of it, and the tightest stop of then and before."""
        self.levels_named_at_us = at_us
        tightest = max if self.proposal.side is Side.BUY else min
        known = () if self.known_stop_quote is None else (self.known_stop_quote,)
        self.known_stop_quote = tightest((*known, *stops_quote), default=None)

    @property
    def live_legs(self) -> tuple[Tracked, ...]:
        """Every order of the trade that may still fill."""
        return tuple(leg for leg in self.legs.values() if leg.is_live)

    @property
    def entered_us(self) -> int:
        """When the first of it was bought or sold; 0 when that is not known any more."""
        entry = self.legs.get(OrderRole.ENTRY)
        return 0 if entry is None else entry.order.first_fill_at_us or 0

    @property
    def is_in_step(self) -> bool:
        """Whether the position has booked every fill that was passed on to it."""
        position = self.position
        if position is None:
            return not self.entered_base
        return position.entry_base == self.entered_base and position.exit_base == self.exited_base

    @property
    def left_base(self) -> Decimal:
        """What fills have left, counted as they were passed on."""
        return self.entered_base - self.exited_base

    @property
    def held_base(self) -> Decimal:
        """What the position holds now."""
        position = self.position
        return Decimal(0) if position is None or position.is_over else position.volume_base


@attrs.define(kw_only=True)
class Taking:
    """What an execution has closed of a position on margin, where the exchange nets all positions of a symbol."""

    symbol: Symbol
    side: Side
    at_us: int
    entered_us: int
    """When the position that it was taken from was entered."""
    volume_base: Decimal
    """How much of it is still this execution's, and not that of an earlier one which was told later."""

    def was_the_share_of(self, earlier: Fill, at_us: int) -> bool:
        """Say whether `earlier`, which closed something at that instant, would have closed this, told in time."""
        return (
            self.volume_base > 0
            and (self.symbol, self.side, True) == (earlier.symbol, earlier.side, earlier.is_margin)
            and self.entered_us <= at_us < self.at_us
        )


class OrderBook:
    """Finds trades and orders by every id that a message may name. What is over is kept, up to `history_max`."""

    def __init__(self, history_max: int) -> None:
        self._history_max = history_max
        self.trades: dict[ProposalId, Trade] = {}
        self.by_position: dict[PositionId, Trade] = {}
        self.by_symbol: dict[Symbol, dict[ProposalId, Trade]] = {}
        self.live: dict[OrderId, Tracked] = {}
        self._live_in: dict[Symbol, int] = {}
        self.over: OrderedDict[OrderId, Tracked] = OrderedDict()

    def open_trade(self, trade: Trade) -> None:
        """Take up a trade."""
        self.trades[trade.id] = trade
        self.by_position[trade.position_id] = trade
        self.by_symbol.setdefault(trade.proposal.symbol, {})[trade.id] = trade

    def close_trade(self, trade: Trade) -> None:
        """Let go of a trade of which nothing lives."""
        self.trades.pop(trade.id, None)
        self.by_position.pop(trade.position_id, None)
        self.by_symbol.get(trade.proposal.symbol, {}).pop(trade.id, None)

    def holding(self, fill: Fill, at_us: int) -> list[Trade]:
        """Return the trades that held at that instant what this trade of somebody else closes, oldest first."""
        return [trade for trade in self._closed_by(fill) if trade.left_base > 0 and trade.entered_us <= at_us]

    def may_have_entered(self, fill: Fill, at_us: int, over_since_us: int) -> bool:
        """Say whether an entry that this trade of somebody else closes may have filled by then, and we do not know.

        It lives, or has ended since `over_since_us`: then a fill of it may still be told.
        """
        live = (trade.live(OrderRole.ENTRY) for trade in self._closed_by(fill))
        entries = (entry for entry in (*live, *self._ended_since(over_since_us, fill)) if entry is not None)
        return any(entry.order.intent.created_at_us <= at_us for entry in entries)

    def _ended_since(self, since_us: int, fill: Fill) -> Iterable[Tracked]:
        for tracked in self.over.values():
            order, proposal = tracked.order, tracked.trade.proposal
            is_entry_here = order.intent.role is OrderRole.ENTRY and proposal.symbol == fill.symbol
            if is_entry_here and (order.ended_at_us or 0) >= since_us and is_closed_by(proposal, fill):
                yield tracked

    def _closed_by(self, fill: Fill) -> Iterable[Trade]:
        for trade in self.by_symbol.get(fill.symbol, {}).values():
            if is_closed_by(trade.proposal, fill):
                yield trade

    def is_alone(self, trade: Trade) -> bool:
        """Say whether no other trade holds anything of the symbol."""
        others = self.by_symbol.get(trade.proposal.symbol, {}).values()
        return not any(other.left_base for other in others if other is not trade)

    def add(self, trade: Trade, tracked: Tracked) -> None:
        """Take up an order as the newest of its role."""
        present = trade.legs.get(tracked.order.intent.role)
        if present is None or not present.is_live or not tracked.order.is_over:
            trade.legs[tracked.order.intent.role] = tracked
        self.enter(tracked)

    def enter(self, tracked: Tracked) -> None:
        """Take up an order among the living."""
        if tracked.order.id not in self.live:
            symbol = tracked.order.intent.symbol
            self._live_in[symbol] = self._live_in.get(symbol, 0) + 1
        self.live[tracked.order.id] = tracked

    def live_besides(self, tracked: Tracked) -> int:
        """Return how many other orders of the same pair may be on the exchange, now or soon."""
        return self._live_in.get(tracked.order.intent.symbol, 0) - (tracked.order.id in self.live)

    def find(self, order_id: OrderId) -> Tracked | None:
        """Return an order, live or remembered."""
        return self.live.get(order_id) or self.over.get(order_id)

    def revive(self, tracked: Tracked) -> None:
        """Take an order that was given up back among the living: the exchange has it after all."""
        tracked.phase = Phase.RESTING
        self.over.pop(tracked.order.id, None)
        self.enter(tracked)

    def retire(self, tracked: Tracked) -> None:
        """Move an order whose status is terminal to the history, which forgets its oldest."""
        tracked.phase = Phase.OVER
        if self.live.pop(tracked.order.id, None) is not None:
            self._live_in[tracked.order.intent.symbol] -= 1
        self.over[tracked.order.id] = tracked
        while len(self.over) > self._history_max:
            self.over.popitem(last=False)


def is_closed_by(proposal: TradeProposal, fill: Fill) -> bool:
    """Say whether this trade of somebody else is on the other side: on margin it closes what is held on margin."""
    return proposal.side is not fill.side and (proposal.leverage > 1) is fill.is_margin

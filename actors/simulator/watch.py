"""What must hold at every message and at every commit. It shares no arithmetic with the engine.

The truth is what the exchange has in its books and what the journal has kept. The watch outlives the engine, so
what was sent before a crash still counts after it.
Read in order: Watch.see(), the checks of what is said, Watch.committed(), the checks of what is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from actors.audit import Violation, may_be_dust
from actors.exchange.mock.books import Books
from actors.runtime.clock import SteppedClock
from actors.simulator.promises import Promises
from config.settings import Settings
from messages.base import Message, OrderId, PositionId, ProposalId, Symbol
from messages.bus import EventsCommitted
from messages.journal import (
    JournalLoaded,
    JournalStalled,
    RecordFill,
    RecordIntent,
    RecordOrder,
    RecordPosition,
    RecordUnit,
)
from messages.market import Instrument
from messages.orders import TERMINAL, Order, OrderIntent, OrderRole, OrderStatus, PlaceOrder
from messages.positions import ApplyFill, Position, PositionChanged, PositionSide, PositionStatus
from messages.risk import TradingState, TradingStateChanged
from messages.trades import OrderType, TradeApproved, TradeEnded, TradeProposal
from persistence.memory import MemoryJournal

STORY_LENGTH = 400
"""Ticks included, of which `story.py` shows few."""
ZERO = Decimal(0)


class Watch:
    """Sees every message and every commit of a story, and keeps the first thing that is wrong."""

    def __init__(self, settings: Settings, kept: MemoryJournal, clock: SteppedClock) -> None:
        self._settings = settings
        self._instruments: Mapping[Symbol, Instrument] = settings.execution.instruments
        self._kept = kept
        self._clock = clock
        self.books: Books | None = None
        """The exchange's, of the engine that runs now."""
        self.broken: Violation | None = None
        self.said: dict[type[Message], int] = {}
        self.order_steps: dict[tuple[OrderStatus | None, OrderStatus], int] = {}
        self.position_steps: dict[tuple[PositionStatus | None, PositionStatus], int] = {}
        self.states: list[TradingState] = []
        """What trading was switched to, in order."""
        self.story: deque[tuple[int, Message]] = deque(maxlen=STORY_LENGTH)
        self._sent: dict[OrderId, ProposalId] = {}
        self.sent_in_stall: set[OrderId] = set()
        """Exits that left although the journal was away: of what led to them it may know nothing."""
        self._left: set[PositionId] = set()
        """Positions that were CLOSING or over at some time; a late fill may have opened them again."""
        self._entries: dict[ProposalId, list[OrderId]] = {}
        self._approved: dict[ProposalId, TradeProposal] = {}
        self._alive: dict[ProposalId, Symbol] = {}
        """Trades that hold a slot."""
        self._held: dict[PositionId, Decimal] = {}
        """What fills have left of each position, counted as they were handed to it."""
        self._is_halted = False
        self._has_stalled = False
        self.promises = Promises(self, settings, kept)
        self._checks: dict[type[Message], Callable[[Any], None]] = {
            PlaceOrder: self._placing,
            TradeApproved: self._approving,
            TradeEnded: self._ending,
            ApplyFill: self._applying,
            PositionChanged: self._changing,
            EventsCommitted: self._publishing,
            JournalLoaded: self._starting,
            JournalStalled: self._stalling,
            TradingStateChanged: self._switching,
        }
        self._commits: dict[type[RecordUnit], Callable[[Any], None]] = {
            RecordIntent: self._keeping_intent,
            RecordOrder: self._keeping_order,
            RecordFill: self._keeping_fill,
            RecordPosition: self._keeping_position,
        }

    def breaks(self, invariant: str, text: str) -> None:
        """Note that an invariant is broken; the first one is the one that counts."""
        if self.broken is None:
            self.broken = Violation(invariant, text)

    @property
    def alive(self) -> Mapping[ProposalId, Symbol]:
        """The trades that hold a slot."""
        return self._alive

    @property
    def held(self) -> Mapping[PositionId, Decimal]:
        """What fills have left of each position."""
        return self._held

    def see(self, message: Message) -> None:
        """Look at a message as it passes the switchboard."""
        kind = type(message)
        said = self.said
        said[kind] = said.get(kind, 0) + 1
        self.story.append((self._clock.now_us(), message))
        check = self._checks.get(kind)
        if check is not None:
            check(message)
        promise = self.promises.checks.get(kind)
        if promise is not None:
            promise(message)

    # What is said ---------------------------------------------------------------------------------

    def _placing(self, message: PlaceOrder) -> None:
        intent = message.intent
        if intent.id in self._sent:
            self.breaks("I2", f"order {intent.id} is sent a second time")
        self._sent[intent.id] = intent.proposal_id
        kept = self._kept.orders.get(intent.id)
        if kept is None:
            self.sent_in_stall.add(intent.id)
            if intent.role is OrderRole.ENTRY or not self._has_stalled:
                self.breaks("I1", f"order {intent.id} ({intent.role.value}) is sent before its intent is committed")
        elif kept.intent != intent:
            self.breaks("I1", f"order {intent.id} is sent otherwise than its intent was committed")
        if message.deadline_us <= self._clock.now_us():
            self.breaks("I2", f"order {intent.id} is sent after its own deadline")
        self._on_the_grids(intent)
        if intent.role is OrderRole.ENTRY:
            self._entering(intent)
        else:
            self._leaving(intent)

    def _on_the_grids(self, intent: OrderIntent) -> None:
        instrument = self._instruments[intent.symbol]
        if intent.volume_base % instrument.lot_step_base:
            self.breaks("I8", f"volume {intent.volume_base} of {intent.id} is not a whole number of lots")
        for price in (intent.limit_price_quote, intent.trigger_price_quote):
            if price is not None and price % instrument.price_tick_quote:
                self.breaks("I8", f"price {price} of {intent.id} is not a whole number of ticks")

    def _entering(self, intent: OrderIntent) -> None:
        """An entry has no twin on the exchange, and is no larger than what was approved."""
        for earlier in self._entries.setdefault(intent.proposal_id, []):
            order = None if self.books is None else self.books.history.find(earlier)
            if order is not None and (order.is_open or order.filled_base):
                self.breaks("I2", f"entry {intent.id} is sent although {earlier} of the same trade is on the exchange")
        self._entries[intent.proposal_id].append(intent.id)
        proposal = self._approved.get(intent.proposal_id)
        if proposal is None:
            self.breaks("I7", f"entry {intent.id} is sent without an approval")
        elif intent.volume_base * intent.reference_price_quote > proposal.size_usd * proposal.leverage:
            self.breaks("I7", f"entry {intent.id} is larger than the {proposal.size_usd} approved")
        elif proposal.order_type is OrderType.LIMIT and intent.limit_price_quote is not None:
            wanted, limit = proposal.entry_price_quote or ZERO, intent.limit_price_quote
            if (limit > wanted) if proposal.side.value == "buy" else (limit < wanted):
                self.breaks("I7", f"entry {intent.id} at {limit} is worse than the {wanted} asked for")

    def _leaving(self, intent: OrderIntent) -> None:
        """An exit never takes more than fills have left."""
        held_base = self._held.get(intent.position_id, ZERO)
        if intent.volume_base > held_base:
            text = f"{intent.role.value} {intent.id} takes {intent.volume_base} of a position that holds {held_base}"
            self.breaks("I5", text)
        if intent.leverage > 1 and not intent.reduce_only:
            self.breaks("I5", f"{intent.role.value} {intent.id} on margin is not reduce-only")

    def _approving(self, message: TradeApproved) -> None:
        proposal = message.proposal
        limits = self._settings.risk.limits
        if self._is_halted:
            self.breaks("I7", f"trade {proposal.id} is approved while trading is halted")
        if proposal.id in self._approved:
            self.breaks("I2", f"trade {proposal.id} is approved a second time")
        self._approved[proposal.id] = proposal
        self._alive[proposal.id] = proposal.symbol
        here = sum(symbol == proposal.symbol for symbol in self._alive.values())
        if here > limits.positions_per_symbol_max:
            self.breaks("I7", f"{here} trades are alive in {proposal.symbol} with {proposal.id}")
        if len(self._alive) > limits.positions_total_max:
            self.breaks("I7", f"{len(self._alive)} trades are alive with {proposal.id}")

    def _ending(self, message: TradeEnded) -> None:
        self._alive.pop(message.trade_id, None)
        proposal = self._approved.get(message.trade_id)
        if proposal is None:
            return
        instrument = self._instruments[proposal.symbol]
        for position in self._kept.positions.values():
            left_base = self._held.get(position.id, ZERO)
            if position.proposal_id != message.trade_id or left_base <= 0:
                continue
            if not may_be_dust(position, left_base, instrument):
                self.breaks("I7", f"trade {message.trade_id} is released although {left_base} are held")

    def _applying(self, message: ApplyFill) -> None:
        intent = message.order.intent
        sign = 1 if intent.role is OrderRole.ENTRY else -1
        left_base = self._held.get(intent.position_id, ZERO) + sign * message.fill.volume_base
        self._held[intent.position_id] = left_base
        if left_base < 0:
            self.breaks("I5", f"position {intent.position_id} is sold {-left_base} beyond what it held")

    def _changing(self, message: PositionChanged) -> None:
        position = message.position
        if not position.is_over and position.proposal_id not in self._alive:
            self._alive[position.proposal_id] = position.symbol  # A late fill brought it back; dust is released anew.

    def _publishing(self, message: EventsCommitted) -> None:
        events = self._kept.events
        for numbered in message.events:
            if numbered.sequence > len(events) or events[numbered.sequence - 1].event != numbered.event:
                self.breaks("I11", f"event {numbered.sequence} ({numbered.event.kind}) is told but not committed")

    def _starting(self, _message: JournalLoaded) -> None:
        """A new engine knows what was committed, and nothing else."""
        kept = self._kept
        self._has_stalled = False
        self._is_halted = kept.risk.trading_state is TradingState.HALTED
        self._held = {position.id: position.entry_base - position.exit_base for position in kept.positions.values()}
        living = {order.intent.proposal_id for order in kept.orders.values() if not order.is_over}
        living |= {position.proposal_id for position in kept.positions.values() if not position.is_over}
        self._alive = {id_: proposal.symbol for id_, proposal in self._approved.items() if id_ in living}
        for id_ in tuple(self._approved):
            if id_ not in kept.requests:
                del self._approved[id_]  # The approval died with the engine; the same proposal may come again.

    def _stalling(self, _message: JournalStalled) -> None:
        self._has_stalled = True

    def _switching(self, message: TradingStateChanged) -> None:
        self.states.append(message.state)
        self._is_halted = message.state is TradingState.HALTED

    # What is kept ---------------------------------------------------------------------------------

    def committed(self, unit: RecordUnit) -> None:
        """Look at a unit just before it is kept."""
        check = self._commits.get(type(unit))
        if check is not None:
            check(unit)

    def _keeping_intent(self, unit: RecordIntent) -> None:
        if unit.order.id in self._kept.orders:
            self.breaks("I2", f"intent {unit.order.id} is committed a second time")
        self._keep_order(unit.order)

    def _keeping_order(self, unit: RecordOrder) -> None:
        self._keep_order(unit.order)

    def _keep_order(self, order: Order) -> None:
        before = self._kept.orders.get(order.id)
        step = (None if before is None else before.status, order.status)
        self.order_steps[step] = self.order_steps.get(step, 0) + 1
        if before is None:
            return
        if before.status in TERMINAL and order.status is not before.status:
            self.breaks("I12", f"order {order.id} was {before.status.value} and becomes {order.status.value}")
        if order.filled_base < before.filled_base:
            self.breaks("I3", f"order {order.id} had filled {before.filled_base} and now {order.filled_base}")
        if before.intent != order.intent:
            self.breaks("I1", f"the intent of {order.id} changes")

    def _keeping_fill(self, unit: RecordFill) -> None:
        fill, position = unit.fill, unit.position
        if fill.trade_id in self._kept.fills:
            self.breaks("I3", f"trade {fill.trade_id} is applied a second time")
        self._keep_order(unit.order)
        before = self._kept.positions.get(position.id)
        was_left = position.id in self._left
        self._keep_position(before, position)
        held_base = ZERO if before is None else before.entry_base - before.exit_base
        sign = 1 if unit.order.intent.role is OrderRole.ENTRY else -1
        if position.entry_base - position.exit_base != held_base + sign * fill.volume_base:
            self.breaks("I3", f"trade {fill.trade_id} of {fill.volume_base} does not account for {position.id}")
        if position.exit_base > position.entry_base:
            self.breaks("I5", f"position {position.id} is closed by more than was opened")
        leaves = unit.order.intent.role is OrderRole.EXIT and unit.order.id in self._sent.keys() - self.sent_in_stall
        if leaves and before is not None and not was_left:
            self.breaks("I9", f"position {position.id} is left by an exit, and no CLOSING was ever committed")

    def _keeping_position(self, unit: RecordPosition) -> None:
        self._keep_position(self._kept.positions.get(unit.position.id), unit.position)

    def _keep_position(self, before: Position | None, after: Position) -> None:
        step = (None if before is None else before.status, after.status)
        self.position_steps[step] = self.position_steps.get(step, 0) + 1
        self.promises.kept(after)
        if after.status is not PositionStatus.OPEN:
            self._left.add(after.id)
        if before is None:
            return
        if before.status is PositionStatus.CLOSING and after.status is PositionStatus.OPEN:
            self.breaks("I12", f"position {after.id} was CLOSING and is OPEN again")
        if after.stop_is_trailing and self._has_loosened(before, after):
            text = f"the trailing stop of {after.id} moves from {before.stop_loss_quote} to {after.stop_loss_quote}"
            self.breaks("I4", f"{text}: it loosens")

    def _has_loosened(self, before: Position, after: Position) -> bool:
        if before.stop_loss_quote is None:
            return False
        if after.stop_loss_quote is None:
            return True
        if after.side is PositionSide.LONG:
            return after.stop_loss_quote < before.stop_loss_quote
        return after.stop_loss_quote > before.stop_loss_quote

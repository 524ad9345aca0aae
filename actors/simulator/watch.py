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
from actors.simulator.alarms import Alarms
from actors.simulator.limits import Limits
from actors.simulator.promises import Promises
from actors.simulator.quiet import Told
from config.settings import Settings
from messages.base import Message, OrderId, PositionId, ProposalId, Symbol
from messages.journal import (
    JournalLoaded,
    RecordFill,
    RecordIntent,
    RecordOrder,
    RecordPosition,
    RecordUnit,
)
from messages.lifecycle import StartEngine
from messages.market import Instrument, Tick
from messages.orders import TERMINAL, Order, OrderIntent, OrderRole, OrderStatus, PlaceOrder
from messages.positions import ApplyFill, Position, PositionChanged, PositionSide, PositionStatus
from messages.risk import TradingState, TradingStateChanged
from messages.trades import TradeApproved, TradeEnded, TradeProposal
from persistence.memory import MemoryJournal

FOLLOWERS: Mapping[PositionStatus, tuple[PositionStatus, ...]] = {
    PositionStatus.OPEN: (PositionStatus.CLOSING, PositionStatus.CLOSED, PositionStatus.LIQUIDATED),
    PositionStatus.CLOSING: (PositionStatus.CLOSED, PositionStatus.LIQUIDATED),
    PositionStatus.CLOSED: (PositionStatus.OPEN,),
    PositionStatus.LIQUIDATED: (PositionStatus.OPEN,),
}
"""What a position may become: it is left for good, unless its entry fills late."""
Checks = Mapping[type[Message], Callable[[Any], None]]
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
        self.prices: dict[Symbol, Decimal] = {}
        """The last prices that were told to the engine that runs now."""
        self.priced_us: dict[Symbol, int] = {}
        """When."""
        self.promises = Promises(self, settings, kept)
        self.limits = Limits(self, settings, clock)
        self.alarms = Alarms(self, kept)
        self.told = Told(kept)
        checks: Checks = {
            StartEngine: self._beginning,
            Tick: self._pricing,
            PlaceOrder: self._placing,
            TradeApproved: self._approving,
            TradeEnded: self._ending,
            ApplyFill: self._applying,
            PositionChanged: self._changing,
            JournalLoaded: self._starting,
            TradingStateChanged: self._switching,
        }
        self._checks = _by_kind(checks, self.promises.checks, self.limits.checks, self.alarms.checks, self.told.checks)
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

    @property
    def approved(self) -> Mapping[ProposalId, TradeProposal]:
        """The trades that risk has approved."""
        return self._approved

    @property
    def trading_state(self) -> TradingState:
        """What was committed of it."""
        return self._kept.risk.trading_state

    def see(self, message: Message) -> None:
        """Look at a message as it passes the switchboard."""
        kind = type(message)
        said = self.said
        said[kind] = said.get(kind, 0) + 1
        self.story.append((self._clock.now_us(), message))
        for check in self._checks.get(kind, ()):
            check(message)

    # What is said ---------------------------------------------------------------------------------

    def _placing(self, message: PlaceOrder) -> None:
        intent = message.intent
        if intent.id in self._sent:
            self.breaks("I2", f"order {intent.id} is sent a second time")
        self._sent[intent.id] = intent.proposal_id
        kept = self._kept.orders.get(intent.id)
        if kept is None:
            self.sent_in_stall.add(intent.id)
            if intent.role is OrderRole.ENTRY:
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
        """An entry has no twin on the exchange."""
        for earlier in self._entries.setdefault(intent.proposal_id, []):
            order = None if self.books is None else self.books.history.find(earlier)
            if order is not None and (order.is_open or order.filled_base):
                self.breaks("I2", f"entry {intent.id} is sent although {earlier} of the same trade is on the exchange")
        self._entries[intent.proposal_id].append(intent.id)

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
        if proposal.id in self._approved:
            self.breaks("I2", f"trade {proposal.id} is approved a second time")
        self._approved[proposal.id] = proposal
        self._alive[proposal.id] = proposal.symbol

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

    def _beginning(self, _message: StartEngine) -> None:
        """A new engine has heard of no price yet."""
        self.prices.clear()

    def _pricing(self, message: Tick) -> None:
        self.prices[message.symbol] = message.price_quote
        self.priced_us[message.symbol] = message.at_us

    def _starting(self, _message: JournalLoaded) -> None:
        """A new engine knows what was committed, and nothing else."""
        kept = self._kept
        self._held = {position.id: position.entry_base - position.exit_base for position in kept.positions.values()}
        living = {order.intent.proposal_id for order in kept.orders.values() if not order.is_over}
        living |= {position.proposal_id for position in kept.positions.values() if not position.is_over}
        self._alive = {id_: proposal.symbol for id_, proposal in self._approved.items() if id_ in living}
        for id_ in tuple(self._approved):
            if id_ not in kept.requests:
                del self._approved[id_]  # The approval died with the engine; the same proposal may come again.

    def _switching(self, message: TradingStateChanged) -> None:
        self.states.append(message.state)

    # What is kept ---------------------------------------------------------------------------------

    def committed(self, unit: RecordUnit) -> None:
        """Look at a unit just before it is kept."""
        check = self._commits.get(type(unit))
        if check is not None:
            check(unit)
        self.alarms.committed(unit)

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
        self._ends_or_lives(before, unit)
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
        before = self._kept.positions.get(unit.position.id)
        self._keep_position(before, unit.position)
        if before is None or before.is_over or _moved(before) != _moved(unit.position):
            self.breaks("I12", f"position {unit.position.id} changes without a fill")

    def _ends_or_lives(self, before: Position | None, unit: RecordFill) -> None:
        """What is over comes back by a late fill of its entry alone, and only the exchange liquidates."""
        after = unit.position
        was_over = before is not None and before.is_over
        if after.is_over and (after.status is PositionStatus.LIQUIDATED) is not unit.fill.is_liquidation:
            self.breaks("I12", f"position {after.id} is {after.status.value} by trade {unit.fill.trade_id}")
        role = unit.order.intent.role
        if was_over and not after.is_over and role is not OrderRole.ENTRY:
            self.breaks("I12", f"position {after.id} was over and lives by a fill of its {role.value}")

    def _keep_position(self, before: Position | None, after: Position) -> None:
        step = (None if before is None else before.status, after.status)
        self.position_steps[step] = self.position_steps.get(step, 0) + 1
        self.promises.kept(after)
        if after.status is not PositionStatus.OPEN:
            self._left.add(after.id)
        if before is None:
            return
        if before.status is not after.status and after.status not in FOLLOWERS[before.status]:
            self.breaks("I12", f"position {after.id} was {before.status.value} and becomes {after.status.value}")
        if before.status is after.status is PositionStatus.CLOSING and before.close_reason is not after.close_reason:
            self.breaks("I12", f"position {after.id} was being closed for another reason")
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


def _by_kind(*all_checks: Checks) -> Mapping[type[Message], tuple[Callable[[Any], None], ...]]:
    """Return what looks at each kind of message, in this order."""
    kinds = dict.fromkeys(kind for checks in all_checks for kind in checks)
    return {kind: tuple(checks[kind] for checks in all_checks if kind in checks) for kind in kinds}


def _moved(position: Position) -> tuple[Decimal, ...]:
    """Return what only fills may change."""
    return (
        *(position.entry_base, position.entry_cost_quote),
        *(position.exit_base, position.exit_cost_quote, position.fees_quote),
    )

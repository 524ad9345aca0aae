"""PositionActor: books every fill, follows every price, and says when a level is reached. It never closes anything."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

import attrs

from actors.order.outbox import request_refused
from actors.position import changes, events
from actors.position.holding import Deadlines
from actors.position.ledger import book
from actors.position.portfolio import Portfolio, Valuation
from actors.position.profit import ZERO
from actors.position.view import BookSummary, book_report, marks
from actors.position.watch import Reached, SymbolWatch
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import PositionSettings
from messages.base import Command, Currency, PositionId, Symbol, TradeId
from messages.bus import PublicEvent
from messages.journal import JournalLoaded, RecordFill, RecordPosition, RecordRequest, RecoveredState
from messages.market import Instrument, PriceMoved
from messages.positions import (
    ApplyFill,
    BeginClosing,
    ClosePosition,
    CloseReason,
    ConfirmProtection,
    GetBook,
    LevelReached,
    MoveStop,
    Position,
    PositionChanged,
    PositionStatus,
)
from messages.protocols import PositionInbox, PositionOutbox
from messages.trades import RequestRow

MOVES_PER_TURN = 500
"""So many resting stops are moved at once; the others follow right behind what has come in meanwhile."""
FILLS_REMEMBERED = 10_000
"""Trade ids that are refused a second time. OrderActor sees to it already; this is the second lock on the door."""


class UnknownInstrumentError(Exception):
    """There is a position in a pair that is not configured: nobody would follow its price, so the engine stops."""

    def __init__(self, symbol: Symbol) -> None:
        super().__init__(f"there is a position in {symbol}, which is not among the configured instruments")


@attrs.frozen(kw_only=True)
class TrailingDue(Command):
    """Look which resting stops have fallen behind their trailing level."""


@attrs.frozen(kw_only=True)
class HoldingDue(Command):
    """Look which positions have been held for too long."""


class PositionActor(TypedActor):
    """Owns the positions. What it decides it says: OrderActor acts, JournalActor keeps."""

    role = "position"
    accepts = kinds(PositionInbox | TrailingDue | HoldingDue)
    emits = kinds(PositionOutbox)

    def __init__(
        self,
        ports: Ports,
        *,
        settings: PositionSettings,
        instruments: Mapping[Symbol, Instrument],
        usd_equivalents: tuple[Currency, ...],
    ) -> None:
        self._settings = settings
        self._instruments = instruments
        self._usd_equivalents = usd_equivalents
        self._portfolio = Portfolio(history_max=settings.history_max)
        self._prices: dict[Symbol, Decimal] = {}
        self._unpriced: dict[PositionId, None] = {}
        """Positions from before the start whose symbol has not been priced since."""
        self._watches: dict[Symbol, SymbolWatch] = {}
        self._fills: OrderedDict[TradeId, None] = OrderedDict()
        self._deadlines = Deadlines()
        self._holding_timer_us: int | None = None
        self._to_move: deque[PositionId] = deque()
        self._trailing_timer_is_set = False
        self._moves_allowed_us = 0
        super().__init__(ports)

    def on_receive(self, message: PositionInbox | TrailingDue | HoldingDue) -> None:
        """Handle one message; prices first, because nearly all messages are prices."""
        match message:
            case PriceMoved():
                self._hear(message)
            case ApplyFill():
                self._book(message)
            case BeginClosing():
                self._begin_closing(message)
            case ConfirmProtection():
                self._confirm_protection(message)
            case MoveStop():
                self._move_levels(message)
            case TrailingDue():
                self._move_stops()
            case HoldingDue():
                self._end_holding()
            case GetBook():
                self.emit(book_report(message.at_us, self._portfolio, self._totals(), self._prices.get))
            case JournalLoaded():
                self._take_up(message.state)
            case _:
                assert_never(message)

    def describe(self) -> BookSummary:
        """Return the open positions with their marks, and what all positions come to."""
        return BookSummary(
            at_us=self.now_us,
            positions=tuple(self._portfolio.open_positions),
            marks=marks(self._portfolio, self._prices.get),
            totals=self._totals(),
            closed=self._portfolio.closed,
            trailing=sum(watch.trailing for watch in self._watches.values()),
        )

    # Prices ---------------------------------------------------------------------------------------

    def _hear(self, price: PriceMoved) -> None:
        symbol = price.symbol
        self._prices[symbol] = price.last_quote
        watch = self._watches.get(symbol)
        if self._unpriced:
            self._tell_first_price(symbol)
        if watch is None or (watch.floor_quote < price.low_quote and price.high_quote < watch.ceiling_quote):
            return
        self._act(watch, price.low_quote, price.high_quote, price.last_quote)

    def _tell_first_price(self, symbol: Symbol) -> None:
        """Tell what was held before the start once more, now that it can be judged: is a level passed, is it dust."""
        for position_id in tuple(self._unpriced):
            position = self._portfolio.open_position(position_id)
            if position is None or position.symbol == symbol:
                del self._unpriced[position_id]
                if position is not None:
                    self._tell_changed(position)

    def _act(self, watch: SymbolWatch, low_quote: Decimal, high_quote: Decimal, last_quote: Decimal) -> None:
        for reached in watch.act(low_quote, high_quote, last_quote):
            self._tell_reached(reached)
        self._plan_moves(watch)

    def _tell_reached(self, reached: Reached) -> None:
        position = self._portfolio.open_position(reached.position_id)
        if position is None or position.status is not PositionStatus.OPEN:
            return
        self.emit(
            LevelReached(
                position_id=position.id,
                level=reached.level,
                level_price_quote=reached.level_quote,
                price_quote=reached.price_quote,
            ),
            position.proposal_id,
        )

    def _last_price(self, position: Position) -> Decimal:
        """Return the last price; 0, which is no price at all, before the first: unknown, never the entry price."""
        return self._prices.get(position.symbol, ZERO)

    # Fills ----------------------------------------------------------------------------------------

    def _book(self, command: ApplyFill) -> None:
        fill, order = command.fill, command.order
        if self._is_booked(fill.trade_id):
            return
        before = self._portfolio.get(order.intent.position_id)
        after = book(before, command, trails=self._settings.trailing.enabled)
        self._portfolio.put(after)
        self._follow(before, after)
        told = events.fill_events(before, after, fill, order)
        self.emit(RecordFill(fill=fill, order=order, position=after, events=told), after.proposal_id)
        self._tell_changed(after)

    def _is_booked(self, trade_id: TradeId) -> bool:
        if trade_id in self._fills:
            return True
        self._fills[trade_id] = None
        if len(self._fills) > FILLS_REMEMBERED:
            self._fills.popitem(last=False)
        return False

    def _follow(self, before: Position | None, after: Position) -> None:
        """Wait for the prices and the instant at which something is due for this position."""
        self._watch(after.symbol).follow(before, after)
        if after.is_over:
            self._deadlines.drop(after.id)
        elif before is None or before.is_over:
            self._hold(after)

    def _tell_changed(self, position: Position) -> None:
        changed = PositionChanged(position=position, last_price_quote=self._last_price(position))
        self.emit(changed, position.proposal_id)

    def _watch(self, symbol: Symbol) -> SymbolWatch:
        watch = self._watches.get(symbol)
        if watch is None:
            instrument = self._instruments.get(symbol)
            if instrument is None:
                raise UnknownInstrumentError(symbol)
            trailing = self._settings.trailing
            watch = self._watches[symbol] = SymbolWatch(
                activation_pct=trailing.activation_pct,
                distance_pct=trailing.distance_pct,
                tick_quote=instrument.price_tick_quote,
            )
        return watch

    # Changes without a fill -----------------------------------------------------------------------

    def _begin_closing(self, command: BeginClosing) -> None:
        position = self._portfolio.open_position(command.position_id)
        # What closed it first is why it closes; and one that is over already needs no exit.
        if position is not None and position.status is PositionStatus.OPEN:
            after = changes.closing(position, command.reason)
            self._change(position, after, events.closing_begun(after, self.now_us))
            self._tell_changed(after)

    def _confirm_protection(self, command: ConfirmProtection) -> None:
        position = self._portfolio.open_position(command.position_id)
        if position is not None and position.protected_at_us is None:
            self._change(position, changes.protected(position, command.at_us))

    def _move_levels(self, command: MoveStop) -> None:
        position = self._portfolio.open_position(command.position_id)
        if position is None or position.status is not PositionStatus.OPEN:
            self._refuse(command)
            return  # An exit is under way: its levels are not waited for any more.
        after = changes.moved(position, command)
        moved = events.stop_moved(position, after, self.now_us)
        self._change(position, after, moved, rearm=True, request=command.request)
        self._tell_changed(after)

    def _refuse(self, command: MoveStop) -> None:
        """Answer whoever has asked for levels of a position that is being left."""
        asked = command.request
        if asked is not None:
            reason = f"position {command.position_id} is over, or being closed"
            row = attrs.evolve(asked, verdict="rejected", codes=("NOTHING_TO_DO",), reasons=(reason,))
            self.emit(RecordRequest(request=row, events=(request_refused(row),)))

    def _change(
        self,
        before: Position,
        after: Position,
        *told: PublicEvent,
        rearm: bool = False,
        request: RequestRow | None = None,
    ) -> None:
        self._portfolio.relabel(after)
        watch = self._watch(after.symbol)
        watch.follow(None if rearm else before, after)
        self._plan_moves(watch)
        self.emit(RecordPosition(position=after, request=request, events=told), after.proposal_id)

    # Trailing -------------------------------------------------------------------------------------

    def _plan_moves(self, watch: SymbolWatch) -> None:
        if watch.has_moves and not self._trailing_timer_is_set:
            self._set_trailing_timer(max(0, self._moves_allowed_us - self.now_us))

    def _set_trailing_timer(self, delay_us: int) -> None:
        self._trailing_timer_is_set = True
        self.after(delay_us, TrailingDue())

    def _move_stops(self) -> None:
        if not self._to_move:
            self._moves_allowed_us = self.now_us + self._settings.trailing.move_every_s * MICROSECONDS
            for watch in self._watches.values():
                self._to_move.extend(watch.take_moves())
        for _ in range(min(len(self._to_move), MOVES_PER_TURN)):
            self._move_stop(self._to_move.popleft())
        self._trailing_timer_is_set = False
        if self._to_move:
            self._set_trailing_timer(0)
            return
        for watch in self._watches.values():
            self._plan_moves(watch)  # Prices may have moved them on between two turns.

    def _move_stop(self, position_id: PositionId) -> None:
        position = self._portfolio.open_position(position_id)
        if position is None:
            return
        place = self._watch(position.symbol).trailing_of(position)
        after = None if place is None else changes.trailed(position, *place)
        if after is None:
            return
        moved = after.stop_loss_quote != position.stop_loss_quote
        told = (events.stop_moved(position, after, self.now_us),) if moved else ()
        self._change(position, after, *told)
        self._tell_changed(after)

    # Holding --------------------------------------------------------------------------------------

    def _hold(self, position: Position) -> None:
        due_us = position.opened_at_us + self._settings.holding_max_s * MICROSECONDS
        self._deadlines.set(position.id, max(due_us, self.now_us))
        self._set_holding_timer()

    def _set_holding_timer(self) -> None:
        due_us = self._deadlines.next_us()
        if due_us is not None and (self._holding_timer_us is None or due_us < self._holding_timer_us):
            self._holding_timer_us = due_us
            self.after(max(0, due_us - self.now_us), HoldingDue())

    def _end_holding(self) -> None:
        # An earlier timer that was set later may come first; each looks at whatever is due.
        self._holding_timer_us = None
        for position_id in self._deadlines.take_due(self.now_us):
            position = self._portfolio.open_position(position_id)
            if position is not None and position.status is PositionStatus.OPEN:
                self.emit(
                    ClosePosition(position_id=position_id, reason=CloseReason.HOLDING_LIMIT), position.proposal_id
                )
        self._set_holding_timer()

    # The whole book -------------------------------------------------------------------------------

    def _totals(self) -> Valuation:
        return self._portfolio.value(self._prices.get, self._usd_equivalents)

    def _take_up(self, state: RecoveredState) -> None:
        """Start from what the journal remembers."""
        self._portfolio = Portfolio(
            history_max=self._settings.history_max,
            positions=[position for position in state.positions if not position.is_over],
            realised_by_quote=state.realised_by_quote,
        )
        for position in state.positions:
            if position.is_over:
                self._portfolio.remember(position)
        for trade_id in state.fill_ids:
            self._is_booked(trade_id)
        for position in self._portfolio.open_positions:
            self._follow(None, position)
            if position.symbol in self._prices:
                self._tell_changed(position)
            else:
                self._unpriced[position.id] = None
        for symbol, watch in self._watches.items():
            price_quote = self._prices.get(symbol)
            if price_quote is not None:  # Heard before anybody waited for it.
                self._act(watch, price_quote, price_quote, price_quote)

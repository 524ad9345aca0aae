"""OrderActor: from proposal to intent, from intent to the exchange, from fills to protection and exit.

Here is what it hears, and how it starts. What it does stands in `shell/`, layer upon layer; what it remembers in
book.py, what a trade needs in protection.py, the life of an order in lifecycle.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

import attrs

from actors.order.book import Phase, Taking, Tracked, Trade
from actors.order.proposals import change_from_row, changed, from_row, stops_in_row
from actors.order.protection import PROTECTIVE
from actors.order.shell.requests import Requests
from actors.order.timers import (
    AmendOverdue,
    AnswerOverdue,
    AskAgain,
    CompareDue,
    ExpiryDue,
    GraceOver,
    LookAgain,
    LookUpOverdue,
    OrderTimer,
    PollDue,
    ProtectionDue,
    RetryDue,
    WatchOverdue,
)
from actors.runtime.clock import MICROSECONDS
from actors.runtime.typed_actor import kinds
from messages.base import PositionId, ProposalId, Symbol
from messages.exchange import AccountReported, CompareAccount, InstrumentsReported
from messages.journal import (
    ADOPTED,
    IntentRecorded,
    JournalLoaded,
    JournalResumed,
    JournalStalled,
    RecoveredState,
)
from messages.lifecycle import EngineReady, StopOpening
from messages.market import PriceReported
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExecutionReported,
    Order,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrderRole,
    OrdersPolled,
    OrderStatus,
    OutcomeUnknown,
)
from messages.permits import PermitExpired, PermitGranted
from messages.positions import (
    ClosePosition,
    CloseReason,
    LevelReached,
    PositionChanged,
)
from messages.protocols import OrderInbox, OrderOutbox
from messages.risk import TradingStateChanged
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    RejectRequest,
    RequestRow,
    TradeApproved,
    TradeRejected,
)

ANY_VOLUME = Decimal("Infinity")
ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class OrderSummary:
    """What OrderActor shows to those who look in."""

    live: tuple[Order, ...]
    over: int
    trades: int
    is_ready: bool
    differing: Mapping[Symbol, str]
    """Where account and books differ, and how: nothing is opened there."""
    alerted: frozenset[PositionId]
    """Positions whose stop could not be placed: watched locally, and a person has been told."""


class OrderActor(Requests):
    """Owns every order, and decides which order protects what."""

    role = "order"
    accepts = kinds(OrderInbox) | kinds(OrderTimer)
    emits = kinds(OrderOutbox)

    def on_receive(self, message: OrderInbox | OrderTimer) -> None:  # noqa: C901, PLR0912, PLR0915  # One case a message.
        """Handle one message."""
        if self.is_too_early(message) or (self._is_watchful and self._puts_off(message)):
            return
        match message:
            case ExecuteTrade():
                self._take_proposal(message)
            case PriceReported():
                self._hear_price(message)
            case TradeApproved():
                self._open_trade(message)
            case TradeRejected():
                self._in_review.pop(message.proposal.id, None)
                self._withdrawn_in_review.discard(message.proposal.id)
                self._reject(message.proposal, message.codes, message.reasons)
            case IntentRecorded():
                self._ask_to_place(message.order_id)
            case PermitGranted():
                self._use_permit(message)
            case PermitExpired():
                self._do_without_permit(message)
            case OrderAccepted():
                self._accepted(message)
            case ExecutionReported():
                self._book_fill(message.fill)
            case PositionChanged():
                self._follow_position(message)
            case OrderEnded():
                self._ended(message)
            case OrderAmended():
                self._amended(message)
            case OrdersPolled():
                self._compare(message)
            case PollDue():
                self._poll()
            case LevelReached():
                self._act_on_level(message)
            case ClosePosition():
                self._close_position(message)
            case OrderRefused():
                self._refused(message)
            case OutcomeUnknown():
                self._settle(self._book.find(message.order_id), message.reason)
            case AnswerOverdue():
                self._answer_overdue(message.order_id)
            case LookUpOverdue():
                self._look_up_overdue(message)
            case AmendOverdue():
                self._amend_overdue(message)
            case OrderFound():
                self._found(message)
            case OrderNotFound():
                self._not_found(message)
            case LookAgain():
                self._look_again(message.order_id)
            case CancelRefused():
                self._cancel_refused(message)
            case AmendRefused():
                self._amend_refused(message)
            case ExpiryDue():
                self._expire(message.order_id)
            case RetryDue():
                self._retry(message)
            case ProtectionDue():
                self._end_delay(message.trade_id)
            case GraceOver():
                self._end_grace(message.trade_id)
            case WatchOverdue():
                self._close(self._book.trades.get(message.trade_id), message.reason)
            case CancelTrade():
                self._cancel_trade(message)
            case CloseTrade():
                self._close_trade(message)
            case ChangeProtection():
                self._change_protection(message)
            case RejectRequest():
                self._keep_unreadable(message)
            case AccountReported():
                self._hear_account(message)
            case InstrumentsReported():
                self._instruments = {instrument.symbol: instrument for instrument in message.instruments}
            case AskAgain():
                self._ask_again()
            case CompareAccount():
                self._compare_now()
            case CompareDue():
                self._compare_again()
            case JournalLoaded():
                self._recover(message.state)
                self.catch_up()
            case EngineReady():
                self._is_ready = True
                self._begin_comparing()
                self._release_held()
            case TradingStateChanged():
                self._hear_trading_state(message)
            case StopOpening():
                self._is_stopping = True
                self._release_held()
            case JournalStalled():
                self._go_on_without_journal()
            case JournalResumed():
                self._is_stalled = False
            case _:
                assert_never(message)

    def _recover(self, state: RecoveredState) -> None:
        """Take up what the journal remembers, and look for every order that may live."""
        for request_id in state.requests:
            self._remember(request_id)
        self._booked.update(state.booked)
        self._takings.extend(
            Taking(
                symbol=exit_.symbol,
                side=exit_.side,
                at_us=exit_.at_us,
                entered_us=exit_.entered_at_us,
                volume_base=exit_.volume_base,
            )
            for exit_ in state.margin_exits
        )
        self._poll_since_us = self._since_us(state)
        self._owes_poll = self._poll_since_us is not None
        trades = self._recover_trades(state)
        unbooked = dict(state.unbooked)
        for order in sorted(state.orders, key=lambda order: order.intent.created_at_us):
            self._recover_order(order, unbooked.get(order.id, ZERO), trades.get(order.intent.proposal_id))
        self._retire_ended()
        for row in state.taken:
            self._recover_wish(row, trades)
        self._take_up_standings(state)
        self._begin_survey(state)

    def _since_us(self, state: RecoveredState) -> int | None:
        """Return from when on trades are asked for: since the oldest order that lives, or what it holds.

        What others traded meanwhile may have been told before the crash, and not have been booked yet. At least from a
        little before the newest known trade: records lag behind, so a later trade may have been committed first.
        """
        if state.last_fill_at_us is None:
            return state.opened_at_us
        self._known_until_us = state.last_fill_at_us
        lives = (order for order in state.orders if order.intent.proposal_id in state.living)
        oldest_us = min((order.intent.created_at_us for order in lives), default=state.last_fill_at_us)
        return min(oldest_us, state.last_fill_at_us - self._settings.settle_lag_s * MICROSECONDS)

    def _recover_trades(self, state: RecoveredState) -> Mapping[ProposalId, Trade]:
        """Take up the trades that live; those that are over come back to life if a fill of theirs is told late."""
        trades: dict[ProposalId, Trade] = {}
        living = state.living
        position_ids = {order.intent.proposal_id: order.intent.position_id for order in state.orders}
        positions = {position.id: position for position in state.positions}
        for row in state.approved:
            proposal = from_row(row)
            if proposal.id not in position_ids:
                continue
            is_adopted = row.kind == ADOPTED
            trade = Trade(
                proposal=proposal,
                position_id=position_ids[proposal.id],
                is_adopted=is_adopted,
                is_withdrawn=is_adopted,
                known_stop_quote=proposal.stop_loss_quote,
            )
            position = trade.position = positions.get(trade.position_id)
            if position is not None:
                trade.closing = None if position.is_over else position.close_reason
                trade.entered_base, trade.exited_base = position.entry_base, position.exit_base
            trades[trade.id] = trade
            if trade.id in living:
                self._book.open_trade(trade)
            else:
                trade.is_released = True
        return trades

    def _recover_wish(self, row: RequestRow, trades: Mapping[ProposalId, Trade]) -> None:
        """A cancel or a close that was taken holds, whatever had come of it; so do levels, should a position open."""
        if row.kind == "protect":
            change = change_from_row(row)
            trade = trades.get(change.target_id)
            if trade is not None:
                trade.proposal = changed(trade.proposal, change)
                trade.note_levels(row.at_us, stops_in_row(row))
            return
        trade = trades.get(json.loads(row.body))
        if trade is None:
            return
        trade.is_withdrawn = True
        self._withdraw_entry(trade.id)
        if row.kind == "close":
            trade.close_when_held = CloseReason.MANUAL
            self._close(trade, CloseReason.MANUAL)

    def _recover_order(self, order: Order, counted_base: Decimal, trade: Trade | None) -> None:
        """What was open rests, as far as we know; what was pending may or may not have left."""
        if trade is None:
            return
        deadline_us = self.now_us + self._settings.deadline_s * MICROSECONDS
        tracked = Tracked(
            order=order,
            trade=trade,
            phase=Phase.RESTING,
            deadline_us=deadline_us,
            heard_at_us=self.now_us,
            counted_base=counted_base,
            touched_at_us=deadline_us,  # What left before the start may still arrive.
        )
        if order.intent.role in PROTECTIVE:
            tracked.asked_base = ANY_VOLUME  # An amend may have been under way: the look-up will say.
        self._book.add(trade, tracked)
        tracked.is_withdrawn = self._is_unwanted(trade, order)
        if order.is_over:
            tracked.phase = Phase.OVER
        elif order.status is OrderStatus.PENDING:
            self._enter_settling(tracked)
        else:
            self._set_expiry(order)
        is_entry = order.intent.role is OrderRole.ENTRY and order.intent.attempt > 0  # Not one that was taken over.
        if not order.is_over or counted_base or (is_entry and trade.held_base):
            self._to_reconcile.add(order.id)  # An entry's trades tell of a liquidation.

    def _retire_ended(self) -> None:
        """Let the history forget those first that ended first: of the newest a fill may still be told."""
        ended = [tracked for tracked in self._book.live.values() if tracked.order.is_over]
        for tracked in sorted(ended, key=lambda tracked: tracked.order.ended_at_us or 0):
            self._book.retire(tracked)

    def is_settled(self) -> bool:
        """Say whether nothing is under way: what is live rests on the exchange and nothing is being moved."""
        under_way = any(
            tracked.phase is not Phase.RESTING or tracked.is_withdrawn or tracked.is_amend_asked
            for tracked in tuple(self._book.live.values())
        )
        missing = any(
            trade.held_base and (trade.is_delayed or not trade.waiting.isdisjoint((OrderRole.STOP, OrderRole.EXIT)))
            for trade in tuple(self._book.trades.values())
        )
        return not (self._in_review or under_way or missing)

    def describe(self) -> OrderSummary:
        """Return the live orders and how much is remembered."""
        return OrderSummary(
            live=tuple(tracked.order for tracked in self._book.live.values()),
            over=len(self._book.over),
            trades=len(self._book.trades),
            is_ready=self._is_ready,
            differing={symbol: one.differs for symbol, one in self._standings.items() if one.differs},
            alerted=frozenset(
                trade.position_id
                for trade in self._book.trades.values()
                if trade.bare_since_us is not None or trade.is_dust_named
            ),
        )

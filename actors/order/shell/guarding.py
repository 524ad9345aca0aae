"""Guarding: every position is protected or being closed, and nothing of it outlives it.

What is missing is found by `plan` (protection.py); here the steps are taken, again and again if need be.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from actors.order import outbox
from actors.order.book import Phase, Tracked, Trade
from actors.order.lifecycle import Happening
from actors.order.proposals import price_problems
from actors.order.protection import Amend, CloseNow, Place, Withdraw, covers, plan
from actors.order.retry import backoff_us
from actors.order.shell.sending import Sending
from actors.order.timers import (
    ExpiryDue,
    GraceOver,
    ProtectionDue,
    RetryDue,
    WatchOverdue,
)
from actors.runtime.clock import MICROSECONDS
from messages.base import OrderId, ProposalId
from messages.market import GetPrice
from messages.orders import (
    Order,
    OrderRole,
    TimeInForce,
)
from messages.permits import CallKind, CallPriority
from messages.positions import (
    BeginClosing,
    ClosePosition,
    CloseReason,
    ConfirmProtection,
    Level,
    LevelReached,
    PositionChanged,
    PositionStatus,
)
from messages.trades import (
    TradeEnded,
)

LEVEL_ROLES = {Level.STOP: OrderRole.STOP, Level.TRAILING: OrderRole.STOP, Level.TARGET: OrderRole.TARGET}


class Guarding(Sending):
    """What a trade needs, and what is done when it cannot have it."""

    def _follow_position(self, message: PositionChanged) -> None:
        position = message.position
        trade = self._book.by_position.get(position.id)
        if trade is None:
            return
        is_new = trade.position is None
        trade.position = position
        self._record_waiting(trade)
        if message.last_price_quote:
            trade.last_price_quote = message.last_price_quote
        if position.is_over:
            trade.closing = trade.bare_since_us = None
        else:
            trade.is_released = False  # Risk has heard of it as well, and holds a slot for it.
            if position.status is PositionStatus.CLOSING and trade.closing is None:
                trade.closing = position.close_reason  # It was over when it began to close, and a late fill came after.
            if is_new and self._settings.protection_delay_ms:
                trade.is_delayed = True
                self.after(self._settings.protection_delay_ms * 1000, ProtectionDue(trade_id=trade.id), trade.id)
        if trade.close_when_held is not None:
            self._close(trade, trade.close_when_held)
        self._align(trade)

    def _align(self, trade: Trade) -> None:
        """Take every step between the trade as it is and as it should be.

        While a fill is on its way to the position, nobody knows how much is held: its PositionChanged comes back here.
        """
        if self._is_surveying or not trade.is_in_step:
            return
        is_alone = trade.closing is None or self._book.is_alone(trade)
        for step in plan(trade, self._of(trade.proposal), is_alone=is_alone):
            match step:
                case Place():
                    self._record_intent(trade, self._exit(trade, step))
                case Amend():
                    step.tracked.is_amend_asked = True
                    self._ask_permit(step.tracked, CallKind.AMEND, CallPriority.PROTECT)
                case Withdraw():
                    self._withdraw(step.tracked)
                case CloseNow():
                    self._close(trade, step.reason)
                    return
                case _:
                    assert_never(step)
        self._name_dust(trade)
        self._finish(trade)

    def _name_dust(self, trade: Trade) -> None:
        """Say once that what is left is too small for any order, and give its slot back: nobody can act on it.

        As long as an order of the trade lives, that one may still take it.
        """
        if trade.live_legs or not self._is_dust(trade):
            return
        if not trade.is_dust_named:
            trade.is_dust_named = True
            self._alert("dust_left", trade, f"{trade.held_base} is below the smallest order")
        if not trade.is_released:
            trade.is_released = True
            self.emit(TradeEnded(trade_id=trade.id), trade.id)

    def _finish(self, trade: Trade) -> None:
        """Tell risk when nothing of the trade can grow any more, and forget it when nothing lives."""
        position = trade.position
        entry_over = trade.live(OrderRole.ENTRY) is None and OrderRole.ENTRY not in trade.waiting
        if not entry_over or not trade.is_in_step or (position is not None and not position.is_over):
            return
        if not trade.is_released:
            trade.is_released = True
            self.emit(TradeEnded(trade_id=trade.id), trade.id)
        if not trade.live_legs:
            self._book.close_trade(trade)

    def _act_on_level(self, message: LevelReached) -> None:
        """A level is touched: the resting order has its chance first, then we act ourselves."""
        trade = self._book.by_position.get(message.position_id)
        if trade is None or trade.closing is not None or trade.position is None:
            return
        trade.last_price_quote = message.price_quote
        is_target = message.level is Level.TARGET
        is_trailing = message.level is Level.TRAILING or trade.position.stop_is_trailing
        stop_reason = CloseReason.TRAILING_STOP if is_trailing else CloseReason.STOP_LOSS
        reason = CloseReason.TAKE_PROFIT if is_target else stop_reason
        if covers(trade, LEVEL_ROLES[message.level], message.price_quote):
            grace_us = self._settings.local_watch_grace_ms * 1000
            self.after(grace_us, WatchOverdue(trade_id=trade.id, reason=reason), trade.id)
        else:
            self._close(trade, reason)

    def _close_position(self, message: ClosePosition) -> None:
        self._close(self._book.by_position.get(message.position_id), message.reason)

    def _close(self, trade: Trade | None, reason: CloseReason) -> None:
        """Begin to get out, of dust as soon as it has grown to something that can be sold; a further reason is late."""
        if trade is None or trade.closing is not None or not trade.held_base:
            return
        if self._is_dust(trade):
            trade.close_when_held = reason
            return
        trade.closing = reason
        if reason in (CloseReason.PROTECTION_FAILED, CloseReason.BREAKER):
            self._alert("position_closing", trade, reason.value)
        self.emit(BeginClosing(position_id=trade.position_id, reason=reason), trade.id)
        self._align(trade)

    def _over(
        self, tracked: Tracked, happening: Happening, reason: str, *, may_retry: bool = True, at_us: int | None = None
    ) -> None:
        """End an order other than by its last fill, keep it, and see what the trade needs now."""
        before, trade = tracked.order, tracked.trade
        order = tracked.order = self._advance(before, happening, at_us or self.now_us, reason=reason)
        if order.status is not before.status:
            self._record(tracked, outbox.order_ended(order))
        self._retire(tracked)
        if happening in (Happening.REFUSED, Happening.PROVEN_ABSENT) and not tracked.is_withdrawn:
            self._after_failure(trade, order, may_retry=may_retry)
        self._align(trade)

    def _after_failure(self, trade: Trade, order: Order, *, may_retry: bool) -> None:
        """Try again where that may help; a position that is over needs nothing any more."""
        role = order.intent.role
        if role is not OrderRole.ENTRY and not trade.held_base:
            return
        if role is OrderRole.ENTRY:
            attempts_left = order.intent.attempt <= self._settings.retries_max
            if may_retry and attempts_left and not trade.is_withdrawn and not self._is_stopping:
                self._wait_to_retry(trade, role, order.reason)
        elif role is OrderRole.TARGET and not may_retry:
            trade.is_target_local = True  # The exchange does not want it: the local watch has it anyway.
        else:
            self._wait_to_retry(trade, role, order.reason)

    def _wait_to_retry(self, trade: Trade, role: OrderRole, reason: str) -> None:
        """Set the timer of the next attempt; a stop or an exit that fails is everybody's business."""
        failures = trade.failures.get(role, 0) + 1
        trade.failures[role] = failures
        trade.waiting.add(role)
        wait_us = backoff_us(failures, self._settings.retry_first_ms, self._settings.retry_longest_ms)
        self.after(wait_us, RetryDue(trade_id=trade.id, role=role), trade.id)
        if role is OrderRole.STOP:
            self._watch_bare(trade, reason)
        elif role is OrderRole.EXIT and not trade.is_exit_alerted:
            trade.is_exit_alerted = True
            self._alert("exit_failing", trade, reason)

    def _watch_bare(self, trade: Trade, reason: str) -> None:
        """The stop is not where it should be: the local watch has it, a person is told, and the grace begins."""
        if not trade.held_base or trade.closing is not None or trade.bare_since_us is not None:
            return
        trade.bare_since_us = self.now_us
        self._alert("protection_failing", trade, reason)
        grace_us = self._settings.protection_grace_s * MICROSECONDS
        self.after(grace_us, GraceOver(trade_id=trade.id), trade.id)

    def _retry(self, message: RetryDue) -> None:
        trade = self._book.trades.get(message.trade_id)
        if trade is None:
            return
        trade.waiting.discard(message.role)
        leg = trade.legs.get(message.role)
        if leg is not None:
            leg.is_amend_asked = False
        if message.role is not OrderRole.ENTRY or leg is None or leg.is_live:
            self._align(trade)
        elif trade.is_withdrawn or self._is_stopping:
            self._finish(trade)
        else:
            trade.waiting.add(OrderRole.ENTRY)  # Until it is known what it costs now.
            self._repricing.add(trade.id)
            self.emit(GetPrice(symbol=trade.proposal.symbol, wanted_for=trade.id), trade.id)

    def _enter_again(self, trade_id: ProposalId, price_quote: Decimal | None) -> None:
        """Make the next attempt at the present price, unless that has left the trade behind."""
        self._repricing.discard(trade_id)
        trade = self._book.trades.get(trade_id)
        if trade is None:
            return
        trade.waiting.discard(OrderRole.ENTRY)
        entry = trade.legs[OrderRole.ENTRY]
        if (
            price_quote is None
            or trade.is_withdrawn
            or self._is_stopping
            or price_problems(trade.proposal, price_quote)
        ):
            self._finish(trade)
            return
        self._record_intent(trade, self._entry(trade, price_quote, attempt=entry.order.intent.attempt + 1))

    def _protected(self, tracked: Tracked, at_us: int) -> None:
        trade = tracked.trade
        trade.bare_since_us = None
        trade.failures.pop(OrderRole.STOP, None)
        self.emit(ConfirmProtection(position_id=trade.position_id, at_us=at_us), trade.id)

    def _end_delay(self, trade_id: ProposalId) -> None:
        trade = self._book.trades.get(trade_id)
        if trade is not None:
            trade.is_delayed = False
            self._align(trade)

    def _end_grace(self, trade_id: ProposalId) -> None:
        """Bare for too long: being out is better than being exposed."""
        trade = self._book.trades.get(trade_id)
        if trade is None or trade.bare_since_us is None or not trade.held_base:
            return
        if self.now_us < trade.bare_since_us + self._settings.protection_grace_s * MICROSECONDS:
            return  # Of an earlier failure, which was made good.
        stop = trade.live(OrderRole.STOP)
        if stop is None or stop.phase is not Phase.RESTING:
            self._close(trade, CloseReason.PROTECTION_FAILED)
        else:
            trade.bare_since_us = None  # It could not be moved, but it rests: the next failure has its own grace.

    def _set_expiry(self, order: Order) -> None:
        """Set the timer that ends a resting entry, where the exchange has not done it by itself."""
        intent = order.intent
        if intent.role is OrderRole.ENTRY and intent.time_in_force is not TimeInForce.IOC:
            due_us = intent.created_at_us + self._settings.expiry_s * MICROSECONDS
            self.after(max(0, due_us - self.now_us), ExpiryDue(order_id=order.id), intent.proposal_id)

    def _expire(self, order_id: OrderId) -> None:
        """Cancel an entry that has rested long enough, where the exchange has not ended it by itself."""
        tracked = self._book.live.get(order_id)
        if tracked is not None:
            tracked.trade.is_withdrawn = True
            tracked.has_expired = True
            if not tracked.is_withdrawn:
                self._withdraw(tracked)

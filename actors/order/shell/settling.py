"""Settling: what the exchange says of an order, by whatever way and in whatever order it comes.

Silence may hide a live order: it is looked for, never sent again. A fill counts once, whoever tells it.
"""

from __future__ import annotations

from actors.order import outbox
from actors.order.book import Phase, Tracked
from actors.order.lifecycle import Happening, advance, amended, apply_fill
from actors.order.shell.guarding import Guarding
from actors.order.timers import (
    ExpiryDue,
    LookAgain,
)
from actors.runtime.clock import MICROSECONDS
from messages.base import ExternalOrderId, OrderId
from messages.journal import (
    RecordAlert,
    RecordOrder,
)
from messages.lifecycle import OrdersReconciled
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExchangeOrder,
    Fill,
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
    TimeInForce,
)
from messages.positions import (
    ApplyFill,
)

ENDING_HAPPENING = {
    OrderStatus.CANCELLED: Happening.CANCEL_CONFIRMED,
    OrderStatus.EXPIRED: Happening.EXPIRY_CONFIRMED,
    OrderStatus.ERROR: Happening.CANCEL_CONFIRMED,
}


class Settling(Guarding):
    """Answers, fills, polls, and orders of unknown outcome."""

    def _accepted(self, message: OrderAccepted) -> None:
        tracked = self._book.find(message.order_id)
        if tracked is None:
            return
        self._adopt(tracked, message.external_id, message.at_us)

    def _adopt(self, tracked: Tracked, external_id: ExternalOrderId, at_us: int) -> None:
        """The exchange has the order: keep its id, confirm protection, and do what was waiting for this."""
        before = tracked.order
        order = advance(before, Happening.ACCEPTED, at_us, external_id=external_id)
        tracked.order = order
        tracked.heard_at_us = self.now_us
        if order is not before:
            became_open = before.status is OrderStatus.PENDING
            events = (outbox.order_placed(order),) if became_open else ()
            self.emit(RecordOrder(order=order, events=events), order.intent.proposal_id)
        if not tracked.is_live:
            return
        self._leave_settling(tracked)
        tracked.phase = Phase.RESTING
        self._set_poll()
        intent = order.intent
        if intent.role is OrderRole.STOP:
            self._protected(tracked, at_us)
        if intent.role is OrderRole.ENTRY and intent.time_in_force is not TimeInForce.IOC:
            due_us = intent.created_at_us + self._settings.expiry_s * MICROSECONDS
            self.after(max(0, due_us - self.now_us), ExpiryDue(order_id=order.id), intent.proposal_id)
        if tracked.is_withdrawn:
            self._ask_cancel(tracked)
        else:
            self._align(tracked.trade)

    def _refused(self, message: OrderRefused) -> None:
        """Nothing was placed. Entries are tried again if that may help, exits and protection always."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None or tracked.phase is Phase.RESTING:
            return
        self._leave_settling(tracked)
        self._over(tracked, Happening.REFUSED, message.reason, may_retry=message.may_retry)

    def _amended(self, message: OrderAmended) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        tracked.is_amend_asked = False
        tracked.trade.failures.pop(tracked.order.intent.role, None)
        tracked.heard_at_us = self.now_us
        tracked.order = amended(tracked.order, message.volume_base, message.trigger_price_quote, message.at_us)
        self.emit(RecordOrder(order=tracked.order), tracked.order.intent.proposal_id)
        self._align(tracked.trade)

    def _amend_refused(self, message: AmendRefused) -> None:
        """The order rests as before or is gone: the poll will say; then what is still missing is asked again."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._wait_to_retry(tracked.trade, tracked.order.intent.role, message.reason)
        self._look_up(tracked)

    def _ended(self, message: OrderEnded) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._leave_settling(tracked)
        happening = ENDING_HAPPENING[message.status]
        if tracked.has_expired and happening is Happening.CANCEL_CONFIRMED:
            happening = Happening.EXPIRY_CONFIRMED
        self._over(tracked, happening, message.reason, at_us=message.at_us)

    def _cancel_refused(self, message: CancelRefused) -> None:
        """It may have filled, be gone, or rest still: ask, and cancel again if it rests."""
        tracked = self._book.live.get(message.order_id)
        if tracked is not None:
            wait_us = self._settings.look_up_every_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=tracked.order.id), tracked.order.intent.proposal_id)

    def _look_again(self, order_id: OrderId) -> None:
        tracked = self._book.live.get(order_id)
        if tracked is not None:
            tracked.is_cancel_asked = False
            self._look_up(tracked)

    def _answer_overdue(self, order_id: OrderId) -> None:
        tracked = self._book.live.get(order_id)
        if tracked is not None and tracked.phase is Phase.SENT:
            self._settle(tracked, "no answer at all")

    def _settle(self, tracked: Tracked | None, reason: str) -> None:
        """Silence may hide a live order: look for it, never send it again."""
        if tracked is None or not tracked.is_live or tracked.phase in (Phase.RESTING, Phase.SETTLING):
            return
        tracked.order = advance(tracked.order, Happening.UNCERTAIN, self.now_us, reason=reason)
        tracked.phase = Phase.SETTLING
        symbol = tracked.order.intent.symbol
        self._settling[symbol] = self._settling.get(symbol, 0) + 1
        self.emit(RecordOrder(order=tracked.order), tracked.order.intent.proposal_id)
        self._look_up(tracked)

    def _leave_settling(self, tracked: Tracked) -> None:
        if tracked.phase is not Phase.SETTLING:
            return
        symbol = tracked.order.intent.symbol
        tracked.phase = Phase.SENT
        self._settling[symbol] -= 1
        if not self._settling[symbol]:
            del self._settling[symbol]
            self._release_held()

    def _found(self, message: OrderFound) -> None:
        """The exchange knows it: adopt it, count its fills, and end it if it has ended."""
        tracked = self._book.find(message.order.order_id)
        if tracked is None:
            return
        if tracked.phase is Phase.SETTLING:
            self._repaired += 1
        self._take_state(tracked, message.order, message.fills)
        self._note_reconciled(tracked.order.id)

    def _take_state(self, tracked: Tracked, state: ExchangeOrder, fills: tuple[Fill, ...]) -> None:
        """Bring an order to what the exchange says of it. Weaker or older news changes nothing."""
        if tracked.phase in (Phase.SENT, Phase.SETTLING):
            self._adopt(tracked, state.external_id, self.now_us)
        tracked.heard_at_us = self.now_us
        for fill in fills:
            if fill.order_id == tracked.order.id:
                self._book_fill(fill)
        if not tracked.is_live or state.filled_base > tracked.order.filled_base:
            return  # Fills are still on their way: the end is believed when they are in.
        if state.status in ENDING_HAPPENING:
            self._over(tracked, ENDING_HAPPENING[state.status], state.reason)
        elif tracked.is_withdrawn and tracked.phase is Phase.RESTING:
            self._ask_cancel(tracked)
        elif tracked.phase is Phase.RESTING and not tracked.is_amend_asked:
            self._take_levels(tracked, state)

    def _take_levels(self, tracked: Tracked, state: ExchangeOrder) -> None:
        order = tracked.order
        if (order.volume_base, order.trigger_price_quote) == (state.volume_base, state.trigger_price_quote):
            return
        tracked.order = amended(order, state.volume_base, state.trigger_price_quote, self.now_us)
        self.emit(RecordOrder(order=tracked.order), order.intent.proposal_id)
        self._align(tracked.trade)

    def _not_found(self, message: OrderNotFound) -> None:
        """Absence is believed only when the deadline and the lag of the records have passed."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._note_reconciled(message.order_id)
        if tracked.phase is Phase.RESTING:
            return  # The exchange has had it, so absence proves nothing: it stays ours until its end is told.
        proven_at_us = tracked.deadline_us + self._settings.settle_lag_s * MICROSECONDS
        if tracked.phase is Phase.SETTLING and message.as_of_us >= proven_at_us:
            self._leave_settling(tracked)
            self._over(tracked, Happening.PROVEN_ABSENT, "never placed: unknown to the exchange after its deadline")
        else:
            wait_us = self._settings.look_up_every_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=message.order_id), tracked.order.intent.proposal_id)

    def _note_reconciled(self, order_id: OrderId | None) -> None:
        """Say so once every order of the journal has been asked about."""
        if order_id is not None:
            if order_id not in self._to_reconcile:
                return
            self._to_reconcile.discard(order_id)
            self._reconciled += 1
        if not self._to_reconcile and not self._is_ready:
            self.emit(OrdersReconciled(orders=self._reconciled, repaired=self._repaired))
            self._set_poll()

    def _book_fill(self, fill: Fill) -> None:
        """Count an execution once, whoever tells it, and hand it to the position."""
        tracked = self._book.find(fill.order_id)
        if tracked is None:
            event = outbox.alert(
                "unknown_execution", None, self.now_us, trade_id=fill.trade_id, symbol=fill.symbol,
                order_id=fill.order_id,
            )  # fmt: skip
            self.emit(RecordAlert(events=(event,)))
            return
        if fill.trade_id in tracked.fill_ids:
            return
        tracked.fill_ids.add(fill.trade_id)
        tracked.heard_at_us = self.now_us
        if fill.is_liquidation:
            self._pass_on(tracked, tracked.order, fill)
            return
        tracked.order = apply_fill(tracked.order, fill)
        self._leave_settling(tracked)
        if tracked.is_live and tracked.phase in (Phase.SENT, Phase.WAITING, Phase.RECORDING):
            tracked.phase = Phase.RESTING
        self._pass_on(tracked, tracked.order, fill)
        if tracked.is_live and tracked.order.is_over:
            self._book.retire(tracked)
        if tracked.is_live:
            self._set_poll()

    def _pass_on(self, tracked: Tracked, order: Order, fill: Fill) -> None:
        """Hand the fill to the position, and a trade that had ended comes back to life with it."""
        trade = tracked.trade
        proposal = trade.proposal
        self._book.open_trade(trade)
        if order.intent.role is not OrderRole.ENTRY:
            trade.failures.pop(order.intent.role, None)
        self.emit(
            ApplyFill(
                fill=fill,
                order=order,
                stop_loss_quote=proposal.stop_loss_quote,
                take_profit_quote=proposal.take_profit_quote,
                trailing=proposal.trailing,
            ),
            proposal.id,
        )

    def _compare(self, message: OrdersPolled) -> None:
        """Take from the poll what the push has not told: fills first, then states."""
        self._poll_cursor = message.cursor
        for fill in message.fills:
            if self._book.find(fill.order_id) is not None:
                self._book_fill(fill)
        for state in message.orders:
            tracked = self._book.live.get(state.order_id)
            if tracked is not None:
                self._take_state(tracked, state, ())
        self._report_silence()

    def _report_silence(self) -> None:
        """An order that no poll has mentioned for too long is looked up by itself and reported, never dropped."""
        limit_us = self.now_us - self._settings.silence_max_s * MICROSECONDS
        for tracked in self._book.live.values():
            if tracked.phase is Phase.RESTING and tracked.heard_at_us < limit_us:
                tracked.heard_at_us = self.now_us
                self._alert("order_silent", tracked.trade, f"no news of order {tracked.order.id}")
                self._look_up(tracked)

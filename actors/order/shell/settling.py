"""Settling: what the exchange says of an order, by whatever way and in whatever order it comes.

Silence may hide a live order: it is looked for, never sent again.
"""

from __future__ import annotations

from decimal import Decimal

from actors.order import outbox
from actors.order.book import Phase, Tracked
from actors.order.lifecycle import Happening, amended
from actors.order.shell.booking import ZERO, Booking
from actors.order.timers import AmendOverdue, LookUpOverdue
from actors.runtime.clock import MICROSECONDS
from messages.base import ExternalOrderId, OrderId
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExchangeOrder,
    Fill,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrderRole,
    OrdersPolled,
    OrderStatus,
)

ENDING_HAPPENING = {
    OrderStatus.CANCELLED: Happening.CANCEL_CONFIRMED,
    OrderStatus.EXPIRED: Happening.EXPIRY_CONFIRMED,
    OrderStatus.ERROR: Happening.CANCEL_CONFIRMED,
}


class Settling(Booking):
    """Answers, polls, and orders of unknown outcome."""

    def _accepted(self, message: OrderAccepted) -> None:
        tracked = self._book.find(message.order_id)
        if tracked is None:
            return
        self._adopt(tracked, message.external_id, message.at_us)

    def _adopt(self, tracked: Tracked, external_id: ExternalOrderId, at_us: int) -> None:
        """The exchange has the order: keep its id, confirm protection, and do what was waiting for this."""
        before = tracked.order
        order = self._advance(before, Happening.ACCEPTED, at_us, external_id=external_id)
        tracked.order = order
        tracked.heard_at_us = self.now_us
        if tracked.phase is not Phase.RESTING:
            _touched_by(tracked, self.now_us)
        if order is not before:
            became_open = before.status is OrderStatus.PENDING
            events = (outbox.order_placed(order),) if became_open else ()
            self._record(tracked, *events)
        if order.status is OrderStatus.ERROR and not tracked.is_live:
            self._book.revive(tracked)  # We had given it up, and the exchange has it: it must not live.
            tracked.is_withdrawn = True
        if not tracked.is_live:
            return
        self._leave_settling(tracked)
        tracked.phase = Phase.RESTING
        self._set_poll()
        if order.intent.role is OrderRole.STOP:
            self._protected(tracked, at_us)
        self._set_expiry(order)
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
        if message.lacks_position:
            self._claim_leftovers(tracked)
        if message.is_too_small:
            tracked.trade.too_small_base = tracked.order.volume_base
        self._over(tracked, Happening.REFUSED, message.reason, may_retry=message.may_retry)

    def _amended(self, message: OrderAmended) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        tracked.is_amend_asked = False
        tracked.amended_at_us = None
        _touched_by(tracked, self.now_us)
        tracked.trade.failures.pop(tracked.order.intent.role, None)
        if tracked.order.intent.role is OrderRole.STOP:
            tracked.trade.bare_since_us = None
        self._take_levels(tracked, message.volume_base, message.trigger_price_quote)
        if tracked.is_live and tracked.order.filled_base >= tracked.order.volume_base:
            self._complete(tracked)
        self._align(tracked.trade)

    def _amend_refused(self, message: AmendRefused) -> None:
        """The order rests as before or is gone: the poll will say; then what is still missing is asked again."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        tracked.amended_at_us = None
        trade, role = tracked.trade, tracked.order.intent.role
        self._wait_to_retry(trade, role, message.reason)
        if trade.failures[role] > self._settings.retries_max:
            self._withdraw(tracked)  # It cannot be moved, as a stop-limit that has fired: then it is replaced.
        else:
            self._look_up(tracked)

    def _amend_overdue(self, message: AmendOverdue) -> None:
        """Nobody has said what became of the amend: what the order is now will be said."""
        tracked = self._book.live.get(message.order_id)
        if tracked is not None and tracked.amended_at_us == message.sent_at_us:
            tracked.amended_at_us = None
            tracked.is_amend_asked = False
            self._look_up(tracked)

    def _look_up_overdue(self, message: LookUpOverdue) -> None:
        """A question that is not answered is asked again."""
        tracked = self._book.find(message.order_id)
        if tracked is None:  # Over, and forgotten since it was asked about.
            self._note_reconciled(message.order_id)
        elif tracked.looked_up_at_us == message.sent_at_us:
            self._look_up(tracked)

    def _ended(self, message: OrderEnded) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        if message.filled_base is None or message.filled_base > tracked.order.filled_base:
            self._look_up(tracked)  # Its end may have overtaken a fill: it is believed when every fill is in.
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
            self._look_later(tracked)

    def _look_again(self, order_id: OrderId) -> None:
        tracked = self._book.find(order_id)
        if tracked is None:
            return
        tracked.is_look_up_set = False
        if tracked.is_live:
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
        tracked.order = self._advance(tracked.order, Happening.UNCERTAIN, self.now_us, reason=reason)
        self._enter_settling(tracked)
        self._record(tracked)
        if tracked.order.intent.role is OrderRole.STOP:
            self._watch_bare(tracked.trade, reason)
        self._look_up(tracked)

    def _found(self, message: OrderFound) -> None:
        """The exchange knows it: adopt it, count its fills, and end it if it has ended."""
        tracked = self._book.find(message.order.order_id)
        if tracked is None:  # Over, and forgotten since it was asked about.
            self._note_reconciled(message.order.order_id)
            return
        tracked.looked_up_at_us = None
        if tracked.phase is Phase.SETTLING:
            self._repaired += 1
        self._take_state(tracked, message.order, message.fills)
        self._note_reconciled(tracked.order.id)

    def _take_state(self, tracked: Tracked, state: ExchangeOrder, fills: tuple[Fill, ...]) -> None:
        """Bring an order to what the exchange says of it. Weaker or older news changes nothing."""
        if tracked.phase in (Phase.SENT, Phase.SETTLING):
            self._adopt(tracked, state.external_id, self.now_us)
        tracked.heard_at_us = self.now_us
        if tracked.phase is Phase.RESTING and not tracked.is_amend_asked and not tracked.is_withdrawn:
            self._take_levels(tracked, state.volume_base, state.trigger_price_quote)
        for fill in fills:
            if fill.order_id == tracked.order.id:
                self._book_fill(fill)
        if tracked.is_live:
            self._take_status(tracked, state)

    def _take_status(self, tracked: Tracked, state: ExchangeOrder) -> None:
        if state.filled_base > tracked.order.filled_base:
            # Fills that no poll tells any more: the end is believed when they are in.
            self._look_later(tracked)
        elif state.status is OrderStatus.FILLED:
            self._complete(tracked)
        elif state.status in ENDING_HAPPENING:
            self._over(tracked, ENDING_HAPPENING[state.status], state.reason)
        elif tracked.is_withdrawn and tracked.phase is Phase.RESTING:
            self._ask_cancel(tracked)
        elif tracked.phase is Phase.RESTING:
            self._align(tracked.trade)

    def _take_levels(self, tracked: Tracked, volume_base: Decimal, trigger_price_quote: Decimal | None) -> None:
        """Take the volume and the trigger that the exchange has."""
        tracked.asked_base = ZERO
        tracked.heard_at_us = self.now_us
        order = tracked.order
        if order.volume_base != volume_base or order.trigger_price_quote != trigger_price_quote:
            tracked.order = amended(order, volume_base, trigger_price_quote, self.now_us)
            self._record(tracked)

    def _complete(self, tracked: Tracked) -> None:
        """End an order of which the exchange says that nothing is left."""
        tracked.order = self._completed(tracked.order)
        self._record(tracked, outbox.order_filled(tracked.order))
        self._retire(tracked)
        self._align(tracked.trade)

    def _not_found(self, message: OrderNotFound) -> None:
        """Absence is believed only when the deadline and the lag of the records have passed."""
        self._note_reconciled(message.order_id)
        tracked = self._book.find(message.order_id)
        if tracked is None:
            return
        tracked.looked_up_at_us = None
        if not tracked.is_live:
            return
        if tracked.phase is Phase.RESTING:
            # The exchange has had it, so absence proves nothing: it stays ours until its end is told. It is to be as it
            # should be, whatever has become of the last attempt to move it.
            self._align(tracked.trade)
            return
        proven_at_us = tracked.deadline_us + self._settings.settle_lag_s * MICROSECONDS
        if tracked.phase is Phase.SETTLING and message.as_of_us >= proven_at_us:
            self._leave_settling(tracked)
            self._over(tracked, Happening.PROVEN_ABSENT, "never placed: unknown to the exchange after its deadline")
        else:
            self._look_later(tracked)

    def _compare(self, message: OrdersPolled) -> None:
        """Take from the poll what the push has not told: fills first, then states."""
        self._poll_cursor = message.cursor
        for fill in message.fills:
            self._book_fill(fill)
        for state in message.orders:
            tracked = self._book.live.get(state.order_id)
            if tracked is None:
                continue
            tracked.heard_at_us = self.now_us
            is_behind = tracked.is_withdrawn or state.filled_base > tracked.order.filled_base
            if is_behind or (state is not tracked.polled and state != tracked.polled):
                tracked.polled = state
                self._take_state(tracked, state, ())
        self._report_silence()
        if self._owes_poll:
            self._owes_poll = False
            self._note_reconciled(None)

    def _report_silence(self) -> None:
        """An order that no poll has mentioned for too long is looked up by itself and reported, never dropped."""
        limit_us = self.now_us - self._settings.silence_max_s * MICROSECONDS
        late_us = self.now_us - self._settings.deadline_s * MICROSECONDS
        for tracked in tuple(self._book.live.values()):
            intent = tracked.order.intent
            is_waiting = tracked.phase in (Phase.RECORDING, Phase.WAITING)
            if intent.role is OrderRole.STOP and is_waiting and intent.created_at_us < late_us:
                self._watch_bare(tracked.trade, "the stop still waits to be sent")
            if tracked.phase is Phase.RESTING and tracked.heard_at_us < limit_us:
                tracked.heard_at_us = self.now_us
                self._alert("order_silent", tracked.trade, f"no news of order {tracked.order.id}")
                self._look_up(tracked)


def _touched_by(tracked: Tracked, now_us: int) -> None:
    """The exchange has said that it has taken or moved the order: that was not later than now."""
    tracked.touched_at_us = now_us if tracked.touched_at_us is None else min(tracked.touched_at_us, now_us)

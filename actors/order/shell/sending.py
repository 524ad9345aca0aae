"""Sending: from intent to permit to the exchange, and the same way for cancels, amends and polls.

Nothing leaves before its intent is committed, and nothing without a permit.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from actors.order.adoption import TAG_LENGTH, tag_of
from actors.order.book import Phase, Tracked, Trade
from actors.order.intents import entry_intent, exit_intent
from actors.order.lifecycle import Happening, new_order
from actors.order.protection import Amend, Place, plan
from actors.order.shell.desk import FOREVER_US, OrderDesk
from actors.order.timers import (
    AmendOverdue,
    AnswerOverdue,
    LookAgain,
    LookUpOverdue,
)
from actors.runtime.clock import MICROSECONDS
from messages.base import NO_TRADE, OrderId
from messages.journal import (
    RecordIntent,
)
from messages.orders import (
    AmendOrder,
    CancelOrder,
    LookUpOrder,
    OrderIntent,
    OrderRole,
    PlaceOrder,
    PollOrders,
)
from messages.permits import CallKind, CallPriority, PermitExpired, PermitGranted, RequestPermit
from messages.trades import RequestRow

PLACING = {
    OrderRole.STOP: CallPriority.PROTECT,
    OrderRole.EXIT: CallPriority.PROTECT,
    OrderRole.TARGET: CallPriority.OPEN,  # It leaves the reserve to the stops; the local watch has it as well.
    OrderRole.ENTRY: CallPriority.OPEN,
}


class Sending(OrderDesk):
    """What leaves, and when it may."""

    def _entry(self, trade: Trade, reference_price_quote: Decimal, *, attempt: int) -> OrderIntent:
        return entry_intent(
            trade,
            reference_price_quote,
            attempt=attempt,
            order_id=self._new_order_id(trade),
            now_us=self.now_us,
            instrument=self._of(trade.proposal),
            settings=self._settings,
        )

    def _exit(self, trade: Trade, step: Place) -> OrderIntent:
        return exit_intent(
            trade,
            step,
            order_id=self._new_order_id(trade),
            now_us=self.now_us,
            instrument=self._of(trade.proposal),
            settings=self._settings,
        )

    def _new_order_id(self, trade: Trade) -> OrderId:
        """Return a fresh id that tells whose the order is, should everything else about it be forgotten."""
        return OrderId(tag_of(trade.position_id) + self.ports.new_id()[TAG_LENGTH:])

    def _record_intent(self, trade: Trade, intent: OrderIntent, request: RequestRow | None = None) -> None:
        order = new_order(intent, retries=trade.failures.get(intent.role, 0))
        tracked = Tracked(order=order, trade=trade, phase=Phase.RECORDING, heard_at_us=self.now_us)
        self._book.add(trade, tracked)
        if self._known_ids is not None:
            self._known_ids.add(intent.id)
        self.emit(RecordIntent(order=order, request=request), trade.id)
        if self._is_stalled and intent.role is not OrderRole.ENTRY:
            self._place_unrecorded(tracked)

    def _ask_to_place(self, order_id: OrderId) -> None:
        """The intent is committed (or must go without): ask when it may leave."""
        tracked = self._book.live.get(order_id)
        if tracked is None or tracked.phase is not Phase.RECORDING:
            return
        if tracked.is_withdrawn:
            self._over(tracked, Happening.WITHDRAWN, "withdrawn before it was sent")
            return
        role = tracked.order.intent.role
        wait_us = FOREVER_US
        if role is OrderRole.ENTRY:
            may_wait_us = self._settings.permit_wait_max_s * MICROSECONDS
            wait_us = tracked.order.intent.created_at_us + may_wait_us - self.now_us
            if wait_us <= 0:
                self._over(tracked, Happening.WITHDRAWN, "its intent could not be kept in time")
                return
        tracked.phase = Phase.WAITING
        self._ask_permit(tracked, CallKind.PLACE, PLACING[role], wait_us)

    def _use_permit(self, message: PermitGranted) -> None:
        if message.kind is CallKind.POLL:
            self._send_poll()
            return
        if message.order_id is None:
            return
        if message.kind is CallKind.LOOK_UP:
            self._send_look_up(message.order_id)
            return
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        match message.kind:
            case CallKind.PLACE:
                self._send(tracked)
            case CallKind.CANCEL:
                self._send_cancel(tracked)
            case CallKind.AMEND:
                self._send_amend(tracked)
            case _:
                assert_never(message.kind)

    def _send_look_up(self, order_id: OrderId) -> None:
        tracked = self._book.find(order_id)
        if tracked is None:
            self._note_reconciled(order_id)
            return
        intent = tracked.order.intent
        query = LookUpOrder(
            order_id=order_id,
            symbol=intent.symbol,
            sent_at_us=intent.created_at_us,
            external_id=tracked.order.external_id,
        )
        self.emit(query, intent.proposal_id)
        tracked.is_look_up_asked = False
        tracked.looked_up_at_us = sent_at_us = self.now_us  # Read once: a real clock has gone on the next time.
        overdue = LookUpOverdue(order_id=order_id, sent_at_us=sent_at_us)
        self.after(2 * self._settings.deadline_s * MICROSECONDS, overdue, intent.proposal_id)

    def _send(self, tracked: Tracked) -> None:
        if tracked.phase is not Phase.WAITING:
            return
        if tracked.is_withdrawn:
            self._over(tracked, Happening.WITHDRAWN, "withdrawn before it was sent")
            return
        intent = tracked.order.intent
        if intent.role is not OrderRole.ENTRY and intent.volume_base > tracked.trade.left_base:
            self._over(tracked, Happening.WITHDRAWN, "less was held when it could be sent")
            return
        tracked.phase = Phase.SENT
        tracked.deadline_us = tracked.touched_at_us = self.now_us + self._settings.deadline_s * MICROSECONDS
        self.emit(PlaceOrder(intent=intent, deadline_us=tracked.deadline_us), intent.proposal_id)
        # Twice the deadline: later than any client timeout, so it only speaks when the exchange actor is mute.
        self.after(2 * self._settings.deadline_s * MICROSECONDS, AnswerOverdue(order_id=intent.id), intent.proposal_id)

    def _do_without_permit(self, message: PermitExpired) -> None:
        if message.kind is CallKind.POLL:
            self._is_poll_asked = False
            self._set_poll()
            return
        tracked = self._book.live.get(message.order_id) if message.order_id is not None else None
        if tracked is None or message.kind is not CallKind.PLACE or tracked.phase is not Phase.WAITING:
            return
        if tracked.order.intent.role is OrderRole.ENTRY or tracked.is_withdrawn:
            self._over(tracked, Happening.WITHDRAWN, "no permit in time: too many calls or open orders")
        else:  # It would have waited for ever for its turn: the exchange would refuse it, so it counts as refused.
            self._over(tracked, Happening.REFUSED, "too many orders are open in the pair", may_retry=False)

    def _withdraw(self, tracked: Tracked) -> None:
        """Get rid of an order, wherever it is on its way."""
        tracked.is_withdrawn = True
        if tracked.phase is Phase.RESTING:
            self._ask_cancel(tracked)

    def _ask_cancel(self, tracked: Tracked) -> None:
        if not tracked.is_cancel_asked:
            tracked.is_cancel_asked = True
            self._ask_permit(tracked, CallKind.CANCEL, CallPriority.CANCEL)

    def _send_cancel(self, tracked: Tracked) -> None:
        order = tracked.order
        if tracked.phase is Phase.RESTING and order.external_id is not None:
            self.emit(
                CancelOrder(order_id=order.id, external_id=order.external_id, symbol=order.intent.symbol),
                order.intent.proposal_id,
            )
            wait_us = 2 * self._settings.deadline_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=order.id), order.intent.proposal_id)

    def _send_amend(self, tracked: Tracked) -> None:
        """Amend to what is wanted now, which may have moved while the permit was waited for."""
        trade = tracked.trade
        tracked.is_amend_asked = False
        if not trade.is_in_step:
            return  # What the order has filled is not yet off what is held: their sum would be too much.
        order = tracked.order
        for step in plan(trade, self._of(trade.proposal), is_alone=True):
            if isinstance(step, Amend) and step.tracked is tracked and order.external_id is not None:
                tracked.is_amend_asked = True
                tracked.asked_base = max(tracked.asked_base, step.volume_base)
                tracked.touched_at_us = deadline_us = self.now_us + self._settings.deadline_s * MICROSECONDS
                self.emit(
                    AmendOrder(
                        order_id=order.id,
                        external_id=order.external_id,
                        symbol=order.intent.symbol,
                        volume_base=step.volume_base,
                        trigger_price_quote=step.trigger_price_quote,
                        deadline_us=deadline_us,
                    ),
                    trade.id,
                )
                tracked.amended_at_us = sent_at_us = self.now_us
                overdue = AmendOverdue(order_id=order.id, sent_at_us=sent_at_us)
                self.after(2 * self._settings.deadline_s * MICROSECONDS, overdue, trade.id)

    def _poll(self) -> None:
        """Poll if there is anything to learn."""
        self._is_poll_set = False
        if self._wants_poll():
            self._poll_at_once()

    def _poll_at_once(self) -> None:
        """Ask when the poll may leave, unless one is in line already.

        It keeps its place, however long that is: one that came anew each time might never have its turn.
        """
        if self._is_poll_asked:
            return
        self._is_poll_asked = True
        deadline_us = self.now_us + FOREVER_US
        self.emit(
            RequestPermit(kind=CallKind.POLL, priority=CallPriority.QUERY, order_id=None, deadline_us=deadline_us),
            NO_TRADE,
        )

    def _send_poll(self) -> None:
        """Ask for our orders, and for every trade since: what others do to our positions is told by nobody else."""
        self._is_poll_asked = False
        self._polled_at_us = self.now_us
        ids = tuple(id_ for id_, tracked in self._book.live.items() if tracked.phase is Phase.RESTING)
        self.emit(PollOrders(order_ids=ids, after_trade=self._poll_cursor, since_us=self._poll_since_us))
        self._set_poll()

    def _go_on_without_journal(self) -> None:
        """The database is away: no entry leaves, but what protects and closes does not wait for it."""
        self._is_stalled = True
        for tracked in tuple(self._book.live.values()):
            if tracked.phase is Phase.RECORDING and tracked.order.intent.role is not OrderRole.ENTRY:
                self._place_unrecorded(tracked)

    def _place_unrecorded(self, tracked: Tracked) -> None:
        """Let an order that protects or closes leave before its intent is kept, and tell a person."""
        intent = tracked.order.intent
        self._alert("sent_unrecorded", tracked.trade, f"the {intent.role.value} {intent.id} leaves before it is kept")
        self._ask_to_place(intent.id)

"""Settling: what the exchange says of an order, by whatever way and in whatever order it comes.

Silence may hide a live order: it is looked for, never sent again. A fill counts once, whoever tells it.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import attrs

from actors.order import outbox
from actors.order.book import Phase, Taking, Tracked, Trade
from actors.order.intents import foreign_exit
from actors.order.lifecycle import Happening, advance, amended, apply_fill, completed
from actors.order.shell.guarding import Guarding
from actors.order.timers import AmendOverdue, ExpiryDue, LookUpOverdue
from actors.runtime.clock import MICROSECONDS
from messages.base import NO_TRADE, ExternalOrderId, OrderId, Symbol, TradeId
from messages.journal import (
    RecordAlert,
)
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
BOOKED_REMEMBERED = 10_000
"""The newest executions, whoever's: told again, they are no news."""
UNCLAIMED_MAX = 1_000
LEFTOVERS_MAX = 1_000
ZERO = Decimal(0)


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

    def _set_expiry(self, order: Order) -> None:
        """Set the timer that ends a resting entry, where the exchange has not done it by itself."""
        intent = order.intent
        if intent.role is OrderRole.ENTRY and intent.time_in_force is not TimeInForce.IOC:
            due_us = intent.created_at_us + self._settings.expiry_s * MICROSECONDS
            self.after(max(0, due_us - self.now_us), ExpiryDue(order_id=order.id), intent.proposal_id)

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
        tracked.order = advance(tracked.order, Happening.UNCERTAIN, self.now_us, reason=reason)
        self._enter_settling(tracked)
        self._record(tracked)
        if tracked.order.intent.role is OrderRole.STOP:
            self._watch_bare(tracked.trade, reason)
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
        tracked.order = completed(tracked.order, self.now_us)
        self._record(tracked, outbox.order_filled(tracked.order))
        self._retire(tracked)
        self._align(tracked.trade)

    def _retire(self, tracked: Tracked) -> None:
        self._book.retire(tracked)
        self._catch_up(tracked.trade)
        if self._unclaimed:
            self._claim(tracked.order.intent.symbol)
        self._note_reconciled(tracked.order.id)

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
            return  # The exchange has had it, so absence proves nothing: it stays ours until its end is told.
        proven_at_us = tracked.deadline_us + self._settings.settle_lag_s * MICROSECONDS
        if tracked.phase is Phase.SETTLING and message.as_of_us >= proven_at_us:
            self._leave_settling(tracked)
            self._over(tracked, Happening.PROVEN_ABSENT, "never placed: unknown to the exchange after its deadline")
        else:
            self._look_later(tracked)

    def _book_fill(self, fill: Fill) -> None:
        """Count an execution once, whoever tells it, and hand it to the position."""
        tracked = self._book.find(fill.order_id)
        if tracked is None or fill.is_liquidation:
            self._book_foreign(fill)
            return
        rest = None if fill.trade_id in tracked.fill_ids else self._unbooked(fill)
        if rest is None:
            return
        tracked.fill_ids.add(fill.trade_id)
        self._mark_booked(fill)  # The order may be forgotten before the last poll has told of it.
        tracked.heard_at_us = self.now_us
        if tracked.counted_base >= rest.volume_base:
            tracked.counted_base -= rest.volume_base
        else:
            tracked.order = apply_fill(tracked.order, rest, tracked.asked_base)
        self._leave_settling(tracked)
        if tracked.is_live and tracked.phase in (Phase.SENT, Phase.WAITING, Phase.RECORDING):
            tracked.phase = Phase.RESTING
            self._set_expiry(tracked.order)
        self._pass_on(tracked, rest)
        if tracked.is_live and tracked.order.is_over:
            self._retire(tracked)
        if tracked.is_live:
            self._set_poll()

    def _pass_on(self, tracked: Tracked, fill: Fill) -> None:
        """Hand the fill to the position; a trade that had ended comes back to life with it.

        An exit may be told before the entry fill that it closes: what is ahead waits, as long as the entry may have
        filled further. And two exits of one position may both fire, while reduce-only guards the sum of a symbol's
        positions only: what an exit takes beyond its own position, it takes from another one.
        """
        trade, order = tracked.trade, tracked.order
        self._book.open_trade(trade)
        if order.intent.role is OrderRole.ENTRY:
            trade.entered_base += fill.volume_base
            self._apply(trade, order, fill)
            self._catch_up(trade)
            if self._unclaimed:
                self._claim(fill.symbol)
            return
        trade.failures.pop(order.intent.role, None)
        rest = self._close_with(trade, order, fill)
        if rest is None:
            return
        if rest is fill:
            self._record(tracked)
        trade.ahead.append((order, rest))
        self._catch_up(trade)

    def _close_with(self, trade: Trade, order: Order, fill: Fill) -> Fill | None:
        """Close with the fill what the trade holds; return what is left of the fill, None when nothing is."""
        if not trade.left_base:
            return fill
        part, rest = split(fill, trade.left_base)
        trade.exited_base += part.volume_base
        self._note_taking(trade, part, part.at_us)
        self._apply(trade, order, part)
        return rest

    def _catch_up(self, trade: Trade) -> None:
        """Book the exits that were ahead; when the entry can fill no further, they were other positions' exits."""
        ahead, trade.ahead = trade.ahead, []
        for order, fill in ahead:
            tracked = self._book.find(order.id)  # It may have ended since.
            rest = self._close_with(trade, order if tracked is None else tracked.order, fill)
            if rest is None:
                continue
            if trade.live(OrderRole.ENTRY) is not None:
                trade.ahead.append((order, rest))
            else:
                self._report_foreign(rest)
                self._close_by_foreign(rest)

    def _apply(self, trade: Trade, order: Order, fill: Fill) -> None:
        proposal = trade.proposal
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

    def _book_foreign(self, fill: Fill) -> None:
        """Book an execution of no order of ours, once: by hand, by liquidation, or what an exit took from others."""
        rest = self._unbooked(fill)
        if rest is None:
            return
        self._mark_booked(fill)
        if not fill.is_liquidation and fill.at_us >= self._known_until_us:
            self._report_foreign(fill)
        self._close_by_foreign(rest)

    def _mark_booked(self, fill: Fill) -> None:
        self._booked[fill.trade_id] = fill.volume_base
        if len(self._booked) > BOOKED_REMEMBERED:
            self._booked.popitem(last=False)

    def _unbooked(self, fill: Fill) -> Fill | None:
        """Return what of a trade is not booked yet: all of it, as a rule, or nothing, when it is told again."""
        booked_base = self._booked.get(fill.trade_id, ZERO)
        return split(fill, booked_base)[1] if booked_base else fill

    def _close_by_foreign(self, fill: Fill) -> None:
        """Let it close what we held then, oldest first.

        Told late, it may find that a later exit has taken in our books what was its share: then that one must have
        taken something else, which is closed now, or was in its turn the share of a later one still.
        """
        displaced = [(fill, fill.at_us)]
        while displaced:
            part, at_us = displaced.pop()
            rest = self._close_held(part, at_us)
            for taking in tuple(self._takings):
                if rest is not None and taking.was_the_share_of(rest, at_us):
                    part, rest = split(rest, taking.volume_base)
                    taking.volume_base -= part.volume_base
                    displaced.append((part, taking.at_us))
            self._put_by(rest, at_us)
            if rest is not None and rest.is_liquidation:
                self._report_foreign(rest)

    def _put_by(self, rest: Fill | None, at_us: int) -> None:
        """Keep what closed nothing: an entry may have filled before it, of which we have not heard."""
        if rest is not None and self._book.may_have_entered(rest, at_us):
            self._unclaimed.append((rest, at_us))
        elif rest is not None and rest.is_margin:
            self._leftovers.append(rest)

    def _claim_leftovers(self, tracked: Tracked) -> None:
        """The exchange has no position for this exit to reduce: then what closed nothing here has closed ours."""
        leftovers, self._leftovers = self._leftovers, deque(maxlen=LEFTOVERS_MAX)
        for fill in leftovers:
            is_of_it = (fill.symbol, fill.side) == (tracked.order.intent.symbol, tracked.order.intent.side)
            rest = self._close_held(fill, self.now_us) if is_of_it else fill
            if rest is not None:
                self._leftovers.append(rest)

    def _close_held(self, fill: Fill, at_us: int) -> Fill | None:
        """Close with it what we held at that instant; return what is left of it."""
        rest: Fill | None = fill
        for trade in self._book.holding(fill, at_us):
            if rest is None:
                break
            part, rest = split(rest, trade.left_base)
            order = foreign_exit(trade, part, order_id=OrderId(self.ports.new_id()), now_us=self.now_us)
            trade.exited_base += part.volume_base
            self._note_taking(trade, part, at_us)
            self._apply(trade, order, attrs.evolve(part, order_id=order.id))
        return rest

    def _note_taking(self, trade: Trade, part: Fill, at_us: int) -> None:
        if part.is_margin:
            taking = Taking(
                symbol=part.symbol,
                side=part.side,
                at_us=at_us,
                entered_us=trade.entered_us,
                volume_base=part.volume_base,
            )
            self._takings.append(taking)

    def _claim(self, symbol: Symbol) -> None:
        """Look again at what others traded in this symbol: an entry of ours has filled, or cannot any more."""
        waiting, self._unclaimed = self._unclaimed, deque(maxlen=UNCLAIMED_MAX)
        for fill, at_us in waiting:
            if fill.symbol == symbol:
                self._put_by(self._close_held(fill, at_us), at_us)
            else:
                self._unclaimed.append((fill, at_us))

    def _report_foreign(self, fill: Fill) -> None:
        details = {"trade_id": fill.trade_id, "symbol": fill.symbol, "volume": f"{fill.volume_base:f}"}
        self.emit(RecordAlert(events=(outbox.alert("unknown_execution", None, self.now_us, **details),)), NO_TRADE)

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


def split(fill: Fill, own_base: Decimal) -> tuple[Fill, Fill | None]:
    """Return the part of an execution that one position takes, and the rest, None when nothing is left.

    The part keeps id and fee. The rest is a trade of its own in our books, named after how much of it came before:
    the same part has the same name, however often it is cut off anew.
    """
    if fill.volume_base <= own_base:
        return fill, None
    whole, _hash, before = fill.trade_id.partition("#")
    rest_id = TradeId(f"{whole}#{Decimal(before or 0) + own_base:f}")
    rest = attrs.evolve(fill, volume_base=fill.volume_base - own_base, trade_id=rest_id, fee_quote=ZERO)
    return attrs.evolve(fill, volume_base=own_base), rest

"""Booking: an execution counts once, whoever tells it, on the position that it was for, or that it closed.

The exchange nets all positions of a symbol on margin, and other people may trade on the account: what closes something
of ours without being for it is booked as an exit of its own, on what we held at that instant.
Read in order: _book_fill(), what is ours, what others did, split().
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import attrs

from actors.order import outbox
from actors.order.book import Phase, Taking, Tracked, Trade, is_closed_by
from actors.order.intents import foreign_exit
from actors.order.shell.desk import LEFTOVERS_MAX, UNCLAIMED_MAX
from actors.order.shell.guarding import Guarding
from actors.runtime.clock import MICROSECONDS
from messages.base import NO_TRADE, OrderId, Symbol, TradeId
from messages.journal import RecordAlert
from messages.orders import Fill, Order, OrderRole
from messages.positions import ApplyFill

BOOKED_REMEMBERED = 10_000
"""The newest executions, whoever's: told again, they are no news."""
ZERO = Decimal(0)


class Booking(Guarding):
    """Executions: ours, and others'."""

    # Ours -----------------------------------------------------------------------------------------

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
            tracked.order = self._filled(tracked.order, rest, tracked.asked_base)
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
            if self._leftovers:
                self._close_with_leftovers(trade, fill)
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

    def _retire(self, tracked: Tracked) -> None:
        self._book.retire(tracked)
        self._catch_up(tracked.trade)
        if self._unclaimed:
            self._claim(tracked.order.intent.symbol)
        self._note_reconciled(tracked.order.id)

    def _mark_booked(self, fill: Fill) -> None:
        self._booked[fill.trade_id] = fill.volume_base
        if len(self._booked) > BOOKED_REMEMBERED:
            self._booked.popitem(last=False)

    def _unbooked(self, fill: Fill) -> Fill | None:
        """Return what of a trade is not booked yet: all of it, as a rule, or nothing, when it is told again."""
        booked_base = self._booked.get(fill.trade_id, ZERO)
        return split(fill, booked_base)[1] if booked_base else fill

    # Others' ---------------------------------------------------------------------------------------

    def _book_foreign(self, fill: Fill) -> None:
        """Book an execution of no order of ours, once: by hand, by liquidation, or what an exit took from others."""
        rest = self._unbooked(fill)
        if rest is None:
            return
        self._mark_booked(fill)
        if not fill.is_liquidation and fill.at_us >= self._known_until_us:
            self._report_foreign(fill)
        self._close_by_foreign(rest)

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

    def _close_held(self, fill: Fill, at_us: int) -> Fill | None:
        """Close with it what we held at that instant; return what is left of it."""
        rest: Fill | None = fill
        for trade in self._book.holding(fill, at_us):
            if rest is None:
                break
            part, rest = split(rest, trade.left_base)
            self._exit_by_foreign(trade, part, at_us)
        return rest

    def _exit_by_foreign(self, trade: Trade, part: Fill, at_us: int) -> None:
        order = foreign_exit(trade, part, order_id=OrderId(self.ports.new_id()), now_us=self.now_us)
        trade.exited_base += part.volume_base
        self._note_taking(trade, part, at_us)
        self._apply(trade, order, attrs.evolve(part, order_id=order.id))

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

    def _put_by(self, rest: Fill | None, at_us: int) -> None:
        """Keep what closed nothing: an entry may have filled before it, of which we have not heard."""
        over_since_us = self.now_us - self._settings.settle_lag_s * MICROSECONDS
        if rest is not None and self._book.may_have_entered(rest, at_us, over_since_us):
            self._unclaimed.append((rest, at_us))
        elif rest is not None and rest.is_margin:
            self._leftovers.append((rest, at_us))

    def _claim(self, symbol: Symbol) -> None:
        """Look again at what others traded in this symbol: an entry of ours has filled, or cannot any more."""
        waiting, self._unclaimed = self._unclaimed, deque(maxlen=UNCLAIMED_MAX)
        for fill, at_us in waiting:
            if fill.symbol == symbol:
                self._put_by(self._close_held(fill, at_us), at_us)
            else:
                self._unclaimed.append((fill, at_us))

    def _claim_leftovers(self, tracked: Tracked) -> None:
        """The exchange has no position for this exit to reduce: then what closed nothing here has closed ours."""
        leftovers, self._leftovers = self._leftovers, deque(maxlen=LEFTOVERS_MAX)
        for fill, at_us in leftovers:
            is_of_it = (fill.symbol, fill.side) == (tracked.order.intent.symbol, tracked.order.intent.side)
            rest = self._close_held(fill, self.now_us) if is_of_it else fill
            if rest is not None:
                self._leftovers.append((rest, at_us))

    def _close_with_leftovers(self, trade: Trade, entered: Fill) -> None:
        """Close a late fill of an entry with what others have traded since it; the trade's other fills were there."""
        leftovers, self._leftovers = self._leftovers, deque(maxlen=LEFTOVERS_MAX)
        open_base = min(entered.volume_base, trade.left_base)
        for fill, at_us in leftovers:
            rest: Fill | None = fill
            is_after = fill.symbol == entered.symbol and at_us >= entered.at_us
            if open_base > 0 and is_after and is_closed_by(trade.proposal, fill):
                part, rest = split(fill, open_base)
                open_base -= part.volume_base
                self._exit_by_foreign(trade, part, at_us)
            if rest is not None:
                self._leftovers.append((rest, at_us))

    def _report_foreign(self, fill: Fill) -> None:
        details = {"trade_id": fill.trade_id, "symbol": fill.symbol, "volume": f"{fill.volume_base:f}"}
        self.emit(RecordAlert(events=(outbox.alert("unknown_execution", None, self.now_us, **details),)), NO_TRADE)


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

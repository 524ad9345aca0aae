"""The exchange behind the wire: the books, what the wire adds to them, and what is to be pushed of each change.

Every request and every tick comes through here. First whatever time has brought about happens (orders expire, the
dead man's switch fires), then the deed, then `_tell` hands what changed to whoever listens: the websockets.

Read in order: place, amend, cancel, tick, the acts; then _tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import attrs

from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.books import Books
from actors.exchange.wire.counters import Limits, Tier
from actors.exchange.wire.executions import Delta, Executions
from actors.exchange.wire.names import Names, Pair
from actors.exchange.wire.refusals import CANCEL_ONLY, POST_ONLY_MODE, UNAVAILABLE, RefusedError
from actors.exchange.wire.registry import OrderNote, Registry
from actors.exchange.wire.wishes import NO_DEADLINE_US, Wish
from actors.runtime.clock import Clock
from messages.base import NO_TRADE, Currency, Event, OrderId, PositionId, Symbol
from messages.market import Instrument
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExecutionReported,
    Fill,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderIntent,
    OrderRefused,
    OrderRole,
    OrderStatus,
    TimeInForce,
)
from messages.trades import OrderType, Side

HISTORY_MAX = 1_000_000
ZERO = Decimal(0)
ONLINE, MAINTENANCE, CANCEL_ONLY_STATE, POST_ONLY_STATE = "online", "maintenance", "cancel_only", "post_only"


@attrs.frozen
class BalanceMoved:
    """A balance is another than before."""

    currency: Currency
    before: Decimal
    now: Decimal


@attrs.frozen(kw_only=True)
class Told:
    """What one deed changed, for whoever listens."""

    deltas: tuple[Delta, ...] = ()
    trades: tuple[Fill, ...] = ()
    """All of them, for the private channels; the public one shows them as anybody's."""
    balances: tuple[BalanceMoved, ...] = ()
    ticked: Symbol | None = None


class WireExchange:
    """One account on one exchange, as Kraken's endpoints see it."""

    def __init__(
        self,
        *,
        instruments: Mapping[Symbol, Instrument],
        balances: Mapping[Currency, Decimal],
        usd_equivalents: tuple[Currency, ...],
        clock: Clock,
        tier: Tier | None,
        slippage_pct: Decimal,
        fill_share_pct: Decimal,
        liquidation_level_pct: Decimal,
    ) -> None:
        self.books = Books(
            instruments=instruments,
            balances=balances,
            usd_equivalents=usd_equivalents,
            slippage_pct=slippage_pct,
            fill_share_pct=fill_share_pct,
            liquidation_level_pct=liquidation_level_pct,
            history_max=HISTORY_MAX,
            nets_positions=True,
        )
        self.books.open_with(())
        self.books.forget_changes()
        self.names = Names(instruments)
        self.registry = Registry()
        self.limits = Limits(tier)
        self.listeners: list[Callable[[Told], None]] = []
        self.switch_fires_at_us: int | None = None
        """When the dead man's switch cancels everything; None while it is off."""
        self.state_of: Callable[[], str | None] = lambda: None
        """What faults make of the exchange's state; None where they leave it alone."""
        self._clock = clock
        self._executions = Executions(self.names)
        self._balances = dict(self.books.account.balances)
        self._nameless = 0
        self._ticks = 0

    @property
    def status(self) -> str:
        """The state of the matching engine."""
        return self.state_of() or ONLINE

    def now_us(self) -> int:
        """Return the time, after everything that was due by now has happened."""
        now_us = self._clock.now_us()
        due_us = self.books.next_expiry_us()
        if due_us is not None and due_us <= now_us:
            self._tell(self.books.expire(now_us), now_us)
        if self.switch_fires_at_us is not None and self.switch_fires_at_us <= now_us and self.status != MAINTENANCE:
            self.switch_fires_at_us = None
            self.cancel_all(now_us)
        return now_us

    # What a client may do -------------------------------------------------------------------------

    def last_quote(self, pair: Pair) -> Decimal | None:
        """Return the last price of a pair."""
        return self.books.market(pair.symbol).last_quote

    def signed_position(self, symbol: Symbol) -> Decimal:
        """Return the margin position of a pair; below zero is short."""
        position = self.books.account.positions.get(symbol)
        return ZERO if position is None else position.volume_base

    def place(self, wish: Wish, now_us: int, first_share_pct: Decimal | None = None) -> OrderNote | None:
        """Place an order, or only check it: then there is none. Raises RefusedError."""
        self._check_state(adds=True, rests=wish.post_only)
        symbol = wish.pair.symbol
        if not wish.validate_only:
            open_orders = sum(1 for order in self.books.history.open.values() if order.symbol == symbol)
            self.limits.charge_add(symbol, open_orders, now_us)
        intent = self._intent(wish, now_us)
        if wish.validate_only:
            reason = self.books.why_not(intent, wish.deadline_us, now_us)
            if reason is not None:
                raise RefusedError(reason)
            return None
        return self._place(intent, wish, now_us, first_share_pct)

    def _place(self, intent: OrderIntent, wish: Wish, now_us: int, first_share_pct: Decimal | None) -> OrderNote:
        events = self.books.place(intent, wish.deadline_us, now_us, first_share_pct, post_only=wish.post_only)
        if isinstance(events[0], OrderRefused):
            raise RefusedError(events[0].reason)
        order = self.books.history.find(intent.id)
        if order is None:
            raise LookupError(f"{intent.id} was taken in and is not there")
        note = OrderNote(
            order=order,
            cl_ord_id=wish.cl_ord_id,
            userref=wish.userref,
            oflags=wish.oflags,
            time_in_force=wish.time_in_force.value,
            trigger=wish.trigger,
            touched_us=now_us,
        )
        note.remember_terms(now_us)
        self.registry.add_order(note)
        self._tell(events, now_us)
        return note

    def _intent(self, wish: Wish, now_us: int) -> OrderIntent:
        """Return the order in the books' words. One without a client id gets an id that nobody is shown."""
        self._nameless += 1
        order_id = wish.cl_ord_id or f"nameless {self._nameless}"
        return OrderIntent(
            id=OrderId(order_id),
            proposal_id=NO_TRADE,
            position_id=PositionId(""),
            symbol=wish.pair.symbol,
            side=wish.side,
            role=OrderRole.ENTRY,
            order_type=wish.order_type,
            volume_base=wish.volume_base,
            limit_price_quote=wish.limit_price_quote,
            trigger_price_quote=wish.trigger_price_quote,
            reference_price_quote=self.last_quote(wish.pair) or ZERO,
            leverage=wish.leverage,
            reduce_only=wish.reduce_only,
            time_in_force=wish.time_in_force,
            expires_at_us=wish.expires_at_us,
            attempt=1,
            created_at_us=now_us,
        )

    def amend(
        self,
        note: OrderNote,
        volume_base: Decimal | None,
        limit_quote: Decimal | None,
        trigger_quote: Decimal | None,
        deadline_us: int,
        now_us: int,
    ) -> None:
        """Move what is given of an open order. Raises RefusedError."""
        self._check_state(adds=True, rests=True)
        order = note.order
        self.limits.charge_amend(order.symbol, now_us - note.touched_us, now_us)
        volume = order.volume_base if volume_base is None else volume_base
        events = self.books.amend(order.order_id, volume, trigger_quote, deadline_us, now_us, limit_quote)
        if isinstance(events[0], AmendRefused):
            raise RefusedError(events[0].reason)
        note.touched_us, note.is_amended = now_us, True
        note.remember_terms(now_us)
        self._tell(events, now_us)

    def cancel(self, note: OrderNote, now_us: int, *, in_batch: bool = False) -> None:
        """Take an open order off the books. Raises RefusedError."""
        self._check_state(adds=False)
        order = note.order
        if order.is_open:
            self.limits.charge_cancel(order.symbol, now_us - note.touched_us, now_us, in_batch=in_batch)
            self._cancel(order, now_us)
            return
        raise RefusedError("EOrder:Unknown order")

    def cancel_all(self, now_us: int) -> int:
        """Take every open order off the books, and return how many there were. Raises RefusedError."""
        self._check_state(adds=False)
        orders = list(self.books.history.open.values())
        for order in orders:
            self._cancel(order, now_us)
        return len(orders)

    def _cancel(self, order: BookOrder, now_us: int) -> None:
        events = self.books.cancel(order.order_id, now_us)
        if isinstance(events[0], CancelRefused):
            raise RefusedError(events[0].reason)
        self._tell(events, now_us)

    def _check_state(self, *, adds: bool, rests: bool = False) -> None:
        status = self.status
        if status == MAINTENANCE:
            raise RefusedError(UNAVAILABLE)
        if adds and status == CANCEL_ONLY_STATE:
            raise RefusedError(CANCEL_ONLY)
        if adds and status == POST_ONLY_STATE and not rests:
            raise RefusedError(POST_ONLY_MODE)

    # Prices, and what other people do -------------------------------------------------------------

    def tick(self, symbol: Symbol, price_quote: Decimal, low_quote: Decimal, high_quote: Decimal) -> None:
        """Move a price."""
        now_us = self.now_us()
        self._ticks += 1
        events = self.books.on_price(symbol, price_quote, low_quote, high_quote, now_us, self._ticks, now_us)
        self._tell(events, now_us, ticked=symbol)

    def order_by_hand(self, wish: Wish) -> OrderNote:
        """Let somebody else place an order on the account: no client id of ours, no counter. Raises RefusedError."""
        now_us = self.now_us()
        return self._place(self._intent(wish, now_us), wish, now_us, None)

    def trade_by_hand(self, pair: Pair, side: Side, volume_base: Decimal, leverage: int) -> OrderNote:
        """Let somebody else trade at the market. Raises RefusedError."""
        return self.order_by_hand(market_wish(pair, side, volume_base, leverage, reduce_only=False))

    def close_by_hand(self, pair: Pair) -> OrderNote:
        """Let somebody else close the margin position of a pair. Raises RefusedError."""
        position = self.signed_position(pair.symbol)
        side = Side.SELL if position > 0 else Side.BUY
        return self.order_by_hand(market_wish(pair, side, abs(position), 2, reduce_only=True))

    def cancel_by_hand(self, note: OrderNote) -> None:
        """Let somebody else cancel an order, whatever the counters say. Raises RefusedError."""
        self._cancel(note.order, self.now_us())

    def move_funds(self, currency: Currency, amount: Decimal) -> None:
        """Let funds appear, or vanish below zero."""
        now_us = self.now_us()
        self.books.move_funds(currency, amount)
        self._tell((), now_us)

    def liquidate(self) -> None:
        """Let the exchange close all margin positions."""
        now_us = self.now_us()
        self._tell(self.books.liquidate(now_us), now_us)

    # What is told of it ---------------------------------------------------------------------------

    def _tell(self, events: Sequence[Event], now_us: int, *, ticked: Symbol | None = None) -> None:
        """Take up what the books said and changed, and hand it on."""
        history, account = self.books.history, self.books.account
        deltas: list[Delta] = []
        trades: list[Fill] = []
        for order in list(history.changed_orders.values()):
            if order is not None:
                deltas += self._fired(order, events, now_us)
        foreign: dict[str, OrderNote] = {}
        for event in events:
            deltas += self._deltas_of(event, now_us)
            if isinstance(event, ExecutionReported):
                trades.append(event.fill)
                note = self.registry.order(event.fill.external_order_id)
                if note is not None and note.is_liquidation:
                    foreign[note.txid] = note
        deltas += [self._executions.filled(note, now_us) for note in foreign.values()]
        self._take_up_ends()
        self._take_up_lots(trades)
        moved = [
            BalanceMoved(currency, self._balances.get(currency, ZERO), account.balances[currency])
            for currency in account.changed_balances
        ]
        self._balances.update({one.currency: one.now for one in moved})
        self.books.forget_changes()
        told = Told(deltas=tuple(deltas), trades=tuple(trades), balances=tuple(moved), ticked=ticked)
        for listener in self.listeners:
            listener(told)

    def _fired(self, order: BookOrder, events: Sequence[Event], now_us: int) -> list[Delta]:
        """Tell that a trigger was reached; of an order that arrives so, it follows its acceptance."""
        note = self.registry.order(order.external_id)
        arrives = any(isinstance(one, OrderAccepted) and one.external_id == order.external_id for one in events)
        if note is None or note.fired_at_us is not None or not order.is_triggered or arrives:
            return []
        note.fired_at_us = now_us
        return [self._executions.fired(note, now_us, self.last_quote(self.names.pairs[order.symbol]))]

    def _deltas_of(self, event: Event, now_us: int) -> list[Delta]:
        match event:
            case OrderAccepted():
                note = self.registry.order(event.external_id)
                if note is None:
                    return []
                deltas = self._executions.placed(note, now_us)
                if note.order.is_triggered:
                    note.fired_at_us = now_us
                    last_quote = self.last_quote(self.names.pairs[note.order.symbol])
                    deltas.append(self._executions.fired(note, now_us, last_quote))
                return deltas
            case ExecutionReported():
                return self._traded(event.fill)
            case OrderAmended() | OrderEnded():
                order = self.books.history.find(event.order_id)
                note = None if order is None else self.registry.order(order.external_id)
                if note is None:
                    return []
                how = self._executions.amended if isinstance(event, OrderAmended) else self._executions.ended
                return [how(note, now_us)]
        return []

    def _traded(self, fill: Fill) -> list[Delta]:
        note = self.registry.order(fill.external_order_id) or self._foreign(fill)
        note.fills.append(fill)
        self.registry.add_trade(fill)
        deltas = [self._executions.traded(note, fill, len(self.registry.trades))]
        if note.is_liquidation:  # Its volume is what it has closed so far; that it is filled is told at the end.
            note.order.volume_base += fill.volume_base
            note.order.filled_base += fill.volume_base
            note.history[0] = (note.touched_us, attrs.evolve(note.history[0][1], volume_base=note.order.volume_base))
            return deltas
        done_base = sum((one.volume_base for one in note.fills), ZERO)
        if note.order.status is OrderStatus.FILLED and done_base == note.order.volume_base:
            deltas.append(self._executions.filled(note, fill.at_us))
        return deltas

    def _foreign(self, fill: Fill) -> OrderNote:
        """Return a note of an order that never was in the books: the exchange's own, when it liquidates."""
        order = BookOrder.of_others(
            fill.external_order_id, fill.symbol, fill.side, ZERO, fill.at_us, leverage=2, reduce_only=True
        )
        order.status, order.ended_at_us, order.ended_number = OrderStatus.FILLED, fill.at_us, 1
        note = OrderNote(order=order, touched_us=fill.at_us, is_liquidation=fill.is_liquidation)
        note.remember_terms(fill.at_us)
        self.registry.add_order(note)
        self.registry.ended.append(note)
        return note

    def _take_up_ends(self) -> None:
        ended = [order for order in self.books.history.changed_orders.values() if order and not order.is_open]
        for order in sorted(ended, key=lambda order: order.ended_number):
            note = self.registry.order(order.external_id)
            if note is not None:
                self.registry.ended.append(note)

    def _take_up_lots(self, trades: Sequence[Fill]) -> None:
        """Find the trade behind each new lot: both come in the same order."""
        known = self.registry.lots
        new = [lot for number, lot in sorted(self.books.account.changed_lots.items()) if number not in known]
        waiting = iter(trades)
        for lot in new:
            for fill in waiting:
                if fill.order_id == lot.order_id and fill.side is lot.side and fill.price_quote == lot.price_quote:
                    self.registry.add_lot(lot, fill)
                    break


def market_wish(pair: Pair, side: Side, volume_base: Decimal, leverage: int, *, reduce_only: bool) -> Wish:
    """Return a market order as somebody at the exchange's own screen would send it."""
    return Wish(
        pair=pair,
        side=side,
        order_type=OrderType.MARKET,
        volume_base=volume_base,
        limit_price_quote=None,
        trigger_price_quote=None,
        trigger="last",
        leverage=leverage,
        reduce_only=reduce_only,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        oflags=("fciq",),
        post_only=False,
        deadline_us=NO_DEADLINE_US,
        cl_ord_id=None,
        userref=None,
        validate_only=False,
    )

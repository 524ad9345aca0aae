"""The exchange's books and its matching engine: orders and ticks go in, what the exchange says of them comes out.

It keeps its own arithmetic and shares none with the engine that trades on it, so that the one can check the other.

At which price an order trades (every price is on the tick grid, rounded against us):
- A market order, at once: the last price, worsened by the slippage.
- A limit that crosses the last price on arrival, at once, as taker: the same, but never worse than its limit.
- A limit that rests, as maker: its limit, once a tick's low (buy) or high (sell) reaches it.
- A stop or target that is reached while it rests: the worse of its trigger and of the extreme that reached it,
  then worsened by the slippage. A gap is paid in full; of several ticks merged into one the worst counts, because
  which of them the order would have met is not known. If it has a limit, that is kept, and if the price so found
  is beyond it, the order rests at its limit from then on.
- A stop or target already satisfied on arrival (or when amended): as a market or limit order arriving now.
- What is left of a market order: the worse extreme of each following tick.
In one tick stops are served before anything else, because of two exits the worse one must be believed.

Read in order: place, amend, cancel, expire, on_price; then how an order begins, trades and ends; then liquidation.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from actors.exchange.mock import archive
from actors.exchange.mock.account import Account
from actors.exchange.mock.admission import why_bad_price, why_bad_volume, why_malformed
from actors.exchange.mock.book_order import STOPS, BookOrder
from actors.exchange.mock.history import HISTORY_MAX, History, external_id_of
from actors.exchange.mock.levels import Market
from actors.exchange.mock.margin import LEVERAGE_MAX
from actors.exchange.mock.pricing import better, crosses, fee_of, share_of, slipped, worse
from actors.exchange.mock.refusals import (
    BAD_PRICE,
    BELOW_FILLED,
    DEADLINE_ELAPSED,
    EXPIRED,
    ID_NOT_UNIQUE,
    IMMEDIATE_OR_CANCEL,
    LIQUIDATED,
    NO_POSITION,
    POSITION_IS_CLOSED,
    UNAVAILABLE,
    UNKNOWN_ORDER,
    UNKNOWN_PAIR,
    USER_REQUESTED,
    may_retry,
)
from actors.exchange.mock.store import Document
from messages.base import Currency, Event, ExternalOrderId, OrderId, Symbol
from messages.exchange import AccountReported, ExchangeAlert, Holding
from messages.market import Instrument
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExchangeOrder,
    ExecutionReported,
    Fill,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderIntent,
    OrderRefused,
    OrderStatus,
    TimeInForce,
)
from messages.trades import Side

NOTHING: Sequence[Event] = ()
ZERO = Decimal(0)


class Books:
    """One account on one exchange. Mutable, and owned by whoever made it."""

    def __init__(
        self,
        *,
        instruments: Mapping[Symbol, Instrument],
        balances: Mapping[Currency, Decimal],
        usd_equivalents: tuple[Currency, ...],
        slippage_pct: Decimal = ZERO,
        fill_share_pct: Decimal = Decimal(100),
        liquidation_level_pct: Decimal = Decimal(40),
        history_max: int = HISTORY_MAX,
    ) -> None:
        for instrument in instruments.values():
            if instrument.leverage_max > LEVERAGE_MAX:
                raise ValueError(f"{instrument.symbol}: leverage above {LEVERAGE_MAX} is not kept exactly")
        self._slippage_pct = slippage_pct
        self._fill_share_pct = fill_share_pct
        self._liquidation_level_pct = liquidation_level_pct
        self._opening_balances = balances
        self._markets = {symbol: Market(instrument) for symbol, instrument in instruments.items()}
        self._expiries: list[tuple[int, int]] = []
        """Instants at which orders expire, with the orders' sequences; orders that ended before are skipped."""
        self._said: list[Event] = []
        self.account = Account(self._markets, usd_equivalents)
        self.history = History(history_max)

    def open_with(self, documents: Iterable[Document]) -> None:
        """Begin: with the books that the documents hold, or with the opening balances when there are none."""
        if archive.restore(documents, self.account, self.history, self._markets):
            for order in self.history.open.values():
                self._watch_expiry(order)
            return
        for currency, amount in self._opening_balances.items():
            self.account.add(currency, amount)

    # What may be asked of it ----------------------------------------------------------------------

    def place(
        self, intent: OrderIntent, deadline_us: int, now_us: int, first_share_pct: Decimal | None = None
    ) -> Sequence[Event]:
        """Take an order in or refuse it; what trades at once is told along."""
        said = self._begin_saying()
        market = self._markets.get(intent.symbol)
        reason = self._why_not_place(intent, market, deadline_us, now_us)
        if market is None or reason is not None:
            reason = reason or UNKNOWN_PAIR
            return [OrderRefused(order_id=intent.id, reason=reason, may_retry=may_retry(reason))]
        order = self._order_from(intent, self.history.order_count + 1, now_us, first_share_pct)
        reason = self._why_not_pay(order, market)
        if reason is not None:
            return [OrderRefused(order_id=intent.id, reason=reason, may_retry=may_retry(reason))]
        self.history.order_count += 1
        self.history.add_order(order)
        self.history.changed(order)
        self._watch_expiry(order)
        said.append(OrderAccepted(order_id=order.order_id, external_id=order.external_id, at_us=now_us))
        self._begin(order, market, now_us)
        return said

    def amend(
        self,
        order_id: OrderId,
        volume_base: Decimal,
        trigger_price_quote: Decimal | None,
        deadline_us: int,
        now_us: int,
    ) -> Sequence[Event]:
        """Move the volume, and the trigger if one is given, of an open order in place."""
        said = self._begin_saying()
        order = self.history.find_open(order_id)
        if order is None:
            return [AmendRefused(order_id=order_id, reason=UNKNOWN_ORDER)]
        reason = self._why_not_amend(order, volume_base, trigger_price_quote, deadline_us, now_us)
        if reason is not None:
            return [AmendRefused(order_id=order_id, reason=reason)]
        market = self._markets[order.symbol]
        market.remove(order)
        order.volume_base = max(volume_base, order.filled_base)
        order.trigger_price_quote = order.trigger_price_quote if trigger_price_quote is None else trigger_price_quote
        self.history.changed(order)
        said.append(
            OrderAmended(
                order_id=order_id,
                volume_base=order.volume_base,
                trigger_price_quote=order.trigger_price_quote,
                at_us=now_us,
            )
        )
        if order.remaining_base == 0:
            self._end(order, OrderStatus.CANCELLED, BELOW_FILLED, now_us)
        else:
            self._begin(order, market, now_us)
        return said

    def cancel(self, order_id: OrderId, now_us: int) -> Sequence[Event]:
        """Take an open order off the books."""
        said = self._begin_saying()
        order = self.history.find_open(order_id)
        if order is None:
            return [CancelRefused(order_id=order_id, reason=UNKNOWN_ORDER)]
        self._end(order, OrderStatus.CANCELLED, USER_REQUESTED, now_us)
        return said

    def expire(self, now_us: int) -> Sequence[Event]:
        """End every order whose time is over."""
        said = self._begin_saying()
        while self._expiries and self._expiries[0][0] <= now_us:
            _instant_us, sequence = heapq.heappop(self._expiries)
            order = self.history.open.get(sequence)
            if order is not None:
                self._end(order, OrderStatus.EXPIRED, EXPIRED, now_us)
        return said

    def next_expiry_us(self) -> int | None:
        """Return when the next open order expires."""
        while self._expiries and self._expiries[0][1] not in self.history.open:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def on_price(  # A tick is its numbers: an object around them would cost as much as looking at them.
        self,
        symbol: Symbol,
        last_quote: Decimal,
        low_quote: Decimal,
        high_quote: Decimal,
        at_us: int,
        sequence: int,
        now_us: int,
    ) -> Sequence[Event]:
        """Move a price and serve whom it reaches. A tick that reaches nobody costs a few comparisons."""
        market = self._markets.get(symbol)
        if market is None:
            return NOTHING
        account = self.account
        account.follow(symbol, market.last_quote, last_quote)
        market.last_quote, market.at_us, market.sequence, market.has_moved = last_quote, at_us, sequence, True
        is_reached = low_quote <= market.falling_best or high_quote >= market.rising_best or bool(market.working)
        if not is_reached and not account.positions:
            return NOTHING
        said = self._begin_saying()
        if is_reached:
            for order in sorted(market.reached(low_quote, high_quote), key=_precedence):
                self._reach(order, market, low_quote, high_quote, now_us)
        if account.positions:
            self._check_margin(market, low_quote, high_quote, now_us)
        return said

    def is_in_the_books(self, symbol: Symbol, at_us: int, sequence: int) -> bool:
        """Say whether a tick is one that was already seen: neither its place nor its instant is new."""
        market = self._markets.get(symbol)
        return market is not None and sequence <= market.sequence and at_us <= market.at_us

    def has_changed(self) -> bool:
        """Say whether anything but prices has changed since the documents were last taken."""
        return archive.is_changed(self.account, self.history)

    def take_documents(self) -> tuple[Document, ...]:
        """Return what has changed since the last time; from now on it counts as saved."""
        documents = archive.changed(self.account, self.history, self._markets)
        self.forget_changes()
        return documents

    def forget_changes(self) -> None:
        """Take everything as saved: for books that nobody keeps."""
        archive.forget(self.account, self.history, self._markets)

    def documents(self) -> tuple[Document, ...]:
        """Return the whole books as documents."""
        return archive.everything(self.account, self.history, self._markets)

    def report(self, now_us: int) -> AccountReported:
        """Return balances, margin positions (signed volume, cost always positive) and open orders."""
        holdings = [
            Holding(symbol=symbol, volume_base=position.volume_base, cost_quote=abs(position.cost_quote))
            for symbol, position in sorted(self.account.positions.items())
        ]
        return AccountReported(
            balances=tuple(sorted(self.account.balances.items())),
            holdings=tuple(holdings),
            open_orders=self.open_orders(),
            at_us=now_us,
        )

    def open_orders(self) -> tuple[ExchangeOrder, ...]:
        """Return every open order, oldest first."""
        return tuple(order.view() for order in self.history.open.values())

    # Why not ----------------------------------------------------------------------------------------

    def _why_not_place(self, intent: OrderIntent, market: Market | None, deadline_us: int, now_us: int) -> str | None:
        if now_us > deadline_us:
            return DEADLINE_ELAPSED
        if market is None:
            return UNKNOWN_PAIR
        if market.last_quote is None:
            # Nobody has traded yet, so there is nothing that an order could be measured against.
            return UNAVAILABLE
        reason = why_malformed(intent, market.instrument, market.last_quote, now_us)
        if reason is None and self.history.find_open(intent.id) is not None:
            return ID_NOT_UNIQUE
        return reason

    def _why_not_pay(self, order: BookOrder, market: Market) -> str | None:
        """Return why the account cannot carry the order: at the price it would trade at now, or would rest at."""
        if order.reduce_only and order.is_waiting and not self._is_triggered_by(order, market.last_quote):
            return None
        price_quote = self._price_to_pay(order, market)
        cost_quote = order.remaining_base * price_quote
        fee_quote = fee_of(market.instrument, cost_quote, is_maker=False)
        return self.account.why_not(order, order.remaining_base, price_quote, fee_quote)

    def _price_to_pay(self, order: BookOrder, market: Market) -> Decimal:
        if order.limit_price_quote is not None:
            return order.limit_price_quote
        last_quote = _known(market.last_quote)
        waits = order.is_waiting and not self._is_triggered_by(order, last_quote)
        price_quote = _known(order.trigger_price_quote) if waits else last_quote
        return slipped(order.side, price_quote, self._slippage_pct, market.instrument.price_tick_quote)

    def _why_not_amend(
        self, order: BookOrder, volume_base: Decimal, trigger_price_quote: Decimal | None, deadline_us: int, now_us: int
    ) -> str | None:
        instrument = self._markets[order.symbol].instrument
        if now_us > deadline_us:
            return DEADLINE_ELAPSED
        if trigger_price_quote is not None and trigger_price_quote != order.trigger_price_quote:
            reason = why_bad_price(trigger_price_quote, instrument) if order.is_waiting else BAD_PRICE
            if reason is not None:
                return reason
        if volume_base <= order.filled_base:
            return None
        price_quote = order.limit_price_quote or trigger_price_quote or _known(order.trigger_price_quote)
        reason = why_bad_volume(volume_base, price_quote, instrument)
        if reason is not None or order.reduce_only or volume_base <= order.volume_base:
            return reason
        rest_base = volume_base - order.filled_base
        fee_quote = fee_of(instrument, rest_base * price_quote, is_maker=False)
        return self.account.why_not(order, rest_base, price_quote, fee_quote)

    # How an order begins, trades and ends -----------------------------------------------------------

    def _order_from(
        self, intent: OrderIntent, sequence: int, now_us: int, first_share_pct: Decimal | None
    ) -> BookOrder:
        return BookOrder(
            sequence=sequence,
            external_id=external_id_of(sequence),
            order_id=intent.id,
            proposal_id=intent.proposal_id,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            leverage=intent.leverage,
            reduce_only=intent.reduce_only,
            time_in_force=intent.time_in_force,
            expires_at_us=intent.expires_at_us if intent.time_in_force is TimeInForce.GTD else None,
            limit_price_quote=intent.limit_price_quote,
            trigger_price_quote=intent.trigger_price_quote,
            volume_base=intent.volume_base,
            opened_at_us=now_us,
            first_share_pct=first_share_pct,
        )

    def _begin(self, order: BookOrder, market: Market, now_us: int) -> None:
        """Let an order that has just arrived, or has just been moved, trade or wait."""
        last_quote = _known(market.last_quote)
        if order.is_waiting and not self._is_triggered_by(order, last_quote):
            market.add(order)
            return
        order.is_triggered = order.is_waiting or order.is_triggered
        self._work(order, market, last_quote, now_us)

    def _is_triggered_by(self, order: BookOrder, price_quote: Decimal | None) -> bool:
        rest = order.rest()
        if rest is None or price_quote is None:
            return False
        return price_quote <= rest.price_quote if rest.is_falling else price_quote >= rest.price_quote

    def _work(self, order: BookOrder, market: Market, price_quote: Decimal, now_us: int) -> None:
        """Let an order trade in a market at this price; what is left rests, works on or is cancelled."""
        limit_quote = order.working_limit_quote
        if limit_quote is None or crosses(order.side, limit_quote, price_quote):
            self._take(order, market, price_quote, now_us)
        if not order.is_open:
            return
        if order.time_in_force is TimeInForce.IOC:
            self._end(order, OrderStatus.CANCELLED, IMMEDIATE_OR_CANCEL, now_us)
            return
        if limit_quote is not None and (reason := self._why_not_rest(order, market, limit_quote)):
            self._end(order, OrderStatus.CANCELLED, reason, now_us)
            return
        market.add(order)
        self.account.hold(order)

    def _why_not_rest(self, order: BookOrder, market: Market, limit_quote: Decimal) -> str | None:
        """Return why a limit cannot rest: on spot it holds what it needs, on margin it is asked when it trades."""
        if order.is_margin:
            return None
        fee_quote = fee_of(market.instrument, order.remaining_base * limit_quote, is_maker=False)
        return self.account.why_not(order, order.remaining_base, limit_quote, fee_quote)

    def _reach(self, order: BookOrder, market: Market, low_quote: Decimal, high_quote: Decimal, now_us: int) -> None:
        """Serve an order that a tick has reached."""
        if not order.is_open:
            return
        rest = order.rest()
        if rest is None:
            self._take(order, market, worse(order.side, low_quote, high_quote), now_us)
        elif order.is_waiting:
            extreme_quote = low_quote if rest.is_falling else high_quote
            market.remove(order)
            order.is_triggered = True
            self.history.changed(order)
            self._work(order, market, worse(order.side, rest.price_quote, extreme_quote), now_us)
        else:
            self._trade(order, market, rest.price_quote, now_us, is_maker=True)

    def _take(self, order: BookOrder, market: Market, price_quote: Decimal, now_us: int) -> None:
        """Trade as taker in a market at this price."""
        paid_quote = slipped(order.side, price_quote, self._slippage_pct, market.instrument.price_tick_quote)
        limit_quote = order.working_limit_quote
        if limit_quote is not None:
            paid_quote = better(order.side, paid_quote, limit_quote)
        self._trade(order, market, paid_quote, now_us, is_maker=False)

    def _trade(self, order: BookOrder, market: Market, price_quote: Decimal, now_us: int, *, is_maker: bool) -> None:
        """Trade what one tick may fill of an order; end the order if the account cannot carry it."""
        volume_base = self._volume_now(order, market)
        if order.reduce_only:
            volume_base = min(volume_base, self.account.closable_base(order.symbol, order.side))
        fee_quote = fee_of(market.instrument, volume_base * price_quote, is_maker=is_maker)
        reason = self.account.why_not(order, volume_base, price_quote, fee_quote)
        if reason is not None:
            is_rest = reason == NO_POSITION and order.filled_base > 0
            self._end(order, OrderStatus.CANCELLED, POSITION_IS_CLOSED if is_rest else reason, now_us)
            return
        self.account.book(order, volume_base, price_quote, fee_quote)
        self._tell(
            Fill(
                trade_id=self.history.next_trade_id(),
                order_id=order.order_id,
                external_order_id=order.external_id,
                symbol=order.symbol,
                side=order.side,
                price_quote=price_quote,
                volume_base=volume_base,
                fee_quote=fee_quote,
                is_maker=is_maker,
                is_liquidation=False,
                at_us=now_us,
            )
        )
        self._progress(order, volume_base, now_us)

    def _volume_now(self, order: BookOrder, market: Market) -> Decimal:
        share_pct = self._fill_share_pct
        if order.first_share_pct is not None and order.filled_base == 0:
            share_pct = order.first_share_pct
        share_base = share_of(order.volume_base, share_pct, market.instrument.lot_step_base)
        return min(order.remaining_base, share_base)

    def _progress(self, order: BookOrder, volume_base: Decimal, now_us: int) -> None:
        """Count what has traded into its order."""
        order.filled_base += volume_base
        if order.remaining_base == 0:
            self._end(order, OrderStatus.FILLED, "", now_us)
            return
        order.status = OrderStatus.PARTIALLY_FILLED
        self.history.changed(order)
        if order.held:
            self.account.hold(order)
        if order.reduce_only and not self.account.closable_base(order.symbol, order.side):
            self._end(order, OrderStatus.CANCELLED, POSITION_IS_CLOSED, now_us)

    def _end(self, order: BookOrder, status: OrderStatus, reason: str, now_us: int) -> None:
        self._markets[order.symbol].remove(order)
        self.account.release(order)
        self.history.end(order, status, reason, now_us)
        if status is not OrderStatus.FILLED:  # The last execution has said so.
            self._said.append(OrderEnded(order_id=order.order_id, status=status, reason=reason, at_us=now_us))

    def _watch_expiry(self, order: BookOrder) -> None:
        if order.expires_at_us is not None:
            heapq.heappush(self._expiries, (order.expires_at_us, order.sequence))

    def _begin_saying(self) -> list[Event]:
        self._said = []
        return self._said

    def _tell(self, fill: Fill) -> None:
        self.history.add_trade(fill)
        self._said.append(ExecutionReported(fill=fill))

    # What the exchange does by itself, and what other people do -------------------------------------

    def _check_margin(self, market: Market, low_quote: Decimal, high_quote: Decimal, now_us: int) -> None:
        symbol = market.instrument.symbol
        price_quote = self.account.breaking_price(symbol, low_quote, high_quote, self._liquidation_level_pct)
        if price_quote is not None:
            self._liquidate(symbol, price_quote, now_us)

    def _liquidate(self, broken: Symbol, price_quote: Decimal, now_us: int) -> None:
        """Close every margin position, oldest lot first: `broken` at the price that broke it, others at their last.

        A lot is one fill, in the name of the order that opened it, under an external order id that nobody sent.
        """
        lots = [lot for position in self.account.positions.values() for lot in position.lots]
        symbols = sorted(self.account.positions)
        external_ids = {symbol: self._foreign_order() for symbol in symbols}
        for lot in sorted(lots, key=lambda lot: lot.number):
            at_quote = price_quote if lot.symbol == broken else _known(self._markets[lot.symbol].last_quote)
            self._close_part(
                lot.symbol,
                lot.volume_base,
                at_quote,
                lot.order_id,
                external_ids[lot.symbol],
                now_us,
                is_liquidation=True,
            )
        for order in list(self.history.open.values()):
            if order.reduce_only and order.symbol in symbols:
                self._end(order, OrderStatus.CANCELLED, LIQUIDATED, now_us)
        text = f"margin level at or below {self._liquidation_level_pct} %: closed {', '.join(symbols)}"
        self._said.append(ExchangeAlert(kind="liquidation", text=text))

    def _close_part(
        self,
        symbol: Symbol,
        volume_base: Decimal,
        price_quote: Decimal,
        order_id: OrderId,
        external_id: ExternalOrderId,
        now_us: int,
        *,
        is_liquidation: bool,
    ) -> None:
        """Close so much of a position by an order that is not ours."""
        market = self._markets[symbol]
        side = Side.SELL if self.account.positions[symbol].side is Side.BUY else Side.BUY
        paid_quote = slipped(side, price_quote, self._slippage_pct, market.instrument.price_tick_quote)
        fee_quote = fee_of(market.instrument, volume_base * paid_quote, is_maker=False)
        self.account.reduce(symbol, volume_base, paid_quote, fee_quote)
        self._tell(
            Fill(
                trade_id=self.history.next_trade_id(),
                order_id=order_id,
                external_order_id=external_id,
                symbol=symbol,
                side=side,
                price_quote=paid_quote,
                volume_base=volume_base,
                fee_quote=fee_quote,
                is_maker=False,
                is_liquidation=is_liquidation,
                at_us=now_us,
            )
        )

    def _foreign_order(self) -> ExternalOrderId:
        """Return the id of an order that somebody else has sent."""
        self.history.order_count += 1
        return external_id_of(self.history.order_count)

    def close_by_hand(self, symbol: Symbol, now_us: int) -> Sequence[Event]:
        """Close a margin position from outside, as its owner might in the exchange's own application.

        The order has no client id of ours: its fill carries the exchange's id in both places.
        """
        said = self._begin_saying()
        position = self.account.positions.get(symbol)
        if position is None:
            return said
        external_id = self._foreign_order()
        last_quote = _known(self._markets[symbol].last_quote)
        self._close_part(
            symbol,
            abs(position.volume_base),
            last_quote,
            OrderId(external_id),
            external_id,
            now_us,
            is_liquidation=False,
        )
        said.append(ExchangeAlert(kind="external_order", text=f"{external_id} closed the position in {symbol}"))
        return said

    def move_funds(self, currency: Currency, amount: Decimal) -> None:
        """Let funds appear, or vanish when `amount` is below zero, as a deposit or a withdrawal would."""
        self.account.add(currency, amount)


def _precedence(order: BookOrder) -> tuple[bool, int]:
    """Return who is served first in one tick: stops, then whoever came first."""
    return order.order_type not in STOPS, order.sequence


def _known(price_quote: Decimal | None) -> Decimal:
    """Return a price that the caller has made sure of."""
    if price_quote is None:
        raise ValueError("no price is known")
    return price_quote

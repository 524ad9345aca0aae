"""The exchange's books: orders and ticks go in, what the exchange says of them comes out.

It keeps its own arithmetic and shares none with the engine that trades on it, so that the one can check the other.

Read in order: place, amend, cancel, expire, on_price; then why not. How an order trades is in `matching.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from actors.exchange.mock import archive, foreign
from actors.exchange.mock.account import Account
from actors.exchange.mock.acts import OrderedByHand, TradedByHand
from actors.exchange.mock.admission import why_bad_price, why_bad_volume, why_malformed
from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.history import HISTORY_MAX, History, external_id_of
from actors.exchange.mock.levels import Market
from actors.exchange.mock.margin import LEVERAGE_MAX
from actors.exchange.mock.matching import Matcher, precedence
from actors.exchange.mock.pricing import fee_of, known, slipped
from actors.exchange.mock.refusals import (
    BAD_LIMIT,
    BAD_PRICE,
    BELOW_FILLED,
    COST_MINIMUM,
    DEADLINE_ELAPSED,
    EXPIRED,
    ID_NOT_UNIQUE,
    NO_POSITION,
    ORDER_MINIMUM,
    POST_ONLY,
    UNAVAILABLE,
    UNKNOWN_ORDER,
    UNKNOWN_PAIR,
    USER_REQUESTED,
    may_retry,
)
from actors.exchange.mock.store import Document
from messages.base import Currency, Event, OrderId, Symbol
from messages.exchange import AccountReported, Holding
from messages.market import Instrument
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExchangeOrder,
    OrderAccepted,
    OrderAmended,
    OrderIntent,
    OrderRefused,
    OrderStatus,
    TimeInForce,
)

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
        nets_positions: bool = False,
    ) -> None:
        for instrument in instruments.values():
            if instrument.leverage_max > LEVERAGE_MAX:
                raise ValueError(f"{instrument.symbol}: leverage above {LEVERAGE_MAX} is not kept exactly")
        self._liquidation_level_pct = liquidation_level_pct
        self._opening_balances = balances
        self._markets = {symbol: Market(instrument) for symbol, instrument in instruments.items()}
        self._expiries: list[tuple[int, int]] = []
        """Instants at which orders expire, with the orders' sequences; orders that ended before are skipped."""
        self.account = Account(self._markets, usd_equivalents, nets_positions=nets_positions)
        self.history = History(history_max)
        self._matcher = Matcher(
            self._markets, self.account, self.history, slippage_pct=slippage_pct, fill_share_pct=fill_share_pct
        )

    def open_with(self, documents: Iterable[Document]) -> None:
        """Begin: with the books that the documents hold, or with the opening balances when there are none."""
        if archive.restore(documents, self.account, self.history, self._markets):
            for order in self.history.open.values():
                self._watch_expiry(order)
            return
        for currency, amount in self._opening_balances.items():
            self.account.add(currency, amount)

    def market(self, symbol: Symbol) -> Market:
        """Return one symbol's market, to be read."""
        return self._markets[symbol]

    def usd_per(self, currency: Currency) -> Decimal | None:
        """Return what one unit of a currency is worth in account money, None while nobody knows."""
        return self.account.usd_per(currency)

    # What may be asked of it ----------------------------------------------------------------------

    def why_not(self, intent: OrderIntent, deadline_us: int, now_us: int) -> str | None:
        """Return with which words `place` would refuse the order now; None if it would take it in."""
        market = self._markets.get(intent.symbol)
        reason = self._why_not_place(intent, market, deadline_us, now_us)
        if market is None or reason is not None:
            return reason or UNKNOWN_PAIR
        return self._why_not_pay(_order_from(intent, self.history.order_count + 1, now_us, None), market)

    def place(
        self,
        intent: OrderIntent,
        deadline_us: int,
        now_us: int,
        first_share_pct: Decimal | None = None,
        *,
        post_only: bool = False,
    ) -> Sequence[Event]:
        """Take an order in or refuse it; what trades at once is told along.

        With `post_only` a limit that would trade at once is taken in and cancelled.
        """
        said = self._matcher.listen()
        market = self._markets.get(intent.symbol)
        reason = self._why_not_place(intent, market, deadline_us, now_us)
        if market is None or reason is not None:
            reason = reason or UNKNOWN_PAIR
            return [_refused(intent, reason)]
        order = _order_from(intent, self.history.order_count + 1, now_us, first_share_pct)
        reason = self._why_not_pay(order, market)
        if reason is not None:
            return [_refused(intent, reason)]
        self.history.order_count += 1
        self.history.add_order(order)
        self.history.changed(order)
        self._watch_expiry(order)
        said.append(OrderAccepted(order_id=order.order_id, external_id=order.external_id, at_us=now_us))
        if post_only and self._matcher.would_take(order, market):
            self._matcher.end(order, OrderStatus.CANCELLED, POST_ONLY, now_us)
        else:
            self._matcher.begin(order, market, now_us)
        return said

    def amend(
        self,
        order_id: OrderId,
        volume_base: Decimal,
        trigger_price_quote: Decimal | None,
        deadline_us: int,
        now_us: int,
        limit_price_quote: Decimal | None = None,
    ) -> Sequence[Event]:
        """Move the volume, and the trigger and the limit if they are given, of an open order in place."""
        said = self._matcher.listen()
        order = self.history.find_open(order_id)
        if order is None:
            return [AmendRefused(order_id=order_id, reason=UNKNOWN_ORDER)]
        reason = self._why_not_limit(order, limit_price_quote) or self._why_not_amend(
            order, volume_base, trigger_price_quote, limit_price_quote, deadline_us, now_us
        )
        if reason is not None:
            return [AmendRefused(order_id=order_id, reason=reason)]
        market = self._markets[order.symbol]
        market.remove(order)
        order.limit_price_quote = order.limit_price_quote if limit_price_quote is None else limit_price_quote
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
            self._matcher.end(order, OrderStatus.CANCELLED, BELOW_FILLED, now_us)
        else:
            self._matcher.begin(order, market, now_us)
        return said

    def cancel(self, order_id: OrderId, now_us: int) -> Sequence[Event]:
        """Take an open order off the books."""
        said = self._matcher.listen()
        order = self.history.find_open(order_id)
        if order is None:
            return [CancelRefused(order_id=order_id, reason=UNKNOWN_ORDER)]
        self._matcher.end(order, OrderStatus.CANCELLED, USER_REQUESTED, now_us)
        return said

    def expire(self, now_us: int) -> Sequence[Event]:
        """End every order whose time is over."""
        said = self._matcher.listen()
        while self._expiries and self._expiries[0][0] <= now_us:
            _instant_us, sequence = heapq.heappop(self._expiries)
            order = self.history.open.get(sequence)
            if order is not None:
                self._matcher.end(order, OrderStatus.EXPIRED, EXPIRED, now_us)
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
        said = self._matcher.listen()
        if is_reached:
            for order in sorted(market.reached(low_quote, high_quote), key=precedence):
                self._matcher.reach(order, market, low_quote, high_quote, now_us)
        if account.positions:
            foreign.check_margin(self._matcher, market, low_quote, high_quote, self._liquidation_level_pct, now_us)
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
        if order.reduce_only and order.is_waiting and not self._matcher.is_triggered_by(order, market.last_quote):
            return None
        price_quote = self._price_to_pay(order, market)
        cost_quote = order.remaining_base * price_quote
        fee_quote = fee_of(market.instrument, cost_quote, is_maker=False)
        return self.account.why_not(order, order.remaining_base, price_quote, fee_quote)

    def _price_to_pay(self, order: BookOrder, market: Market) -> Decimal:
        if order.limit_price_quote is not None:
            return order.limit_price_quote
        last_quote = known(market.last_quote)
        waits = order.is_waiting and not self._matcher.is_triggered_by(order, last_quote)
        price_quote = known(order.trigger_price_quote) if waits else last_quote
        return slipped(order.side, price_quote, self._matcher.slippage_pct, market.instrument.price_tick_quote)

    def _why_not_limit(self, order: BookOrder, limit_price_quote: Decimal | None) -> str | None:
        """Return why the limit cannot be moved there."""
        if limit_price_quote is None:
            return None
        if order.limit_price_quote is None:
            return BAD_LIMIT
        return why_bad_price(limit_price_quote, self._markets[order.symbol].instrument)

    def _why_not_amend(
        self,
        order: BookOrder,
        volume_base: Decimal,
        trigger_price_quote: Decimal | None,
        limit_price_quote: Decimal | None,
        deadline_us: int,
        now_us: int,
    ) -> str | None:
        market = self._markets[order.symbol]
        instrument = market.instrument
        if now_us > deadline_us:
            return DEADLINE_ELAPSED
        if trigger_price_quote is not None and trigger_price_quote != order.trigger_price_quote:
            reason = why_bad_price(trigger_price_quote, instrument) if order.is_waiting else BAD_PRICE
            if reason is not None:
                return reason
        if volume_base <= order.filled_base:
            return None
        trigger_price_quote = trigger_price_quote or order.trigger_price_quote
        limit_price_quote = limit_price_quote or order.limit_price_quote
        price_quote = limit_price_quote or trigger_price_quote or known(market.last_quote)
        reason = why_bad_volume(volume_base, price_quote, instrument)
        is_no_more = volume_base <= order.volume_base and limit_price_quote == order.limit_price_quote
        if reason is not None or order.reduce_only or is_no_more:
            return reason
        rest_base = volume_base - order.filled_base
        fee_quote = fee_of(instrument, rest_base * price_quote, is_maker=False)
        return self.account.why_not(order, rest_base, price_quote, fee_quote)

    def _watch_expiry(self, order: BookOrder) -> None:
        if order.expires_at_us is not None:
            heapq.heappush(self._expiries, (order.expires_at_us, order.sequence))

    # What other people do ---------------------------------------------------------------------------

    def close_by_hand(self, symbol: Symbol, now_us: int) -> Sequence[Event]:
        """Close a margin position from outside, as its owner might in the exchange's own application."""
        return foreign.close_by_hand(self._matcher, symbol, now_us)

    def trade_by_hand(self, act: TradedByHand, now_us: int) -> Sequence[Event]:
        """Let somebody else trade on the account, if it can carry the trade."""
        return foreign.trade_by_hand(self._matcher, act, now_us)

    def liquidate(self, now_us: int) -> Sequence[Event]:
        """Let the exchange close everything on margin at the last prices, whatever the margin level is."""
        return foreign.liquidate(self._matcher, self._liquidation_level_pct, now_us)

    def order_by_hand(self, act: OrderedByHand, now_us: int) -> Sequence[Event]:
        """Let somebody else leave an order on the account, if it can carry the order."""
        return foreign.order_by_hand(self._matcher, act, now_us)

    def cancel_by_hand(self, order_id: OrderId, now_us: int) -> Sequence[Event]:
        """Take an open order off the books from outside; nothing is said if it is not open."""
        return NOTHING if self.history.find_open(order_id) is None else self.cancel(order_id, now_us)

    def move_funds(self, currency: Currency, amount: Decimal) -> None:
        """Let funds appear, or vanish when `amount` is below zero, as a deposit or a withdrawal would."""
        self.account.move(currency, amount)


def _order_from(intent: OrderIntent, sequence: int, now_us: int, first_share_pct: Decimal | None) -> BookOrder:
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


def _refused(intent: OrderIntent, reason: str) -> OrderRefused:
    return OrderRefused(
        order_id=intent.id,
        reason=reason,
        may_retry=may_retry(reason),
        lacks_position=reason == NO_POSITION,
        is_too_small=reason in (ORDER_MINIMUM, COST_MINIMUM),
    )

"""How an order begins, trades and ends: the matching engine.

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

Read in order: begin, reach, then what both lead to: work, take, trade, end.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from actors.exchange.mock.account import Account
from actors.exchange.mock.book_order import STOPS, BookOrder
from actors.exchange.mock.history import History
from actors.exchange.mock.levels import Market
from actors.exchange.mock.pricing import better, crosses, fee_of, known, share_of, slipped, worse
from actors.exchange.mock.refusals import IMMEDIATE_OR_CANCEL, NO_POSITION, POSITION_IS_CLOSED
from messages.base import Event, Symbol
from messages.orders import ExecutionReported, Fill, OrderEnded, OrderStatus, TimeInForce


class Matcher:
    """Lets orders trade. What is to be told of it gathers in `said`."""

    def __init__(
        self,
        markets: Mapping[Symbol, Market],
        account: Account,
        history: History,
        *,
        slippage_pct: Decimal,
        fill_share_pct: Decimal,
    ) -> None:
        self.markets = markets
        self.account = account
        self.history = history
        self.slippage_pct = slippage_pct
        self._fill_share_pct = fill_share_pct
        self.said: list[Event] = []

    def begin(self, order: BookOrder, market: Market, now_us: int) -> None:
        """Let an order that has just arrived, or has just been moved, trade or wait."""
        last_quote = known(market.last_quote)
        if order.is_waiting and not self.is_triggered_by(order, last_quote):
            market.add(order)
            return
        order.is_triggered = order.is_waiting or order.is_triggered
        self._work(order, market, last_quote, now_us)

    def is_triggered_by(self, order: BookOrder, price_quote: Decimal | None) -> bool:
        """Say whether a waiting order would fire at this price."""
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
            self.end(order, OrderStatus.CANCELLED, IMMEDIATE_OR_CANCEL, now_us)
            return
        if limit_quote is not None and (reason := self._why_not_rest(order, market, limit_quote)):
            self.end(order, OrderStatus.CANCELLED, reason, now_us)
            return
        market.add(order)
        self.account.hold(order)

    def would_take(self, order: BookOrder, market: Market) -> bool:
        """Say whether a limit order that arrives now would trade at once."""
        limit_quote, last_quote = order.working_limit_quote, market.last_quote
        return limit_quote is not None and last_quote is not None and crosses(order.side, limit_quote, last_quote)

    def _why_not_rest(self, order: BookOrder, market: Market, limit_quote: Decimal) -> str | None:
        """Return why a limit cannot rest: on spot it holds what it needs, on margin it is asked when it trades."""
        if order.is_margin:
            return None
        fee_quote = fee_of(market.instrument, order.remaining_base * limit_quote, is_maker=False)
        return self.account.why_not(order, order.remaining_base, limit_quote, fee_quote)

    def reach(self, order: BookOrder, market: Market, low_quote: Decimal, high_quote: Decimal, now_us: int) -> None:
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
        paid_quote = slipped(order.side, price_quote, self.slippage_pct, market.instrument.price_tick_quote)
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
            self.end(order, OrderStatus.CANCELLED, POSITION_IS_CLOSED if is_rest else reason, now_us)
            return
        self.account.book(order, volume_base, price_quote, fee_quote)
        self.tell(
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
                is_margin=order.is_margin,
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
            self.end(order, OrderStatus.FILLED, "", now_us)
            return
        order.status = OrderStatus.PARTIALLY_FILLED
        self.history.changed(order)
        if order.held:
            self.account.hold(order)
        if order.reduce_only and not self.account.closable_base(order.symbol, order.side):
            self.end(order, OrderStatus.CANCELLED, POSITION_IS_CLOSED, now_us)

    def end(self, order: BookOrder, status: OrderStatus, reason: str, now_us: int) -> None:
        """Take an order off the books; why it ended is told unless its last execution says so."""
        self.markets[order.symbol].remove(order)
        self.account.release(order)
        self.history.end(order, status, reason, now_us)
        if status is not OrderStatus.FILLED:
            self.said.append(
                OrderEnded(
                    order_id=order.order_id,
                    status=status,
                    reason=reason,
                    at_us=now_us,
                    filled_base=order.filled_base,
                )
            )

    def listen(self) -> list[Event]:
        """Return a fresh list that takes up what is said from now on."""
        self.said = []
        return self.said

    def tell(self, fill: Fill) -> None:
        """Put a trade on record and tell it."""
        self.history.add_trade(fill)
        self.said.append(ExecutionReported(fill=fill))


def precedence(order: BookOrder) -> tuple[bool, int]:
    """Return who is served first in one tick: stops, then whoever came first."""
    return order.order_type not in STOPS, order.sequence

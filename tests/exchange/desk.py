"""Books to trade on in tests: two priced pairs, one pair quoted in BTC, and short ways to say things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import count
from typing import Any, TypeVar

from actors.exchange.mock.acts import TradedByHand
from actors.exchange.mock.books import Books
from messages.base import Currency, Event, OrderId, PositionId, ProposalId, Symbol
from messages.market import Instrument
from messages.orders import (
    ExchangeOrder,
    ExecutionReported,
    Fill,
    OrderEnded,
    OrderIntent,
    OrderRefused,
    OrderRole,
    TimeInForce,
)
from messages.trades import OrderType, Side

D = Decimal
E = TypeVar("E", bound=Event)
BTC, XRP, USDT, USD = Currency("BTC"), Currency("XRP"), Currency("USDT"), Currency("USD")
BTC_USDT, XRP_USDT, XRP_BTC = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
LATER_US = 10**15
BUY, SELL = Side.BUY, Side.SELL


def instrument(base: Currency, quote: Currency, tick: str, lot: str, volume_min: str, notional_min: str) -> Instrument:
    return Instrument(
        symbol=Symbol(f"{base}/{quote}"),
        base=base,
        quote=quote,
        price_tick_quote=D(tick),
        lot_step_base=D(lot),
        volume_min_base=D(volume_min),
        notional_min_quote=D(notional_min),
        leverage_max=5,
        fee_maker_pct=D("0.25"),
        fee_taker_pct=D("0.40"),
    )


INSTRUMENTS: Mapping[Symbol, Instrument] = {
    one.symbol: one
    for one in (
        instrument(BTC, USDT, "0.1", "0.00000001", "0.0001", "5"),
        instrument(XRP, USDT, "0.0001", "0.001", "1", "5"),
        instrument(XRP, BTC, "0.00000001", "0.001", "1", "0.00001"),
    )
}


def intent(order_id: str, side: Side, volume: str | Decimal, order_type: OrderType, **terms: Any) -> OrderIntent:
    values: dict[str, Any] = {
        "id": OrderId(order_id),
        "proposal_id": ProposalId(f"proposal of {order_id}"),
        "position_id": PositionId("position"),
        "symbol": BTC_USDT,
        "side": side,
        "role": OrderRole.ENTRY,
        "order_type": order_type,
        "volume_base": D(volume),
        "limit_price_quote": None,
        "trigger_price_quote": None,
        "reference_price_quote": D(100),
        "leverage": 1,
        "reduce_only": False,
        "time_in_force": TimeInForce.GTC,
        "expires_at_us": None,
        "attempt": 1,
        "created_at_us": 0,
    }
    return OrderIntent(**(values | terms))


class Desk:
    """Books, a clock that goes on by one microsecond with every call, and everything that was said."""

    def __init__(self, balances: Mapping[Currency, Decimal] | None = None, **settings: Any) -> None:
        self.settings = settings
        self.opening = {USDT: D(10_000), USD: D(0)} if balances is None else dict(balances)
        self.books = self.new_books()
        self.books.open_with(())
        self.now_us = 1_000
        self.said: list[Event] = []
        self.margin_by_hand: set[OrderId] = set()
        """Orders of others that traded on margin: the books do not keep what they were."""
        self._ids = count(1)
        self._sequences = count(1)

    def new_books(self) -> Books:
        return Books(instruments=INSTRUMENTS, balances=self.opening, usd_equivalents=(USD, USDT), **self.settings)

    def tick(
        self,
        last: str | Decimal,
        low: str | Decimal | None = None,
        high: str | Decimal | None = None,
        symbol: Symbol = BTC_USDT,
    ) -> list[Event]:
        self.now_us += 1
        lowest, highest = D(last if low is None else low), D(last if high is None else high)
        events = self.books.on_price(symbol, D(last), lowest, highest, self.now_us, next(self._sequences), self.now_us)
        return self._heard(events)

    def place(
        self,
        side: Side,
        volume: str | Decimal,
        order_type: OrderType = OrderType.MARKET,
        limit: str | None = None,
        trigger: str | None = None,
        **terms: Any,
    ) -> OrderId:
        """Place an order; refused or not, its id comes back and `said` tells the rest."""
        self.now_us += 1
        order_id = terms.pop("order_id", None) or f"order {next(self._ids)}"
        share_pct = terms.pop("first_share_pct", None)
        deadline_us = terms.pop("deadline_us", LATER_US)
        limit_price = None if limit is None else D(limit)
        trigger_price = None if trigger is None else D(trigger)
        wish = intent(
            order_id,
            side,
            volume,
            order_type,
            limit_price_quote=limit_price,
            trigger_price_quote=trigger_price,
            **terms,
        )
        self._heard(self.books.place(wish, deadline_us, self.now_us, share_pct))
        return wish.id

    def amend(self, order_id: OrderId, volume: str, trigger: str | None = None) -> list[Event]:
        self.now_us += 1
        price = None if trigger is None else D(trigger)
        return self._heard(self.books.amend(order_id, D(volume), price, LATER_US, self.now_us))

    def cancel(self, order_id: OrderId) -> list[Event]:
        self.now_us += 1
        return self._heard(self.books.cancel(order_id, self.now_us))

    def trade_by_hand(self, act: TradedByHand) -> list[Event]:
        self.now_us += 1
        events = self._heard(self.books.trade_by_hand(act, self.now_us))
        if act.on_margin:
            self.margin_by_hand |= {event.fill.order_id for event in events if isinstance(event, ExecutionReported)}
        return events

    def is_margin(self, fill: Fill) -> bool:
        order = self.books.history.find(fill.order_id)
        return fill.order_id in self.margin_by_hand if order is None else order.is_margin

    def _heard(self, events: Sequence[Event]) -> list[Event]:
        self.said += events
        return list(events)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.said if type(event) is kind]

    @property
    def refusal(self) -> str:
        """Why the last order was refused; fails if it was not."""
        last = self.said[-1]
        assert isinstance(last, OrderRefused), last
        return last.reason

    @property
    def fills(self) -> list[Fill]:
        return [event.fill for event in self.of(ExecutionReported)]

    @property
    def prices(self) -> list[Decimal]:
        return [fill.price_quote for fill in self.fills]

    @property
    def ends(self) -> list[tuple[OrderId, str]]:
        return [(event.order_id, event.reason) for event in self.of(OrderEnded)]

    def order(self, order_id: OrderId) -> ExchangeOrder:
        order = self.books.history.find(order_id)
        assert order is not None
        return order.view()

    def balance(self, currency: Currency) -> Decimal:
        return self.books.account.balances.get(currency, D(0))

    def volume(self, symbol: Symbol = BTC_USDT) -> Decimal:
        """The margin position, signed."""
        position = self.books.account.positions.get(symbol)
        return D(0) if position is None else position.volume_base

"""What holds for the books whatever is done with them, on thousands of invented days."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.exchange.mock.acts import TradedByHand
from actors.exchange.mock.book_order import LIMITED_TYPES
from messages.base import Currency, OrderId, Symbol
from messages.orders import OrderStatus, TimeInForce
from messages.trades import OrderType, Side
from tests.exchange.desk import (
    BTC,
    BTC_USDT,
    INSTRUMENTS,
    USD,
    USDT,
    XRP,
    XRP_BTC,
    XRP_USDT,
    D,
    Desk,
)

SYMBOLS = st.sampled_from(sorted(INSTRUMENTS))
OPENING = {USDT: D(5_000), USD: D(0), BTC: D("12.5"), XRP: D(2_000)}
START = {BTC_USDT: D(100), XRP_USDT: D("0.5"), XRP_BTC: D("0.005")}
LARGEST = {BTC_USDT: D(150), XRP_USDT: D(20_000), XRP_BTC: D(9_000)}
"""The largest order: on margin a few of them are more than the account can carry when the price turns."""


def price(symbol: Symbol, per_mille: int) -> str:
    """Return a price on the grid, so many thousandths of the starting price."""
    tick = INSTRUMENTS[symbol].price_tick_quote
    raw = START[symbol] * per_mille / 1_000
    return str(raw - raw % tick)


@attrs.frozen
class Placed:
    side: Side
    volume: D
    order_type: OrderType
    limit: str | None
    trigger: str
    terms: dict[str, Any]

    def do(self, desk: Desk) -> None:
        desk.place(self.side, self.volume, self.order_type, self.limit, self.trigger, **self.terms)


@attrs.frozen
class Ticked:
    symbol: Symbol
    last: str
    low: str
    high: str

    def do(self, desk: Desk) -> None:
        desk.tick(self.last, self.low, self.high, self.symbol)


@attrs.frozen
class Cancelled:
    order_id: OrderId

    def do(self, desk: Desk) -> None:
        desk.cancel(self.order_id)


@attrs.frozen
class Amended:
    order_id: OrderId
    volume: str
    trigger: str | None

    def do(self, desk: Desk) -> None:
        desk.amend(self.order_id, self.volume, self.trigger)


@attrs.frozen
class ByHand:
    act: TradedByHand

    def do(self, desk: Desk) -> None:
        desk.trade_by_hand(self.act)


Step = Placed | Ticked | Cancelled | Amended | ByHand
PER_MILLE = st.integers(850, 1_150)
ORDER_IDS = st.integers(1, 12).map(lambda number: OrderId(f"order {number}"))


@st.composite
def placements(draw: st.DrawFn) -> Placed:
    symbol = draw(SYMBOLS)
    order_type = draw(st.sampled_from(OrderType))
    volume = draw(st.integers(60, 40_000)) * LARGEST[symbol] / 40_000
    leverage = draw(st.sampled_from((1, 2, 3, 5, 5)))
    terms = {
        "symbol": symbol,
        "leverage": leverage,
        "reduce_only": leverage > 1 and draw(st.sampled_from((False, False, True))),
        "time_in_force": draw(st.sampled_from((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC))),
    }
    return Placed(
        side=draw(st.sampled_from(Side)),
        volume=volume - volume % INSTRUMENTS[symbol].lot_step_base,  # Uneven to the last lot.
        order_type=order_type,
        limit=price(symbol, draw(PER_MILLE)) if order_type in LIMITED_TYPES else None,
        trigger=price(symbol, draw(PER_MILLE)),
        terms=terms,
    )


@st.composite
def ticks(draw: st.DrawFn) -> Ticked:
    symbol = draw(SYMBOLS)
    last, low, high = (draw(st.integers(700, 1_300)) for _ in range(3))
    extremes = sorted((last, low, high))
    return Ticked(symbol, price(symbol, last), price(symbol, extremes[0]), price(symbol, extremes[2]))


@st.composite
def amends(draw: st.DrawFn) -> Amended:
    trigger = draw(st.one_of(st.none(), PER_MILLE.map(lambda share: price(BTC_USDT, share))))
    return Amended(draw(ORDER_IDS), str(D(draw(st.integers(1, 500))) / 100), trigger)


@st.composite
def by_hand(draw: st.DrawFn) -> ByHand:
    symbol = draw(SYMBOLS)
    volume = draw(st.integers(60, 40_000)) * LARGEST[symbol] / 40_000
    volume -= volume % INSTRUMENTS[symbol].lot_step_base
    return ByHand(TradedByHand(symbol, draw(st.sampled_from(Side)), volume, draw(st.booleans())))


STEPS = st.one_of(
    placements(), placements(), placements(), ticks(), ticks(), amends(), ORDER_IDS.map(Cancelled), by_hand()
)
DAYS = st.lists(STEPS, min_size=15, max_size=60)
SETTINGS = st.fixed_dictionaries(
    {"fill_share_pct": st.sampled_from((D(100), D(37))), "slippage_pct": st.sampled_from((D(0), D("0.13")))}
)


def lived(day: list[Step], rules: dict[str, D], after_each: Callable[[Desk], None] = lambda _desk: None) -> Desk:
    desk = Desk(OPENING, **rules)
    for symbol, start in START.items():
        desk.tick(start, symbol=symbol)
    for step in day:
        step.do(desk)
        after_each(desk)
    return desk


def expected_balances(desk: Desk) -> dict[Currency, Fraction]:
    """Work out the balances from the fills alone, in fractions."""
    balances = {currency: Fraction(amount) for currency, amount in OPENING.items()}
    for fill in desk.fills:
        instrument = INSTRUMENTS[fill.symbol]
        sign = 1 if fill.side is Side.BUY else -1
        balances[instrument.quote] -= sign * Fraction(fill.volume_base) * Fraction(fill.price_quote)
        balances[instrument.quote] -= Fraction(fill.fee_quote)
        if not desk.is_margin(fill):
            balances[instrument.base] += sign * Fraction(fill.volume_base)
    # On margin the cost of what is open has not been paid (or received): it is borrowed.
    for symbol, position in desk.books.account.positions.items():
        for lot in position.lots:
            sign = 1 if lot.side is Side.BUY else -1
            balances[INSTRUMENTS[symbol].quote] += sign * Fraction(lot.volume_base) * Fraction(lot.price_quote)
    return balances


@settings(max_examples=300, deadline=None)
@given(DAYS, SETTINGS)
def test_money_is_conserved_to_the_last_digit(day: list[Step], rules: dict[str, D]) -> None:
    desk = lived(day, rules)

    actual = {currency: Fraction(amount) for currency, amount in desk.books.account.balances.items()}
    assert actual == expected_balances(desk)


@settings(max_examples=300, deadline=None)
@given(DAYS, SETTINGS)
def test_nothing_ever_goes_wrong_in_between(day: list[Step], rules: dict[str, D]) -> None:
    held: dict[str, D] = {}
    told = 0

    def check(desk: Desk) -> None:
        nonlocal told
        account = desk.books.account
        assert account.balances[XRP] >= 0
        for fill in filter(desk.is_margin, desk.fills[told:]):
            before = held.get(fill.symbol, D(0))
            held[fill.symbol] = after = before + (fill.volume_base if fill.side is Side.BUY else -fill.volume_base)
            assert before * after >= 0  # One tick may close and open; flat in between, never turned by one trade.
        told = len(desk.fills)
        assert {symbol: volume for symbol, volume in held.items() if volume} == {
            symbol: position.volume_base for symbol, position in account.positions.items()
        }
        for position in account.positions.values():
            assert len({lot.side for lot in position.lots}) == 1
            assert position.volume_base == sum(
                lot.volume_base if lot.side is Side.BUY else -lot.volume_base for lot in position.lots
            )
        followed = account.gauge().equity_usd
        account.add(USDT, D(0))  # Anything booked makes the account measured anew.
        assert account.gauge().equity_usd == followed
        holding = [order for order in desk.books.history.open.values() if order.held]
        assert sum(order.held for order in holding) == sum(account.held(currency) for currency in OPENING)

    lived(day, rules, check)


@settings(max_examples=300, deadline=None)
@given(DAYS, SETTINGS)
def test_every_fill_keeps_its_limit_and_its_order(day: list[Step], rules: dict[str, D]) -> None:
    desk = lived(day, rules)

    for fill in desk.fills:
        order = desk.books.history.find(fill.order_id)
        assert fill.price_quote % INSTRUMENTS[fill.symbol].price_tick_quote == 0
        limit = None if order is None else order.working_limit_quote
        if limit is not None and not fill.is_liquidation:
            assert fill.price_quote <= limit if fill.side is Side.BUY else fill.price_quote >= limit
    for order in desk.books.history.orders():
        own = [fill for fill in desk.fills if fill.external_order_id == order.external_id]
        assert sum(fill.volume_base for fill in own) == order.filled_base <= order.volume_base
        assert (order.status is OrderStatus.FILLED) == (order.filled_base == order.volume_base and not order.reason)
    numbers = [fill.trade_id for fill in desk.fills]
    assert numbers == sorted(set(numbers))


@settings(max_examples=200, deadline=None)
@given(DAYS, DAYS, SETTINGS)
def test_books_rebuilt_from_their_documents_go_on_as_if_nothing_had_been(
    before: list[Step], after: list[Step], rules: dict[str, D]
) -> None:
    desk, twin = lived(before, rules), lived(before, rules)
    assert desk.said == twin.said  # The same day, the same events.
    twin.books = twin.new_books()

    twin.books.open_with(desk.books.documents())

    assert twin.books.documents() == desk.books.documents()
    assert twin.books.report(0) == desk.books.report(0)
    for step in after:
        step.do(desk)
        step.do(twin)
    assert twin.said == desk.said
    assert twin.books.documents() == desk.books.documents()


@settings(max_examples=200, deadline=None)
@given(DAYS, SETTINGS)
def test_changes_saved_one_by_one_add_up_to_the_whole(day: list[Step], rules: dict[str, D]) -> None:
    kept: dict[tuple[str, str], str] = {}

    def save(desk: Desk) -> None:
        for document in desk.books.take_documents():
            kept.pop((document.kind, document.key), None)
            if document.body is not None:
                kept[document.kind, document.key] = document.body

    desk = lived(day, rules, save)
    save(desk)

    assert kept == {(document.kind, document.key): document.body for document in desk.books.documents()}

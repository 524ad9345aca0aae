"""The sums over a symbol are the sums over its positions."""

from __future__ import annotations

from decimal import Decimal

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position.holding import Deadlines
from actors.position.portfolio import Portfolio, in_account_money
from actors.position.profit import exposure, net, realised
from messages.base import Currency, PositionId, Symbol
from messages.positions import Position, PositionSide, PositionStatus

from .values import BTC, XRP_BTC, a_position

D = Decimal
USD = (Currency("USDT"), Currency("USD"))
PRICES_IN_USD: dict[Symbol, Decimal] = {Symbol("BTC/USD"): D(7)}
NO_PRICES: dict[Symbol, Decimal] = {}
PRICES = {BTC: D("40000.5"), XRP_BTC: D("0.00001234")}

a_value = st.builds(
    a_position,
    st.sampled_from("abcdef"),
    side=st.sampled_from(PositionSide),
    entry=st.decimals("1", "50000", places=2),
    volume=st.decimals("1", "10", places=3),
    exit_volume=st.decimals("0", "1", places=3),
    exit_price=st.decimals("1", "50000", places=2),
    fees=st.decimals("0", "9", places=4),
    status=st.sampled_from(PositionStatus),
)


@settings(deadline=None)
@given(st.lists(a_value, max_size=30))
def test_the_sums_agree_with_the_positions(values: list[Position]) -> None:
    values = [attrs.evolve(value, exit_base=value.entry_base) if value.is_over else value for value in values]
    portfolio = Portfolio(history_max=100)
    newest: dict[PositionId, Position] = {}
    for value in values:
        portfolio.put(value)
        newest[value.id] = value

    totals = portfolio.value(PRICES.get, USD)
    still_open = [position for position in newest.values() if not position.is_over]
    over = [position for position in newest.values() if position.is_over]
    assert totals.unrealised_usd == sum(net(position, PRICES[BTC]) for position in still_open)
    assert totals.exposure_usd == sum(exposure(position, PRICES[BTC]) for position in still_open)
    assert totals.realised_usd == sum(realised(position) for position in over)
    assert portfolio.closed == portfolio.remembered == len(over)
    assert sorted(position.id for position in portfolio.open_positions) == sorted(
        position.id for position in still_open
    )


def test_other_quote_currencies_are_valued_at_their_last_price() -> None:
    position = a_position(symbol=XRP_BTC, entry="0.00001", volume="1000", fees="0.00001")
    portfolio = Portfolio(history_max=1, positions=[position], realised_by_quote=[("BTC", D("0.5")), ("USDT", D(3))])

    totals = portfolio.value(PRICES.get, USD)
    assert totals.realised_usd == D("0.5") * D("40000.5") + 3
    assert totals.unrealised_usd == (D("0.01234") - D("0.01") - D("0.00001")) * D("40000.5")
    assert totals.exposure_by_symbol_usd == ((XRP_BTC, D("0.01234") * D("40000.5")),)


def test_what_has_no_price_counts_as_nothing() -> None:
    assert in_account_money(Currency("ETH"), PRICES.get, USD) == 0
    assert in_account_money(Currency("USD"), NO_PRICES.get, USD) == 1
    assert in_account_money(Currency("BTC"), PRICES_IN_USD.get, USD) == 7

    portfolio = Portfolio(history_max=1, positions=[a_position(fees="0.3")])
    totals = portfolio.value(NO_PRICES.get, USD)
    assert (totals.unrealised_usd, totals.exposure_usd) == (D("-0.3"), D(0))


def test_only_so_many_closed_positions_stay_but_all_count() -> None:
    portfolio = Portfolio(history_max=2)
    for name in "abc":
        portfolio.put(a_position(name, exit_volume="1", exit_price="101", status=PositionStatus.CLOSED))

    assert (portfolio.closed, portfolio.remembered) == (3, 2)
    assert portfolio.get(PositionId("a")) is None
    assert portfolio.realised_by_quote() == {"USDT": 3}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 20), st.sampled_from(["set", "drop", "take"]))))
def test_deadlines_come_in_their_order(steps: list[tuple[str, int, str]]) -> None:
    deadlines, naive = Deadlines(), dict[str, int]()
    for name, instant, what in steps:
        if what == "set":
            deadlines.set(PositionId(name), instant)
            naive[name] = instant
        elif what == "drop":
            deadlines.drop(PositionId(name))
            naive.pop(name, None)
        else:
            due = sorted((due, known) for known, due in naive.items() if due <= instant)
            assert deadlines.take_due(instant) == [known for _due, known in due]
            naive = {known: due for known, due in naive.items() if due > instant}
        assert len(deadlines) == len(naive)
        assert deadlines.next_us() == min(naive.values(), default=None)

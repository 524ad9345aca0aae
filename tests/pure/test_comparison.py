"""The account compared with the books: what differs is named with its figures, and counts when it has stood."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order.comparison import Books, Busy, Difference, Resting, Suspicions, What, compare, covers
from messages.base import Currency, ExternalOrderId, OrderId, Symbol
from messages.exchange import AccountReported, Holding
from messages.orders import ExchangeOrder, OrderStatus

BTC, XRP, CROSS = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
SYMBOLS = frozenset((BTC, XRP, CROSS))
OURS = OrderId("0f9f8a53-9f0c-4b5e-8d3a-3a5a7c1d2e4f")
THEIRS = OrderId("OABCDE-12345-FGHIJK")
LAG_US = 60
volumes = st.integers(-20, 20).map(lambda tenths: Decimal(tenths) / 10)
symbols = st.sampled_from(sorted(SYMBOLS))


def an_account(
    margin: dict[Symbol, Decimal] | None = None,
    balances: dict[Currency, Decimal] | None = None,
    orders: tuple[OrderId, ...] = (),
) -> AccountReported:
    """Return what the exchange says."""
    return AccountReported(
        balances=tuple(sorted((balances or {}).items())),
        holdings=tuple(
            Holding(symbol=symbol, volume_base=volume, cost_quote=Decimal(1))
            for symbol, volume in (margin or {}).items()
        ),
        open_orders=tuple(
            ExchangeOrder(
                order_id=order_id,
                external_id=ExternalOrderId("O1"),
                symbol=BTC,
                status=OrderStatus.OPEN,
                volume_base=Decimal(3),
                filled_base=Decimal(1),
                trigger_price_quote=None,
                reason="",
            )
            for order_id in orders
        ),
        at_us=0,
    )


def the_books(**fields: Any) -> Books:
    """Return our side."""
    return attrs.evolve(Books(symbols=SYMBOLS), **fields)


def kinds(account: AccountReported, books: Books) -> list[What]:
    return [one.what for one in compare(account, books)]


def test_nothing_differs_where_nothing_is() -> None:
    assert compare(an_account(), the_books()) == ()


def test_a_difference_says_exactly_what_differs() -> None:
    (one,) = compare(
        an_account({BTC: Decimal("0.3")}), the_books(margin={BTC: Decimal("0.5")}, external={BTC: Decimal("0.1")})
    )

    assert (one.ours_base, one.theirs_base, one.gap_base) == (Decimal("0.6"), Decimal("0.3"), Decimal("-0.3"))
    assert one.text == "BTC/USDT, on margin: our books say 0.6, the exchange says 0.3: -0.3"


@given(ours=st.dictionaries(symbols, volumes), external=st.dictionaries(symbols, volumes))
def test_ours_and_others_together_are_all_there_is(
    ours: dict[Symbol, Decimal], external: dict[Symbol, Decimal]
) -> None:
    """Whatever we hold and whatever others do: if the exchange has their sum, nothing differs."""
    theirs = {symbol: ours.get(symbol, Decimal(0)) + external.get(symbol, Decimal(0)) for symbol in SYMBOLS}
    books = the_books(margin=ours, external=external)

    assert compare(an_account(theirs), books) == ()


@given(ours=volumes, external=st.none() | volumes, theirs=volumes)
def test_a_shortage_is_never_explained(ours: Decimal, external: Decimal | None, theirs: Decimal) -> None:
    """Where others' share is to be learnt, the exchange must still have all of ours; else only the sum will do."""
    found = kinds(an_account({BTC: theirs}), the_books(margin={BTC: ours}, external={BTC: external}))

    if external is None:
        assert found == [What.OTHERS if covers(theirs, ours) else What.MARGIN]
    else:
        assert found == ([] if ours + external == theirs else [What.MARGIN])


@given(ours=volumes, more=volumes)
def test_what_is_learnt_agrees_from_then_on(ours: Decimal, more: Decimal) -> None:
    account = an_account({BTC: ours + more})
    for one in compare(account, the_books(margin={BTC: ours}, external={BTC: None})):
        learnt = the_books(margin={BTC: ours}, external={BTC: one.gap_base})
        assert compare(account, learnt) == () or one.what is What.MARGIN


@given(held=st.dictionaries(symbols, volumes.map(abs)), there=st.integers(0, 60).map(Decimal))
def test_of_coins_only_a_shortage_differs(held: dict[Symbol, Decimal], there: Decimal) -> None:
    needed = sum((volume for symbol, volume in held.items() if symbol != BTC), Decimal(0))
    account = an_account(balances={Currency("XRP"): there, Currency("BTC"): Decimal(1_000)})
    found = compare(account, the_books(coins=held))

    assert {one.symbol for one in found} == (held.keys() - {BTC} if there < needed else set())
    assert all((one.ours_base, one.theirs_base) == (needed, there) for one in found)


def test_other_peoples_pairs_and_orders_are_no_business_of_ours() -> None:
    account = an_account({Symbol("DOGE/EUR"): Decimal(1)}, orders=(THEIRS,))

    assert compare(account, the_books()) == ()


@pytest.mark.parametrize(
    ("there", "resting", "live", "expected"),
    [
        ((OURS,), True, True, []),
        ((), True, True, [What.MISSING]),
        ((), False, True, []),  # On its way.
        ((OURS,), False, True, []),
        ((OURS,), False, False, [What.UNKNOWN]),
    ],
)
def test_orders(there: tuple[OrderId, ...], resting: bool, live: bool, expected: list[What]) -> None:  # noqa: FBT001
    books = the_books(
        resting={OURS: Resting(symbol=BTC, left_base=Decimal(2))} if resting else {}, live={OURS} if live else ()
    )

    found = compare(an_account(orders=there), books)
    assert [one.what for one in found] == expected
    assert all(abs(one.gap_base) == 2 and OURS in one.text for one in found)


# When it counts -----------------------------------------------------------------------------------


def a_difference(theirs: int = 1, symbol: Symbol = BTC, what: What = What.MARGIN) -> Difference:
    return Difference(symbol=symbol, what=what, ours_base=Decimal(0), theirs_base=Decimal(theirs))


def test_a_difference_counts_when_it_has_stood_for_the_lag() -> None:
    suspicions = Suspicions(LAG_US)

    assert suspicions.standing([a_difference()], Busy(()), 0) == ()
    assert suspicions.standing([a_difference()], Busy(()), LAG_US - 1) == ()
    assert suspicions.standing([a_difference()], Busy(()), LAG_US) == (a_difference(),)
    assert suspicions.standing([a_difference()], Busy(()), 10 * LAG_US) == (a_difference(),)


@pytest.mark.parametrize(
    "between",
    [
        ([], Busy(())),
        ([a_difference(2)], Busy(())),
        ([a_difference()], Busy((BTC,))),
    ],
)
def test_whatever_moves_in_between_begins_it_anew(between: tuple[list[Difference], Busy]) -> None:
    suspicions = Suspicions(LAG_US)
    suspicions.standing([a_difference()], Busy(()), 0)
    suspicions.standing(*between, LAG_US // 2)

    assert suspicions.standing([a_difference()], Busy(()), LAG_US) == ()
    assert suspicions.standing([a_difference()], Busy(()), 2 * LAG_US) == (a_difference(),)


def test_coins_are_one_heap_whatever_they_were_bought_with() -> None:
    coins = a_difference(symbol=CROSS, what=What.COINS)

    assert Busy((XRP,)).touches(coins)
    assert not Busy((BTC,)).touches(coins)
    assert not Busy((XRP,)).touches(a_difference(symbol=CROSS))


@given(
    st.lists(
        st.tuples(st.lists(st.builds(a_difference, st.integers(1, 2), symbols), max_size=3), st.sets(symbols)),
        min_size=1,
        max_size=12,
    )
)
def test_what_counts_was_there_at_every_look_of_the_lag(
    looks: list[tuple[list[Difference], set[Symbol]]],
) -> None:
    suspicions, every_us = Suspicions(LAG_US), 25
    for number, (found, busy) in enumerate(looks):
        for one in suspicions.standing(found, Busy(busy), number * every_us):
            within = looks[number - -(-LAG_US // every_us) : number + 1]
            assert number * every_us >= LAG_US
            assert all(one in seen and one.symbol not in moving for seen, moving in within)

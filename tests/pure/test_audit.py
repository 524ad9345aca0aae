"""The audit must be able to fail: each violation is found when it is planted, and none in clean books."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from actors.audit import Books, Flow, Violation, audit, orphans, unprotected
from messages.base import Currency, ExternalOrderId, OrderId, PositionId, ProposalId, Symbol
from messages.exchange import AccountReported, Holding
from messages.market import Instrument
from messages.orders import ExchangeOrder, Order, OrderRole, OrderStatus
from messages.positions import Position, PositionSide, PositionStatus
from messages.trades import Side
from tests.order.values import BTC, a_position, an_instrument, an_order

USDT, COIN = Currency("USDT"), Currency("BTC")
LONG, SPOT, SHORT = PositionId("long"), PositionId("spot"), PositionId("short")
ETH = Symbol("ETH/USDT")
XRP = Symbol("XRP/USDT")
ZERO = Decimal(0)


def instruments() -> dict[Symbol, Instrument]:
    return {
        BTC: an_instrument(),
        ETH: an_instrument(symbol=ETH, base=Currency("ETH"), volume_min_base=Decimal("0.001")),
        XRP: an_instrument(symbol=XRP, base=Currency("XRP"), volume_min_base=Decimal(2)),
    }


def positions() -> tuple[Position, ...]:
    """A long and a short on margin, and coins that were bought."""
    return (
        a_position(id=LONG, entry_base=Decimal("0.5"), entry_cost_quote=Decimal(50_000), fees_quote=Decimal(130)),
        a_position(
            id=SHORT, symbol=ETH, side=PositionSide.SHORT, leverage=3, entry_base=Decimal(2),
            entry_cost_quote=Decimal(8_000), fees_quote=Decimal(20), stop_loss_quote=Decimal(4_200),
            take_profit_quote=None,
        ),
        a_position(
            id=SPOT, symbol=XRP, leverage=1, entry_base=Decimal(100), entry_cost_quote=Decimal(200),
            exit_base=Decimal(40), exit_cost_quote=Decimal(90), fees_quote=Decimal(1), stop_loss_quote=Decimal(1),
        ),
    )  # fmt: skip


def a_live(order_id: str, position_id: PositionId, role: OrderRole, volume: str, symbol: Symbol = BTC) -> Order:
    return an_order(
        id=OrderId(order_id), proposal_id=ProposalId("p"), position_id=position_id, role=role, symbol=symbol,
        volume_base=Decimal(volume),
    )  # fmt: skip


def at_exchange(order_id: str, volume: str, filled: str = "0", symbol: Symbol = BTC) -> ExchangeOrder:
    return ExchangeOrder(
        order_id=OrderId(order_id), external_id=ExternalOrderId(f"X-{order_id}"), symbol=symbol,
        status=OrderStatus.OPEN, volume_base=Decimal(volume), filled_base=Decimal(filled), trigger_price_quote=None,
    )  # fmt: skip


def flow(symbol: Symbol, side: Side, volume: str, cost: str, fees: str) -> Flow:
    return Flow(
        symbol=symbol, side=side, volume_base=Decimal(volume), cost_quote=Decimal(cost), fees_quote=Decimal(fees)
    )


def clean() -> Books:
    """Three positions, a trade that is over (bought 1 for 100, sold for 130, fees 3), and an entry that rests."""
    account = AccountReported(
        balances=((USDT, Decimal(100_000) - 130 - 20 - 200 + 90 - 1 + 30 - 3), (Currency("XRP"), Decimal(60))),
        holdings=(
            Holding(symbol=BTC, volume_base=Decimal("0.5"), cost_quote=Decimal(50_000)),
            Holding(symbol=ETH, volume_base=Decimal(-2), cost_quote=Decimal(8_000)),
        ),
        open_orders=(
            at_exchange("long-stop", "0.5"), at_exchange("long-target", "0.5"),
            at_exchange("short-stop", "2", symbol=ETH), at_exchange("spot-stop", "100", "40", XRP),
            at_exchange("entry", "1"),
        ),
        at_us=1,
    )  # fmt: skip
    return Books(
        account=account,
        initial_balances={USDT: Decimal(100_000)},
        instruments=instruments(),
        flows=(
            flow(BTC, Side.BUY, "0.5", "50000", "130"), flow(ETH, Side.SELL, "2", "8000", "20"),
            flow(XRP, Side.BUY, "100", "200", "0.5"), flow(XRP, Side.SELL, "40", "90", "0.5"),
            flow(BTC, Side.BUY, "1", "100", "1"), flow(BTC, Side.SELL, "1", "130", "2"),
        ),
        live_orders=(
            a_live("long-stop", LONG, OrderRole.STOP, "0.5"), a_live("long-target", LONG, OrderRole.TARGET, "0.5"),
            a_live("short-stop", SHORT, OrderRole.STOP, "2", ETH),
            a_live("spot-stop", SPOT, OrderRole.STOP, "100", XRP),
            a_live("entry", PositionId("none yet"), OrderRole.ENTRY, "1"),
        ),
        open_positions=positions(),
        closed_net={USDT: Decimal(27)},
    )  # fmt: skip


def account_with(books: Books, **changes: Any) -> Books:
    return attrs.evolve(books, account=attrs.evolve(books.account, **changes))


def without_order(books: Books, order_id: str) -> Books:
    return account_with(
        books, open_orders=tuple(order for order in books.account.open_orders if order.order_id != order_id)
    )


def with_order(books: Books, order: ExchangeOrder) -> Books:
    return account_with(books, open_orders=(*books.account.open_orders, order))


def position_changed(books: Books, position_id: PositionId, **changes: Any) -> Books:
    return attrs.evolve(
        books,
        open_positions=tuple(
            attrs.evolve(position, **changes) if position.id == position_id else position
            for position in books.open_positions
        ),
    )


def balance_changed(books: Books, currency: Currency, by: str) -> Books:
    balances = dict(books.account.balances)
    balances[currency] = balances.get(currency, ZERO) + Decimal(by)
    return account_with(books, balances=tuple(balances.items()))


def resized(books: Books, order_id: str, volume: str, filled: str = "0") -> Books:
    kept = without_order(books, order_id)
    return with_order(kept, at_exchange(order_id, volume, filled))


def test_clean_books_have_no_violation() -> None:
    assert audit(clean()) == ()


def test_books_in_which_nothing_ever_happened_are_clean() -> None:
    empty = AccountReported(balances=((USDT, Decimal(5)),), holdings=(), open_orders=(), at_us=1)
    books = Books(
        account=empty, initial_balances={USDT: Decimal(5)}, instruments=instruments(), flows=(), live_orders=(),
        open_positions=(), closed_net={},
    )  # fmt: skip
    assert audit(books) == ()


PLANTED: dict[str, tuple[Callable[[Books], Books], str, str]] = {
    "two orders of one intent": (lambda books: with_order(books, at_exchange("entry", "1")), "I2", "two open orders"),
    "no stop at the exchange": (lambda books: without_order(books, "long-stop"), "I4", "position long is bare"),
    "a stop that only the exchange knows": (
        lambda books: attrs.evolve(
            books, live_orders=tuple(order for order in books.live_orders if order.id != "short-stop")
        ),
        "I4", "position short is bare",
    ),
    "a target is no stop": (
        lambda books: without_order(books, "spot-stop"), "I4", "position spot is bare",
    ),
    "a stop a lot too small": (lambda books: resized(books, "long-stop", "0.49999999"), "I5", "covers 0.49999999"),
    "a stop a lot too large": (lambda books: resized(books, "long-stop", "0.50000001"), "I5", "covers 0.50000001"),
    "a target that does not count what it has filled": (
        lambda books: resized(books, "long-target", "0.5", "0.1"), "I5", "long-target covers 0.4",
    ),
    "an order of nobody": (lambda books: with_order(books, at_exchange("stray", "1")), "I5", "stray protects nothing"),
    "a stop whose position is over": (
        lambda books: attrs.evolve(books, open_positions=books.open_positions[1:]), "I5", "long-stop protects nothing",
    ),
    "money from nowhere": (lambda books: balance_changed(books, USDT, "0.00000001"), "I6", "USDT: we book"),
    "money to nowhere": (lambda books: balance_changed(books, USDT, "-1"), "I6", "USDT: we book"),
    "coins from nowhere": (lambda books: balance_changed(books, Currency("XRP"), "1"), "I6", "XRP: we book"),
    "a currency of its own": (lambda books: balance_changed(books, Currency("DOGE"), "1"), "I6", "DOGE: we book 0"),
    "a holding that we do not know": (
        lambda books: account_with(
            books,
            holdings=(*books.account.holdings, Holding(symbol=XRP, volume_base=Decimal(5), cost_quote=Decimal(10))),
        ),
        "I6", "XRP: we book",
    ),
    "a holding of the other sign": (
        lambda books: account_with(
            books,
            holdings=(
                books.account.holdings[0], Holding(symbol=ETH, volume_base=Decimal(2), cost_quote=Decimal(8_000)),
            ),
        ),
        "I6", "ETH: we book",
    ),
    "a fill that was never booked": (
        lambda books: attrs.evolve(books, flows=books.flows[1:]), "I6", "BTC/USDT: positions hold 0.5, fills left 0",
    ),
    "a fill that was booked twice": (
        lambda books: attrs.evolve(books, flows=(*books.flows, books.flows[1])), "I6", "ETH/USDT: positions hold -2",
    ),
    "a profit that was forgotten": (
        lambda books: attrs.evolve(books, closed_net={}), "I6", "USDT: positions moved",
    ),
    "a position that grew by itself": (
        lambda books: position_changed(books, SHORT, entry_base=Decimal("2.00000001")),
        "I6", "ETH/USDT: positions hold",
    ),
    "a fee that was not counted": (
        lambda books: position_changed(books, LONG, fees_quote=Decimal(129)), "I6", "USDT: positions moved",
    ),
    "an entry at another cost": (
        lambda books: position_changed(books, LONG, entry_cost_quote=Decimal(49_999)), "I6", "USDT: positions moved",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str) -> None:
    plant, invariant, text = PLANTED[name]
    found = audit(plant(clean()))
    assert any(violation.invariant == invariant and text in violation.text for violation in found), found


def kinds_of(found: tuple[Violation, ...]) -> set[str]:
    return {violation.invariant for violation in found}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("two orders of one intent", {"I2"}), ("no stop at the exchange", {"I4"}), ("an order of nobody", {"I5"}),
     ("a stop a lot too small", {"I5"}), ("money from nowhere", {"I6"})],
)  # fmt: skip
def test_nothing_else_is_accused(name: str, expected: set[str]) -> None:
    assert kinds_of(audit(PLANTED[name][0](clean()))) == expected


def test_several_violations_are_all_told() -> None:
    books = balance_changed(with_order(without_order(clean(), "long-stop"), at_exchange("stray", "1")), USDT, "1")
    assert kinds_of(audit(books)) == {"I4", "I5", "I6"}


# What is no violation -------------------------------------------------------------------------------------------


def test_a_bare_position_of_which_a_person_has_been_told_is_watched_locally() -> None:
    books = without_order(clean(), "long-stop")
    assert [position.id for position in unprotected(books)] == [LONG]
    assert audit(attrs.evolve(books, alerted=frozenset({LONG}))) == ()
    assert unprotected(attrs.evolve(books, alerted=frozenset({SHORT}))) != ()


def rounded(by: str) -> Books:
    """Our six fills in USDT, at an exchange that tells four places of it and is so far off."""
    books = clean()
    told = ((name, amount.quantize(Decimal("0.0001"))) for name, amount in books.account.balances)
    flows = tuple(attrs.evolve(flow, trades=1) for flow in books.flows)
    books = attrs.evolve(account_with(books, balances=tuple(told)), flows=flows, is_told_rounded=True)
    return balance_changed(books, USDT, by)


def test_an_exchange_that_rounds_each_booking_has_taken_nothing() -> None:
    """Six trades, two holdings, and the balance at both ends: ten roundings of a ten-thousandth."""
    assert audit(rounded("0.0010")) == ()
    assert audit(attrs.evolve(rounded("0.0010"), is_told_rounded=False)) != ()


@pytest.mark.parametrize("by", ["0.0011", "-0.0011", "1"])
def test_what_no_rounding_explains_is_missing(by: str) -> None:
    assert kinds_of(audit(rounded(by))) == {"I6"}


def test_a_share_of_a_cost_is_as_coarse_as_the_cost() -> None:
    """Half of what was told to five places has been divided here, and has digits that nobody told."""
    half = attrs.evolve(clean().account.holdings[0], cost_quote=Decimal(50_000) + Decimal(1) / 300_000)
    books = account_with(clean(), holdings=(half, *clean().account.holdings[1:]))

    assert audit(attrs.evolve(books, is_told_rounded=True)) == ()
    assert kinds_of(audit(books)) == {"I6"}


def test_zeros_that_are_left_out_do_not_make_a_figure_coarse() -> None:
    """A whole balance is not one that was rounded to whole money."""
    books = attrs.evolve(clean(), is_told_rounded=True)
    assert audit(balance_changed(books, USDT, "0.00000004")) == ()
    assert kinds_of(audit(balance_changed(books, USDT, "0.001"))) == {"I6"}


def test_a_position_that_asked_for_no_stop_owes_none() -> None:
    books = position_changed(without_order(clean(), "long-stop"), LONG, stop_loss_quote=None)
    assert unprotected(books) == ()


def test_a_position_that_is_closing_owes_no_stop_and_no_exact_cover() -> None:
    books = position_changed(without_order(clean(), "long-stop"), LONG, status=PositionStatus.CLOSING)
    assert unprotected(books) == ()
    assert audit(position_changed(resized(clean(), "long-stop", "0.2"), LONG, status=PositionStatus.CLOSING)) == ()


@pytest.mark.parametrize(("volume", "bare"), [("0.00005", 1), ("0.00004999", 0)])
def test_dust_owes_no_stop(volume: str, bare: int) -> None:
    books = position_changed(without_order(clean(), "long-stop"), LONG, entry_base=Decimal(volume))
    assert len(unprotected(books)) == bare


def test_an_order_that_somebody_else_left_is_no_orphan() -> None:
    """It bears the exchange's own id where ours would stand."""
    stray = at_exchange("O-7", "1")
    books = with_order(clean(), attrs.evolve(stray, external_id=ExternalOrderId("O-7")))

    assert orphans(books) == ()
    assert orphans(with_order(clean(), stray)) == (OrderId("O-7"),)


def test_a_resting_entry_is_no_orphan_and_its_volume_is_nobodys_business() -> None:
    assert orphans(clean()) == ()
    assert orphans(resized(clean(), "entry", "7")) == ()

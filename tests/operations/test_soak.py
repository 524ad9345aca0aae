"""The soak, shortened: two real processes, a real database, every fault mixed in, and the engine killed with -9 twice.

The long one is `python -m scripts.soak`. That either can fail is shown with books that do not agree.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest

from persistence.comparison import BookedTrade, Flow, HeldPosition, Ours, SentOrder
from scripts.soak import Wanted, soak
from scripts.soaking.agreement import agreement, equity, protection
from scripts.soaking.trouble import ACTS, STATES, SUDDEN, counted, wire_faults

D = Decimal
TRADES, KILLS = 12, 2


def test_a_short_soak_agrees_to_the_digit() -> None:
    found = soak(Wanted(trades=TRADES, kills=KILLS, seed=7, speed=20, holding_s=120))

    assert found["differences"] == []
    assert found["trades"] >= TRADES
    assert (found["kills"], found["exits"]["-9"]) == (KILLS, KILLS)
    assert found["executions"] >= 2 * TRADES
    assert sum(found["struck"].values()) > TRADES
    assert D(found["equity"]["there"]) == D(found["equity"]["here"])
    assert D(found["equity"]["here"]) < 100_000  # Prices go nowhere, so the fees are lost at least.


def test_a_fault_that_never_struck_is_seen() -> None:
    kinds = {*(str(rule["name"]) for rule in (*wire_faults(5, 500), *SUDDEN, *STATES)), *ACTS}

    assert counted({}, {}) == dict.fromkeys(kinds, 0)
    assert counted({"ws_gap": 2}, {"liquidate": 3})["ws_gap"] == 2


# What is found --------------------------------------------------------------------------------------


OURS_ID = str(UUID("12345678-9abc-4def-8123-456789abcdef"))
EXIT_ID = str(UUID("12345678-9abc-4def-8123-456789abcdee"))
INITIAL = {"USDT": "1000"}


def an_order(id_: str, txid: str, **more: Any) -> dict[str, Any]:
    told = {"cl_ord_id": id_.replace("-", "") or None, "status": "closed", "vol": "1", "vol_exec": "1", "leverage": 1}
    return {"txid": txid, **told, **more}


def a_trade(txid: str, ordertxid: str, side: str, price: str) -> dict[str, Any]:
    return {"txid": txid, "ordertxid": ordertxid, "symbol": "ETH/USDT", "side": side, "price": price} | {
        "vol": "1",
        "fee": "0.5",
    }


BOOKS: dict[str, Any] = {
    "orders": [an_order(OURS_ID, "O1"), an_order(EXIT_ID, "O2")],
    "trades": [a_trade("T1", "O1", "buy", "100"), a_trade("T2", "O2", "sell", "110")],
    "balances": {"ETH": "0", "USDT": "1009"},
    "moved": {},
    "positions": {},
    "equity": "1009",
}
SENT = SentOrder(id=OURS_ID, external_id="O1", position_id="p", role="entry", filled_volume=D(1), is_over=True)
OURS = Ours(
    orders=(SENT, attrs.evolve(SENT, id=EXIT_ID, external_id="O2", role="exit")),
    trades=(
        BookedTrade(trade_id="T1", volume=D(1), fee=D("0.5")),
        BookedTrade(trade_id="T2", volume=D(1), fee=D("0.5")),
    ),
    flows=(Flow(symbol="ETH/USDT", base=D(0), quote=D(9)),),
    results={"ETH/USDT": D(9)},
    held=(),
)


def test_books_that_agree_do() -> None:
    assert agreement(BOOKS, OURS, INITIAL) == []
    assert equity(BOOKS, OURS, INITIAL, {"equity_start": "1000", "equity_end": "1009"}) == (D(1009), D(1009))


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "two orders": (lambda books: books["orders"].append(an_order(OURS_ID, "O3")), "has 2 orders"),
    "not ours": (lambda books: books["orders"].append(an_order(str(UUID(int=4 << 76)), "O3")), "not in our books"),
    "half filled": (lambda books: books["orders"][0].update(vol_exec="0.5"), "has filled 0.5 there, and 1 here"),
    "still open": (lambda books: books["orders"][0].update(status="open"), "is open there, and over here"),
    "not booked": (lambda books: books["trades"].append(a_trade("T3", "O2", "sell", "110")), "0 is booked"),
    "never happened": (lambda books: books["trades"].pop(), "never happened"),
    "dearer": (lambda books: books["trades"][0].update(fee="0.6"), "cost 0.6 there, and 0.5 here"),
    "money": (lambda books: books["balances"].update(USDT="1009.0000000001"), "USDT: 1009.0000000001 there"),
    "coins": (lambda books: books["balances"].update(ETH="0.1"), "ETH: 0.1 there"),
    "position": (lambda books: books["positions"].update({"ETH/USDT": {}}), "a position in ETH/USDT is open there"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_what_does_not_agree_is_found(wrong: str) -> None:
    books = copy.deepcopy(BOOKS)
    spoil, words = WRONG[wrong]
    spoil(books)

    found = agreement(books, OURS, INITIAL)
    assert found
    assert any(words in text for text in found), found


def test_of_a_sale_by_somebody_else_only_what_closed_ours_is_in_our_books() -> None:
    books = copy.deepcopy(BOOKS)
    books["orders"][1] |= {"cl_ord_id": None, "vol": "3", "vol_exec": "3"}
    books["trades"][1] |= {"vol": "3", "fee": "1.5"}
    books["balances"] = {"ETH": "-2", "USDT": "1228"}

    assert agreement(books, OURS, INITIAL) == []


def test_of_coins_that_two_have_sold_one_sale_is_in_our_books() -> None:
    """The person's sale comes first there, ours was heard first here: it is all one, but not that both count."""
    books = copy.deepcopy(BOOKS)
    books["orders"].append(an_order("", "O3"))
    books["trades"].insert(1, a_trade("T3", "O3", "sell", "105"))
    books["orders"][-1]["cl_ord_id"] = None
    books["balances"] = {"ETH": "-1", "USDT": "1113.5"}
    both = (*OURS.trades, BookedTrade(trade_id="T3", volume=D(1), fee=D("0.5")))

    assert agreement(books, OURS, INITIAL) == []
    assert "1 ETH/USDT too much is booked as sold" in agreement(books, attrs.evolve(OURS, trades=both), INITIAL)


def test_bare_positions_and_orphaned_orders_are_found() -> None:
    held = HeldPosition(id="p", symbol="ETH/USDT", volume=D(1), wants_stop=True)
    stop = attrs.evolve(SENT, role="stop", is_over=False)
    books = {"orders": [an_order(OURS_ID, "O1", status="open", vol_exec="0")]}

    assert protection(books, attrs.evolve(OURS, orders=(stop,), held=(held,))) == []
    [bare] = protection({"orders": []}, attrs.evolve(OURS, orders=(stop,), held=(held,)))
    [too_small] = protection(books, attrs.evolve(OURS, orders=(stop,), held=(attrs.evolve(held, volume=D(2)),)))
    [orphan] = protection(books, attrs.evolve(OURS, orders=(stop,), held=()))
    assert ("bare" in bare, "bare" in too_small, "orphaned" in orphan) == (True, True, True)

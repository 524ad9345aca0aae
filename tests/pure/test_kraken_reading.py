"""What an exchange may tell in another way than ours does, or leave out, and is understood all the same."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from actors.exchange.kraken.executions import Executions
from actors.exchange.kraken.notation import moment_us
from actors.exchange.kraken.pairs import PairError, read_pairs
from actors.exchange.kraken.records import balances_of, fill_of
from actors.exchange.kraken.socket import address
from config.loader import load_settings
from messages.base import Currency, Symbol
from messages.orders import ExecutionReported

BTC = Symbol("BTC/USDT")
WANTED = {BTC: load_settings().execution.instruments[BTC]}
LISTED: Mapping[str, Any] = {
    "altname": "XBTUSDT", "wsname": "XBT/USDT", "base": "XXBT", "quote": "USDT", "pair_decimals": 1, "lot_decimals": 8,
    "tick_size": "0.5", "ordermin": "0.0001", "costmin": "1", "leverage_buy": [2, 3], "leverage_sell": [2, 3],
    "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
}  # fmt: skip
NEW: Mapping[str, Any] = {
    "order_id": "O-1", "exec_type": "pending_new", "symbol": BTC, "side": "buy", "order_qty": Decimal(1),
    "cl_ord_id": "0" * 32,
}  # fmt: skip
TRADE: Mapping[str, Any] = {
    "order_id": "O-1", "exec_type": "trade", "exec_id": "T-1", "last_qty": Decimal("0.5"), "last_price": Decimal(100),
    "fees": [{"asset": "USDT", "qty": Decimal("0.2")}], "timestamp": "2026-11-23T04:39:13.5Z",
}  # fmt: skip

# Instants -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-11-23T04:39:13Z", 0),
        ("2026-11-23T04:39:13.1z", 100_000),
        ("2026-11-23T04:39:13.123+00:00", 123_000),
        ("2026-11-23T05:39:13.123456+01:00", 123_456),
        ("2026-11-23T04:39:13.123456789Z", 123_456),
        ("2026-11-23T04:39:13.123456", 123_456),
    ],
)
def test_an_instant_is_read_with_any_fraction_and_offset(text: str, micros: int) -> None:
    assert moment_us(text) == 1_795_408_753_000_000 + micros


# Pairs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LISTED, "nothing"])
def test_a_listing_may_leave_out_what_our_own_file_says(name: str) -> None:
    told = {key: value for key, value in LISTED.items() if key != name}
    pair = read_pairs({"XBTUSDT": told}, WANTED).all[0]
    ours, listed = WANTED[BTC], pair.instrument

    assert pair.altname == "XBTUSDT"
    assert listed.volume_min_base == (ours.volume_min_base if name == "ordermin" else Decimal("0.0001"))
    assert listed.notional_min_quote == (ours.notional_min_quote if name == "costmin" else Decimal(1))
    assert listed.price_tick_quote == Decimal("0.1" if name == "tick_size" else "0.5")
    assert listed.lot_step_base == Decimal("0.00000001")


@pytest.mark.parametrize("altname", ["XBTUSDT", "BTCUSDT"])
def test_a_pair_without_a_name_for_the_websocket_is_known_by_its_altname(altname: str) -> None:
    told = {"altname": altname, "pair_decimals": 1, "lot_decimals": 8}
    assert read_pairs({"SOLUSDT": {"altname": "SOLUSDT"}, "XBTUSDT": told}, WANTED).all[0].symbol == BTC


def test_a_figure_that_makes_no_sense_is_not_replaced() -> None:
    with pytest.raises(PairError, match="BTC/USDT"):
        read_pairs({"XBTUSDT": {**LISTED, "ordermin": "little"}}, WANTED)


@pytest.mark.parametrize("asset", ["XXBT", "XBT", "BTC", "XXBT.F"])
def test_a_balance_is_known_by_any_name_of_its_asset(asset: str) -> None:
    pairs = read_pairs({"XBTUSDT": LISTED}, WANTED)
    assert balances_of({asset: "2", "KFEE": "9"}, pairs) == {Currency("BTC"): Decimal(2)}


# Fees -----------------------------------------------------------------------------------------------


def heard(trade: Mapping[str, Any]) -> tuple[list[Decimal], int]:
    """Return the fees of the trades that were understood, and how many were not."""
    executions = Executions(read_pairs({"XBTUSDT": LISTED}, WANTED))
    told = executions.hear({"type": "update", "data": [NEW, trade], "sequence": 1})
    fills = [event.fill for event in told.events if isinstance(event, ExecutionReported)]
    return [fill.fee_quote for fill in fills], len(told.unclear)


@pytest.mark.parametrize(
    ("asset", "fee"), [("USDT", "0.2"), ("USDT.F", "0.2"), (None, "0.2"), ("BTC", "20"), ("XXBT", "20")]
)
def test_a_fee_is_in_the_quote_currency_unless_it_is_told_in_the_base(asset: str | None, fee: str) -> None:
    told = {"asset": asset, "qty": Decimal("0.2")}
    assert heard({**TRADE, "fees": [told]}) == ([Decimal(fee)], 0)


def test_a_trade_whose_fee_is_not_told_is_asked_for_and_not_free() -> None:
    assert heard({name: value for name, value in TRADE.items() if name != "fees"}) == ([], 1)
    assert heard({**TRADE, "fees": []}) == ([Decimal(0)], 0)


# Margin ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "is_margin"),
    [
        ({}, False),
        ({"margin": "0.00000", "misc": "", "leverage": "0"}, False),
        ({"margin": "12.5"}, True),
        ({"leverage": "3"}, True),
        ({"margin": "0.00000", "misc": "closing"}, True),
        ({"posstatus": "open"}, True),
    ],
)
def test_a_trade_on_margin_is_known_by_any_of_its_marks(told: Mapping[str, str], *, is_margin: bool) -> None:
    row = {"ordertxid": "O-1", "pair": "XBTUSDT", "type": "sell", "price": "1", "vol": "1", "time": 1.5, **told}
    fill = fill_of("T-1", row, read_pairs({"XBTUSDT": LISTED}, WANTED), {})
    assert fill is not None
    assert fill.is_margin is is_margin


# Numbers --------------------------------------------------------------------------------------------


def gaps(told: str) -> str:
    """Return the messages after which something is missing: `e3` is the third of executions, `b3` of balances."""
    executions = Executions(read_pairs({"XBTUSDT": LISTED}, WANTED))
    found = []
    for name in told.split():
        if name[0] == "b":
            executions.hear_elsewhere(int(name[1:]))
        elif executions.hear({"type": "update", "data": [], "sequence": int(name[1:])}).has_gap:
            found.append(name)
    return " ".join(found)


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("e1 b1 e2 b2 e3", ""),
        ("e1 b1 e3", "e3"),
        ("e1 b1 b2 e2 b3 e4", "e4"),
        ("e1 b1 e2 b2 b3 b4 e4", "e4"),
        ("b1 e1 b2 e3", "e3"),
        ("e1 e1 e2 e2 e3", ""),
        ("e1 e3 e2 e4", "e3"),
        ("e1 b2 e3 b4 b5 e6", ""),
        ("b1 e2 b3 e4", ""),
        ("e1 b2 e4", "e4"),
        ("e1 b2 e3 e4 b6 e7", "e7"),
    ],
)
def test_numbers_may_go_by_channel_or_by_line_and_a_gap_is_one_in_both(told: str, found: str) -> None:
    assert gaps(told) == found


# Addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "spoken_at"),
    [
        ("ws://127.0.0.1:1", "ws://127.0.0.1:1/v2"),
        ("ws://127.0.0.1:1/", "ws://127.0.0.1:1/v2"),
        ("ws://127.0.0.1:1/v2", "ws://127.0.0.1:1/v2"),
        ("ws://127.0.0.1:1/ws", "ws://127.0.0.1:1/ws"),
        ("ws://127.0.0.1:1/kraken/v2/", "ws://127.0.0.1:1/kraken/v2"),
    ],
)
def test_version_two_is_spoken_where_the_address_says_or_where_kraken_has_it(url: str, spoken_at: str) -> None:
    assert address(url) == spoken_at

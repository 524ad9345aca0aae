"""REST answers as Kraken does: who may ask, what an order must look like, every endpoint, pages, times and amounts."""

from __future__ import annotations

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from actors.exchange.wire.private import PRIVATE
from actors.exchange.wire.public import PUBLIC
from tests.wire.stage import Stage

D = Decimal


# Who may ask ----------------------------------------------------------------------------------------


def signed_as(stage: Stage, key: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(stage.server, "key", key)
    monkeypatch.setattr(stage.server, "secret", secret)
    return stage.refused("Balance")


def test_a_wrong_key_or_signature_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = stage.server.key, stage.server.secret
    assert signed_as(stage, "nobody", secret, monkeypatch) == "EAPI:Invalid key"
    assert signed_as(stage, key, "d3Jvbmc=", monkeypatch) == "EAPI:Invalid signature"
    monkeypatch.setattr(stage.server, "secret", secret)
    assert stage.ask("Balance")["USDT"] == "50000.0000000000"


def test_a_request_without_a_key_is_refused(stage: Stage) -> None:
    answer = requests.post(f"{stage.server.rest_url}/0/private/Balance", data={"nonce": 1}, timeout=5)
    assert answer.json() == {"error": ["EAPI:Invalid key"]}


def test_a_nonce_must_rise(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.ask("Balance")
    for nonce in (stage._nonce, stage._nonce - 1, "x", "-1", ""):
        monkeypatch.setattr(stage, "nonce", lambda nonce=nonce: str(nonce))
        assert stage.refused("Balance") == "EAPI:Invalid nonce"
    monkeypatch.undo()
    stage.ask("Balance")


def test_a_body_is_signed_as_it_is(stage: Stage) -> None:
    """One changed sign after signing, and it is refused: nobody may change an order on its way."""

    def meddle(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.body = str(request.body).replace("0.01", "0.09")
        return request

    stage._sessions[0].auth = meddle
    assert stage.refused("AddOrder", pair="XBTUSDT", volume="0.01") == "EAPI:Invalid signature"
    assert stage.orders() == []


def test_a_key_for_trading_may_not_withdraw(stage: Stage) -> None:
    assert stage.refused("WithdrawMethods") == "EGeneral:Permission denied"
    assert "withdraw-funds" not in stage.ask("GetApiKeyInfo")["permissions"]


def test_a_key_that_may_withdraw_says_so() -> None:
    stage = Stage(permissions=frozenset({"withdraw-funds"}))
    try:
        assert stage.ask("WithdrawMethods") == []
        assert stage.ask("GetApiKeyInfo") == {"permissions": ["withdraw-funds"]}
    finally:
        stage.close()


def test_an_endpoint_that_is_not_there_is_unknown(stage: Stage) -> None:
    assert stage.refused("Ledgers") == "EGeneral:Unknown method"
    assert stage.get("/0/public/Nothing") == {"error": ["EGeneral:Unknown method"]}


# What an order must look like -----------------------------------------------------------------------

BAD_ORDERS: list[tuple[dict[str, Any], str]] = [
    ({"pair": "XBTEUR"}, "EQuery:Unknown asset pair"),
    ({"pair": None}, "EQuery:Unknown asset pair"),
    ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
    ({"ordertype": "stop-loss-market"}, "EGeneral:Invalid arguments:ordertype"),
    ({"ordertype": "trailing-stop"}, "EGeneral:Invalid arguments:ordertype"),
    ({"volume": None}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "-1"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "NaN"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "0.000000001"}, "EGeneral:Invalid arguments:volume"),
    ({"volume": "0.00001"}, "EOrder:Order minimum not met"),
    ({"volume": "0.0001", "price": "10"}, "EOrder:Cost minimum not met"),
    ({"price": None}, "EGeneral:Invalid arguments:price"),
    ({"price": "0"}, "EGeneral:Invalid arguments:price"),
    ({"price": "99000.12"}, "EOrder:Invalid price:XBT/USDT price can only be specified up to 1 decimals."),
    ({"ordertype": "stop-loss", "price": None}, "EGeneral:Invalid arguments:price"),
    ({"ordertype": "stop-loss", "price2": "90000"}, "EOrder:Invalid price:Invalid secondary price argument"),
    ({"ordertype": "take-profit", "price2": "90000"}, "EOrder:Invalid price:Invalid secondary price argument"),
    ({"ordertype": "stop-loss-limit"}, "EOrder:Invalid price:Invalid secondary price argument"),
    ({"ordertype": "stop-loss-limit", "price2": "x"}, "EGeneral:Invalid arguments:price2"),
    ({"leverage": "many"}, "EGeneral:Invalid arguments:leverage"),
    ({"leverage": "6"}, "EGeneral:Invalid arguments:leverage"),
    ({"reduce_only": True}, "EGeneral:Invalid arguments:reduce_only"),
    (
        {"ordertype": "market", "price": None, "leverage": "2", "reduce_only": True},
        "EOrder:Reduce only:No position exists",
    ),
    ({"oflags": "fast"}, "EGeneral:Invalid arguments:oflags"),
    ({"ordertype": "market", "price": None, "oflags": "post"}, "EGeneral:Invalid arguments:oflags"),
    ({"oflags": "viqc"}, "EGeneral:Invalid arguments:oflags"),
    ({"timeinforce": "FOK"}, "EGeneral:Invalid arguments:timeinforce"),
    ({"timeinforce": "GTD"}, "EGeneral:Invalid arguments:expiretm"),
    ({"timeinforce": "GTD", "expiretm": "+4"}, "EGeneral:Invalid arguments:expiretm"),
    ({"timeinforce": "GTD", "expiretm": "1000"}, "EGeneral:Invalid arguments:expiretm"),
    ({"starttm": "+60"}, "EGeneral:Invalid arguments:starttm"),
    ({"trigger": "index"}, "EGeneral:Invalid arguments:Index unavailable"),
    ({"close[ordertype]": "limit"}, "EGeneral:Invalid arguments:close"),
    ({"deadline": "soon"}, "EGeneral:Invalid arguments:deadline"),
    ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
    ({"deadline": "2099-01-01T00:00:00Z"}, "EGeneral:Invalid arguments:deadline"),
    ({"cl_ord_id": "UPPER"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"cl_ord_id": "nineteen-characters"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"cl_ord_id": "a", "userref": "1"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"userref": "1.5"}, "EGeneral:Invalid arguments:userref"),
    ({"userref": str(2**31)}, "EGeneral:Invalid arguments:userref"),
    ({"volume": "1"}, "EOrder:Insufficient funds"),
    ({"type": "sell", "volume": "1.1"}, "EOrder:Insufficient funds"),
    ({"volume": "10", "leverage": "5"}, "EOrder:Insufficient margin"),
]


@pytest.mark.parametrize(("wrong", "error"), BAD_ORDERS, ids=lambda value: str(value)[:60])
def test_a_wrong_order_is_refused_in_kraken_s_words(stage: Stage, wrong: dict[str, Any], error: str) -> None:
    order = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "99000"} | wrong
    assert stage.refused("AddOrder", **{name: value for name, value in order.items() if value is not None}) == error
    assert stage.orders() == []


@pytest.mark.parametrize("name", ["XBTUSDT", "XBT/USDT", "BTC/USDT", "BTCUSDT"])
def test_a_pair_has_several_names(stage: Stage, name: str) -> None:
    assert stage.places(pair=name)


@pytest.mark.parametrize(
    ("price", "shown"), [("-1000", "99000.0"), ("-1%", "99000.0"), ("#500", "99500.0"), ("+10%", "110000.0")]
)
def test_a_price_may_be_a_distance_from_the_last_one(stage: Stage, price: str, shown: str) -> None:
    order = stage.ask(
        "AddOrder", pair="XBTUSDT", type="buy", ordertype="limit", volume="0.01", price=price, validate=True
    )
    assert order == {"descr": {"order": f"buy 0.01000000 XBTUSDT @ limit {shown}"}}


def test_validating_places_nothing(stage: Stage) -> None:
    order = {"pair": "XBTUSDT", "type": "buy", "ordertype": "market", "volume": "0.01", "validate": "true"}
    assert stage.ask("AddOrder", **order) == {"descr": {"order": "buy 0.01000000 XBTUSDT @ market"}}
    assert stage.refused("AddOrder", **order | {"volume": "5"}) == "EOrder:Insufficient funds"
    assert stage.orders() == []


def test_trigger_and_limit_stand_where_kraken_wants_them(stage: Stage) -> None:
    """X4: the trigger goes in price and the limit in price2, and that is how they come back."""
    txid = stage.places(type="sell", ordertype="stop-loss-limit", price="95000", price2="94000")
    row = stage.ask("QueryOrders", txid=txid)[txid]
    assert (row["descr"]["price"], row["descr"]["price2"]) == ("95000.0", "94000.0")
    assert row["descr"]["order"] == "sell 0.01000000 XBTUSDT @ stop loss 95000.0 -> limit 94000.0"
    assert (row["stopprice"], row["price"], row["trigger"]) == ("0.000000", "0.00000", "last")
    stage.tick("94500")
    row = stage.ask("QueryOrders", txid=txid, trades=True)[txid]
    assert (row["status"], row["stopprice"], row["misc"], row["price"]) == ("closed", "95000.0", "stopped", "94500.0")
    assert len(row["trades"]) == 1


def test_a_client_id_is_unique_among_open_orders_only(stage: Stage) -> None:
    client_id = str(uuid.uuid4())
    first = stage.places(cl_ord_id=client_id)
    again = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "99000"}
    assert stage.refused("AddOrder", **again, cl_ord_id=client_id) == (
        "EGeneral:Invalid arguments:cl_ord_id not unique"
    )
    assert stage.ask("CancelOrder", cl_ord_id=client_id) == {"count": 1}
    second = stage.places(cl_ord_id=client_id)
    stage.ask("CancelOrder", txid=second)
    closed = stage.ask("ClosedOrders", cl_ord_id=client_id)
    assert (set(closed["closed"]), closed["count"]) == ({first, second}, 2)


def test_a_post_only_order_that_would_trade_is_cancelled(stage: Stage) -> None:
    txid = stage.places(price="100001", oflags="post")
    row = stage.ask("ClosedOrders")["closed"][txid]
    assert (row["status"], row["reason"], row["vol_exec"], row["oflags"]) == (
        "canceled",
        "Post only order",
        "0.00000000",
        "post,fciq",
    )
    resting = stage.places(price="99000", oflags="post")
    assert resting in stage.ask("OpenOrders")["open"]


def test_money_can_be_the_volume_of_a_market_buy(stage: Stage) -> None:
    txid = stage.places(ordertype="market", price=None, volume="250", oflags="viqc")
    assert stage.ask("QueryOrders", txid=txid)[txid]["vol_exec"] == "0.00250000"


def test_no_volume_closes_the_whole_position(stage: Stage) -> None:
    stage.places(ordertype="market", price=None, volume="0.03", leverage="3")
    stage.places(type="sell", ordertype="market", price=None, volume="0", leverage="3")
    assert stage.books()["positions"] == {}


def test_an_opposite_order_that_is_larger_turns_the_position(stage: Stage) -> None:
    stage.places(ordertype="market", price=None, volume="0.01", leverage="3")
    stage.tick("101000")
    stage.places(type="sell", ordertype="market", price=None, volume="0.03", leverage="2")
    [row] = stage.ask("OpenPositions", docalcs=True).values()
    assert (row["type"], row["vol"], row["vol_closed"], row["net"]) == ("sell", "0.02000000", "0.00000000", "+0.00000")
    assert D(stage.books()["balances"]["USDT"]) == 50_000 - 4 + 10 - D("12.12")


def test_an_order_may_expire(stage: Stage) -> None:
    txid = stage.places(timeinforce="GTD", expiretm="+10")
    stage.passes(9)
    assert stage.ask("OpenOrders")["open"][txid]["expiretm"] > 0
    stage.passes(1)
    assert stage.ask("ClosedOrders")["closed"][txid]["status"] == "expired"


# Amend and cancel -----------------------------------------------------------------------------------


def test_amending_moves_limit_trigger_and_volume_in_place(stage: Stage) -> None:
    limit = stage.places(cl_ord_id="mine")
    stop = stage.places(type="sell", ordertype="stop-loss", price="95000")
    assert stage.ask("AmendOrder", cl_ord_id="mine", limit_price="98000.5", order_qty="0.02")["amend_id"]
    assert stage.ask("AmendOrder", txid=stop, trigger_price="96000")["amend_id"]
    rows = stage.ask("OpenOrders")["open"]
    assert (rows[limit]["descr"]["price"], rows[limit]["vol"], rows[limit]["misc"]) == (
        "98000.5",
        "0.02000000",
        "amended",
    )
    assert rows[stop]["descr"]["price"] == "96000.0"
    assert D(stage.ask("BalanceEx")["USDT"]["hold_trade"]) == D("0.02") * D("98000.5") * D("1.004")


def test_what_cannot_be_amended_is_refused(stage: Stage) -> None:
    limit = stage.places()
    stop = stage.places(type="sell", ordertype="stop-loss", price="95000")
    assert stage.refused("AmendOrder", txid=stop, limit_price="94000") == "EOrder:Invalid limit price"
    assert stage.refused("AmendOrder", txid=limit, trigger_price="94000") == "EGeneral:Invalid arguments:price"
    assert stage.refused("AmendOrder", txid=limit) == "EGeneral:Invalid arguments:order_qty"
    assert stage.refused("AmendOrder", txid=limit, order_qty="0.6") == "EOrder:Insufficient funds"
    assert stage.refused("AmendOrder", txid=limit, limit_price="98000.55").startswith("EOrder:Invalid price:")
    stage.ask("CancelOrder", txid=limit)
    assert stage.refused("AmendOrder", txid=limit, order_qty="0.02") == "EOrder:Unknown order"
    assert stage.refused("EditOrder", txid=stop, volume="1").endswith("use AmendOrder")


def test_an_order_amended_below_what_has_filled_is_over(stage: Stage) -> None:
    stage.fault("first_share", share_pct="50")
    txid = stage.places(price="100000", volume="0.02")
    assert stage.ask("OpenOrders")["open"][txid]["vol_exec"] == "0.01000000"
    stage.ask("AmendOrder", txid=txid, order_qty="0.01")
    row = stage.ask("ClosedOrders")["closed"][txid]
    assert (row["status"], row["vol_exec"]) == ("canceled", "0.01000000")


def test_a_cancel_tells_what_is_gone_from_what_never_was(stage: Stage) -> None:
    txid = stage.places()
    assert stage.ask("CancelOrder", txid=txid) == {"count": 1}
    assert stage.refused("CancelOrder", txid=txid) == "EOrder:Unknown order"
    assert stage.refused("CancelOrder", txid="OAAAAA-AAAAA-AAAAAA") == "EOrder:Invalid order"
    assert stage.refused("CancelOrder", txid="nonsense") == "EOrder:Invalid order"
    assert stage.refused("CancelOrder", cl_ord_id="never") == "EOrder:Unknown order"
    assert stage.refused("CancelOrder") == "EGeneral:Invalid arguments:txid"


def test_orders_are_cancelled_by_reference_and_all_together(stage: Stage) -> None:
    for _ in range(2):
        stage.places(userref="7")
    rest = stage.places(userref="8")
    assert stage.ask("CancelOrder", txid="7") == {"count": 2}
    assert list(stage.ask("OpenOrders", userref="8")["open"]) == [rest]
    assert stage.ask("CancelOrderBatch", orders=[rest, "OAAAAA-AAAAA-AAAAAA"]) == {"count": 1}
    stage.places(cl_ord_id="one")
    stage.places()
    assert stage.ask("CancelOrderBatch", orders=[], cl_ord_ids=["one"]) == {"count": 1}
    assert stage.ask("CancelAll") == {"count": 1}


def test_the_dead_man_s_switch_fires_unless_it_is_fed_or_turned_off(stage: Stage) -> None:
    txid = stage.places()
    stage.ask("CancelAllOrdersAfter", timeout=60)
    stage.passes(59)
    stage.ask("CancelAllOrdersAfter", timeout=60)
    stage.passes(59)
    assert stage.ask("CancelAllOrdersAfter", timeout=0)["triggerTime"] == "0"
    stage.passes(100)
    assert txid in stage.ask("OpenOrders")["open"]
    stage.ask("CancelAllOrdersAfter", timeout=1)
    stage.passes(1)
    assert stage.ask("OpenOrders") == {"open": {}}
    assert stage.refused("CancelAllOrdersAfter", timeout=86_400) == "EGeneral:Invalid arguments:timeout"


# Reading --------------------------------------------------------------------------------------------


def test_pages_hold_fifty_and_the_newest_come_first(stage: Stage) -> None:
    txids = []
    for _ in range(53):
        stage.passes(1)
        txids.append(stage.places(ordertype="market", price=None, volume="0.0001"))
    first, second = stage.ask("ClosedOrders"), stage.ask("ClosedOrders", ofs=50)
    assert [*first["closed"], *second["closed"]] == txids[::-1]
    assert (len(first["closed"]), first["count"]) == (50, 53)
    first, second = stage.ask("TradesHistory"), stage.ask("TradesHistory", ofs=50, without_count=True)
    assert [row["ordertxid"] for page in (first, second) for row in page["trades"].values()] == txids[::-1]
    assert (first["count"], "count" in second) == (53, False)


def test_the_start_of_a_history_is_exclusive_and_its_end_inclusive(stage: Stage) -> None:
    times = []
    for _ in range(4):
        stage.passes(10)
        stage.places(ordertype="market", price=None, volume="0.0001")
        times.append(D(stage.clock.now_us()).scaleb(-6))
    trades = stage.ask("TradesHistory", start=str(times[0]), end=str(times[2]))["trades"]
    assert [row["time"] for row in trades.values()] == [times[2], times[1]]
    closed = stage.ask("ClosedOrders", start=str(times[0]), end=str(times[2]), closetime="close")["closed"]
    assert [row["closetm"] for row in closed.values()] == [times[2], times[1]]
    [oldest] = [txid for txid, row in stage.ask("TradesHistory")["trades"].items() if row["time"] == times[0]]
    assert len(stage.ask("TradesHistory", start=oldest)["trades"]) == 3


def test_trades_are_told_by_kind(stage: Stage) -> None:
    stage.places(ordertype="market", price=None)
    stage.places(ordertype="market", price=None, leverage="2")
    stage.places(ordertype="market", price=None, leverage="2", type="sell", reduce_only=True)
    counts = {kind: stage.ask("TradesHistory", type=kind)["count"] for kind in ("all", "any position", "no position")}
    assert counts == {"all": 3, "any position": 1, "no position": 1}
    [closing] = stage.ask("TradesHistory", type="closing position")["trades"].values()
    assert (closing["misc"], closing["margin"]) == ("closing", "500.00000")
    [opening] = stage.ask("TradesHistory", type="closed position")["trades"].values()
    assert opening["posstatus"] == "closed"


def test_ids_that_never_were_are_refused_and_lists_are_bounded(stage: Stage) -> None:
    assert stage.refused("QueryOrders", txid="OAAAAA-AAAAA-AAAAAA") == "EOrder:Invalid order"
    assert stage.refused("QueryOrders") == "EGeneral:Invalid arguments:txid"
    assert stage.refused("QueryOrders", txid=",".join(["O"] * 51)) == "EGeneral:Invalid arguments:txid"
    assert stage.refused("QueryTrades", txid="TAAAAA-AAAAA-AAAAAA") == "EOrder:Invalid trade"
    assert stage.refused("QueryTrades", txid=",".join(["T"] * 21)) == "EGeneral:Invalid arguments:txid"


def test_a_query_may_be_narrowed_to_a_client_id(stage: Stage) -> None:
    one, other = stage.places(cl_ord_id="one"), stage.places(cl_ord_id="other")
    assert list(stage.ask("QueryOrders", txid=f"{one},{other}", cl_ord_id="other")) == [other]


def test_positions_are_told_lot_by_lot_or_merged(stage: Stage) -> None:
    stage.places(ordertype="market", price=None, volume="0.01", leverage="5")
    stage.tick("102000")
    stage.places(ordertype="market", price=None, volume="0.03", leverage="5")
    stage.places(type="sell", ordertype="market", price=None, volume="0.02", leverage="5", reduce_only=True)
    [lot] = stage.ask("OpenPositions", docalcs=True).values()
    assert (lot["vol"], lot["vol_closed"], lot["cost"], lot["value"]) == (
        "0.03000000",
        "0.01000000",
        "3060.00000",
        "2040.00000",
    )
    [merged] = stage.ask("OpenPositions", consolidation="market")
    assert (merged["positions"], merged["vol"], merged["leverage"]) == ("1", "0.03000000", "5.00")
    balance = stage.ask("TradeBalance")
    assert (balance["m"], balance["n"], balance["c"]) == ("408.0000", "0.0000", "2040.0000")
    assert D(balance["ml"]) == (D(balance["e"]) / D(balance["m"]) * 100).quantize(D("0.0001"))


def test_a_tick_that_breaks_the_margin_liquidates() -> None:
    poor = Stage(balances={"USDT": D(1000)})
    try:
        poor.tick("100000")
        poor.places(ordertype="market", price=None, volume="0.04", leverage="5")
        poor.tick("70000")
        assert poor.ask("OpenPositions") == {}
        liquidation = next(iter(poor.ask("TradesHistory")["trades"].values()))
        assert "liquidated" in liquidation["misc"]
        row = poor.ask("QueryOrders", txid=liquidation["ordertxid"])[liquidation["ordertxid"]]
        assert (row["misc"], row["status"], row["vol"], row["vol_exec"]) == (
            "liquidated",
            "closed",
            "0.04000000",
            "0.04000000",
        )
        assert "cl_ord_id" not in row
    finally:
        poor.close()


def test_every_endpoint_is_called_in_these_tests() -> None:
    """A new endpoint must be tried somewhere."""
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    by_the_sdk = {"AddOrderBatch", "QueryTrades", "TradeVolume", "Balance", "SystemStatus", "Assets"}
    tried = {name for name in (*PRIVATE, *PUBLIC) if f'"{name}"' in text or f"public/{name}" in text}
    assert set(PRIVATE) | set(PUBLIC) == tried | by_the_sdk


def test_what_anybody_may_ask(stage: Stage) -> None:
    assert stage.get("/0/public/Time")["result"]["unixtime"] == stage.clock.now_us() // 10**6
    assert stage.get("/0/public/SystemStatus")["result"]["status"] == "online"
    assert stage.get("/0/public/Assets", asset="XBT")["result"]["XXBT"]["status"] == "enabled"
    assert stage.get("/0/public/Assets", asset="NOPE") == {"error": ["EQuery:Unknown asset"]}
    pairs = stage.get("/0/public/AssetPairs")["result"]
    assert set(pairs) == {"XBTUSDT", "XRPUSDT", "XXRPXXBT"}
    assert pairs["XBTUSDT"]["fees"] == [[0, D("0.40")]]
    assert (pairs["XXRPXXBT"]["wsname"], pairs["XXRPXXBT"]["tick_size"]) == ("XRP/XBT", "0.00000001")
    assert stage.get("/0/public/AssetPairs", pair="NOPE") == {"error": ["EQuery:Unknown asset pair"]}
    assert list(stage.get("/0/public/Ticker")["result"]) == ["XBTUSDT"]
    stage.places(ordertype="market", price=None)
    assert len(stage.get("/0/public/Trades", pair="XBTUSDT")["result"]["XBTUSDT"]) == 1


def test_without_a_price_there_is_no_market(stage: Stage) -> None:
    order = {"pair": "XRPUSDT", "type": "buy", "ordertype": "limit", "volume": "10", "price": "2"}
    assert stage.refused("AddOrder", **order) == "EService:Unavailable"

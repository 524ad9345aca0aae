"""The websocket speaks as Kraken's: acknowledgements, snapshots, sparse updates with numbers, tokens, heartbeats."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.wire.stage import BTC_USDT, Ear, Stage

D = Decimal


def by_type(rows: list[dict[str, Any]]) -> list[str]:
    return [row["exec_type"] for row in rows]


def test_it_greets_with_its_state_and_answers_pings(stage: Stage) -> None:
    with stage.hears() as ear:
        [status] = ear.data("status")["data"]
        assert (status["system"], status["api_version"]) == ("online", "v2")
        ear.says(method="ping", req_id=77)
        pong = ear.next(lambda message: message.get("method") == "pong")
        assert (pong["req_id"], pong["time_in"] <= pong["time_out"]) == (77, True)


@pytest.mark.parametrize("path", ["/v2", "/auth/v2", "/pub/v2"])
def test_public_and_private_may_have_faces_of_their_own(stage: Stage, path: str) -> None:
    with stage.hears("executions", path=path) as ear:
        assert ear.data()["type"] == "snapshot"


def test_an_order_is_told_once_in_full_and_then_sparsely(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        ear.data()
        txid = stage.places(price="99000", cl_ord_id="mine")
        stage.tick("98000")
        rows = ear.rows(4)
    pending, new, trade, filled = rows
    assert by_type(rows) == ["pending_new", "new", "trade", "filled"]
    assert (pending["cl_ord_id"], pending["symbol"], pending["order_qty"], pending["limit_price"]) == (
        "mine",
        BTC_USDT,
        D("0.01"),
        99000,
    )
    assert set(new) == {"timestamp", "order_status", "exec_type", "order_userref", "order_id"}
    assert {row["order_id"] for row in rows} == {txid}
    assert not {"symbol", "side", "cl_ord_id"} & set(filled)
    [(trade_txid, row)] = stage.ask("TradesHistory")["trades"].items()
    assert (trade["exec_id"], trade["last_price"], trade["last_qty"]) == (trade_txid, 99000, D("0.01"))
    assert (trade["order_status"], trade["liquidity_ind"], trade["fees"]) == (
        "partially_filled",
        "m",
        [{"asset": "USDT", "qty": D("2.475")}],
    )
    assert "cl_ord_id" not in trade
    assert "cl_ord_id" not in row
    assert (filled["cum_qty"], filled["cum_cost"], filled["avg_price"]) == (D("0.01"), 990, 99000)


def test_messages_are_numbered_for_each_subscription(stage: Stage) -> None:
    with stage.hears("executions", "balances") as ear:
        stage.places(ordertype="market", price=None)
        heard = [ear.next(lambda message: "sequence" in message) for _ in range(7)]
    for channel, numbers in (("executions", [2, 3, 4, 5]), ("balances", [1, 2, 3])):
        assert [message["sequence"] for message in heard if message["channel"] == channel] == numbers


def test_a_new_subscription_begins_again_with_a_snapshot(stage: Stage) -> None:
    txid = stage.places(cl_ord_id="mine")
    stage.places(ordertype="market", price=None)
    with stage.hears("executions", snap_orders=True, snap_trades=True) as ear:
        first = ear.data()
        ear.says(method="unsubscribe", params={"channel": "executions"})
        assert ear.next(lambda message: message.get("method") == "unsubscribe")["success"]
        token = stage.ask("GetWebSocketsToken")["token"]
        ear.says(method="subscribe", params={"channel": "executions", "token": token, "snap_trades": True})
        second = ear.data()
    assert (first["type"], first["sequence"], second["sequence"]) == ("snapshot", 1, 1)
    order, trade = first["data"]
    assert (order["order_id"], order["exec_type"], order["order_status"], order["cl_ord_id"]) == (
        txid,
        "new",
        "new",
        "mine",
    )
    assert trade["exec_type"] == "trade"
    assert second["data"] == first["data"]


def test_a_snapshot_knows_of_partial_fills(stage: Stage) -> None:
    stage.fault("first_share", share_pct="50")
    stage.places(price="100000", volume="0.02")
    with stage.hears("executions") as ear:
        [row] = ear.data()["data"]
    assert (row["order_status"], row["cum_qty"], row["order_qty"]) == ("partially_filled", D("0.01"), D("0.02"))


def test_without_snapshots_the_first_message_is_the_first_update(stage: Stage) -> None:
    with stage.hears("executions", snap_orders=False) as ear:
        stage.places()
        message = ear.data()
    assert (message["type"], message["sequence"]) == ("update", 1)


def test_without_every_status_only_the_outer_ones_are_told(stage: Stage) -> None:
    with stage.hears("executions", order_status=False) as ear:
        ear.data()
        txid = stage.places(cl_ord_id="mine")
        stage.ask("AmendOrder", txid=txid, order_qty="0.02")
        stage.ask("CancelOrder", txid=txid)
        rows = ear.rows(2)
    assert by_type(rows) == ["new", "canceled"]
    assert rows[0]["cl_ord_id"] == "mine"


def test_a_stop_tells_that_it_was_triggered_before_it_trades(stage: Stage) -> None:
    stage.places(ordertype="market", price=None, leverage="2")
    stop = stage.places(type="sell", ordertype="stop-loss", price="95000", leverage="2", reduce_only=True)
    with stage.hears("executions") as ear:
        [row] = ear.data()["data"]
        assert row["triggers"] == {
            "reference": "last",
            "price": 95000,
            "price_type": "static",
            "status": "untriggered",
        }
        stage.tick("94000")
        rows = ear.rows(3)
    assert by_type(rows) == ["status", "trade", "filled"]
    assert (rows[0]["order_id"], rows[0]["triggers"]["status"], "symbol" in rows[0]) == (stop, "triggered", False)
    assert rows[1]["last_price"] == 94000


def test_a_stop_limit_that_fires_and_rests_says_so(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        ear.data()
        stage.places(type="sell", ordertype="stop-loss-limit", price="95000", price2="94900")
        stage.tick("94000")
        assert by_type(ear.rows(3)) == ["pending_new", "new", "status"]


def test_a_stop_beyond_the_price_fires_on_arrival(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        ear.data()
        stage.places(type="sell", ordertype="stop-loss", price="101000")
        assert by_type(ear.rows(5)) == ["pending_new", "new", "status", "trade", "filled"]


def test_amends_cancels_and_expiries_are_told(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        ear.data()
        amended = stage.places()
        stage.ask("AmendOrder", txid=amended, limit_price="98000")
        stage.ask("CancelOrder", txid=amended)
        stage.places(timeinforce="GTD", expiretm="+60")
        stage.passes(60)
        rows = ear.rows(7)
    assert by_type(rows) == ["pending_new", "new", "amended", "canceled", "pending_new", "new", "expired"]
    assert (rows[2]["limit_price"], rows[3]["reason"], rows[6]["reason"]) == (98000, "User requested", "Order expired")
    assert rows[4]["expire_time"] > rows[4]["timestamp"]


def test_balances_are_told(stage: Stage) -> None:
    with stage.hears("balances") as ear:
        snapshot = ear.data("balances")
        assert {row["asset"]: row["balance"] for row in snapshot["data"]} == {"BTC": 1, "USDT": 50000}
        stage.places(ordertype="market", price=None)
        rows = [row for _ in range(2) for row in ear.data("balances")["data"]]
    assert {row["asset"]: (row["amount"], row["balance"], row["type"]) for row in rows} == {
        "BTC": (D("0.01"), D("1.01"), "trade"),
        "USDT": (D(-1004), D(48996), "trade"),
    }


# Public channels ------------------------------------------------------------------------------------


def test_prices_are_told_to_whoever_asks_about_the_pair(stage: Stage) -> None:
    with stage.hears() as ear:
        ear.says(method="subscribe", params={"channel": "ticker", "symbol": [BTC_USDT, "XRP/USDT"]})
        ear.says(method="subscribe", params={"channel": "trade", "symbol": [BTC_USDT], "snapshot": False})
        acks = [ear.next(lambda message: message.get("method") == "subscribe") for _ in range(3)]
        assert [ack["result"]["symbol"] for ack in acks] == [BTC_USDT, "XRP/USDT", BTC_USDT]
        stage.tick("2.5", "XRP/USDT")
        stage.tick("100000.5")
        heard = [ear.next(lambda message: message.get("type") == "update") for _ in range(3)]
    assert [(one["channel"], one["data"][0]["symbol"]) for one in heard] == [
        ("ticker", "XRP/USDT"),
        ("ticker", BTC_USDT),
        ("trade", BTC_USDT),
    ]
    assert heard[1]["data"][0]["last"] == heard[2]["data"][0]["price"] == D("100000.5")
    assert "sequence" not in heard[1]


def test_a_ticker_begins_with_a_snapshot(stage: Stage) -> None:
    with stage.hears() as ear:
        ear.says(method="subscribe", params={"channel": "ticker", "symbol": [BTC_USDT]})
        assert ear.data("ticker")["data"][0]["last"] == 100000


def test_instruments_are_told(stage: Stage) -> None:
    with stage.hears() as ear:
        ear.says(method="subscribe", params={"channel": "instrument"})
        [data] = [ear.data("instrument")["data"]]
    [pair] = [one for one in data["pairs"] if one["symbol"] == BTC_USDT]
    assert (pair["price_increment"], pair["qty_min"], pair["cost_min"]) == (D("0.1"), D("0.0001"), 5)


def test_heartbeats_come_once_something_is_subscribed_to(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        assert ear.data("heartbeat") == {"channel": "heartbeat"}


# Refusals and tokens --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"method": "dance"}, "Unsupported method dance"),
        ({"method": "subscribe", "params": {"channel": "gossip"}}, "Unsupported channel"),
        ({"method": "subscribe", "params": {"channel": "ticker"}}, "Currency pair not supported None"),
        ({"method": "subscribe", "params": {"channel": "trade", "symbol": ["A/B"]}}, "Currency pair not supported A/B"),
        ({"method": "subscribe", "params": {"channel": "executions"}}, "ESession:Invalid session"),
        ({"method": "subscribe", "params": {"channel": "balances", "token": "x"}}, "ESession:Invalid session"),
        ({"method": "unsubscribe", "params": {"channel": "executions"}}, "Subscription Not Found"),
    ],
)
def test_a_wrong_request_is_refused(stage: Stage, request_: dict[str, Any], error: str) -> None:
    with stage.hears() as ear:
        ear.says(**request_)
        answer = ear.next(lambda message: "error" in message)
    assert (answer["success"], answer["error"], answer["req_id"]) == (False, error, 1)


def test_what_is_no_json_is_refused(stage: Stage) -> None:
    with connect(stage.server.websocket_url + "/v2", proxy=None) as socket:
        socket.send("{")
        assert Ear(socket).next(lambda message: "error" in message)["error"] == "Malformed request"


def test_nobody_subscribes_twice(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        token = stage.ask("GetWebSocketsToken")["token"]
        ear.says(method="subscribe", params={"channel": "executions", "token": token})
        assert ear.next(lambda message: "error" in message)["error"] == "Already subscribed"


def test_a_token_is_good_for_a_quarter_of_an_hour_and_as_long_as_it_is_used(stage: Stage) -> None:
    unused, used = (stage.ask("GetWebSocketsToken")["token"] for _ in range(2))
    with stage.hears() as ear, connect(stage.server.websocket_url + "/v2", proxy=None) as socket:
        ear.says(method="subscribe", params={"channel": "executions", "token": used})
        assert ear.next(lambda message: message.get("method") == "subscribe")["success"]
        stage.passes(901)
        late = Ear(socket)
        for token, is_good in ((unused, False), (used, True)):
            late.says(method="subscribe", params={"channel": "executions", "token": token})
            assert late.next(lambda message: message.get("method") == "subscribe")["success"] is is_good

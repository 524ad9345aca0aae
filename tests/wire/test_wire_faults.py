"""Every fault strikes as its rule says, is counted, and leaves the books true."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from actors.exchange.wire.faults import ERRORS, FAULTS, FaultError, WireFaults
from tests.wire.stage import BTC_USDT, PATIENCE_S, Ear, Stage, wait_for

D = Decimal
ORDER: dict[str, Any] = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "99000"}
SHORT_S = 0.3
"""So long a client waits for an answer that never comes."""


def statuses(stage: Stage) -> list[str]:
    return [order["status"] for order in stage.orders()]


# Requests and answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "left"), [("request_lost", []), ("answer_lost", ["open"])])
def test_what_is_lost_is_held_until_the_client_gives_up(stage: Stage, fault: str, left: list[str]) -> None:
    stage.fault(fault, endpoint="AddOrder")
    with pytest.raises(requests.exceptions.ReadTimeout):
        stage.post("AddOrder", patience_s=SHORT_S, **ORDER)
    wait_for(lambda: (statuses(stage), stage.struck[fault]) == (left, 1))
    stage.ask("AddOrder", **ORDER)
    assert statuses(stage) == [*left, "open"]


@pytest.mark.parametrize(("fault", "left"), [("request_lost", []), ("answer_lost", ["open"])])
def test_what_is_lost_may_be_a_reset(stage: Stage, fault: str, left: list[str]) -> None:
    stage.fault(fault, endpoint="AddOrder", how="reset")
    with pytest.raises(requests.exceptions.ConnectionError):
        stage.post("AddOrder", **ORDER)
    assert (statuses(stage), stage.struck[fault]) == (left, 1)


def test_a_delayed_answer_comes_when_its_time_has_come(stage: Stage) -> None:
    stage.fault("delay", endpoint="AddOrder", seconds=20)
    with pytest.raises(requests.exceptions.ReadTimeout):
        stage.post("AddOrder", patience_s=SHORT_S, **ORDER)
    wait_for(lambda: statuses(stage) == ["open"])
    stage.fault("delay", endpoint="Balance", seconds=20)
    with ThreadPoolExecutor() as elsewhere:
        answer = elsewhere.submit(stage.ask, "Balance")
        wait_for(lambda: stage.struck["delay"] == 2)
        assert not answer.done()
        stage.passes(20)
        assert "USDT" in answer.result(PATIENCE_S)


def test_a_delayed_request_is_carried_out_later(stage: Stage) -> None:
    """Kraken queues: an order whose sender has given up may still be taken, until its deadline."""
    stage.fault("delay", endpoint="AddOrder", seconds=5, before=True)
    with pytest.raises(requests.exceptions.ReadTimeout):
        stage.post("AddOrder", patience_s=SHORT_S, **ORDER, deadline=stage.deadline(10))
    wait_for(lambda: stage.struck["delay"] == 1)
    assert statuses(stage) == []
    stage.passes(6)
    wait_for(lambda: statuses(stage) == ["open"])


def test_a_request_that_is_delayed_beyond_its_deadline_is_refused(stage: Stage) -> None:
    stage.fault("delay", endpoint="AddOrder", seconds=30, before=True)
    with ThreadPoolExecutor() as elsewhere:
        answer = elsewhere.submit(stage.refused, "AddOrder", **ORDER, deadline=stage.deadline(10))
        wait_for(lambda: stage.struck["delay"] == 1)
        stage.passes(30)
        assert answer.result(PATIENCE_S) == "EService:Deadline elapsed"
    assert statuses(stage) == []


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("status", [502, 503, 520])
def test_a_gateway_answers_with_a_page(stage: Stage, status: int, *, placed: bool) -> None:
    """C2: the page may stand for an order that was taken."""
    stage.fault("http_error", endpoint="AddOrder", status=status, placed=placed)
    answer = stage.post("AddOrder", **ORDER)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (status, "text/html")
    assert len(stage.orders()) == int(placed)


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("fault", sorted(set(ERRORS) - {"error"}))
def test_an_error_is_told_with_the_order_placed_or_not(stage: Stage, fault: str, *, placed: bool) -> None:
    stage.fault(fault, endpoint="AddOrder", placed=placed)
    error = stage.refused("AddOrder", **ORDER)
    until_s = stage.clock.now_us() // 10**6 + 5
    assert error == ERRORS[fault].format(throttled_until_s=until_s)
    assert (len(stage.orders()), stage.struck[fault]) == (int(placed), 1)


def test_any_other_error_brings_its_text(stage: Stage) -> None:
    stage.fault("error", text="EAccount:Invalid permissions", endpoint="Balance", times=2, skip=1)
    stage.ask("Balance")
    assert [stage.refused("Balance") for _ in range(2)] == ["EAccount:Invalid permissions"] * 2
    stage.ask("Balance")


def test_a_fault_may_meet_the_public_endpoints(stage: Stage) -> None:
    stage.fault("service_busy", endpoint="Ticker")
    assert stage.get("/0/public/Time")["error"] == []
    assert stage.get("/0/public/Ticker") == {"error": ["EService:Busy"]}
    stage.fault("request_lost", endpoint="Time", how="reset")
    with pytest.raises(requests.exceptions.ConnectionError):
        stage.get("/0/public/Time")


def test_rest_lags_behind_the_books(stage: Stage) -> None:
    txid = stage.places(price="99000")
    stage.passes(100)
    stage.ask("AmendOrder", txid=txid, limit_price="99500")
    stage.tick("99400")
    late = stage.places(price="90000")
    stage.fault("rest_lag", seconds=60)
    assert stage.ask("OpenOrders")["open"][txid]["descr"]["price"] == "99000.0"
    assert stage.ask("OpenOrders")["open"][txid]["vol_exec"] == "0.00000000"
    assert stage.ask("ClosedOrders")["closed"] == stage.ask("TradesHistory")["trades"] == {}
    row = stage.ask("QueryOrders", txid=f"{txid},{late}", trades=True)
    assert (list(row), row[txid]["status"], "trades" in row[txid]) == ([txid], "open", False)
    stage.passes(61)
    assert stage.ask("ClosedOrders")["closed"][txid]["price"] == "99500.0"
    assert stage.struck["rest_lag"] == 6


def test_the_first_fill_may_be_a_share(stage: Stage) -> None:
    stage.fault("first_share", share_pct="25")
    txid = stage.places(price="100000", volume="0.02")
    row = stage.ask("OpenOrders")["open"][txid]
    assert (row["vol_exec"], row["status"], row["cost"]) == ("0.00500000", "open", "500.00000")
    stage.tick("100000")
    assert stage.ask("QueryOrders", txid=txid)[txid]["status"] == "closed"


# The state of the exchange --------------------------------------------------------------------------


def test_in_maintenance_nothing_is_taken(stage: Stage) -> None:
    txid = stage.places()
    stage.fault("maintenance")
    assert stage.get("/0/public/SystemStatus")["result"]["status"] == "maintenance"
    for endpoint, parameters in (("AddOrder", ORDER), ("CancelOrder", {"txid": txid}), ("Balance", {})):
        assert stage.refused(endpoint, **parameters) == "EService:Unavailable"
    assert stage.struck["maintenance"] == 3
    stage.on_loop(stage.server.faults.clear)
    assert stage.ask("CancelOrder", txid=txid) == {"count": 1}


def test_in_cancel_only_orders_may_only_go(stage: Stage) -> None:
    txid = stage.places()
    stage.fault("cancel_only")
    assert stage.refused("AddOrder", **ORDER) == "EService:Market in cancel_only mode"
    assert stage.refused("AmendOrder", txid=txid, order_qty="1") == "EService:Market in cancel_only mode"
    assert stage.ask("CancelOrder", txid=txid) == {"count": 1}
    assert stage.get("/0/public/AssetPairs")["result"]["XBTUSDT"]["status"] == "cancel_only"


def test_in_post_only_orders_must_rest(stage: Stage) -> None:
    stage.fault("post_only", times=1)
    assert stage.ask("AddOrder", **ORDER, oflags="post")["txid"]
    assert stage.refused("AddOrder", **ORDER) == "EService:Market in post_only mode"
    assert stage.ask("AddOrder", **ORDER)["txid"], "once was enough"


def test_a_change_of_state_is_told_on_the_websocket(stage: Stage) -> None:
    with stage.hears("executions") as ear:
        stage.fault("maintenance")
        states = [ear.data("status")["data"][0]["system"]]
        stage.on_loop(stage.server.faults.clear)
        states.append(ear.data("status")["data"][0]["system"])
    assert states == ["maintenance", "online"]


# The websocket --------------------------------------------------------------------------------------


def test_a_connection_breaks(stage: Stage) -> None:
    with stage.hears("executions") as ear, connect(stage.server.websocket_url + "/v2", proxy=None) as other:
        stage.fault("ws_drop", channel="executions")
        with pytest.raises(ConnectionClosed):
            ear.next(lambda _message: False)
        bystander = Ear(other)
        bystander.says(method="ping")
        assert bystander.next(lambda message: message.get("method") == "pong")["req_id"] == 1
    assert stage.struck["ws_drop"] == 1


def test_a_new_connection_is_turned_away(stage: Stage) -> None:
    stage.fault("ws_refuse")
    with pytest.raises(InvalidStatus, match="503"):
        connect(stage.server.websocket_url + "/v2", proxy=None)
    with stage.hears("executions"):
        pass


@pytest.mark.parametrize("heartbeats", [False, True])
def test_a_connection_falls_silent(stage: Stage, *, heartbeats: bool) -> None:
    """Alive and saying nothing: with heartbeats even they do not tell that something is missing."""
    with stage.hears("executions") as ear:
        ear.data()
        stage.fault("ws_silent", heartbeats=heartbeats)
        stage.places()
        ear.says(method="ping")
        if heartbeats:
            assert ear.next(lambda message: "channel" in message)["channel"] == "heartbeat"
        else:
            with pytest.raises(TimeoutError):
                ear.socket.recv(SHORT_S)
        stage.on_loop(stage.server.faults.clear)
        txid = stage.places()
        update = ear.next(lambda message: message.get("type") == "update")
        assert (update["data"][0]["order_id"], update["sequence"]) == (txid, 4)
    assert stage.struck["ws_silent"] == 1


def numbers(stage: Stage, fault: str) -> list[int]:
    """Return the numbers of the messages about two orders, of which the fault meets one."""
    with stage.hears("executions") as ear:
        ear.data()
        stage.fault(fault, channel="executions", skip=1)
        stage.places()
        last = stage.places()
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["data"][0]["order_id"] != last or heard[-1]["data"][0]["exec_type"] != "new":
            heard.append(ear.data())
    assert stage.struck[fault] == 1
    return [int(message["sequence"]) for message in heard]


def test_a_message_is_lost_and_its_number_with_it(stage: Stage) -> None:
    assert numbers(stage, "ws_gap") == [2, 4, 5]


def test_a_message_comes_twice(stage: Stage) -> None:
    assert numbers(stage, "ws_duplicate") == [2, 3, 3, 4, 5]


def test_messages_overtake_each_other(stage: Stage) -> None:
    assert numbers(stage, "ws_reorder") == [2, 4, 3, 5]


def test_a_token_is_refused(stage: Stage) -> None:
    stage.fault("ws_stale_token")
    with stage.hears() as ear:
        answers = []
        for _ in range(2):
            token = stage.ask("GetWebSocketsToken")["token"]
            ear.says(method="subscribe", params={"channel": "executions", "token": token})
            answers.append(ear.next(lambda message: message.get("method") == "subscribe"))
    assert (answers[0]["success"], answers[0]["error"]) == (False, "ESession:Invalid session")
    assert answers[1]["success"]


def test_a_subscription_is_never_acknowledged(stage: Stage) -> None:
    stage.fault("ws_lost_ack", channel="executions")
    with stage.hears() as ear:
        token = stage.ask("GetWebSocketsToken")["token"]
        ear.says(method="subscribe", params={"channel": "executions", "token": token})
        ear.says(method="ping")
        assert ear.next(lambda message: "method" in message)["method"] == "pong"
        ear.says(method="subscribe", params={"channel": "executions", "token": token})
        assert ear.next(lambda message: message.get("method") == "subscribe")["req_id"] == 3


# Rules ----------------------------------------------------------------------------------------------


def test_chance_comes_from_the_seed() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = WireFaults(seed)
        faults.add("answer_lost", times=None, probability_pct="30")
        return [faults.strike("answer_lost", "AddOrder") is not None for _ in range(200)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "nonsense"},
        {"fault": "error"},
        {"fault": "answer_lost", "how": "softly"},
        {"fault": "answer_lost", "times": "often"},
        {"fault": "answer_lost", "often": 1},
        {"fault": "answer_lost", "probability_pct": "-1"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(FaultError):
        WireFaults().read(rule)


def test_every_fault_is_struck_in_these_tests() -> None:
    text = Path(__file__).read_text()
    assert [fault for fault in FAULTS if fault not in ERRORS and f'"{fault}"' not in text] == []


# The control door -----------------------------------------------------------------------------------


def test_the_door_takes_faults(stage: Stage) -> None:
    rules = [{"fault": "service_busy", "name": "busy twice", "endpoint": "Balance", "times": 2}, {"fault": "ws_gap"}]
    assert stage.send("POST", "/mock/faults", rules).json() == {"rules": ["service_busy", "ws_gap"]}
    assert stage.refused("Balance") == "EService:Busy"
    assert stage.get("/mock/faults") == {
        "struck": {"service_busy": 1},
        "struck_by_name": {"busy twice": 1},
        "rules": ["service_busy", "ws_gap"],
    }
    assert stage.send("DELETE", "/mock/faults", {"fault": "service_busy"}).json() == {"rules": ["ws_gap"]}
    assert stage.send("DELETE", "/mock/faults").json() == {"rules": []}
    stage.ask("Balance")
    answer = stage.send("POST", "/mock/faults", {"fault": "nonsense"})
    assert (answer.status_code, "nonsense" in answer.json()["error"]) == (400, True)


def test_the_door_shows_the_whole_truth(stage: Stage) -> None:
    txid = stage.places(ordertype="market", price=None, leverage="2", cl_ord_id="mine")
    stage.fault("rest_lag", seconds=60)
    books = stage.get("/mock/books")
    [order], [trade] = books["orders"], books["trades"]
    assert (order["txid"], order["cl_ord_id"], order["status"], order["vol_exec"]) == (txid, "mine", "closed", "0.01")
    assert (trade["ordertxid"], trade["price"]) == (txid, "100000")
    assert books["positions"] == {BTC_USDT: {"vol": "0.01", "cost": "1000"}}
    assert D(books["equity"]) == 150_000 - 4


def act(stage: Stage, **terms: Any) -> Any:
    answer = stage.send("POST", "/mock/acts", terms)
    assert answer.status_code == 200, answer.text
    [result] = answer.json()
    return result


def test_others_trade_order_close_and_cancel_on_the_account(stage: Stage) -> None:
    mine = stage.places(cl_ord_id="mine")
    traded = act(stage, act="trade_by_hand", symbol=BTC_USDT, side="buy", volume="0.01", leverage=3)
    resting = act(stage, act="order_by_hand", **ORDER)
    assert (traded["cl_ord_id"], resting["cl_ord_id"], resting["status"]) == (None, None, "open")
    assert "cl_ord_id" not in stage.ask("OpenOrders")["open"][resting["txid"]]
    assert len(stage.ask("OpenPositions")) == 1
    act(stage, act="close_by_hand", symbol=BTC_USDT)
    assert stage.ask("OpenPositions") == {}
    act(stage, act="cancel_by_hand", cl_ord_id="mine")
    act(stage, act="cancel_by_hand", txid=resting["txid"])
    assert stage.ask("OpenOrders") == {"open": {}}
    assert stage.ask("ClosedOrders")["closed"][mine]["reason"] == "User requested"


def test_funds_and_prices_are_moved_from_outside(stage: Stage) -> None:
    txid = stage.places(price="99000")
    assert act(stage, act="move_funds", currency="USDT", amount="-100")["balance"] == "49900"
    act(stage, act="set_price", symbol=BTC_USDT, price="99500", low="98000", high="101000")
    assert stage.ask("QueryOrders", txid=txid)[txid]["status"] == "closed"
    assert stage.get("/0/public/Ticker", pair="XBTUSDT")["result"]["XBTUSDT"]["c"][0] == "99500.00000"
    assert stage.books()["moved"] == {"USDT": "-100"}


def test_the_exchange_liquidates(stage: Stage) -> None:
    stage.places(ordertype="market", price=None, leverage="5")
    stage.places(ordertype="market", price=None, leverage="5")
    stop = stage.places(type="sell", ordertype="stop-loss", price="90000", leverage="5", reduce_only=True)
    with stage.hears("executions") as ear:
        ear.data()
        act(stage, act="liquidate")
        rows = ear.rows(4)
    assert [row["exec_type"] for row in rows] == ["trade", "trade", "canceled", "filled"]
    assert rows[0]["liquidated"] is True
    assert (rows[2]["order_id"], rows[3]["cum_qty"]) == (stop, D("0.02"))
    assert stage.books()["positions"] == {}


@pytest.mark.parametrize(
    "terms",
    [
        {"act": "dance"},
        {"act": "set_price", "symbol": "NOPE", "price": "1"},
        {"act": "set_price", "symbol": BTC_USDT, "price": "much"},
        {"act": "cancel_by_hand", "txid": "OAAAAA-AAAAA-AAAAAA"},
        {"act": "close_by_hand", "symbol": BTC_USDT},
        {"act": "trade_by_hand", "symbol": BTC_USDT, "side": "buy", "volume": "99"},
        {"act": "move_funds", "currency": "NOPE", "amount": "1"},
    ],
)
def test_an_act_that_cannot_be_is_refused(stage: Stage, terms: dict[str, Any]) -> None:
    answer = stage.send("POST", "/mock/acts", terms)
    assert (answer.status_code, bool(json.loads(answer.text)["error"])) == (400, True)
    assert stage.books()["trades"] == []


def test_the_door_has_no_other_rooms(stage: Stage) -> None:
    assert stage.send("GET", "/mock/secrets").status_code == 400

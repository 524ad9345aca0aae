"""Orders over the websocket: placed, amended and cancelled as over REST."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.stage import BTC_USDT, Ear, Stage

ORDER = {"symbol": BTC_USDT, "side": "buy", "order_type": "limit", "order_qty": 0.01, "limit_price": 99000.5}


def asks(stage: Stage, ear: Ear, method: str, **parameters: Any) -> dict[str, Any]:
    token = stage.ask("GetWebSocketsToken")["token"]
    ear.says(method=method, params={**parameters, "token": token})
    return ear.next(lambda message: message.get("method") == method)


def test_an_order_is_placed_amended_and_cancelled(stage: Stage) -> None:
    with stage.hears() as ear:
        placed = asks(stage, ear, "add_order", **ORDER, cl_ord_id="mine", post_only=True)
        txid = placed["result"]["order_id"]
        assert (placed["success"], placed["result"]["cl_ord_id"], placed["req_id"]) == (True, "mine", 1)
        amended = asks(stage, ear, "amend_order", order_id=txid, limit_price=98000, order_qty=0.02)
        assert amended["result"]["order_id"] == txid
        row = stage.ask("OpenOrders")["open"][txid]
        assert (row["descr"]["price"], row["vol"], row["oflags"]) == ("98000.0", "0.02000000", "post,fciq")
        assert asks(stage, ear, "cancel_order", cl_ord_id=["mine"])["result"] == {"cl_ord_id": "mine"}
        assert asks(stage, ear, "cancel_order", order_id=[txid])["error"] == "EOrder:Unknown order"


def test_a_stop_on_margin_with_a_time(stage: Stage) -> None:
    with stage.hears() as ear:
        asks(stage, ear, "add_order", symbol=BTC_USDT, side="buy", order_type="market", order_qty=0.01, margin=True)
        answer = asks(
            stage,
            ear,
            "add_order",
            symbol=BTC_USDT,
            side="sell",
            order_type="stop-loss-limit",
            order_qty=0.01,
            triggers={"price": 95000, "reference": "last"},
            limit_price=94900,
            margin=True,
            reduce_only=True,
            time_in_force="gtd",
            expire_time=stage.deadline(3600),
        )
        row = stage.ask("OpenOrders")["open"][answer["result"]["order_id"]]
        assert (row["descr"]["price"], row["descr"]["price2"], row["descr"]["leverage"]) == (
            "95000.0",
            "94900.0",
            "5:1",
        )
        assert asks(stage, ear, "cancel_all")["result"] == {"count": 1}


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"symbol": "A/B"}, "EQuery:Unknown asset pair"),
        ({"order_type": "none"}, "EGeneral:Invalid arguments:ordertype"),
        ({"limit_price": None}, "EGeneral:Invalid arguments:price"),
        ({"expire_time": "soon"}, "EGeneral:Invalid arguments:expire_time"),
        ({"conditional": {"order_type": "limit"}}, "EGeneral:Invalid arguments:close"),
        ({"order_qty": 3}, "EOrder:Insufficient funds"),
    ],
)
def test_a_wrong_order_is_refused(stage: Stage, wrong: dict[str, Any], error: str) -> None:
    with stage.hears() as ear:
        answer = asks(stage, ear, "add_order", **ORDER | wrong)
    assert (answer["success"], answer["error"], stage.orders()) == (False, error, [])


def test_a_token_is_needed(stage: Stage) -> None:
    with stage.hears() as ear:
        ear.says(method="add_order", params=ORDER)
        answer = ear.next(lambda message: message.get("method") == "add_order")
    assert (answer["success"], answer["error"]) == (False, "ESession:Invalid session")


@pytest.mark.parametrize(("fault", "count"), [("request_lost", 0), ("answer_lost", 1)])
def test_requests_and_answers_get_lost_here_too(stage: Stage, fault: str, count: int) -> None:
    stage.fault(fault, endpoint="add_order")
    token = stage.ask("GetWebSocketsToken")["token"]
    with stage.hears() as ear:
        ear.says(method="add_order", params={**ORDER, "token": token})
        ear.says(method="ping")
        assert ear.next(lambda message: "method" in message)["method"] == "pong"
    assert (len(stage.orders()), stage.struck[fault]) == (count, 1)


def test_the_dead_man_s_switch(stage: Stage) -> None:
    stage.places()
    with stage.hears() as ear:
        assert asks(stage, ear, "cancel_all_orders_after", timeout=60)["success"]
    stage.passes(60)
    assert stage.ask("OpenOrders") == {"open": {}}

"""Clients that know nothing of the mock trade on it: python-kraken-sdk, its websocket, and ccxt."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ccxt
import pytest
from kraken.exceptions import KrakenInsufficientFundsError, KrakenUnknownOrderError
from kraken.spot import SpotAsyncClient, SpotWSClient

from tests.wire.stage import PATIENCE_S, SECOND_KEY, Stage

D = Decimal


def test_the_sdk_places_amends_queries_cancels_and_reads(stage: Stage) -> None:
    trade, user, market = stage.trade_client(), stage.user_client(), stage.market_client()
    client_id = uuid.uuid4().hex

    placed = trade.create_order(
        ordertype="limit", side="buy", pair="XBTUSDT", volume="0.01", price="99000", cl_ord_id=client_id
    )
    [txid] = placed["txid"]
    assert placed["descr"]["order"] == "buy 0.01000000 XBTUSDT @ limit 99000.0"
    assert trade.amend_order(txid=txid, limit_price="99500.5", order_qty="0.02")["amend_id"]
    [row] = user.get_open_orders(cl_ord_id=client_id)["open"].values()
    assert (row["descr"]["price"], row["vol"], row["status"]) == ("99500.5", "0.02000000", "open")
    assert user.get_orders_info(txid=txid)[txid]["cl_ord_id"] == client_id
    assert user.get_balances()["USDT"]["hold_trade"] == str(D("0.02") * D("99500.5") * D("1.004") + D("0E-10"))
    assert trade.cancel_order(txid=txid) == {"count": 1}
    with pytest.raises(KrakenUnknownOrderError):
        trade.cancel_order(txid=txid)
    assert user.get_closed_orders()["closed"][txid]["reason"] == "User requested"
    with pytest.raises(KrakenInsufficientFundsError):
        trade.create_order(ordertype="limit", side="buy", pair="XBTUSDT", volume="1", price="99000")

    trade.create_order(ordertype="market", side="sell", pair="XBT/USDT", volume="0.01", leverage="5")
    trade.create_order(
        ordertype="stop-loss", side="buy", pair="XBTUSDT", volume="0.01", price="101000", leverage="5", reduce_only=True
    )
    [position] = user.get_open_positions(docalcs=True)
    assert (position["pair"], position["type"], position["vol"]) == ("XBTUSDT", "sell", "0.01000000")
    stage.tick("101010")
    assert user.get_open_positions() == []
    trades = user.get_trades_history()["trades"]
    assert {one["price"] for one in trades.values()} == {"100000.0", "101010.0"}
    assert user.get_trades_info(txid=list(trades)) == trades
    assert D(user.get_account_balance()["USDT"]) == D(50_000) - D("10.1") - D("4") - D("4.0404")
    assert user.get_trade_balance()["m"] == "0.0000"
    assert user.get_trade_volume(pair="XBTUSDT")["fees"]["XBTUSDT"]["fee"] == "0.4000"
    assert market.get_ticker(pair="XBTUSDT")["XBTUSDT"]["c"][0] == "101010.00000"
    assert market.get_asset_pairs(pair="XBTUSDT")["XBTUSDT"]["pair_decimals"] == 1
    assert market.get_assets(assets="XBT")["XXBT"]["altname"] == "XBT"
    assert market.get_system_status()["status"] == "online"
    assert trade.cancel_all_orders() == {"count": 0}


def test_the_sdk_s_batches(stage: Stage) -> None:
    trade = stage.trade_client()
    orders = [
        {"ordertype": "limit", "type": "buy", "volume": "0.01", "price": price} for price in ("90000", "91000", "92000")
    ]

    answers = trade.create_order_batch(orders=orders, pair="XBTUSDT")["orders"]

    txids = [answer["txid"] for answer in answers]
    assert len(set(txids)) == 3
    assert trade.cancel_order_batch(orders=txids[:2]) == {"count": 2}
    assert trade.cancel_all_orders_after_x(timeout=60)["triggerTime"] > "2000"
    stage.passes(61)
    assert [order["status"] for order in stage.orders()] == ["canceled"] * 3


def test_the_sdk_s_async_client_signs_right(stage: Stage) -> None:
    async def use() -> Any:
        client = SpotAsyncClient(stage.server.key, stage.server.secret, url=stage.server.rest_url)
        try:
            return await client.request("POST", "/0/private/BalanceEx")
        finally:
            await client.close()

    assert asyncio.run(use())["XXBT"] == {"balance": "1.0000000000", "hold_trade": "0.0000000000"}


def test_the_sdk_s_websocket_hears_executions_balances_and_prices(stage: Stage) -> None:
    heard: list[dict[str, Any]] = []

    class Listener(SpotWSClient):
        async def on_message(self, message: Any) -> None:
            heard.append(message)

    async def until(kind: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(kind in (one.get("channel"), one.get("type"), _exec_type(one)) for one in heard):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def listen() -> None:
        url = stage.server.websocket_url
        listener = Listener(
            key=stage.server.key,
            secret=stage.server.secret,
            rest_url=stage.server.rest_url,
            ws_url=url,
            auth_ws_url=url,
        )
        await asyncio.wait_for(listener.start(), PATIENCE_S)
        await listener.subscribe(params={"channel": "executions", "snap_orders": True, "snap_trades": True})
        await until("executions")
        await listener.subscribe(params={"channel": "ticker", "symbol": ["BTC/USDT"]})
        await until("ticker")
        await asyncio.to_thread(stage.places, price="99000")
        await asyncio.to_thread(stage.tick, "98900")
        await until("filled")
        await listener.close()

    asyncio.run(listen())
    assert [_exec_type(one) for one in heard if one.get("channel") == "executions" and one["data"]] == [
        "pending_new",
        "new",
        "trade",
        "filled",
    ]
    assert [one["data"][0]["last"] for one in heard if one.get("channel") == "ticker"] == [100000, 98900]


def _exec_type(message: dict[str, Any]) -> str | None:
    rows = message.get("data") or []
    return rows[0].get("exec_type") if isinstance(rows, list) and rows else None


@pytest.fixture
def exchange(stage: Stage) -> Iterator[ccxt.kraken]:
    key, secret = SECOND_KEY
    exchange = ccxt.kraken({"apiKey": key, "secret": secret, "rateLimit": 5})
    exchange.session.trust_env = False
    exchange.urls["api"]["public"] = exchange.urls["api"]["private"] = stage.server.rest_url
    yield exchange
    exchange.session.close()


def test_ccxt_places_queries_cancels_and_reads(stage: Stage, exchange: ccxt.kraken) -> None:
    market = exchange.load_markets()["BTC/USDT"]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 1e-8)
    assert market["limits"]["amount"]["min"] == 0.0001

    resting = exchange.create_order("BTC/USDT", "limit", "buy", 0.01, 99000)
    bought = exchange.create_order("BTC/USDT", "market", "buy", 0.02)
    stop = exchange.create_order("BTC/USDT", "market", "sell", 0.01, None, {"stopLossPrice": 95000})

    assert {order["id"] for order in exchange.fetch_open_orders("BTC/USDT")} == {resting["id"], stop["id"]}
    order = exchange.fetch_order(bought["id"], "BTC/USDT")
    assert (order["status"], order["filled"], order["average"], order["clientOrderId"]) == ("closed", 0.02, 1e5, None)
    [trade] = exchange.fetch_my_trades("BTC/USDT")
    assert (trade["order"], trade["amount"], trade["cost"]) == (bought["id"], 0.02, 2000)
    assert (trade["fee"]["cost"], trade["fee"]["currency"]) == (8, "USDT")
    assert exchange.fetch_balance()["BTC"]["total"] == 1.02
    assert exchange.fetch_balance()["USDT"]["used"] == 993.96
    exchange.cancel_order(resting["id"])
    exchange.cancel_order(stop["id"])
    assert {one["status"] for one in exchange.fetch_closed_orders("BTC/USDT")} == {"closed", "canceled"}
    assert exchange.fetch_ticker("BTC/USDT")["last"] == 100000
    assert [one["cl_ord_id"] for one in stage.orders()] == [None] * 3


def test_ccxt_trades_on_margin_and_an_opposite_order_closes(stage: Stage, exchange: ccxt.kraken) -> None:
    exchange.load_markets()
    exchange.create_order("BTC/USDT", "market", "buy", 0.01, None, {"leverage": 3})

    [position] = exchange.fetch_positions()
    assert (position["symbol"], position["side"], position["info"]["vol"]) == ("BTC/USDT", "long", "0.01000000")
    exchange.create_order("BTC/USDT", "market", "sell", 0.01, None, {"leverage": 3})
    assert stage.books()["positions"] == {}
    assert D(stage.books()["balances"]["USDT"]) == 49_992


def test_ccxt_understands_a_refusal(stage: Stage, exchange: ccxt.kraken) -> None:
    exchange.load_markets()
    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order("BTC/USDT", "limit", "buy", 3, 99000)
    with pytest.raises(ccxt.BaseError, match="minimum"):
        exchange.create_order("BTC/USDT", "limit", "buy", 0.00001, 99000)

"""The rate limits of a Starter account: what each request costs, how the counters fall, and what is too much."""

from __future__ import annotations

import pytest

from actors.exchange.wire.counters import STARTER, TIERS, Limits
from messages.base import Symbol
from tests.wire.stage import Stage

PAIR = Symbol("BTC/USDT")
S = 1_000_000


def test_the_published_example_of_costs() -> None:
    """Add, amend at 7 s, cancel 36 s later: 1 + 3 + 4, less what a second takes off."""
    limits = Limits(STARTER)
    limits.charge_add(PAIR, 0, 0)
    assert limits.engine_level_milli(PAIR, 0) == 1000
    limits.charge_amend(PAIR, 7 * S, 0)
    assert limits.engine_level_milli(PAIR, 0) == 4000
    limits.charge_cancel(PAIR, 36 * S, 0)
    assert limits.engine_level_milli(PAIR, 0) == 8000
    assert limits.engine_level_milli(PAIR, 3 * S) == 5000
    assert limits.engine_level_milli(PAIR, 60 * S) == 0


@pytest.mark.parametrize(("tier", "left_milli"), [("starter", 4670), ("intermediate", 4500), ("pro", 4000)])
def test_each_tier_falls_at_its_own_pace(tier: str, left_milli: int) -> None:
    limits = Limits(TIERS[tier])
    for _ in range(5):
        limits.charge_rest("key", "Balance", 0)
    for tenth in range(1, 11):
        limits.rest_level_milli("key", tenth * S // 10)
    assert limits.rest_level_milli("key", S) == left_milli


def test_too_many_calls_are_refused_until_the_counter_has_fallen(limited: Stage) -> None:
    for _ in range(13):
        limited.ask("Balance")
    limited.ask("TradesHistory")
    assert limited.refused("Balance") == "EAPI:Rate limit exceeded"
    limited.passes(3)
    assert limited.refused("Balance") == "EAPI:Rate limit exceeded"
    limited.passes(1)
    limited.ask("Balance")
    assert limited.refused("TradesHistory") == "EAPI:Rate limit exceeded"


def test_orders_are_not_counted_as_calls_but_by_the_matching_engine(limited: Stage) -> None:
    for _ in range(6):
        limited.ask("CancelOrder", txid=limited.places())
    assert limited.server.exchange.limits.engine_level_milli(PAIR, limited.clock.now_us()) == 6 * 9000
    txid = limited.places()
    assert limited.refused("CancelOrder", txid=txid) == "EOrder:Rate limit exceeded"
    assert limited.ask("CancelOrderBatch", orders=[txid]) == {"count": 1}
    assert limited.refused("AddOrder", **ORDER) == "EOrder:Rate limit exceeded"
    limited.passes(60)
    assert limited.places()


def test_another_pair_has_a_counter_of_its_own(limited: Stage) -> None:
    limited.tick("2", "XRP/USDT")
    for _ in range(60):
        limited.places(ordertype="market", price=None, volume="0.0001")
    assert limited.refused("AddOrder", **ORDER) == "EOrder:Rate limit exceeded"
    assert limited.places(pair="XRPUSDT", price="1.5", volume="10")


def test_a_refused_order_costs_as_much(limited: Stage) -> None:
    for _ in range(60):
        assert limited.refused("AddOrder", **ORDER | {"volume": "40"}) == "EOrder:Insufficient funds"
    assert limited.refused("AddOrder", **ORDER) == "EOrder:Rate limit exceeded"


def test_only_so_many_orders_may_rest_in_a_pair(limited: Stage) -> None:
    for _ in range(60):
        limited.places(price="10000", volume="0.001")
        limited.passes(1)
    assert limited.refused("AddOrder", **ORDER) == "EOrder:Orders limit exceeded"


def test_the_counter_s_maximum_is_told_on_subscribing(limited: Stage) -> None:
    with limited.hears() as ear:
        token = limited.ask("GetWebSocketsToken")["token"]
        ear.says(method="subscribe", params={"channel": "executions", "token": token, "ratecounter": True})
        ack = ear.next(lambda message: message.get("method") == "subscribe")
    assert ack["result"]["maxratecount"] == 60


ORDER = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "99000"}

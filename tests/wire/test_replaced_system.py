"""What went wrong at the exchange in the system that this one replaces (X3, X4, X14, X17, X27), over the wire.

`tests/scenarios/test_replaced_system.py` tells the others, and these too, on the mock.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from actors.exchange.kraken.links import Request
from actors.exchange.kraken.notation import client_id
from messages.exchange import AccountReported, GetAccount
from messages.orders import OrderRole, OrderStatus, OutcomeUnknown, PlaceOrder
from messages.positions import CloseReason, PositionStatus
from messages.risk import SetTradingState, TradingState
from tests.scenarios.conftest import with_settings
from tests.wire.world import WireWorld

BTC = "BTC/USDT"
ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
LIMITED = with_settings(orders={"stop_order_type": "stop-loss-limit", "target_order_type": "take-profit-limit"})
PASSING = ("cl_ord_id", "deadline")
"""Parameters that are others each time."""


# X3: never sent twice -------------------------------------------------------------------------------

ORDER_OF_SENDING = (ENTRY, STOP, TARGET, EXIT)
NO_USABLE_ANSWER = [("answer_lost", {"how": "reset"}), ("error", {"text": "WOrder:odd", "placed": True})]


@pytest.mark.parametrize("role", ORDER_OF_SENDING, ids=lambda role: role.value)
@pytest.mark.parametrize(("fault", "terms"), NO_USABLE_ANSWER)
def test_x03_whatever_the_order_is_for_it_is_sent_once_under_its_own_id(
    world: WireWorld, role: OrderRole, fault: str, terms: Mapping[str, Any]
) -> None:
    """Every order is placed, and its answer is lost, or is a success that does not say which order was placed."""
    rule = world.goes_wrong(fault, **terms, endpoint="AddOrder", skip=ORDER_OF_SENDING.index(role))
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=10)
    world.closes(trade)
    world.passes(minutes=2)

    assert rule.struck == 1
    assert len(world.said(OutcomeUnknown)) == 1
    sent = [request.params["cl_ord_id"] for request in world.sent("AddOrder")]
    assert sent == [client_id(wish.intent.id) for wish in world.said(PlaceOrder)]
    assert len(set(sent)) == len(ORDER_OF_SENDING)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.violations() == ()


# X4: trigger and limit stand where the exchange reads them --------------------------------------------


def sent_as(world: WireWorld, role: OrderRole) -> Request:
    """Return the request that placed the newest order of a role."""
    (wish,) = [wish for wish in world.said(PlaceOrder) if wish.intent.role is role]
    (request,) = [one for one in world.sent("AddOrder") if one.params["cl_ord_id"] == client_id(wish.intent.id)]
    return request


TRIGGERED = {"pair": "XBTUSDT", "oflags": "fciq", "trigger": "last", "leverage": "2", "reduce_only": "true"}
LONG = [
    (with_settings(), STOP, {"ordertype": "stop-loss", "type": "sell", "price": "98000"}),
    (with_settings(), TARGET, {"ordertype": "take-profit", "type": "sell", "price": "104000"}),
    (LIMITED, STOP, {"ordertype": "stop-loss-limit", "type": "sell", "price": "98000", "price2": "97510"}),
    (LIMITED, TARGET, {"ordertype": "take-profit-limit", "type": "sell", "price": "104000", "price2": "103480"}),
]


@pytest.mark.parametrize(("settings", "role", "golden"), LONG, ids=[row[2]["ordertype"] for row in LONG])
def test_x04_the_trigger_goes_in_price_and_the_limit_in_price2(
    settings: Any, role: OrderRole, golden: dict[str, str]
) -> None:
    """The body, word for word; the exchange takes the very same words when it is only asked to check them."""
    with WireWorld(settings) as world:
        world.price(BTC, 100_000)
        trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
        world.passes(seconds=5)
        request = sent_as(world, role)
        orders = len(world.account().open_orders)

        sent = {name: value for name, value in request.params.items() if name not in PASSING}
        assert sent == {**TRIGGERED, **golden, "volume": f"{world.position(trade).volume_base:f}".rstrip("0")}
        checked = world.asks_kraken("AddOrder", **sent, validate="true")
        assert (checked.reason, len(world.account().open_orders)) == ("", orders)


def test_x04_a_stop_fires_at_its_trigger_and_not_at_its_limit() -> None:
    """Swapped, this stop would sleep until 97,510 and then ask for 98,000: it would never get out."""
    with WireWorld(LIMITED) as world:
        world.price(BTC, 100_000)
        trade = world.proposes(BTC, "buy", size=500, stop=98_000)
        world.price(BTC, 98_001)
        assert world.order(trade, STOP).status is OrderStatus.OPEN

        world.price(BTC, 97_999)

        assert world.order(trade, STOP).status is OrderStatus.FILLED
        assert world.position(trade).close_reason is CloseReason.STOP_LOSS
        assert world.fills(trade)[-1].price_quote >= Decimal(97_510)
        assert world.violations() == ()


# X14: a halt outlives the process ---------------------------------------------------------------------


def test_x14_halted_stays_halted_over_a_crash_lives_on_and_can_be_resumed(world: WireWorld) -> None:
    held = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.halts("too many losses")
    world.crashes()
    world.price(BTC, 100_000)
    orders = len(world.sent("AddOrder"))
    refused = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.passes(minutes=2)

    assert world.codes(refused) == ("TRADING_HALTED",)
    assert len(world.sent("AddOrder")) == orders
    world.protects(held, stop=99_000)
    world.passes(seconds=30)
    assert world.account().open_orders[0].trigger_price_quote == 99_000, "what protects goes on"
    assert world.engine.exit_code is None, "halted is no reason to end"

    world.tell(SetTradingState(state=TradingState.ACTIVE, reason="looked into", operator="a person"))
    resumed = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)

    assert world.has_position(resumed)
    changes = [dict(event.details) for event in world.events("trading_state_changed")]
    told = [(change["state"], change["operator"]) for change in changes]
    assert told == [("HALTED", "story"), ("ACTIVE", "a person")]
    assert world.violations() == ()


# X17: the exchange's account and ours are compared by what both know -----------------------------------


def test_x17_every_order_and_trade_bears_the_exchanges_own_id(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=5)
    world.price(BTC, 97_900)
    world.passes(seconds=10)

    told = world.asks_kraken("TradesHistory").result["trades"]
    orders, fills = world.orders(trade), world.fills(trade)
    assert {order.external_id for order in orders} == {note.txid for note in world.server.exchange.registry.orders()}
    assert {fill.trade_id: fill.external_order_id for fill in fills} == {
        trade_id: row["ordertxid"] for trade_id, row in told.items()
    }


def test_x17_several_entries_one_of_them_closed_in_part_are_netted(world: WireWorld) -> None:
    """Kraken tells a row for each opening trade, with what of it is closed. Ours are two trades in one symbol."""
    world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.proposes(BTC, "buy", size=800, stop=98_000, leverage=2)
    world.acts("trade_by_hand", symbol=BTC, side="sell", volume="0.004", leverage=2)
    world.passes(seconds=30)
    world.tell(GetAccount())
    world.passes(seconds=5)

    rows = world.asks_kraken("OpenPositions").result
    assert len(rows) == 2
    assert any(Decimal(row["vol_closed"]) == Decimal("0.004") for row in rows.values())
    held = sum(position.volume_base for position in world.journal.positions.values())
    (told,) = world.said(AccountReported)[-1].holdings
    assert (told.symbol, told.volume_base) == (BTC, held)
    assert world.violations() == ()


# X27: what closes can only close -------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "stop", "beyond"), [("buy", 98_000, 97_000), ("sell", 102_000, 103_000)])
def test_x27_a_stop_that_comes_too_late_opens_nothing(world: WireWorld, side: str, stop: int, beyond: int) -> None:
    """The position is closed by hand, and before we hear of it and take its stop off, the price is there."""
    trade = world.proposes(BTC, side, size=500, stop=stop, leverage=3)
    request = sent_as(world, STOP)
    assert (request.params["leverage"], request.params["reduce_only"]) == ("3", "true")
    world.goes_wrong("ws_silent", heartbeats=True)
    world.acts("close_by_hand", symbol=BTC)
    world.acts("set_price", symbol=BTC, price=str(beyond))

    assert world.account().holdings == (), "nothing was opened"
    world.passes(seconds=30)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().holdings == ()
    assert world.account().open_orders == ()
    assert world.violations() == ()


def test_x27_on_spot_one_exit_rests_and_nothing_is_sold_twice(world: WireWorld) -> None:
    """Kraken would let stop and target rest over the same coins, and nothing there links the two.

    The stop fires and nobody says so; then the target is reached here.
    """
    other = world.proposes(BTC, "buy", size=500)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000)
    world.passes(seconds=10)
    (resting,) = world.account().open_orders
    assert (resting.order_id, resting.volume_base) == (world.order(trade, STOP).id, world.position(trade).volume_base)

    world.goes_wrong("ws_silent", heartbeats=True)
    world.acts("set_price", symbol=BTC, price="97000")
    world.price(BTC, 104_100)
    world.passes(seconds=30)

    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.position(trade).exit_base == world.position(trade).entry_base
    assert world.balance("BTC") == world.position(other).volume_base, "the other's coins are there"
    assert world.violations() == ()

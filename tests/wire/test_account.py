"""What others do on the account, and what the exchange does by itself: seen, booked, told, and nothing of it ours."""

from __future__ import annotations

from decimal import Decimal

from actors.exchange.wire.counters import STARTER
from messages.base import Currency, Symbol
from messages.exchange import ExchangeAlert
from messages.orders import OrderRole, OrderStatus
from messages.permits import CallsThrottled
from messages.positions import CloseReason, PositionStatus
from tests.wire.world import WireWorld

BTC = "BTC/USDT"


def test_c09_a_position_closed_by_hand_is_closed_in_our_books(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=5)
    orders = len(world.sent("AddOrder"))
    world.acts("close_by_hand", symbol=BTC)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.events("unknown_execution") != []
    assert len(world.sent("AddOrder")) == orders, "nothing is sold against it"
    assert world.violations() == ()


def test_c09_coins_sold_by_hand_close_the_spot_position(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    held = world.balance("BTC")
    world.acts("trade_by_hand", symbol=BTC, side="sell", volume=str(held))
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.violations() == ()


def test_x17_a_foreign_order_is_told_of_and_never_touched(world: WireWorld) -> None:
    world.acts("order_by_hand", pair="XBTUSDT", type="buy", ordertype="limit", volume="0.01", price="90000")
    world.passes(minutes=3)

    assert len(world.account().open_orders) == 1
    assert world.sent("CancelOrder") == []
    assert [alert.kind for alert in world.said(ExchangeAlert)] == ["external_order"]
    assert len(world.events("external_order")) == 1


def test_a_stop_cancelled_by_hand_is_placed_again(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    stop = world.order(trade, OrderRole.STOP)
    assert stop.external_id is not None
    world.acts("cancel_by_hand", txid=stop.external_id)
    world.passes(seconds=10)

    assert world.order(trade, OrderRole.STOP).status is OrderStatus.OPEN
    assert world.order(trade, OrderRole.STOP).id != stop.id
    assert world.violations() == ()


def test_a_liquidation_is_recognised(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=9_000, stop=60_000, leverage=4)
    world.acts("move_funds", currency="USDT", amount="-45000")
    world.acts("move_funds", currency="USD", amount="-50000")
    world.price(BTC, 85_000)
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.LIQUIDATED
    assert world.position(trade).close_reason is CloseReason.LIQUIDATED
    assert world.account().open_orders == ()


def test_what_happened_while_we_were_down_is_booked_once(world: WireWorld) -> None:
    """X13: the stop fires while nobody is there to hear of it."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.is_down_while({"act": "set_price", "symbol": BTC, "price": "97900"})
    world.passes(seconds=10)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert len(world.fills(trade)) == 2
    assert world.violations() == ()


def test_c06_ten_restarts_change_nothing(world: WireWorld) -> None:
    world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.proposes(BTC, "buy", size=500, entry=95_000, stop=93_000)
    world.passes(seconds=10)
    rows = (len(world.journal.fills), len(world.journal.orders), len(world.account().open_orders))
    for _restart in range(10):
        world.crashes()
        world.passes(minutes=1)

    assert (len(world.journal.fills), len(world.journal.orders), len(world.account().open_orders)) == rows
    assert world.events("unknown_execution") == []
    assert world.violations() == ()


# Account and books compared -----------------------------------------------------------------------


def asked(world: WireWorld) -> int:
    """Return how often the account was asked for."""
    return len(world.sent("Balance"))


def test_the_account_is_asked_for_at_a_start_from_time_to_time_after_a_lost_line_and_on_demand(
    world: WireWorld,
) -> None:
    at_start = asked(world)
    assert at_start == 2, "once before the engine, for what the account begins with"
    world.passes(seconds=50)
    assert asked(world) == at_start
    world.passes(seconds=20)
    assert asked(world) == at_start + 1

    world.goes_wrong("ws_drop", channel="executions")
    world.passes(seconds=10)
    assert asked(world) == at_start + 2

    world.compares()
    world.passes(seconds=5)
    assert asked(world) == at_start + 3
    assert dict(world.events("account_compared")[0].details)["found"] == "nothing differs"


def test_a_margin_position_of_somebody_else_is_told_once_and_left_alone(world: WireWorld) -> None:
    world.acts("trade_by_hand", symbol=BTC, side="buy", volume="0.01", leverage="2")
    world.passes(minutes=4)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.passes(minutes=5)
    world.crashes()
    world.passes(minutes=3)

    (event,) = world.events("external_holding")
    assert Decimal(dict(event.details)["volume"]) == Decimal("0.01")
    assert world.events("account_differs") == []
    assert world.position(trade).status is PositionStatus.OPEN
    assert [holding.volume_base > Decimal("0.01") for holding in world.account().holdings] == [True]


def test_a_margin_position_of_which_no_trade_tells_where_it_went_holds_openings(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    held = world.position(trade).volume_base
    world.server.books.account.reduce(Symbol(BTC), held / 2, Decimal(100_000), Decimal(0))
    world.passes(minutes=4)

    (event,) = world.events("account_differs")
    told = dict(event.details)
    assert (told["symbol"], Decimal(told["difference"])) == (BTC, -held / 2)
    refused = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    assert world.journal.requests[refused].codes == ("ACCOUNT_DIFFERS",)


def test_coins_that_were_withdrawn_hold_openings_until_they_are_back(world: WireWorld) -> None:
    world.proposes(BTC, "buy", size=500, stop=98_000)
    world.acts("move_funds", currency="BTC", amount="-0.004")
    world.passes(minutes=4)
    assert len(world.events("account_differs")) == 1

    world.acts("move_funds", currency="BTC", amount="0.004")
    world.passes(minutes=2)
    assert len(world.events("account_agrees")) == 1
    assert world.balance(Currency("BTC")) > 0


def test_a_low_margin_level_is_told_of_each_time_it_is_reached(world: WireWorld) -> None:
    def passes_three_looks_at(price: int) -> int:
        world.price(BTC, price)
        world.passes(minutes=3)
        return len(world.events("margin_call"))

    world.proposes(BTC, "buy", size=9_000, stop=60_000, leverage=4)
    world.acts("move_funds", currency="USDT", amount="-42000")
    world.acts("move_funds", currency="USD", amount="-50000")

    assert [passes_three_looks_at(price) for price in (100_000, 94_000, 94_000, 100_000, 94_000)] == [0, 1, 1, 1, 2]


def test_comparing_costs_no_call_that_a_small_account_has_not() -> None:
    """At the smallest tier, with a position on margin, Kraken refuses nothing for an hour."""
    with WireWorld(tier=STARTER) as world:
        world.price(BTC, 100_000)
        world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
        world.passes(minutes=30)

        assert world.said(CallsThrottled) == []
        assert asked(world) > 25

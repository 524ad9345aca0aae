"""What the whole engine does with Kraken's counters: what it tells of its orders, and what happens at the limits."""

from __future__ import annotations

from actors.harness import Harness
from messages.base import ProposalId, Symbol
from messages.orders import Order, OrderAccepted, OrderAmended, OrderRole, OrderStatus, PlaceOrder
from messages.permits import (
    CallGranted,
    CallKind,
    CallPriority,
    CallsThrottled,
    PermitExpired,
    RequestCall,
    RequestPermit,
)
from messages.permits import ThrottleScope as Scope
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import World
from tests.scenarios.test_faults import all_is_well, leaves_in_peace

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
BTC = Symbol("BTC/USDT")
MANY = {"positions_per_symbol_max": 100, "positions_total_max": 100}
QUICK = {"orders_per_minute": 6_000, "orders_burst": 1_000, "api_per_minute": 6_000, "api_burst": 1_000}


def asked(world: Harness, kind: CallKind) -> RequestPermit:
    """Return the last request of its kind."""
    request: RequestPermit = [permit for permit in world.said(RequestPermit) if permit.kind is kind][-1]
    return request


def test_a_cancel_is_asked_for_with_the_age_of_its_order(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000)
    accepted_us = world.now_us
    assert asked(world, CallKind.PLACE).touched_at_us is None
    assert len(world.said(OrderAccepted)) == 1
    world.passes(seconds=12)

    world.cancels(trade)

    request = asked(world, CallKind.CANCEL)
    assert (request.symbol, request.touched_at_us, request.open_orders) == (BTC, accepted_us, 0)


def test_an_amend_makes_its_order_young_again(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    placed_us = world.now_us
    world.passes(seconds=60)
    world.protects(trade, stop=98_500)
    amended_us = world.now_us
    assert len(world.said(OrderAmended)) == 1
    assert asked(world, CallKind.AMEND).touched_at_us == placed_us
    world.passes(seconds=20)

    world.closes(trade)

    assert asked(world, CallKind.CANCEL).touched_at_us == amended_us
    leaves_in_peace(world)
    all_is_well(world)


def test_until_it_is_answered_an_amend_may_still_happen(world: Harness) -> None:
    """The youngest that the order can be is what a cancel is counted with."""
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=60)
    world.exchange.lost_amend_answers = 1
    world.protects(trade, stop=98_500)
    sent_us = world.now_us

    world.closes(trade)

    assert asked(world, CallKind.CANCEL).touched_at_us == sent_us + 10_000_000
    leaves_in_peace(world)
    all_is_well(world)


def test_an_order_of_an_earlier_life_counts_as_new(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000)
    world.passes(minutes=10)
    world.crashes()
    started_us = world.now_us

    world.cancels(trade)

    assert asked(world, CallKind.CANCEL).touched_at_us == started_us + 10_000_000


def test_openings_leave_places_for_the_stops_that_they_may_need(worlds: World) -> None:
    """Thirty of forty entries leave; each fills in part, and each gets its stop: sixty orders, and not one more."""
    world = worlds(limits=MANY, rate_limits=QUICK, paper={"fill_share_pct": 10})
    world.price(BTC, 100_000)
    trades = world.hands_in(
        *(world.proposal(BTC, "buy", size=100, entry=99_000, stop=97_000, leverage=2) for _ in range(40))
    )
    assert len(world.said(PlaceOrder)) == 30

    world.price(BTC, 98_990)
    world.passes(seconds=40)

    held = [trade for trade in trades if world.has_position(trade)]
    assert len(held) == 30
    assert {world.order(trade, STOP).status for trade in held} == {OrderStatus.OPEN}
    assert len(world.said(PlaceOrder)) == 60
    world.passes(minutes=1)
    given_up = [world.order(trade, ENTRY) for trade in trades if trade not in held]
    assert {(entry.status, entry.reason) for entry in given_up} == {
        (OrderStatus.CANCELLED, "no permit in time: too many calls or open orders")
    }


def held_up(world: Harness) -> None:
    """Nothing leaves for ten seconds."""
    until_us = world.now_us + 10_000_000
    world.tell(CallsThrottled(scope=Scope.ALL, symbol=None, until_us=until_us, reason="EGeneral:Temporary lockout"))


def refuses_place(world: Harness, trade: ProposalId, role: OrderRole) -> Order:
    """The rate limiter has no place for an order that waits; return the order after that."""
    waiting = world.order(trade, role)
    assert waiting.status is OrderStatus.PENDING
    world.tell(PermitExpired(kind=CallKind.PLACE, order_id=waiting.id))
    return next(order for order in world.orders(trade, role) if order.id == waiting.id)


def test_a_stop_without_a_place_is_watched_and_asked_for_again(world: Harness) -> None:
    """As if the exchange had refused it, which it would have."""
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    held_up(world)
    world.price(BTC, 98_990)

    refused = refuses_place(world, trade, STOP)

    assert (refused.status, refused.reason) == (OrderStatus.ERROR, "too many orders are open in the pair")
    assert len(world.events("protection_failing")) == 1
    leaves_in_peace(world)
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    all_is_well(world)


def test_an_exit_without_a_place_is_asked_for_again(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", leverage=2)
    held_up(world)
    world.closes(trade)

    assert refuses_place(world, trade, EXIT).status is OrderStatus.ERROR

    assert len(world.events("exit_failing")) == 1
    leaves_in_peace(world)
    assert world.position(trade).status is PositionStatus.CLOSED
    all_is_well(world)


def test_a_target_without_a_place_is_left_to_the_local_watch(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, target=104_000, leverage=2)
    held_up(world)
    world.price(BTC, 98_990)
    assert refuses_place(world, trade, TARGET).status is OrderStatus.ERROR
    leaves_in_peace(world)
    assert len(world.orders(trade, TARGET)) == 1

    world.price(BTC, 104_100)
    leaves_in_peace(world)

    assert world.position(trade).close_reason is CloseReason.TAKE_PROFIT
    all_is_well(world)


def test_while_the_exchange_hears_nothing_nothing_leaves(world: Harness) -> None:
    until_us = world.now_us + 20_000_000
    world.tell(CallsThrottled(scope=Scope.ALL, symbol=None, until_us=until_us, reason="EGeneral:Temporary lockout"))
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=19)
    assert world.said(PlaceOrder) == []

    world.passes(seconds=2)
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    all_is_well(world)


def test_a_rest_call_is_granted_in_paper_too(world: Harness) -> None:
    """Nobody listens there, and nobody is hurt."""
    world.tell(RequestCall(call=7, points_milli=1_000, priority=CallPriority.QUERY))
    assert [granted.call for granted in world.said(CallGranted)] == [7]
    assert world.engine.exit_reason == ""

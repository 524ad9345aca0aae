"""What goes wrong on the way to Kraken and back, each through the real SDK and a real websocket.

Named after what is promised: whatever is lost, late, twice or out of order, one wish makes one order, and the books
agree with the exchange's in the end.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.exchange.kraken.links import Answer, Request
from actors.exchange.kraken.notation import our_id
from actors.runtime.clock import SteppedClock
from messages.base import ProposalId
from messages.exchange import ExchangeAlert
from messages.orders import ExecutionReported, OrderNotFound, OrderRole, OrderStatus, OutcomeUnknown
from messages.permits import CallsThrottled
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import with_settings
from tests.wire.world import CountingWires, WireWorld

BTC = "BTC/USDT"


def buys(world: WireWorld) -> int:
    return sum(fill.side.value == "buy" for fill in world.server.books.history.trades())


def assert_sent_once(world: WireWorld) -> None:
    ids = [request.params["cl_ord_id"] for request in world.sent("AddOrder")]
    assert len(ids) == len(set(ids)), "an intent was sent twice"


def is_protected(world: WireWorld, trade: ProposalId) -> bool:
    stop = world.orders(trade, OrderRole.STOP)[-1]
    return stop.status is OrderStatus.OPEN


# REST: placing ------------------------------------------------------------------------------------

NO_ANSWER = [
    ("answer_lost", {"how": "reset"}, True),
    ("answer_lost", {"how": "hold"}, True),
    ("request_lost", {"how": "reset"}, False),
    ("request_lost", {"how": "hold"}, False),
    ("delay", {"seconds": 2}, True),
    ("http_error", {"status": 502, "placed": True}, True),
    ("http_error", {"status": 520, "placed": True}, True),
    ("http_error", {"status": 503, "placed": False}, False),
]


@pytest.mark.parametrize(("fault", "terms", "is_placed"), NO_ANSWER)
def test_c01_an_answer_that_never_comes_makes_no_second_order(
    world: WireWorld, fault: str, terms: dict[str, Any], *, is_placed: bool
) -> None:
    rule = world.goes_wrong(fault, endpoint="AddOrder", **terms)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    assert rule.struck == 1
    assert len(world.said(OutcomeUnknown)) == 1

    world.passes(minutes=3)

    assert_sent_once(world)
    assert buys(world) <= 1
    if is_placed:
        assert buys(world) == 1
        assert is_protected(world, trade)
    assert world.violations() == ()


def test_c02_no_sibling_goes_out_while_an_outcome_is_unknown(world: WireWorld) -> None:
    """Neither sees the order: the line is silent and REST lags. Nothing is sized on its symbol meanwhile."""
    world.goes_wrong("ws_silent", heartbeats=True)
    world.goes_wrong("rest_lag", seconds=45)
    world.goes_wrong("answer_lost", endpoint="AddOrder", how="reset")
    first = world.proposes(BTC, "buy", size=500, stop=98_000)
    second = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=20)
    assert len(world.sent("AddOrder")) == 1

    world.passes(minutes=3)
    world.heals()
    world.passes(minutes=3)

    assert_sent_once(world)
    assert world.has_position(first)
    assert world.has_position(second)
    assert world.violations() == ()


def test_c03_an_order_that_turns_up_late_belongs_to_its_trade(world: WireWorld) -> None:
    """REST lags by a minute: absence is believed only after the deadline and that lag."""
    world.goes_wrong("ws_silent", heartbeats=True)
    world.goes_wrong("rest_lag", seconds=60)
    world.goes_wrong("answer_lost", endpoint="AddOrder", how="reset")
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=50)
    assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.PENDING

    world.passes(minutes=3)

    assert buys(world) == 1
    assert world.order(trade, OrderRole.ENTRY).status is OrderStatus.FILLED
    assert is_protected(world, trade)
    assert world.violations() == ()


def test_a_late_nonce_is_answered_by_a_higher_one(world: WireWorld) -> None:
    rule = world.goes_wrong("invalid_nonce", endpoint="AddOrder", times=3)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)

    assert rule.struck == 3
    assert is_protected(world, trade)
    assert buys(world) == 1


def test_a_stop_that_gets_no_answer_is_found(world: WireWorld) -> None:
    world.goes_wrong("answer_lost", endpoint="AddOrder", how="reset", skip=1)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=30)

    assert len(world.sent("AddOrder")) == 2
    assert is_protected(world, trade)
    assert world.violations() == ()


# REST: moving and taking off ------------------------------------------------------------------------

QUIET_FAILURES = [
    ("answer_lost", {"how": "reset"}),
    ("request_lost", {"how": "reset"}),
    ("http_error", {"status": 502, "placed": True}),
    ("internal_error", {"placed": True}),
    ("internal_error", {"placed": False}),
    ("service_busy", {"placed": False}),
    ("rate_limit", {}),
]


@pytest.mark.parametrize(("fault", "terms"), QUIET_FAILURES)
def test_a_stop_is_moved_in_the_end(world: WireWorld, fault: str, terms: dict[str, Any]) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    rule = world.goes_wrong(fault, endpoint="AmendOrder", **terms)
    world.protects(trade, stop=99_000)
    world.passes(minutes=2)

    assert rule.struck == 1
    (stop,) = world.account().open_orders
    assert stop.trigger_price_quote == Decimal(99_000)
    assert world.order(trade, OrderRole.STOP).trigger_price_quote == Decimal(99_000)
    assert world.violations() == ()


@pytest.mark.parametrize(("fault", "terms"), QUIET_FAILURES)
def test_a_position_is_closed_in_the_end(world: WireWorld, fault: str, terms: dict[str, Any]) -> None:
    """On cash spot the stop has to be off before the exit leaves, whatever becomes of the cancel."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    rule = world.goes_wrong(fault, endpoint="CancelOrder", **terms)
    world.closes(trade)
    world.passes(minutes=3)

    assert rule.struck == 1
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.balance("BTC") == 0
    assert world.account().open_orders == ()
    assert world.violations() == ()


# The line -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "terms"),
    [
        ("ws_drop", {"channel": "executions"}),
        ("ws_silent", {}),
    ],
)
def test_c21_a_line_that_is_dead_is_opened_anew_within_ten_seconds(
    world: WireWorld, fault: str, terms: dict[str, Any]
) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.goes_wrong(fault, **terms)
    before_us = world.now_us
    world.passes(seconds=10)
    world.heals()
    world.passes(seconds=1)

    assert len(world.sent("GetWebSocketsToken")) >= 2
    assert world.now_us - before_us <= 11_000_000
    heard = len(world.said(ExecutionReported))
    world.price(BTC, 97_900)
    assert len(world.said(ExecutionReported)) == heard + 1, "pushed at once over the new line"
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.violations() == ()


def test_c21_what_a_silent_line_did_not_say_is_polled(world: WireWorld) -> None:
    """Heartbeats go on and executions do not: only asking tells."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.goes_wrong("ws_silent", heartbeats=True)
    world.price(BTC, 97_900)
    world.passes(seconds=15)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


@pytest.mark.parametrize("fault", ["ws_gap", "ws_duplicate", "ws_reorder"])
def test_c22_what_is_lost_twice_or_late_on_the_line_counts_once(world: WireWorld, fault: str) -> None:
    rule = world.goes_wrong(fault, channel="executions", times=4)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=30)
    assert rule.struck >= 1
    assert is_protected(world, trade)

    world.price(BTC, 97_900)
    world.passes(seconds=30)

    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_a_gap_is_answered_by_a_new_subscription(world: WireWorld) -> None:
    world.goes_wrong("ws_gap", channel="executions", times=1)
    world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=2)

    assert len(world.sent("GetWebSocketsToken")) == 2
    assert [alert.text for alert in world.said(ExchangeAlert)] == ["a message was lost on the way"]


@pytest.mark.parametrize("fault", ["ws_stale_token", "ws_lost_ack", "ws_refuse"])
def test_a_subscription_that_does_not_stand_is_made_anew(world: WireWorld, fault: str) -> None:
    rule = world.goes_wrong(fault, **({} if fault == "ws_refuse" else {"channel": "executions"}))
    world.goes_wrong("ws_drop", channel="executions")
    world.passes(seconds=25)

    assert rule.struck == 1
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    assert is_protected(world, trade), "told at once: the line is live"


def test_entries_wait_while_nothing_is_pushed(world: WireWorld) -> None:
    """C21: silence makes the feed stale. Entries stop, and what protects goes on."""
    held = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.goes_wrong("ws_refuse", times=None)
    world.goes_wrong("ws_drop", channel="executions")
    world.passes(seconds=10)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.protects(held, stop=99_000)
    world.passes(seconds=10)
    assert not world.has_position(trade)
    assert world.account().open_orders[0].trigger_price_quote == Decimal(99_000)

    world.heals()
    world.passes(seconds=40)

    assert world.has_position(trade)
    assert world.violations() == ()


# The exchange itself --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["maintenance", "cancel_only", "post_only"])
def test_a_closed_exchange_gets_no_entries_and_is_traded_on_again(world: WireWorld, state: str) -> None:
    world.goes_wrong(state)
    world.passes(seconds=2)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=30)
    assert not world.has_position(trade)

    world.heals()
    world.passes(minutes=2)

    assert_sent_once(world)
    assert world.violations() == ()


def test_c25_an_outage_of_two_hours_ends_without_a_restart(world: WireWorld) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.goes_wrong("request_lost", how="reset", times=None)
    world.goes_wrong("ws_refuse", times=None)
    world.goes_wrong("ws_drop", channel="executions")
    world.passes(hours=2)
    world.price(BTC, 97_900)
    world.heals()
    world.passes(minutes=3)

    assert world.engine.exit_code is None
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_throttled_by_the_exchange_everything_pauses_until_it_says(world: WireWorld) -> None:
    world.goes_wrong("throttled", endpoint="OpenOrders", seconds=30)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(seconds=8)
    (said,) = world.said(CallsThrottled)
    calls = len(world.wires.requests)
    world.closes(trade)
    world.passes(seconds=10)
    assert len(world.wires.requests) == calls

    world.passes(minutes=2)

    assert said.until_us - world.now_us < 0
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_a_trade_told_before_its_order_is_known_is_not_a_strangers(world: WireWorld) -> None:
    """The exit's answer and its trade are lost; the new line tells the trade alone, and not whose order it was.

    Found by the soak: a poll that came before the order was asked about booked it as somebody else's.
    """
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.goes_wrong("internal_error", endpoint="AddOrder", placed=True)
    world.goes_wrong("request_lost", how="reset", endpoint="QueryOrders", times=2)
    world.goes_wrong("ws_gap", channel="executions", skip=1, times=4)
    world.closes(trade)
    world.passes(minutes=3)

    assert world.events("unknown_execution") == []
    assert world.position(trade).status is PositionStatus.CLOSED
    assert all(order.is_over for order in world.orders(trade))
    assert world.violations() == ()


NONSENSE = ('{"open": {"O-1": null}}', '{"open": {"O-1": {"status": "open"}}}', '["no", "object"]', '"nothing"')


@pytest.mark.parametrize("result", NONSENSE)
def test_an_answer_that_makes_no_sense_is_as_good_as_none(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch, result: str
) -> None:
    """A person is told, the engine goes on, and asks again."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    call = CountingWires.call
    spoilt: list[str] = []

    async def spoil(wires: CountingWires, request: Request) -> Answer:
        answer = await call(wires, request)
        if spoilt or not request.path.endswith("/OpenOrders"):
            return answer
        spoilt.append(request.path)
        return Answer(status=200, text=f'{{"error": [], "result": {result}}}')

    monkeypatch.setattr(CountingWires, "call", spoil)
    world.passes(minutes=1)

    assert spoilt
    assert [alert.kind for alert in world.said(ExchangeAlert)] == ["answer_unreadable"]
    assert is_protected(world, trade)
    assert world.violations() == ()


def test_a_question_that_is_never_answered_is_asked_again_while_the_clock_runs(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is lost, and so is every answer about it for a while; two readings of a real clock are never equal.

    Found by the soak: what an order became was asked once, and its symbol stayed blocked for as long as the run lasted.
    """

    def goes_on(clock: SteppedClock) -> int:
        clock.advance_to(clock._now_us + 1)
        return clock._now_us

    monkeypatch.setattr(SteppedClock, "now_us", goes_on)
    world.goes_wrong("request_lost", how="reset", endpoint="AddOrder")
    world.goes_wrong("internal_error", endpoint="OpenOrders", times=9)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.passes(minutes=5)

    assert world.position(trade).status is PositionStatus.OPEN
    assert len(world.sent("AddOrder")) == 3  # The lost one, another, and its stop.
    assert world.violations() == ()


def test_a_search_outlasts_questions_that_are_not_answered() -> None:
    """Each question of the search fails twice: they are asked again, and not the whole search.

    Found by the soak: with half of the answers missing no search ever came to its end.
    """
    with WireWorld(with_settings(rate_limits={"kraken_tier": "none"})) as world:
        world.price(BTC, 100_000)
        for endpoint in ("OpenOrders", "ClosedOrders", "TradesHistory"):
            world.goes_wrong("service_timeout", endpoint=endpoint, times=2)
        world.goes_wrong("request_lost", how="reset", endpoint="AddOrder")
        world.proposes(BTC, "buy", size=500, stop=98_000)
        world.passes(seconds=12)

        assert world.said(OrderNotFound)


def test_an_order_of_which_only_the_end_is_told_is_known_by_kraken_s_id_too(world: WireWorld) -> None:
    """The stop's answer and its beginning are lost, then a person cancels it, and the new line tells of that.

    Found by the soak: the books had an order that Kraken had as well, and could not say which.
    """
    world.goes_wrong("internal_error", endpoint="AddOrder", placed=True, skip=1)
    world.goes_wrong("rest_lag", seconds=60)
    world.goes_wrong("ws_gap", channel="executions", skip=4, times=2)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000)
    world.goes_wrong("ws_drop")
    world.passes(seconds=5)
    [resting] = [note for note in world.server.exchange.registry.orders() if note.order.is_open]
    world.acts("cancel_by_hand", txid=resting.txid)

    ended = next(one for one in world.orders(trade, OrderRole.STOP) if one.id == our_id(resting.cl_ord_id))
    assert (ended.status, ended.external_id) == (OrderStatus.CANCELLED, resting.txid)

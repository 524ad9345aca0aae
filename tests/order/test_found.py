"""What an adversarial reading found: one story for each defect, named by what should hold."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.harness import Harness
from messages.base import Currency, ProposalId, Symbol
from messages.exchange import ExchangeAlert
from messages.lifecycle import DrainEngine, EngineDrained, EngineReady
from messages.market import PriceMoved
from messages.orders import (
    CancelOrder,
    ExecutionReported,
    OrderAccepted,
    OrderEnded,
    OrderRole,
    OrderStatus,
    PlaceOrder,
)
from messages.positions import CloseReason, PositionStatus
from messages.trades import ChangeProtection
from tests.scenarios.conftest import World, with_settings

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
THROTTLED = "EAPI:Rate limit exceeded"
NEVER = "EOrder:Orders are not for you"
NO_COOLDOWN = {"after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0}


def alive(world: Harness) -> None:
    """The engine has not stopped itself."""
    assert world.engine.exit_reason == ""


def slots_taken(world: Harness) -> int:
    risk: Any = world.engine.actors["risk"].describe()
    return int(risk.slots_taken)


def resting(world: Harness, trade: ProposalId) -> int:
    """Return how many orders of the trade are open on the exchange."""
    ours = {order.id for order in world.orders(trade)}
    return sum(order.order_id in ours for order in world.account().open_orders)


def sweeps(world: Harness, low: int, high: int, last: int) -> None:
    """Several ticks reach everybody as one, with both extremes in it."""
    sequence = 1_000_000 + len(world.heard)
    world.tell(
        PriceMoved(
            symbol=Symbol("BTC/USDT"), last_quote=Decimal(last), low_quote=Decimal(low), high_quote=Decimal(high),
            at_us=world.now_us, sequence=sequence,
        )
    )  # fmt: skip


# Amends ---------------------------------------------------------------------------------------------------


def test_a_stop_that_fills_before_its_amend_is_confirmed_is_no_overfill(worlds: World) -> None:
    """The execution overtakes the answer: the fill is larger than the volume from before the amend."""
    world = worlds(orders={"local_watch_grace_ms": 60_000})
    world.price("BTC/USDT", 100_000)
    world.exchange.fill_only(Decimal(30))
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, leverage=2)
    world.exchange.answer_delay_us = 500_000
    world.price("BTC/USDT", 99_990)  # The rest of the entry fills; the stop is amended, and the answer is under way.
    world.price("BTC/USDT", 97_900)
    world.passes(seconds=10)
    world.exchange.answer_delay_us = 0
    world.passes(minutes=1)
    alive(world)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.violations() == ()


def test_a_stop_whose_amend_answer_is_lost_may_fill_as_amended(worlds: World) -> None:
    world = worlds(orders={"local_watch_grace_ms": 60_000})
    world.price("BTC/USDT", 100_000)
    world.exchange.fill_only(Decimal(30))
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, leverage=2)
    world.exchange.lost_amend_answers = 1
    world.exchange.answer_delay_us = 500_000
    world.price("BTC/USDT", 99_990)
    world.price("BTC/USDT", 97_900)
    world.passes(minutes=1)
    alive(world)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS


def test_a_fill_beyond_an_unconfirmed_amend_is_booked_after_a_restart(worlds: World) -> None:
    """The same while the process is down: it must not die of it at every start."""
    world = worlds(orders={"local_watch_grace_ms": 60_000})
    world.price("BTC/USDT", 100_000)
    world.exchange.fill_only(Decimal(30))
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, leverage=2)
    world.exchange.answer_delay_us = 500_000
    world.price("BTC/USDT", 99_990)
    world.exchange.answer_delay_us = 0
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 97_900)
    world.crashes()
    world.price("BTC/USDT", 97_900)
    world.passes(minutes=1)
    alive(world)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.violations() == ()


def test_an_order_that_the_exchange_calls_filled_is_over(worlds: World) -> None:
    """Amended down to what is left, the answer lost, then filled wholly: it is not partially filled for ever."""
    world = worlds(orders={"local_watch_grace_ms": 60_000})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, target=104_000, leverage=2)
    target = world.order(trade, TARGET)
    assert target.status is OrderStatus.OPEN
    world.exchange.lost_amend_answers = 1
    world.exchange.answer_delay_us = 100_000
    books: Any = world.engine.actors["exchange"]
    for order in books._books.history.open.values():
        if order.order_id == target.id:
            order.first_share_pct = Decimal(40)
    world.price("BTC/USDT", 104_000)  # Four tenths of the target: the stop is amended down.
    world.price("BTC/USDT", 97_900)
    world.exchange.answer_delay_us = 0
    world.passes(minutes=2)
    alive(world)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.order(trade, STOP).is_over
    cancels = len(world.said(CancelOrder))
    world.passes(minutes=2)
    assert len(world.said(CancelOrder)) == cancels, "nothing is cancelled again and again"


def test_a_refused_amend_that_succeeds_later_ends_its_alert(world: Harness) -> None:
    """Or else the next failure tells nobody and has no grace: the position stays bare for ever."""
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.exchange.refuse_next_amend(THROTTLED)
    world.protects(trade, stop=99_000)
    world.passes(seconds=30)
    assert world.account().open_orders[0].trigger_price_quote == 99_000
    told = len(world.events("protection_failing"))
    assert told == 1
    stop = world.order(trade, STOP)
    world.exchange.refuse_next(NEVER, times=1_000)
    world.tell(
        OrderEnded(
            order_id=stop.id, status=OrderStatus.CANCELLED, reason="by hand", at_us=world.now_us, filled_base=Decimal(0)
        )
    )
    world.passes(seconds=1)
    assert len(world.events("protection_failing")) == told + 1
    world.passes(minutes=1)
    assert world.position(trade).status is PositionStatus.CLOSING
    assert world.position(trade).close_reason is CloseReason.PROTECTION_FAILED


def test_an_exit_that_fails_is_told_of_although_the_stop_failed_before(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(NEVER, times=1_000)
    world.price("BTC/USDT", 98_990)
    world.passes(minutes=2)
    assert world.position(trade).close_reason is CloseReason.PROTECTION_FAILED
    assert world.events("protection_failing")
    assert world.events("exit_failing"), "nobody knows that the exit does not work either"


def test_each_failure_of_a_stop_has_its_whole_grace(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(THROTTLED)
    world.price("BTC/USDT", 98_990)
    world.passes(seconds=25)
    stop = world.order(trade, STOP)
    assert stop.status is OrderStatus.OPEN
    world.exchange.refuse_next(THROTTLED, times=4)
    world.tell(
        OrderEnded(
            order_id=stop.id, status=OrderStatus.CANCELLED, reason="by hand", at_us=world.now_us, filled_base=Decimal(0)
        )
    )
    world.passes(seconds=10)
    assert world.position(trade).status is PositionStatus.OPEN, "ten seconds are not thirty"


def test_a_stop_of_unknown_outcome_is_no_protection_and_is_told_of(world: Harness) -> None:
    """I4: bare is bare, whether the stop was refused or has vanished on its way."""
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.lost_requests = 1
    world.price("BTC/USDT", 98_990)
    world.passes(seconds=20)
    assert world.position(trade).status is PositionStatus.OPEN
    assert world.order(trade, STOP).status is OrderStatus.PENDING
    assert [violation for violation in world.violations() if violation.invariant == "I4"] == []


def test_a_position_whose_stop_has_vanished_for_longer_than_the_grace_is_closed(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.lost_requests = 1
    world.price("BTC/USDT", 98_990)
    world.passes(seconds=45)
    assert world.order(trade, STOP).status is OrderStatus.OPEN or world.position(trade).close_reason is not None


def test_a_withdrawn_stop_that_never_was_alarms_nobody(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.lost_requests = 1
    world.price("BTC/USDT", 98_990)
    world.closes(trade)
    world.passes(seconds=20)
    assert world.position(trade).status is PositionStatus.CLOSED
    told = len(world.events("protection_failing"))
    world.passes(minutes=2)
    assert len(world.events("protection_failing")) == told, "the position has been over for a minute"


# Restarts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", range(1, 40, 2))
def test_nothing_of_a_closed_position_rests_after_a_crash(messages: int) -> None:
    """The stop has filled, the position is over in the journal, and the target's cancel is still to be sent."""
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
        world.dies_after(messages)
        world.price("BTC/USDT", 97_900)
        world.crashes()
        world.price("BTC/USDT", 97_900)
        world.passes(minutes=3)
        alive(world)
        assert world.position(trade).close_reason is CloseReason.STOP_LOSS
        assert resting(world, trade) == 0
        assert world.violations() == ()
        assert slots_taken(world) == 0


@pytest.mark.parametrize("messages", range(50, 90))
def test_an_entry_that_fills_on_after_a_crash_adds_to_its_position(messages: int) -> None:
    """A part has filled and is stopped out; the process dies before the rest is cancelled; the rest fills."""
    with Harness(with_settings(cooldowns=NO_COOLDOWN, paper={"fill_share_pct": Decimal(30)})) as world:
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", entry=98_000, stop=97_000, target=104_000, leverage=2)
        world.price("BTC/USDT", 98_000)  # Three tenths.
        first = world.position(trade).entry_base
        world.passes(seconds=10)
        world.dies_after(messages)
        world.price("BTC/USDT", 104_000)  # The target takes its first part, and more with each tick.
        world.price("BTC/USDT", 104_000)
        world.price("BTC/USDT", 104_000)
        world.price("BTC/USDT", 104_000)
        world.crashes()
        world.price("BTC/USDT", 98_000)
        world.passes(seconds=20)
        world.price("BTC/USDT", 98_000)
        world.passes(minutes=3)
        alive(world)
        assert world.position(trade).entry_base >= first, "what was traded before is not forgotten"
        assert world.violations() == ()


@pytest.mark.parametrize("messages", range(1, 16))
def test_a_cancel_that_was_taken_survives_a_crash(messages: int) -> None:
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
        world.dies_after(messages)
        world.cancels(trade)
        taken = [row for row in world.journal.requests.values() if row.kind == "cancel"]
        world.crashes()
        world.passes(minutes=3)
        alive(world)
        if taken:
            assert world.order(trade, ENTRY).status is OrderStatus.CANCELLED
            assert resting(world, trade) == 0


@pytest.mark.parametrize("messages", range(1, 25, 2))
def test_a_close_that_was_taken_survives_a_crash(messages: int) -> None:
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", stop=97_000, leverage=2)
        world.dies_after(messages)
        world.closes(trade)
        taken = [row for row in world.journal.requests.values() if row.kind == "close"]
        world.crashes()
        world.price("BTC/USDT", 100_000)
        world.passes(minutes=3)
        alive(world)
        assert world.violations() == ()
        if taken:
            assert world.position(trade).status is PositionStatus.CLOSED


def test_a_close_taken_while_the_entry_is_in_flight_survives_a_crash(world: Harness) -> None:
    world.exchange.lost_answers = 1
    world.exchange.lost_executions = 1
    world.exchange.poll_lag_us = 30_000_000
    trade = world.proposes("BTC/USDT", "buy", stop=97_000, leverage=2)
    world.closes(trade)
    world.passes(seconds=1)
    world.crashes()
    world.price("BTC/USDT", 100_000)
    world.passes(minutes=3)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_a_restart_does_not_forget_when_an_entry_expires(worlds: World) -> None:
    world = worlds(orders={"default_time_in_force": "GTC", "expiry_s": 600})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=99_000)
    world.passes(minutes=5)
    world.crashes()
    world.passes(minutes=10)
    assert world.order(trade, ENTRY).status is OrderStatus.EXPIRED


def test_an_order_that_ends_while_it_is_looked_for_does_not_keep_the_engine_closed(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.passes(seconds=1)
    world.exchange.poll_lag_us = 60_000_000  # The order is too young to be found ...
    world.exchange.answer_delay_us = 5_000_000
    world.heard.clear()
    world.crashes()
    world.passes(seconds=1)
    world.price("BTC/USDT", 98_990)  # ... and has filled before that is said.
    assert not world.said(EngineReady)
    world.exchange.answer_delay_us = 0
    world.exchange.poll_lag_us = 0
    world.passes(minutes=3)
    assert world.said(EngineReady)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED


def test_a_liquidation_while_the_process_was_down_is_booked_at_the_start(worlds: World) -> None:
    world = worlds(paper={"balances": {"USDT": Decimal(1_000)}}, limits={"exposure_max_pct": Decimal(1_000)})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", size=900, leverage=5)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 84_000)
    assert world.account().holdings == ()
    world.crashes()
    world.price("BTC/USDT", 84_000)
    world.passes(minutes=3)
    assert world.position(trade).status is PositionStatus.LIQUIDATED
    assert world.violations() == ()


# What the exchange did by itself ----------------------------------------------------------------------------


def test_an_end_that_overtakes_its_fill_hides_nothing(world: Harness) -> None:
    """The fill of a market entry is not pushed, the cancellation of its rest is: what was bought is ours."""
    world.exchange.fill_only(Decimal(50))
    world.exchange.lost_executions = 1
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.passes(minutes=3)
    assert world.account().holdings != ()
    assert world.has_position(trade)
    assert world.violations() == ()


def test_a_cancel_that_overtakes_a_fill_hides_nothing(world: Harness) -> None:
    world.exchange.fill_only(Decimal(30))
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_990)
    world.cancels(trade)
    world.passes(minutes=3)
    assert world.has_position(trade)
    assert world.violations() == ()


def test_a_fill_that_the_first_poll_passed_over_is_asked_for_again(worlds: World) -> None:
    """The cursor stands behind a trade of an order that was not asked about then, and the push was lost."""
    world = worlds(paper={"acknowledge_delay_ms": 7_000})
    world.price("BTC/USDT", 100_000)
    world.proposes("BTC/USDT", "buy", entry=90_000, leverage=2)
    world.passes(seconds=11)  # Accepted after 7 s, polled for the first time after 12 s.
    world.exchange.lost_executions = 1
    second = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, leverage=2)
    world.passes(minutes=3)
    assert world.order(second, ENTRY).status is OrderStatus.FILLED
    assert world.violations() == ()


def test_a_position_closed_by_hand_is_closed_here_too(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    world.exchange.close_by_hand(Symbol("BTC/USDT"))
    world.price("BTC/USDT", 100_010)
    world.passes(minutes=3)
    alive(world)
    assert world.said(ExchangeAlert)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert resting(world, trade) == 0
    assert world.violations() == ()


def test_what_was_closed_by_hand_is_reported_although_only_a_poll_tells(world: Harness) -> None:
    world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.passes(seconds=20)
    world.exchange.lost_executions = 1
    world.exchange.close_by_hand(Symbol("BTC/USDT"))
    world.price("BTC/USDT", 100_010)
    world.passes(minutes=1)
    assert world.events("unknown_execution")


def test_a_liquidation_closes_what_is_open_whichever_lot_it_names(worlds: World) -> None:
    """The exchange closes first in, first out: it liquidates the second lot, and what we still hold is the first."""
    world = worlds(
        paper={"balances": {"USDT": Decimal(1_000)}}, limits={"exposure_max_pct": Decimal(1_000)}, cooldowns=NO_COOLDOWN
    )
    world.price("BTC/USDT", 100_000)
    first = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    second = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    world.closes(second)
    world.passes(seconds=10)
    assert world.position(second).status is PositionStatus.CLOSED
    world.price("BTC/USDT", 60_000)
    world.passes(minutes=1)
    alive(world)
    assert world.position(first).status is PositionStatus.LIQUIDATED
    assert world.violations() == ()


def test_a_liquidation_finds_its_position_however_many_orders_came_since(worlds: World) -> None:
    world = worlds(
        orders={"history_max": 1}, paper={"balances": {"USDT": Decimal(1_000)}},
        limits={"exposure_max_pct": Decimal(1_000)},
    )  # fmt: skip
    world.price("BTC/USDT", 100_000)
    first = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    second = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    world.price("BTC/USDT", 84_000)
    world.passes(minutes=1)
    assert world.position(second).status is PositionStatus.LIQUIDATED
    assert world.position(first).status is PositionStatus.LIQUIDATED
    assert world.violations() == ()


def test_stop_and_target_of_one_position_never_sell_the_other_position_of_the_symbol(worlds: World) -> None:
    """Reduce-only guards the sum, not the one: both exits fire, and the second one sells what the other trade holds."""
    world = worlds(cooldowns=NO_COOLDOWN)
    world.price("BTC/USDT", 100_000)
    first = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=10)
    second = world.proposes("BTC/USDT", "buy", stop=90_000, leverage=2)
    world.passes(seconds=10)
    sweeps(world, 97_900, 104_100, 100_000)
    world.passes(minutes=3)
    alive(world)
    assert world.position(first).status is PositionStatus.CLOSED
    assert world.position(second).exit_base in (0, world.position(second).entry_base)
    assert world.violations() == ()


def test_an_exit_beside_a_stop_of_unknown_outcome_does_not_sell_the_other_position(worlds: World) -> None:
    world = worlds(cooldowns=NO_COOLDOWN)
    world.price("BTC/USDT", 100_000)
    world.proposes("BTC/USDT", "buy", stop=90_000, leverage=2)
    first = world.proposes("BTC/USDT", "buy", entry=99_500, stop=98_000, leverage=2)
    world.passes(seconds=60)
    world.exchange.lost_answers = 1
    world.exchange.poll_lag_us = 40_000_000
    world.price("BTC/USDT", 99_490)  # Filled; its stop rests, and nobody has said so.
    world.closes(first)
    world.price("BTC/USDT", 97_900)  # The exit has filled; now the stop fires.
    world.exchange.poll_lag_us = 0
    world.passes(minutes=3)
    alive(world)
    assert world.violations() == ()


# Requests ---------------------------------------------------------------------------------------------------


def test_a_limit_below_one_tick_is_refused(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry="0.04")
    world.passes(seconds=1)
    alive(world)
    assert world.codes(trade) != ()


@pytest.mark.parametrize("level", ["NaN", "sNaN", "Infinity", "-Infinity", "1e400", "0", "-5"])
@pytest.mark.parametrize("which", ["stop", "target"])
def test_levels_that_are_no_prices_are_refused(world: Harness, which: str, level: str) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    name = "stop_loss_quote" if which == "stop" else "take_profit_quote"
    levels: dict[str, Any] = {name: Decimal(level)}
    world.tell(ChangeProtection(request_id=ProposalId("change"), target_id=trade, **levels), trade)
    world.passes(minutes=1)
    alive(world)
    position = world.position(trade)
    assert position.stop_loss_quote == 98_000
    assert position.take_profit_quote == 104_000
    assert world.events("protection_refused")


def test_a_stop_may_be_moved_into_profit(world: Harness) -> None:
    """The price is the present one, not the one of the last change of the position."""
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.price("BTC/USDT", 105_000)
    world.protects(trade, stop=103_000)
    world.passes(seconds=30)
    assert world.events("protection_refused") == []
    assert world.position(trade).stop_loss_quote == 103_000


def test_a_stop_beyond_the_present_price_is_refused(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=95_000, leverage=2)
    world.price("BTC/USDT", 97_000)
    world.protects(trade, stop=98_000)
    world.passes(seconds=30)
    assert world.events("protection_refused")
    assert world.position(trade).stop_loss_quote == 95_000
    assert world.position(trade).status is PositionStatus.OPEN


def test_levels_may_be_changed_before_the_first_price_after_a_start(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=95_000, leverage=2)
    world.crashes()
    world.protects(trade, stop=96_000)
    world.passes(seconds=30)
    assert world.position(trade).stop_loss_quote == 96_000


def test_a_cancel_reaches_a_proposal_that_waits(world: Harness) -> None:
    world.exchange.lost_requests = 1
    world.proposes("BTC/USDT", "buy", stop=98_000, size=100)
    second = world.proposes("BTC/USDT", "buy", stop=98_000, size=200)
    world.cancels(second)
    world.passes(minutes=3)
    assert not world.has_position(second)


def test_a_retried_entry_is_measured_against_the_present_price(world: Harness) -> None:
    """The first attempt vanished; meanwhile the price is through the stop: there is nothing left to enter."""
    world.exchange.lost_requests = 1
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.price("BTC/USDT", 97_000)
    world.passes(minutes=3)
    assert not world.has_position(trade)


def test_a_late_acceptance_of_an_order_that_was_given_up_is_cancelled(world: Harness) -> None:
    world.exchange.lost_requests = 1
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, leverage=2)
    world.passes(minutes=2)
    first = world.orders(trade, ENTRY)[0]
    assert first.status is OrderStatus.ERROR
    external = world.said(OrderAccepted)[-1].external_id
    world.tell(OrderAccepted(order_id=first.id, external_id=external, at_us=world.now_us))
    world.passes(seconds=10)
    assert [cancel for cancel in world.said(CancelOrder) if cancel.order_id == first.id]


def test_a_drain_waits_for_a_stop_that_is_to_be_tried_again(world: Harness) -> None:
    """Nobody watches a bare position once the engine is gone."""
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(THROTTLED, times=2)
    world.price("BTC/USDT", 98_990)
    world.tell(DrainEngine())
    for _tenth in range(90):
        if world.said(EngineDrained):
            break
        world.passes(ms=100)
    assert world.said(EngineDrained)
    assert world.order(trade, STOP).status is OrderStatus.OPEN


def test_a_proposal_that_waits_is_answered_when_the_engine_drains(world: Harness) -> None:
    world.exchange.lost_requests = 1
    world.proposes("BTC/USDT", "buy", stop=98_000, size=100)
    second = world.proposes("BTC/USDT", "buy", stop=98_000, size=200)
    world.tell(DrainEngine())
    world.passes(seconds=9)
    assert world.codes(second) == ("ENGINE_STOPPING",)


# Slots ------------------------------------------------------------------------------------------------------


def test_a_trade_that_came_back_to_life_gives_its_slot_back_in_the_end(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    entry = world.order(trade, ENTRY)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_900)
    world.tell(
        OrderEnded(
            order_id=entry.id,
            status=OrderStatus.CANCELLED,
            reason="timeout",
            at_us=world.now_us,
            filled_base=Decimal(0),
        )
    )
    books: Any = world.engine.actors["exchange"]
    for fill in books._books.history.fills_of(entry.id):
        world.tell(ExecutionReported(fill=fill))
    world.passes(seconds=10)
    assert world.position(trade).status is PositionStatus.OPEN
    assert slots_taken(world) == 1
    world.closes(trade)
    world.passes(seconds=10)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert slots_taken(world) == 0


def test_dust_takes_no_slot_whatever_changes_about_it(world: Harness) -> None:
    world.exchange.fill_only(Decimal("0.5"))
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, trailing=True)
    world.passes(seconds=5)
    assert world.events("dust_left")
    assert slots_taken(world) == 0
    world.price("BTC/USDT", 102_000)  # Trailing begins, and the position changes.
    world.passes(seconds=60)
    assert world.position(trade).status is PositionStatus.OPEN
    assert slots_taken(world) == 0


def test_what_is_worth_less_than_the_smallest_order_is_dust_too(worlds: World) -> None:
    world = worlds()
    world.price("XRP/USDT", "0.2")
    world.exchange.fill_only(Decimal(1))
    world.proposes("XRP/USDT", "buy", size=44, stop="0.19")
    world.passes(minutes=3)
    assert world.events("dust_left")
    assert len([order for order in world.said(PlaceOrder) if order.intent.role is not ENTRY]) <= 1


# Second reading -----------------------------------------------------------------------------------------------


def test_a_liquidation_leaves_what_was_bought_outright(worlds: World) -> None:
    """Coins that were paid for are no margin position: the exchange does not touch them, so nor do our books."""
    world = worlds(
        paper={"balances": {"USDT": Decimal(1_500)}}, limits={"exposure_max_pct": Decimal(1_000)}, cooldowns=NO_COOLDOWN
    )
    world.price("BTC/USDT", 100_000)
    bought = world.proposes("BTC/USDT", "buy", size=100)
    borrowed = world.proposes("BTC/USDT", "buy", size=1_300, leverage=5)
    world.price("BTC/USDT", 80_000)
    world.passes(minutes=1)
    assert world.account().holdings == ()
    assert world.position(borrowed).status is PositionStatus.LIQUIDATED
    assert world.position(bought).status is PositionStatus.OPEN
    assert world.violations() == ()


def test_a_position_closed_by_hand_while_the_process_was_down_is_closed_at_the_start(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.exchange.lost_executions = 1
    world.exchange.close_by_hand(Symbol("BTC/USDT"))
    world.price("BTC/USDT", 100_010)
    world.crashes()
    world.price("BTC/USDT", 100_010)
    world.passes(minutes=3)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_a_liquidation_of_another_lot_while_the_process_was_down_is_booked(worlds: World) -> None:
    world = worlds(
        paper={"balances": {"USDT": Decimal(1_000)}}, limits={"exposure_max_pct": Decimal(1_000)}, cooldowns=NO_COOLDOWN
    )
    world.price("BTC/USDT", 100_000)
    first = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    second = world.proposes("BTC/USDT", "buy", size=450, leverage=5)
    world.closes(second)
    world.passes(seconds=10)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 60_000)
    world.crashes()
    world.price("BTC/USDT", 60_000)
    world.passes(minutes=3)
    assert world.position(first).is_over
    assert world.violations() == ()


def test_no_stop_waits_behind_a_target(worlds: World) -> None:
    """Three entries fill on one tick, and five tokens are there: all three stops leave at once."""
    world = worlds(limits={"positions_per_symbol_max": 3})
    world.price("BTC/USDT", 100_000)
    trades = [
        world.proposes("BTC/USDT", "buy", entry=entry, stop=97_000, target=104_000, leverage=2)
        for entry in (99_200, 99_100, 99_000)
    ]
    world.passes(minutes=1)
    world.price("BTC/USDT", 98_990)
    assert {world.position(trade).status for trade in trades} == {PositionStatus.OPEN}
    assert [violation for violation in world.violations() if violation.invariant == "I4"] == []
    roles = [message.intent.role for message in world.said(PlaceOrder)][3:]
    assert roles.count(STOP) == 3


def test_an_entry_that_fills_after_a_restart_is_filled_at_once(world: Harness) -> None:
    """Entries are never amended: nothing may be outstanding of them."""
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.passes(seconds=10)
    world.exchange.answer_delay_us = 5_000_000
    world.crashes()
    world.price("BTC/USDT", 98_990)
    world.passes(seconds=10)  # Until it is known which orders are ours.
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    assert len(world.events("order_filled")) == 1
    assert world.events("order_partially_filled") == []


def test_a_short_is_not_reduced_to_the_sale_of_coins_we_own(worlds: World) -> None:
    world = worlds(limits={"leverage_max": 1}, paper={"balances": {"USDT": Decimal(50_000), "BTC": Decimal(1)}})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "sell", stop=102_000, leverage=2)
    world.passes(seconds=10)
    assert world.codes(trade) != ()
    assert dict(world.account().balances)[Currency("BTC")] == 1


def test_a_loss_in_another_currency_counts_after_a_restart(worlds: World) -> None:
    """What BTC is worth was learned from a review, and the memory of that has gone: a loss is a loss even so."""
    world = worlds()
    world.prices({"BTC/USDT": 100_000, "BTC/USD": 100_000, "XRP/BTC": "0.00002"})
    trade = world.proposes("XRP/BTC", "buy", size="0.01", stop="0.000019", leverage=2)
    world.passes(seconds=10)
    world.crashes()
    world.prices({"BTC/USDT": 100_000, "BTC/USD": 100_000, "XRP/BTC": "0.00002"})
    world.price("XRP/BTC", "0.0000189")
    world.passes(seconds=30)
    assert world.position(trade).is_over
    risk: Any = world.engine.actors["risk"].describe()
    assert risk.state.losses_in_a_row == 1
    assert risk.state.realised_usd < 0


def test_the_result_of_a_reopened_position_counts_in_full(worlds: World) -> None:
    world = worlds(cooldowns=NO_COOLDOWN)
    world.price("BTC/USDT", 100_000)
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes("BTC/USDT", "buy", entry=99_500, stop=98_000, leverage=2)
    world.price("BTC/USDT", 99_490)
    world.passes(seconds=10)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 99_480)  # The rest fills in silence ...
    world.closes(trade)  # ... and what is known is closed, before a poll tells of it.
    world.passes(minutes=2)
    position = world.position(trade)
    assert position.is_over
    risk: Any = world.engine.actors["risk"].describe()
    assert risk.state.realised_usd == position.exit_cost_quote - position.entry_cost_quote - position.fees_quote


def test_a_trade_is_not_let_go_between_a_late_fill_and_its_position(world: Harness) -> None:
    """One poll tells both: the entry's late fill, and the end of the last order of a position that was over."""
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes("BTC/USDT", "buy", entry=99_900, stop=98_500, target=101_500, leverage=2)
    world.exchange.lost_cancel_answers = 1
    world.price("BTC/USDT", 99_700)  # Four tenths.
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_800)  # The rest, in silence.
    world.price("BTC/USDT", 97_300)  # The stop of the four tenths; what is left of the trade is cancelled.
    assert world.position(trade).status is PositionStatus.CLOSED
    world.passes(minutes=3)
    assert world.position(trade).entry_base == world.order(trade, ENTRY).volume_base
    assert world.violations() == ()
    assert world.position(trade).is_over, "the price is below its stop"


@pytest.mark.parametrize("starts", range(6))
def test_an_order_that_is_over_never_hides_a_live_one_of_the_same_instant(starts: int) -> None:
    """A stop is refused, and the next start places one at the same microsecond: the start after that sees both."""
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        for _start in range(starts):  # Each run has ids of its own: their order decides which is read last.
            world.crashes()
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
        world.exchange.refuse_next(THROTTLED)
        world.price("BTC/USDT", 98_990)
        world.crashes()
        world.crashes()
        world.price("BTC/USDT", 98_990)
        world.passes(minutes=3)
        assert resting(world, trade) == 1
        assert world.violations() == ()

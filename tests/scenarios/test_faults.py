"""Everything that the mock exchange can do wrong, alone and in pairs, at every turn of a trade.

However it went: left in peace for three minutes, the books agree and each position is protected or closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.harness import Harness
from messages.base import Currency, ProposalId, Symbol
from messages.bus import EventPriority
from messages.lifecycle import DrainEngine, EngineDrained
from messages.market import PriceMoved
from messages.orders import CancelOrder, Order, OrderEnded, OrderRole, OrderStatus, PlaceOrder
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import World, with_settings

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
BTC = "BTC/USDT"
THROTTLED = "EAPI:Rate limit exceeded"
NEVER = "EGeneral:Permission denied"
NO_COOLDOWN = {"after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0}

Story = Callable[[Harness], ProposalId]


# The faults -------------------------------------------------------------------------------------------------


def _set(**values: int | bool) -> Callable[[Harness], None]:
    def apply(world: Harness) -> None:
        for name, value in values.items():
            setattr(world.exchange, name, value)

    return apply


FAULTS: Mapping[str, Callable[[Harness], None]] = {
    "throttled": lambda world: world.exchange.refuse_next(THROTTLED),
    "throttled thrice": lambda world: world.exchange.refuse_next(THROTTLED, times=3),
    "no funds": lambda world: world.exchange.refuse_next_for_funds(),
    "amend refused": lambda world: world.exchange.refuse_next_amend(THROTTLED, times=2),
    "half a fill": lambda world: world.exchange.fill_only(Decimal(40)),
    "lost request": _set(lost_requests=1),
    "lost answer": _set(lost_answers=1),
    "lost cancel answer": _set(lost_cancel_answers=1),
    "lost amend answer": _set(lost_amend_answers=1),
    "lost execution": _set(lost_executions=1),
    "slow to give up": _set(lost_answers=1, timeout_us=15_000_000),
    "slow answers": _set(answer_delay_us=2_000_000),
    "everything twice": _set(duplicates_executions=True),
    "executions first": _set(executes_first=True),
    "old polls": _set(poll_lag_us=20_000_000),
}


def leaves_in_peace(world: Harness, minutes: int = 3) -> None:
    """The exchange has mended its ways, and time passes."""
    world.exchange.heal()
    world.price(BTC, world.said(PriceMoved)[-1].last_quote)  # What is left of a market order needs a tick to go on.
    world.passes(minutes=minutes)


def all_is_well(world: Harness) -> None:
    """Nobody has died, the books agree, nothing is undecided, and nothing is held without a stop."""
    assert world.engine.exit_reason == ""
    assert world.violations() == ()
    assert [order.id for order in world.journal.orders.values() if order.status is OrderStatus.PENDING] == []
    for position in world.journal.positions.values():
        if not position.is_over and position.stop_loss_quote is not None:
            assert world.order(position.proposal_id, STOP).status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)


# The turns of a trade -----------------------------------------------------------------------------------------


def at_entry(world: Harness, strike: Callable[[], None]) -> ProposalId:
    strike()
    return world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)


def at_spot_entry(world: Harness, strike: Callable[[], None]) -> ProposalId:
    strike()
    return world.proposes(BTC, "buy", stop=98_000, target=104_000)


def at_protection(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, target=104_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.price(BTC, 98_990)
    return trade


def at_amend(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", stop=97_000, target=104_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.protects(trade, stop=98_000)
    world.passes(seconds=1)
    return trade


def at_cancel(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.cancels(trade)
    world.price(BTC, 98_990)
    return trade


def at_exit(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.closes(trade)
    world.passes(seconds=1)
    return trade


def at_spot_exit(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000)
    world.passes(seconds=30)
    strike()
    world.price(BTC, 104_100)  # The target is watched here: the stop goes first, then the coins.
    world.passes(seconds=1)
    return trade


def at_stop(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.price(BTC, 97_900)
    world.passes(seconds=1)
    return trade


def at_crash(world: Harness, strike: Callable[[], None]) -> ProposalId:
    strike()
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(ms=300)
    world.crashes()
    world.price(BTC, 100_000)
    return trade


def at_crash_of_exit(world: Harness, strike: Callable[[], None]) -> ProposalId:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=30)
    strike()
    world.closes(trade)
    world.passes(ms=300)
    world.crashes()
    world.price(BTC, 100_000)
    return trade


TURNS = (
    at_entry,
    at_spot_entry,
    at_protection,
    at_amend,
    at_cancel,
    at_exit,
    at_spot_exit,
    at_stop,
    at_crash,
    at_crash_of_exit,
)
PAIRS = [(name,) for name in FAULTS] + list(itertools.combinations(FAULTS, 2))
CLOSES = (at_exit, at_spot_exit, at_stop, at_crash_of_exit)
"""Turns that leave nothing open."""


@pytest.mark.parametrize("turn", TURNS, ids=lambda turn: turn.__name__)
@pytest.mark.parametrize("faults", PAIRS, ids=" and ".join)
def test_every_fault_at_every_turn(world: Harness, turn: Callable[..., ProposalId], faults: tuple[str, ...]) -> None:
    def strike() -> None:
        for name in faults:
            FAULTS[name](world)

    trade = turn(world, strike)
    world.passes(seconds=5)
    leaves_in_peace(world)
    all_is_well(world)
    if turn in CLOSES:
        assert world.position(trade).status is PositionStatus.CLOSED
        assert world.account().holdings == ()
        assert world.account().open_orders == ()


# Turns of their own -------------------------------------------------------------------------------------------


def test_a_liquidated_position_is_liquidated_here_too(worlds: World) -> None:
    world = worlds(paper={"balances": {"USDT": Decimal(1_000)}}, limits={"exposure_max_pct": Decimal(1_000)})
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", size=900, stop=70_000, target=150_000, leverage=5)
    assert world.position(trade).status is PositionStatus.OPEN
    before = dict(world.account().balances)[Currency("USDT")]
    # Equity over used margin is 40 % when (before + volume x (price - 100000)) = 0.4 x margin.
    volume = world.position(trade).entry_base
    margin = world.position(trade).entry_cost_quote / 5
    breaks_at = 100_000 - (before - margin * Decimal("0.4")) / volume
    world.price(BTC, (breaks_at + 1).quantize(Decimal("0.1")))
    assert world.position(trade).status is PositionStatus.OPEN, "a dollar above the level"
    world.price(BTC, (breaks_at - 1).quantize(Decimal("0.1")))
    world.passes(minutes=3)
    position = world.position(trade)
    assert (position.status, position.close_reason) == (PositionStatus.LIQUIDATED, CloseReason.LIQUIDATED)
    assert world.account().open_orders == ()
    assert world.events("position_liquidated")
    assert world.events("position_liquidated")[0].priority is EventPriority.URGENT
    all_is_well(world)


def test_funds_that_vanish_before_the_stop_fires_keep_nobody_from_getting_out_later(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000)
    held = world.position(trade).entry_base
    world.exchange.move_funds(Currency("BTC"), -held)
    world.price(BTC, 97_900)
    world.passes(minutes=2)
    assert world.engine.exit_reason == ""
    assert world.position(trade).status is PositionStatus.CLOSING, "it cannot get out, and says so"
    assert [event.priority for event in world.events("exit_failing") + world.events("protection_failing")] != []
    world.exchange.move_funds(Currency("BTC"), held)
    world.price(BTC, 97_800)
    world.passes(minutes=2)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    all_is_well(world)


def test_funds_that_vanish_before_the_exit_are_asked_for_again(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000)
    held = world.position(trade).entry_base
    world.exchange.move_funds(Currency("BTC"), -held)
    world.closes(trade)
    world.passes(minutes=1)
    assert world.events("exit_failing")
    assert world.events("exit_failing")[0].priority is EventPriority.URGENT
    world.exchange.move_funds(Currency("BTC"), held)
    world.passes(minutes=1)
    assert world.position(trade).close_reason is CloseReason.MANUAL
    all_is_well(world)


def test_a_position_that_cannot_be_protected_is_closed_after_the_grace(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(NEVER, times=6)
    world.price(BTC, 98_990)
    assert world.violations() == (), "told and watched locally"
    alert = world.events("protection_failing")[0]
    assert alert.priority is EventPriority.URGENT
    world.passes(seconds=29)
    assert world.position(trade).status is PositionStatus.OPEN
    world.exchange.refusals.clear()
    world.exchange.refuse_next(NEVER, times=1)
    world.passes(seconds=30)
    position = world.position(trade)
    assert position.status is PositionStatus.CLOSED or world.order(trade, STOP).status is OrderStatus.OPEN
    all_is_well(world)


def test_protection_refused_for_longer_than_the_grace_closes_with_its_reason(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(NEVER, times=5)  # At 0, 1, 3, 7 and 15 s; the next attempt would be at 31 s.
    world.price(BTC, 98_990)
    world.passes(seconds=31)
    leaves_in_peace(world)
    assert world.position(trade).close_reason is CloseReason.PROTECTION_FAILED
    closing = world.events("position_closing")
    assert closing[0].priority is EventPriority.URGENT
    all_is_well(world)


def test_while_protection_is_refused_the_local_watch_gets_out_at_the_stop(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(NEVER, times=4)
    world.price(BTC, 98_990)
    world.passes(seconds=8)
    world.price(BTC, 96_900)
    leaves_in_peace(world)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    all_is_well(world)


def test_a_starved_entry_is_given_up_and_a_starved_stop_is_not(worlds: World) -> None:
    world = worlds(
        limits={"positions_per_symbol_max": 100, "positions_total_max": 100},
        rate_limits={"orders_per_minute": 2, "orders_burst": 3},
        orders={"permit_wait_max_s": 20},
    )
    world.price(BTC, 100_000)
    trades = world.hands_in(*(world.proposal(BTC, "buy", size=100, stop=98_000, leverage=2) for _ in range(6)))
    world.passes(minutes=10)
    entries = [world.order(trade, ENTRY) for trade in trades]
    assert {entry.status for entry in entries} == {OrderStatus.FILLED, OrderStatus.CANCELLED}
    all_is_well(world)
    risk: Any = world.engine.actors["risk"].describe()
    assert risk.slots_taken == sum(entry.status is OrderStatus.FILLED for entry in entries)


def test_proposals_during_the_start_wait_for_its_end(world: Harness) -> None:
    resting = world.proposes(BTC, "buy", entry=90_000, leverage=2)
    world.exchange.answer_delay_us = 5_000_000
    world.crashes()
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.price(BTC, 100_000)
    assert world.orders(trade) == ()
    assert trade not in world.journal.requests
    leaves_in_peace(world)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    assert world.order(resting, ENTRY).status is OrderStatus.OPEN
    all_is_well(world)


def test_a_drain_waits_for_what_is_in_flight(world: Harness) -> None:
    world.exchange.answer_delay_us = 3_000_000
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.tell(DrainEngine())
    world.passes(seconds=1)
    assert world.said(EngineDrained) == []
    late = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=8)
    assert world.said(EngineDrained)
    world.exchange.answer_delay_us = 0
    assert world.codes(late) == ("ENGINE_STOPPING",)
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    world.crashes()
    world.price(BTC, 100_000)
    leaves_in_peace(world)
    all_is_well(world)


def dies_while(world: Harness, is_so: Callable[[], bool], seconds: int = 60) -> None:
    """Let time pass until it is so; then the process dies."""
    for _tenth in range(10 * seconds):
        if is_so():
            break
        world.passes(ms=100)
    assert is_so(), "the story never came to the point"
    world.crashes()
    world.price(BTC, 100_000)


def test_a_crash_while_an_outcome_is_unknown(world: Harness) -> None:
    world.exchange.lost_answers = 1
    world.exchange.lost_executions = 1
    world.exchange.poll_lag_us = 30_000_000
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=5)
    dies_while(world, lambda: world.order(trade, ENTRY).status is OrderStatus.PENDING)
    leaves_in_peace(world)
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    assert len(world.orders(trade, ENTRY)) == 1
    all_is_well(world)


def test_a_crash_while_a_position_is_closing(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.exchange.answer_delay_us = 2_000_000
    world.closes(trade)
    dies_while(world, lambda: world.position(trade).status is PositionStatus.CLOSING)
    leaves_in_peace(world)
    assert world.position(trade).close_reason is CloseReason.MANUAL
    assert world.account().holdings == ()
    all_is_well(world)


@pytest.mark.parametrize("leverage", [1, 2])
def test_a_crash_between_the_fill_and_its_protection(worlds: World, leverage: int) -> None:
    world = worlds(orders={"protection_delay_ms": 1_000})
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=leverage)
    assert world.orders(trade, STOP) == ()
    world.crashes()
    assert world.order(trade, STOP).status is OrderStatus.OPEN, "bare at the start is protected at once"
    leaves_in_peace(world)
    all_is_well(world)


@pytest.mark.parametrize("again_after_ms", [0, 100, 2_500])
def test_crashes_during_recovery(world: Harness, again_after_ms: int) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=10)
    world.exchange.lost_answers = 1
    second = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.answer_delay_us = 2_000_000
    for _time in range(3):
        world.crashes()
        world.passes(ms=again_after_ms)
    world.price(BTC, 100_000)
    leaves_in_peace(world)
    assert len(world.orders(trade, STOP)) == len(world.orders(second, ENTRY)) == 1
    all_is_well(world)


def test_what_has_filled_of_a_cancelled_entry_stays_protected(world: Harness) -> None:
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes(BTC, "buy", entry=100_000, stop=98_000, leverage=2)
    world.cancels(trade)
    leaves_in_peace(world)
    entry = world.order(trade, ENTRY)
    assert entry.status is OrderStatus.CANCELLED
    assert 0 < entry.filled_base < entry.volume_base
    assert world.order(trade, STOP).volume_base == entry.filled_base
    all_is_well(world)


def test_a_close_while_the_entry_is_in_flight_closes_what_comes_of_it(world: Harness) -> None:
    world.exchange.answer_delay_us = 2_000_000
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.closes(trade)
    leaves_in_peace(world)
    assert world.position(trade).close_reason is CloseReason.MANUAL
    assert world.orders(trade, STOP) == () or world.order(trade, STOP).is_over
    all_is_well(world)


@pytest.mark.parametrize("fault", ["lost request", "lost answer", "slow to give up", "slow answers"])
def test_a_cancel_of_an_entry_whose_acceptance_is_unknown(world: Harness, fault: str) -> None:
    FAULTS[fault](world)
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.cancels(trade)
    leaves_in_peace(world)
    assert world.order(trade, ENTRY).is_over
    assert len(world.orders(trade, ENTRY)) == 1
    assert world.account().open_orders == ()
    all_is_well(world)


@pytest.mark.parametrize(("side", "stop", "target"), [("buy", 100_500, None), ("sell", 99_500, None),
                                                      ("buy", None, 99_500), ("sell", None, 100_500)])  # fmt: skip
def test_levels_on_the_wrong_side_are_refused(world: Harness, side: str, stop: int | None, target: int | None) -> None:
    sign = 1 if side == "buy" else -1
    trade = world.proposes(BTC, side, stop=100_000 - sign * 2_000, target=100_000 + sign * 4_000, leverage=2)
    before = world.position(trade)
    world.protects(trade, stop=stop, target=target)
    leaves_in_peace(world)
    assert world.position(trade).stop_loss_quote == before.stop_loss_quote
    assert world.position(trade).take_profit_quote == before.take_profit_quote
    assert world.events("protection_refused")[0].priority is EventPriority.URGENT
    all_is_well(world)


@pytest.mark.parametrize("leverage", [1, 2])
def test_stop_and_target_touched_by_one_tick_close_once(world: Harness, leverage: int) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=leverage)
    world.passes(seconds=10)
    world.tell(
        PriceMoved(
            symbol=Symbol(BTC), last_quote=Decimal(100_000), low_quote=Decimal(97_900), high_quote=Decimal(104_100),
            at_us=world.now_us, sequence=1_000_000,
        )
    )  # fmt: skip
    leaves_in_peace(world)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS, "of two, the worse"
    assert world.position(trade).exit_base == world.position(trade).entry_base
    all_is_well(world)


def test_a_position_reopened_by_a_late_fill_is_protected_again(world: Harness) -> None:
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes(BTC, "buy", entry=99_500, stop=98_000, leverage=2)
    world.price(BTC, 99_490)  # Four tenths.
    entry = world.order(trade, ENTRY)
    assert 0 < entry.filled_base < entry.volume_base
    world.passes(seconds=10)
    world.exchange.lost_executions = 1
    world.price(BTC, 99_480)  # The rest fills, and nobody says so ...
    world.closes(trade)  # ... before what is known of it is closed.
    world.passes(seconds=2)
    leaves_in_peace(world)
    position = world.position(trade)
    assert position.entry_base == entry.volume_base
    assert position.is_over
    all_is_well(world)


def test_an_order_cancelled_by_hand_at_the_exchange_is_replaced(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    stop = world.order(trade, STOP)
    world.tell(CancelOrder(order_id=stop.id, external_id=_external(stop), symbol=Symbol(BTC)))
    leaves_in_peace(world)
    assert world.said(OrderEnded)
    assert [order.status for order in world.orders(trade, STOP)] == [OrderStatus.CANCELLED, OrderStatus.OPEN]
    all_is_well(world)


def _external(order: Order) -> Any:
    return order.external_id


# All of it at once ----------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["price", "price", "buy", "sell", "close", "cancel", "protect", "wait", "crash", *FAULTS]),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=30,
)


def tells(world: Harness, steps: list[tuple[str, int]]) -> None:
    """Act out a story of random turns."""
    price, trades = Decimal(100_000), []
    world.price(BTC, price)
    for what, number in steps:
        if what == "price":
            price += (number - 5) * 300
            world.price(BTC, price)
        elif what in ("buy", "sell"):
            sign = 1 if what == "buy" else -1
            entry = price - sign * 100 if number > 5 else None
            leverage = 1 + number % 3 if what == "buy" else 2 + number % 2
            trades.append(
                world.proposes(
                    BTC, what, leverage=leverage, trailing=number % 4 == 0, entry=entry,
                    stop=price - sign * 1_500, target=price + sign * 1_500,
                )
            )  # fmt: skip
        elif what == "wait":
            world.passes(ms=700 * number)
        elif what == "crash":
            world.crashes()
            world.price(BTC, price)
        elif what in FAULTS:
            FAULTS[what](world)
        elif trades and what == "close":
            world.closes(trades[number % len(trades)])
        elif trades and what == "cancel":
            world.cancels(trades[number % len(trades)])
        elif trades:
            world.protects(trades[number % len(trades)], stop=price + (number - 5) * 200)


@pytest.mark.parametrize("dispatcher", ["shared", "threads"])
def test_whatever_goes_wrong_peace_mends_it(dispatcher: str) -> None:
    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS)
    def story(steps: list[tuple[str, int]]) -> None:
        with Harness(
            with_settings(cooldowns=NO_COOLDOWN, limits={"positions_per_symbol_max": 1}), dispatcher=dispatcher
        ) as world:
            tells(world, steps)
            leaves_in_peace(world, minutes=5)
            all_is_well(world)
            sent = [message.intent.id for message in world.said(PlaceOrder)]
            assert len(sent) == len(set(sent)), "an intent is sent once"

    story()

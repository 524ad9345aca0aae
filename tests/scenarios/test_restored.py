"""An engine on a journal of an hour ago, beside an exchange of the present, reconciles itself.

Each story runs for a while, the journal is copied, the story goes on, and the engine starts again on the copy.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from actors.harness import Harness
from messages.base import OrderId, ProposalId
from messages.bus import EventPriority
from messages.journal import ADOPTED
from messages.orders import ExecutionReported, OrderFound, OrderRole, OrderStatus, PlaceOrder
from messages.positions import CloseReason, Position, PositionStatus
from tests.scenarios.conftest import World, with_settings
from tests.scenarios.test_faults import FAULTS, STEPS, leaves_in_peace, tells

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
BTC = "BTC/USDT"
NO_COOLDOWN = {"after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0}


def all_is_reconciled(world: Harness) -> None:
    """The books agree to the last digit, every open order is ours, and what is bare has been told of."""
    assert world.engine.exit_reason == ""
    assert world.engine.is_ready
    assert world.violations() == ()
    assert [order.id for order in world.journal.orders.values() if order.status is OrderStatus.PENDING] == []
    live = {order.id for order in world.journal.orders.values() if not order.is_over}
    assert {order.order_id for order in world.account().open_orders} == live
    told = {event.proposal_id for event in world.events("adopted_without_stop")}
    for position in world.journal.positions.values():
        if position.is_over:
            continue
        stops = [order for order in world.orders(position.proposal_id, STOP) if not order.is_over]
        if position.stop_loss_quote is not None:
            assert len(stops) == 1, position
        elif is_adopted(world, position.proposal_id):
            assert position.proposal_id in told
    assert len(world.journal.fills) == len({fill.trade_id for fill in world.journal.fills.values()})


def is_adopted(world: Harness, trade: ProposalId) -> bool:
    row = world.journal.requests.get(trade)
    return row is not None and row.kind == ADOPTED


def adopted(world: Harness) -> list[Position]:
    """Return the positions that were made of forgotten orders, in the order of their opening."""
    found = [position for position in world.journal.positions.values() if is_adopted(world, position.proposal_id)]
    return sorted(found, key=lambda position: position.opened_at_us)


def lives_again(world: Harness, price: int = 100_000) -> None:
    """The engine has its prices back, and time to settle."""
    world.price(BTC, price)
    world.passes(minutes=3)


def same_money(one: Position, other: Position) -> None:
    """Two positions came to the same, to the digit."""
    for name in (
        *("symbol", "side", "leverage", "entry_base", "entry_cost_quote", "exit_base", "exit_cost_quote", "fees_quote"),
        *("opened_at_us", "closed_at_us", "status", "stop_loss_quote", "take_profit_quote"),
    ):
        assert getattr(one, name) == getattr(other, name), name


def slots_taken(world: Harness) -> int:
    risk: Any = world.engine.actors["risk"].describe()
    return int(risk.slots_taken)


# What the journal knew ------------------------------------------------------------------------------------


@pytest.mark.parametrize("leverage", [1, 2])
def test_a_position_that_closed_since_is_closed_exactly(world: Harness, leverage: int) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=leverage)
    backup = world.backs_up()
    world.price(BTC, 97_900)
    world.passes(seconds=10)
    before = world.position(trade)
    assert before.status is PositionStatus.CLOSED
    world.restores(backup)
    lives_again(world, 97_900)
    same_money(world.position(trade), before)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.account().open_orders == ()
    all_is_reconciled(world)


@pytest.mark.parametrize("leverage", [1, 2])
def test_a_position_closed_by_a_forgotten_exit_is_closed_exactly(world: Harness, leverage: int) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, target=104_000, leverage=leverage)
    backup = world.backs_up()
    world.closes(trade)
    world.passes(seconds=10)
    before = world.position(trade)
    world.restores(backup)
    lives_again(world)
    same_money(world.position(trade), before)
    assert world.order(trade, EXIT).status is OrderStatus.FILLED
    assert adopted(world) == []
    all_is_reconciled(world)


def test_a_position_that_grew_since_grows_exactly_and_keeps_its_forgotten_stop(world: Harness) -> None:
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, target=104_000, leverage=2)
    backup = world.backs_up()
    world.price(BTC, 98_990)
    world.passes(seconds=10)
    half = world.backs_up()
    world.price(BTC, 98_980)
    world.passes(seconds=10)
    before, stop = world.position(trade), world.order(trade, STOP)
    for past in (backup, half):
        world.restores(past)
        lives_again(world, 99_500)
        same_money(world.position(trade), before)
        assert world.order(trade, STOP).id == stop.id, "the stop that rests already is taken up, not placed again"
        assert world.order(trade, STOP).volume_base == before.entry_base
        all_is_reconciled(world)


def test_a_position_partly_closed_since_is_partly_closed(worlds: World) -> None:
    world = worlds(paper={"fill_share_pct": Decimal(50)})
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=10)
    backup = world.backs_up()
    world.closes(trade)
    world.passes(seconds=10)
    before = world.position(trade)
    assert 0 < before.exit_base < before.entry_base
    world.restores(backup)
    assert world.position(trade).exit_base == before.exit_base
    assert world.position(trade).exit_cost_quote == before.exit_cost_quote
    lives_again(world)
    assert world.position(trade).status is PositionStatus.CLOSED, "what was being closed goes on closing"
    all_is_reconciled(world)


def test_an_order_that_ended_since_is_settled(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=90_000, stop=88_000, leverage=2)
    backup = world.backs_up()
    world.cancels(trade)
    world.passes(seconds=10)
    world.restores(backup)
    lives_again(world)
    assert world.order(trade, ENTRY).status is OrderStatus.CANCELLED
    assert slots_taken(world) == 0
    all_is_reconciled(world)


def test_a_stop_that_was_tightened_since_is_not_loosened_again(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    backup = world.backs_up()
    world.protects(trade, stop=99_000)
    world.passes(seconds=10)
    world.restores(backup)
    lives_again(world)
    assert world.position(trade).stop_loss_quote == 99_000
    assert world.order(trade, STOP).trigger_price_quote == 99_000
    all_is_reconciled(world)


def test_a_stop_given_since_to_a_bare_position_is_its_stop(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", leverage=2)
    backup = world.backs_up()
    world.protects(trade, stop=99_000, target=105_000)
    world.passes(seconds=10)
    world.restores(backup)
    lives_again(world)
    position = world.position(trade)
    assert position.stop_loss_quote == 99_000
    assert position.take_profit_quote == 105_000
    assert len(world.orders(trade, STOP)) == len(world.orders(trade, TARGET)) == 1
    all_is_reconciled(world)


# What it has forgotten --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "leverage"), [("buy", 1), ("buy", 3), ("sell", 2)])
def test_a_forgotten_position_is_adopted_with_its_stop_and_its_target(world: Harness, side: str, leverage: int) -> None:
    sign = 1 if side == "buy" else -1
    backup = world.backs_up()
    trade = world.proposes(BTC, side, stop=100_000 - sign * 2_000, target=100_000 + sign * 4_000, leverage=leverage)
    world.passes(minutes=50)
    before = world.position(trade)
    world.restores(backup)
    lives_again(world)
    (position,) = adopted(world)
    assert position.proposal_id != trade
    assert position.stop_loss_quote == before.stop_loss_quote
    assert position.take_profit_quote == (before.take_profit_quote if leverage > 1 else None), "a local target is lost"
    assert (position.entry_base, position.entry_cost_quote, position.fees_quote, position.leverage) == (
        before.entry_base, before.entry_cost_quote, before.fees_quote, leverage,
    )  # fmt: skip
    assert position.protected_at_us is not None
    assert world.events("adopted_without_stop") == []
    assert slots_taken(world) == 1
    all_is_reconciled(world)

    world.crashes()
    lives_again(world)
    assert adopted(world) == [position], "the next start knows it like any other"
    world.price(BTC, 100_000 - sign * 2_100)
    world.passes(seconds=10)
    assert world.position(position.proposal_id).close_reason is CloseReason.STOP_LOSS
    assert slots_taken(world) == 0
    all_is_reconciled(world)


def test_an_adopted_position_without_a_stop_is_left_open_and_told(world: Harness) -> None:
    backup = world.backs_up()
    world.proposes(BTC, "buy", leverage=2)
    world.passes(minutes=50)
    world.restores(backup)
    lives_again(world)
    (position,) = adopted(world)
    (alert,) = world.events("adopted_without_stop")
    assert alert.priority is EventPriority.URGENT
    assert alert.proposal_id == position.proposal_id
    assert position.status is PositionStatus.OPEN
    all_is_reconciled(world)
    world.protects(position.proposal_id, stop=98_000)
    world.passes(seconds=10)
    assert world.order(position.proposal_id, STOP).status is OrderStatus.OPEN
    all_is_reconciled(world)
    world.closes(position.proposal_id)
    world.passes(seconds=10)
    assert world.position(position.proposal_id).close_reason is CloseReason.MANUAL
    all_is_reconciled(world)


@pytest.mark.parametrize("way", ["stop", "target", "exit"])
@pytest.mark.parametrize("leverage", [1, 2])
def test_a_position_that_opened_and_closed_within_the_lost_hour_is_closed_exactly(
    world: Harness, way: str, leverage: int
) -> None:
    known = world.proposes(BTC, "buy", stop=95_000, leverage=2)
    world.passes(seconds=10)
    backup = world.backs_up()
    trade = world.proposes(BTC, "buy", size=300, stop=98_000, target=104_000, leverage=leverage)
    world.passes(minutes=10)
    if way == "exit":
        world.closes(trade)
    else:
        world.price(BTC, 97_900 if way == "stop" else 104_100)
    world.passes(minutes=10)
    before = world.position(trade)
    assert before.status is PositionStatus.CLOSED
    world.restores(backup)
    lives_again(world)
    (position,) = adopted(world)
    for name in ("entry_base", "entry_cost_quote", "exit_base", "exit_cost_quote", "fees_quote", "status",
                 "opened_at_us", "closed_at_us"):  # fmt: skip
        assert getattr(position, name) == getattr(before, name), name
    assert world.position(known).status is PositionStatus.OPEN
    assert world.events("adopted_without_stop") == []
    assert slots_taken(world) == 1
    all_is_reconciled(world)


def test_a_forgotten_entry_that_rests_is_cancelled(world: Harness) -> None:
    backup = world.backs_up()
    world.proposes(BTC, "buy", entry=90_000, stop=88_000, leverage=2)
    world.proposes(BTC, "buy", entry=90_000, stop=88_000)
    world.passes(minutes=50)
    world.restores(backup)
    lives_again(world)
    assert world.account().open_orders == ()
    assert adopted(world) == []
    assert slots_taken(world) == 0
    all_is_reconciled(world)


@pytest.mark.parametrize("after_ms", [0, 500, 1_500])
def test_a_crash_while_a_forgotten_entry_is_being_cancelled(world: Harness, after_ms: int) -> None:
    backup = world.backs_up()
    world.proposes(BTC, "buy", entry=90_000, stop=88_000, leverage=2)
    world.passes(minutes=50)
    world.exchange.answer_delay_us = 1_000_000
    world.exchange.lost_cancel_answers = 1
    world.restores(backup)
    world.passes(ms=2_000 + after_ms)
    world.crashes()
    world.exchange.answer_delay_us = 0
    lives_again(world)
    assert world.account().open_orders == ()
    all_is_reconciled(world)


def test_what_has_filled_of_a_forgotten_entry_is_adopted_and_the_rest_is_cancelled(world: Harness) -> None:
    backup = world.backs_up()
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes(BTC, "buy", entry=100_000, stop=98_000, leverage=2)
    world.passes(minutes=50)
    filled = world.order(trade, ENTRY).filled_base
    assert 0 < filled < world.order(trade, ENTRY).volume_base
    world.restores(backup)
    world.passes(minutes=3)
    (position,) = adopted(world)
    assert position.entry_base == filled
    entry = world.order(position.proposal_id, ENTRY)
    assert (entry.status, entry.filled_base) == (OrderStatus.CANCELLED, filled)
    assert world.order(position.proposal_id, STOP).volume_base == filled
    all_is_reconciled(world)


def test_a_forgotten_exit_that_protects_nothing_is_cancelled(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=10)
    blank = world.journal.copy()
    for known in (blank.orders, blank.positions, blank.fills, blank.requests):
        known.clear()
    blank.opened_at_us = world.now_us  # Nothing from before is ours to know: only the stop turns up.
    world.passes(seconds=10)
    world.restores(blank)
    lives_again(world)
    assert world.account().open_orders == ()
    assert world.orders(trade) == ()
    assert world.engine.exit_reason == ""


def test_everything_is_forgotten_and_found(world: Harness) -> None:
    """The backup is from before the first trade: what the account has done since it began is asked for."""
    backup = world.backs_up()
    assert not backup.fills
    trades = [world.proposes(BTC, "buy", stop=98_000, leverage=2), world.proposes("ETH/USDT", "buy", stop=1)]
    world.price("ETH/USDT", 4_000)
    trades.append(world.proposes("ETH/USDT", "sell", stop=4_100, leverage=2))
    world.passes(minutes=50)
    assert not world.has_position(trades[1]), "no price then"
    world.restores(backup)
    lives_again(world)
    assert len(adopted(world)) == 2
    all_is_reconciled(world)


# What is not ours -------------------------------------------------------------------------------------------


def test_what_a_human_closed_since_is_closed_here_too(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    backup = world.backs_up()
    second = world.proposes(BTC, "buy", size=300, stop=98_000, leverage=2)
    world.passes(minutes=10)
    world.exchange.close_by_hand(BTC)  # type: ignore[arg-type]
    world.price(BTC, 100_100)
    world.passes(minutes=10)
    assert world.position(second).is_over
    world.restores(backup)
    lives_again(world)
    assert world.position(trade).status is PositionStatus.CLOSED
    (position,) = adopted(world)
    assert position.status is PositionStatus.CLOSED
    assert world.account().open_orders == ()
    assert world.events("adopted_without_stop") == []
    all_is_reconciled(world)


def test_an_id_that_is_no_uuid_is_not_ours(world: Harness) -> None:
    backup = world.backs_up()
    world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.exchange.close_by_hand(BTC)  # type: ignore[arg-type]
    world.price(BTC, 100_100)
    world.passes(minutes=10)
    world.restores(backup)
    lives_again(world)
    assert all(not order.order_id.startswith("O0") for order in world.account().open_orders)
    asked = {message.order.order_id for message in world.said(OrderFound)}
    assert not any(order_id.startswith("O0") for order_id in asked)
    all_is_reconciled(world)


# In whatever order it is told --------------------------------------------------------------------------------


def test_what_is_pushed_before_the_journal_is_loaded_counts_once(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=10)
    backup = world.backs_up()
    second = world.proposes(BTC, "sell", size=300, stop=102_000, leverage=2)
    assert not world.has_position(second), "opposite positions are not netted"
    world.price(BTC, 97_900)
    world.passes(seconds=10)
    pushes = world.said(ExecutionReported)
    loads, opened = world.journal.load, []
    world.journal = backup.copy()
    load = world.journal.load

    async def tells_first() -> Any:
        for push in pushes:
            world.engine.tell(ExecutionReported(fill=push.fill))
            opened.append(push)
        return await load()

    world.journal.load = tells_first  # type: ignore[method-assign]
    world.crashes()
    lives_again(world, 97_900)
    assert opened
    assert loads is not load
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    all_is_reconciled(world)


@pytest.mark.parametrize("fault", ["slow answers", "old polls", "everything twice"])
def test_a_slow_exchange_only_takes_longer(world: Harness, fault: str) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    backup = world.backs_up()
    world.proposes(BTC, "buy", size=300, stop=98_500, leverage=3)
    world.closes(trade)
    world.passes(seconds=5)
    FAULTS[fault](world)
    world.restores(backup)
    world.price(BTC, 100_000)
    world.passes(seconds=20)
    leaves_in_peace(world)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert [position.status for position in adopted(world)] == [PositionStatus.OPEN]
    all_is_reconciled(world)


def test_an_exchange_that_is_silent_is_not_waited_for_longer_than_a_position_may_be_bare(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", entry=99_000, stop=97_000, leverage=2)
    world.passes(seconds=10)
    world.exchange.answer_delay_us = 300_000_000
    world.crashes()
    world.price(BTC, 98_990)
    world.passes(seconds=20)
    assert not world.has_position(trade), "it may be an old story"
    world.passes(seconds=20)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    stop = world.order(trade, STOP)
    assert stop.id in {order.order_id for order in world.account().open_orders}
    assert not world.engine.is_ready
    world.exchange.answer_delay_us = 0
    world.passes(minutes=10)
    all_is_reconciled(world)


def test_an_order_of_ours_that_the_exchange_is_silent_about_is_waited_for_and_told(world: Harness) -> None:
    backup = world.backs_up()
    world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.passes(seconds=10)
    stop = world.account().open_orders[0]
    world.exchange.answer_delay_us = 20_000_000
    world.restores(backup)
    world.price(BTC, 100_000)
    world.passes(seconds=15)
    world.exchange.answer_delay_us = 300_000_000
    world.passes(seconds=60)
    (alert,) = world.events("orders_unknown")
    assert alert.priority is EventPriority.URGENT
    assert stop.order_id in dict(alert.details)["orders"]
    assert not world.engine.is_ready
    world.exchange.answer_delay_us = 0
    world.passes(minutes=10)
    assert [position.status for position in adopted(world)] == [PositionStatus.OPEN]
    all_is_reconciled(world)


@pytest.mark.parametrize("messages", range(1, 90, 4))
def test_a_crash_during_the_adoption_loses_nothing(messages: int) -> None:
    with Harness(with_settings(cooldowns=NO_COOLDOWN)) as world:
        world.price(BTC, 100_000)
        known = world.proposes(BTC, "buy", stop=98_000, leverage=2)
        backup = world.backs_up()
        forgotten = world.proposes(BTC, "buy", size=300, stop=98_500, target=105_000, leverage=3)
        world.passes(seconds=10)
        world.closes(known)
        world.passes(seconds=10)
        world.price(BTC, 98_400)
        world.passes(seconds=10)
        world.price("ETH/USDT", 4_000)
        world.proposes("ETH/USDT", "buy", stop=3_900, leverage=2)
        world.passes(seconds=10)
        before = {world.position(trade).exit_cost_quote for trade in (known, forgotten)}
        world.restores(backup, dies_after=messages)
        world.passes(seconds=5)
        world.crashes()
        lives_again(world, 98_400)
        closed = [position for position in world.journal.positions.values() if position.is_over]
        assert {position.exit_cost_quote for position in closed} == before
        all_is_reconciled(world)


# Random stories ----------------------------------------------------------------------------------------------


CALM_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["price", "price", "price", "buy", "buy", "sell", "close", "protect", "wait"]),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=30,
)
"""Turns of an exchange that does nothing wrong: more comes of them."""


@pytest.mark.parametrize("dispatcher", ["shared", "threads"])
def test_whatever_was_forgotten_is_found_again(dispatcher: str) -> None:
    @settings(
        max_examples=150,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # Three stories in one are not made smaller in any time worth waiting for.
    )
    @given(
        before=STEPS | CALM_STEPS,
        lost=STEPS | CALM_STEPS,
        after=STEPS,
        at_once=st.sampled_from([1, 4]),
        dies_after=st.none() | st.integers(1, 200),
    )
    def story(
        before: list[tuple[str, int]],
        lost: list[tuple[str, int]],
        after: list[tuple[str, int]],
        at_once: int,
        dies_after: int | None,
    ) -> None:
        limits = {"positions_per_symbol_max": at_once, "positions_total_max": 8}
        with Harness(with_settings(cooldowns=NO_COOLDOWN, limits=limits), dispatcher=dispatcher) as world:
            tells(world, before)
            backup = world.backs_up()
            tells(world, lost)
            world.restores(backup, dies_after=dies_after)
            if dies_after is not None:
                world.passes(seconds=4)
                world.crashes()
            leaves_in_peace(world, minutes=5)
            all_is_reconciled(world)
            tells(world, after)
            leaves_in_peace(world, minutes=5)
            all_is_reconciled(world)
            sent: list[OrderId] = [message.intent.id for message in world.said(PlaceOrder)]
            assert len(sent) == len(set(sent)), "an intent is sent once"

    story()

"""RiskActor in the machine: what it remembers across a restart, and what it lets through."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.harness import Harness
from actors.risk.actor import RiskSummary
from messages.journal import RecordRiskState
from messages.orders import OrderRole
from messages.positions import CloseReason, PositionStatus
from messages.risk import SetTradingState, TradingState
from messages.trades import TradeApproved
from tests.scenarios.conftest import World

BTC = "BTC/USDT"


def risk_of(world: Harness) -> RiskSummary:
    summary: Any = world.engine.actors["risk"].describe()
    assert isinstance(summary, RiskSummary)
    return summary


def sets(world: Harness, state: TradingState) -> None:
    world.tell(SetTradingState(state=state, reason="a story", operator="me"))


@pytest.mark.parametrize(
    ("state", "code"), [(TradingState.HALTED, "TRADING_HALTED"), (TradingState.REDUCING, "TRADING_REDUCING")]
)
def test_nothing_is_opened_until_trading_is_resumed(world: Harness, state: TradingState, code: str) -> None:
    held = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    sets(world, state)
    refused = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    assert world.codes(refused) == (code,)
    assert risk_of(world).slots_taken == 1, "what is refused takes nothing"
    world.closes(held)
    world.passes(seconds=10)
    assert world.position(held).status is PositionStatus.CLOSED, "what closes goes on"
    sets(world, TradingState.ACTIVE)
    world.passes(minutes=15)
    assert world.codes(world.proposes(BTC, "buy", stop=98_000, leverage=2)) == ()


def test_who_halted_and_why_is_on_record(world: Harness) -> None:
    sets(world, TradingState.HALTED)
    event = world.events("trading_state_changed")[0]
    assert dict(event.details) == {"state": "HALTED", "reason": "a story", "operator": "me"}
    assert risk_of(world).state.halt_reason == "a story (by me)"


def test_halted_streaks_cooldown_and_equity_survive_a_crash(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.price(BTC, 97_000)
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    sets(world, TradingState.HALTED)
    before = risk_of(world)
    assert before.state.losses_in_a_row == 1
    assert before.state.cooldown_until_us > world.now_us
    world.crashes()
    world.price(BTC, 100_000)
    after = risk_of(world)
    assert after.state == before.state
    assert after.equity_usd == 100_000 + before.state.realised_usd
    assert world.codes(world.proposes(BTC, "buy", stop=98_000)) == ("TRADING_HALTED", "IN_COOLDOWN")


def test_reservations_are_recovered_to_the_dollar(world: Harness) -> None:
    world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.proposes(BTC, "buy", size=700, entry=99_000, leverage=3)
    world.passes(seconds=10)
    before = risk_of(world)
    assert before.slots_taken == 2
    assert before.exposure_usd == 3_100
    world.crashes()
    world.price(BTC, 100_000)
    assert risk_of(world).slots_taken == 2
    assert risk_of(world).exposure_usd == 3_100
    assert world.codes(world.proposes(BTC, "buy", stop=98_000)) == ("POSITION_LIMIT_SYMBOL",)


def test_all_is_released_when_all_is_over(world: Harness) -> None:
    held = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    resting = world.proposes(BTC, "buy", entry=99_000)
    too_small = world.proposes("XRP/USDT", "buy", size="0.01")
    world.closes(held)
    world.cancels(resting)
    world.passes(minutes=1)
    assert world.codes(too_small) != ()
    assert risk_of(world).slots_taken == risk_of(world).exposure_usd == 0


def test_a_trade_that_made_less_than_its_fees_is_a_loss(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", size=1_000, stop=98_000)
    world.price(BTC, 100_100)
    world.closes(trade)
    world.passes(seconds=10)
    position = world.position(trade)
    assert position.exit_cost_quote > position.entry_cost_quote, "gross it was a win"
    state = risk_of(world).state
    assert (state.losses_in_a_row, state.cooldown_reason) == (1, "a loss")
    assert state.realised_usd == position.exit_cost_quote - position.entry_cost_quote - position.fees_quote


def test_a_result_counts_once_in_whatever_currency_it_is(worlds: World) -> None:
    world = worlds()
    world.prices({BTC: 100_000, "BTC/USD": 100_000, "XRP/BTC": "0.00002"})
    trade = world.proposes("XRP/BTC", "buy", size="0.01", stop="0.000019", leverage=2)
    world.price("XRP/BTC", "0.0000189")
    world.passes(minutes=1)
    position = world.position(trade)
    assert position.is_over
    net = position.exit_cost_quote - position.entry_cost_quote - position.fees_quote
    assert risk_of(world).state.realised_usd == net * 100_000
    assert risk_of(world).state.losses_in_a_row == 1


def test_more_leverage_than_allowed_is_reduced_and_said_so(worlds: World) -> None:
    world = worlds(limits={"leverage_max": 3})
    world.price(BTC, 100_000)
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=5)
    assert world.order(trade, OrderRole.ENTRY).intent.leverage == 3
    assert world.said(TradeApproved)[0].changes == ("LEVERAGE_REDUCED: 5 to 3",)
    assert risk_of(world).exposure_usd == 1_500


def test_every_change_of_its_memory_is_recorded(world: Harness) -> None:
    trade = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    assert world.said(RecordRiskState) == []
    world.closes(trade)
    world.passes(seconds=10)
    assert [message.state for message in world.said(RecordRiskState)] == [risk_of(world).state]
    assert world.journal.risk == risk_of(world).state


def test_unrealised_losses_narrow_what_may_be_opened(worlds: World) -> None:
    world = worlds(paper={"balances": {"USDT": Decimal(10_000)}})
    world.price(BTC, 100_000)
    world.proposes(BTC, "buy", size=1_500, leverage=5)
    world.price(BTC, 90_000)
    world.passes(minutes=1)  # A photograph brings the news.
    summary = risk_of(world)
    assert Decimal(9_000) < summary.equity_usd < Decimal(9_250)
    assert world.codes(world.proposes(BTC, "buy", size=500)) == ("EXPOSURE_LIMIT",)

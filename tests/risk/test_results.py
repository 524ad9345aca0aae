"""What results do to streaks and cooldowns: net P&L decides, and a shorter pause never cuts a longer one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.risk.results import after_result, cooldown_s
from config.settings import CooldownSettings
from messages.risk import RiskState, TradingState

PAUSES = CooldownSettings(after_win_s=60, after_loss_s=600, after_3_losses_s=1_800, after_5_losses_s=3_600)
S = 1_000_000


def after(state: RiskState, net: str, now_us: int = 0, settings: CooldownSettings = PAUSES) -> RiskState:
    return after_result(state, Decimal(net), settings, now_us)


def test_a_streak_grows_and_ends() -> None:
    state = RiskState()
    for net in ("-1", "-1", "-1"):
        state = after(state, net)
    assert (state.losses_in_a_row, state.wins_in_a_row) == (3, 0)
    state = after(state, "0.00000001")
    assert (state.losses_in_a_row, state.wins_in_a_row) == (0, 1)
    state = after(state, "-0.00000001")
    assert (state.losses_in_a_row, state.wins_in_a_row) == (1, 0)


def test_break_even_is_neither() -> None:
    state = RiskState(losses_in_a_row=2, wins_in_a_row=0, cooldown_until_us=7)
    even = after(state, "0", now_us=5 * S)
    assert (even.losses_in_a_row, even.wins_in_a_row, even.cooldown_until_us) == (2, 0, 7)
    assert even.updated_at_us == 5 * S


@pytest.mark.parametrize(
    ("losses", "wait_s"), [(1, 600), (2, 600), (3, 1_800), (4, 1_800), (5, 3_600), (6, 3_600), (50, 3_600)]
)
def test_the_pause_grows_with_the_losses(losses: int, wait_s: int) -> None:
    assert cooldown_s(losses, PAUSES)[0] == wait_s
    state = after(RiskState(losses_in_a_row=losses - 1), "-5", now_us=1_000 * S)
    assert state.cooldown_until_us == (1_000 + wait_s) * S
    assert state.cooldown_reason == ("a loss" if losses < 3 else f"{losses} losses in a row")


def test_a_shorter_pause_never_cuts_a_longer_one() -> None:
    long = after(RiskState(losses_in_a_row=4), "-1", now_us=0)
    won = after(long, "10", now_us=10 * S)
    assert (won.cooldown_until_us, won.cooldown_reason) == (long.cooldown_until_us, "5 losses in a row")
    lost = after(won, "-1", now_us=20 * S)
    assert lost.cooldown_until_us == long.cooldown_until_us
    later = after(won, "-1", now_us=3_500 * S)
    assert (later.cooldown_until_us, later.cooldown_reason) == (4_100 * S, "a loss")


def test_a_pause_that_is_switched_off_pauses_nothing() -> None:
    off = CooldownSettings(after_win_s=0, after_loss_s=0, after_3_losses_s=0, after_5_losses_s=0)
    assert after(RiskState(), "-1", 9 * S, off).cooldown_until_us == 0
    assert after(RiskState(), "1", 9 * S, off).cooldown_reason == ""


@given(nets=st.lists(st.decimals(-100, 100, places=8), max_size=30), gaps=st.lists(st.integers(0, 4_000), min_size=30))
def test_no_run_of_results_shortens_a_pause_or_loses_money(nets: list[Decimal], gaps: list[int]) -> None:
    state, now_us = RiskState(trading_state=TradingState.HALTED, halt_reason="by hand"), 0
    for net, gap in zip(nets, gaps, strict=False):
        now_us += gap * S
        following = after_result(state, net, PAUSES, now_us)
        assert following.cooldown_until_us >= state.cooldown_until_us
        assert following.cooldown_until_us <= max(state.cooldown_until_us, now_us + 3_600 * S)
        assert 0 in (following.losses_in_a_row, following.wins_in_a_row)
        assert following.realised_usd == state.realised_usd + net
        assert (following.trading_state, following.halt_reason) == (TradingState.HALTED, "by hand")
        state = following
    assert state.realised_usd == sum(nets, Decimal(0))

"""What a closed position does to risk's memory: streaks and cooldowns. Net P&L decides; nothing is neither."""

from __future__ import annotations

from decimal import Decimal

import attrs

from config.settings import CooldownSettings
from messages.risk import RiskState

MICROSECONDS = 1_000_000


def after_result(state: RiskState, net_usd: Decimal, settings: CooldownSettings, now_us: int) -> RiskState:
    """Return the memory after a trade that made `net_usd`. A shorter cooldown never cuts a longer one."""
    is_win, is_loss = net_usd > 0, net_usd < 0
    losses = state.losses_in_a_row + 1 if is_loss else (0 if is_win else state.losses_in_a_row)
    wins = state.wins_in_a_row + 1 if is_win else (0 if is_loss else state.wins_in_a_row)
    wait_s, reason = cooldown_s(losses, settings) if is_loss else (settings.after_win_s if is_win else 0, "a win")
    until_us = now_us + wait_s * MICROSECONDS
    is_longer = until_us > state.cooldown_until_us and wait_s > 0
    return attrs.evolve(
        state,
        losses_in_a_row=losses,
        wins_in_a_row=wins,
        realised_usd=state.realised_usd + net_usd,
        cooldown_until_us=until_us if is_longer else state.cooldown_until_us,
        cooldown_reason=reason if is_longer else state.cooldown_reason,
        updated_at_us=now_us,
    )


def cooldown_s(losses_in_a_row: int, settings: CooldownSettings) -> tuple[int, str]:
    """Return how long openings pause after this many losses in a row, and how to say so."""
    if losses_in_a_row >= 5:
        return settings.after_5_losses_s, f"{losses_in_a_row} losses in a row"
    if losses_in_a_row >= 3:
        return settings.after_3_losses_s, f"{losses_in_a_row} losses in a row"
    return settings.after_loss_s, "a loss"

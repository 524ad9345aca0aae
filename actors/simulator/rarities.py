"""What few stories have, drawn apart: a new rarity leaves all other stories as they are.

Read in order: with_low_caps(), with_strangers(), with_lost_coins().
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random

import attrs

from actors.runtime.simulation.pace import SECOND_US
from actors.simulator.faults import ORDERED_BY_HAND
from actors.simulator.plan import Crash, Heal, PriceMoves, Propose, Step, Strike
from config.settings import Settings
from messages.base import Currency, Symbol
from messages.trades import Side

STORIES_WITH_LOW_CAPS = 6
"""One story in so many may borrow less than is asked for, or nothing."""
STORIES_WITH_STRANGERS = 6
"""In one story in so many somebody else leaves orders on the account."""
STORIES_WITH_LOST_COINS = 40
"""In one story in so many coins of an open position are gone, and no trade tells where."""
BTC_USDT = Symbol("BTC/USDT")
COMPARED_EVERY_S = 20
LOOKS_BEFORE_IT_COUNTS = 6
"""Comparisons until a difference has stood for longer than any lag, and one more."""


def with_low_caps(settings: Settings, seed: int) -> Settings:
    """Return the settings, in some stories with a leverage limit that is met: with 1, a short cannot be borrowed."""
    chance = Random(f"{seed} caps")  # noqa: S311 - A story, no secret.
    if chance.randrange(STORIES_WITH_LOW_CAPS):
        return settings
    limits = attrs.evolve(settings.risk.limits, leverage_max=chance.choice((1, 2, 3)))
    return attrs.evolve(settings, risk=attrs.evolve(settings.risk, limits=limits))


def with_strangers(steps: Sequence[Step], seed: int) -> Sequence[Step]:
    """Return the steps, in some stories with orders of somebody else: they rest, hold money back, and fill."""
    chance = Random(f"{seed} strangers")  # noqa: S311 - The same.
    if chance.randrange(STORIES_WITH_STRANGERS):
        return steps
    story = list(steps)
    for _ in range(chance.choice((1, 2, 4))):
        strike = Strike(fault=ORDERED_BY_HAND, amount=1 + chance.randrange(4))
        story.insert(chance.randrange(len(story) + 1), strike)
    return story


def with_lost_coins(settings: Settings, steps: Sequence[Step], seed: int) -> tuple[Settings, Sequence[Step]]:
    """Return settings and steps; in some stories coins that a position holds vanish, and more are to be bought."""
    chance = Random(f"{seed} lost coins")  # noqa: S311 - The same.
    if chance.randrange(STORIES_WITH_LOST_COINS):
        return settings, steps
    execution = attrs.evolve(
        settings.execution,
        kraken=attrs.evolve(settings.execution.kraken, reconcile_s=COMPARED_EVERY_S),
        paper=attrs.evolve(settings.execution.paper, balances={Currency("USDT"): Decimal(50_000)}),
    )
    buy = Propose(
        after_us=SECOND_US,
        symbol=BTC_USDT,
        side=Side.BUY,
        size_usd=500,
        leverage=1,
        entry_bps=None,
        stop_bps=chance.choice((None, 1_500)),
        target_bps=None,
    )
    wait = PriceMoves(after_us=COMPARED_EVERY_S * SECOND_US, symbol=BTC_USDT, move_bps=0)
    lost = (
        Heal(),
        buy,
        *(Strike(after_us=SECOND_US, fault="funds vanish", amount=4) for _ in range(1 + chance.randrange(2))),
        *(wait,) * LOOKS_BEFORE_IT_COUNTS,
        *((Crash(messages=chance.randrange(8), downtime_us=0), wait) if chance.randrange(3) == 0 else ()),
        buy,
        buy,
    )
    story = list(steps)
    place = chance.randrange(len(story) + 1)
    story[place:place] = lost
    return attrs.evolve(settings, execution=execution), story

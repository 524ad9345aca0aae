"""Short sequences that lead to what chance alone meets too seldom: put into some stories, whatever else happens there.

Each is only an attempt: it is refused, crashed into or overtaken like everything else.
Read in order: EPISODES, with_episode().
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import attrs

from actors.runtime.simulation.pace import MILLISECOND_US, SECOND_US
from actors.simulator.plan import Close, Crash, Heal, PriceMoves, Propose, Step, Strike
from messages.base import Symbol
from messages.trades import Side

STORIES_WITH_AN_EPISODE: Final = 3
"""One in so many."""
BTC_USDT: Final = Symbol("BTC/USDT")
LAST: Final = -1
"""The trade that was proposed last."""
SOON_US: Final = 300 * MILLISECOND_US
CRASH_BPS: Final = -1_500


def _buys(*, leverage: int, stop_bps: int | None, entry_bps: int) -> Propose:
    return Propose(
        symbol=BTC_USDT,
        side=Side.BUY,
        size_usd=500 if leverage == 1 else 2_000,
        leverage=leverage,
        entry_bps=entry_bps,
        stop_bps=stop_bps,
        target_bps=None,
        after_us=SOON_US,
    )


def _moves(move_bps: int) -> PriceMoves:
    return PriceMoves(symbol=BTC_USDT, move_bps=move_bps, after_us=SOON_US)


def _late_fill_of_a_closed_trade(_chance: Random) -> Sequence[Step]:
    """The rest of an entry fills unheard, and its stop closes what was heard of."""
    return (
        Heal(),
        Strike(fault="partial fills", amount=2),
        _buys(leverage=1, stop_bps=60, entry_bps=5),
        _moves(-10),
        Strike(fault="lost executions", amount=4, after_us=SECOND_US),
        _moves(-3),
        _moves(-200),
    )


def _late_fill_of_a_liquidated_trade(chance: Random) -> Sequence[Step]:
    """The rest of an entry fills unheard, and the exchange liquidates."""
    return (
        Heal(),
        Strike(fault="partial fills", amount=chance.choice((3, 4))),
        _buys(leverage=5, stop_bps=None, entry_bps=5),
        _moves(-10),
        Strike(fault="lost executions", amount=1, after_us=SECOND_US),
        _moves(-3),
        _moves(CRASH_BPS),
        _moves(CRASH_BPS),
    )


def _liquidated_while_it_closes(chance: Random) -> Sequence[Step]:
    """The way out is barred until the exchange takes it by itself."""
    return (
        Heal(),
        _buys(leverage=5, stop_bps=None, entry_bps=0),
        _moves(-10),
        Strike(fault=chance.choice(("lost requests", "throttled", "maintenance")), amount=4, after_us=3 * SECOND_US),
        Close(trade=LAST, after_us=SOON_US),
        _moves(CRASH_BPS),
        _moves(CRASH_BPS),
    )


def _expires_before_it_is_known(_chance: Random) -> Sequence[Step]:
    """Nobody says that the entry rests; its end is the first that is heard of it."""
    return (
        Heal(),
        Strike(fault="no answers at all", amount=1, after_us=SOON_US),
        _buys(leverage=1, stop_bps=150, entry_bps=60),
        PriceMoves(symbol=BTC_USDT, move_bps=3, after_us=8 * SECOND_US),
    )


def _leaves_without_the_journal(_chance: Random) -> Sequence[Step]:
    """A way out leaves while nothing can be committed, and the engine dies: only the exchange knows of it."""
    return (
        Heal(),
        attrs.evolve(_buys(leverage=1, stop_bps=300, entry_bps=0), entry_bps=None),
        Strike(fault="database away", after_us=3 * SECOND_US),
        Close(trade=LAST, after_us=SOON_US),
        Crash(messages=0, downtime_us=0, after_us=5 * SECOND_US),
    )


Episodes = Sequence[Callable[[Random], Sequence[Step]]]
EPISODES: Final[Episodes] = (
    _late_fill_of_a_closed_trade,
    _expires_before_it_is_known,
    _leaves_without_the_journal,
)
EPISODES_OF_THE_POOR: Final[Episodes] = (
    # The rich are far from any margin call.
    _late_fill_of_a_liquidated_trade,
    _liquidated_while_it_closes,
)


def with_episode(steps: Sequence[Step], chance: Random, *, is_poor: bool) -> Sequence[Step]:
    """Return the steps, in some stories with an episode somewhere among them."""
    if chance.randrange(STORIES_WITH_AN_EPISODE):
        return steps
    at = chance.randrange(len(steps) + 1)
    episode = chance.choice(EPISODES_OF_THE_POOR if is_poor else EPISODES)
    return (*steps[:at], *episode(chance), *steps[at:])

"""What a seed makes of it: settings, pace and steps. The same seed draws the same story on every machine.

Read in order: plan_of(), then what each kind of step is drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache, partial
from random import Random
from typing import Final

import attrs

from actors.runtime.simulation.pace import MILLISECOND_US, SECOND_US, drawn_pace
from actors.simulator.episodes import with_episode
from actors.simulator.faults import SITUATIONAL, STRIKES
from actors.simulator.plan import (
    Cancel,
    Close,
    Crash,
    Flaw,
    Heal,
    Jump,
    Plan,
    PriceMoves,
    Propose,
    Protect,
    Restart,
    SetState,
    Step,
    Strike,
)
from actors.simulator.rarities import with_lost_coins, with_low_caps, with_strangers
from actors.simulator.situations import with_situations
from config.loader import load_settings
from config.settings import CooldownSettings, LimitSettings, Settings
from messages.base import Currency, Symbol
from messages.risk import TradingState
from messages.trades import Side

MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

BTC_USDT, XRP_USDT, XRP_BTC = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
SYMBOLS: Final = (BTC_USDT, BTC_USDT, BTC_USDT, XRP_USDT, XRP_BTC)
RICH: Final[Mapping[Currency, Decimal]] = {Currency("USDT"): Decimal(50_000), Currency("BTC"): Decimal(1)}
POOR: Final[Mapping[Currency, Decimal]] = {Currency("USDT"): Decimal(1_500), Currency("BTC"): Decimal("0.02")}
COINLESS: Final[Mapping[Currency, Decimal]] = {Currency("USDT"): Decimal(50_000)}
"""All of its bitcoin belongs to positions."""
GAPS_US: Final = (
    *(0, 0, MILLISECOND_US, 20 * MILLISECOND_US, 300 * MILLISECOND_US),
    *(SECOND_US, 3 * SECOND_US, 8 * SECOND_US, 20 * SECOND_US),
)
SMALL_MOVES_BPS: Final = (-60, -25, -10, -3, 0, 3, 10, 25, 60)
LARGE_MOVES_BPS: Final = (-1_500, -400, -200, 200, 400, 1_500)
STORIES_OF_ONE_KIND: Final = 8
"""One story in so many consists of little but a few kinds of steps, which then meet each other often."""
STORIES_OF_FEW_FAULTS: Final = 3
FEW_FAULTS: Final = 3


def plan_of(seed: int, minutes: int) -> Plan:
    """Return the story of this seed: `minutes` of the virtual clock are filled with steps."""
    chance = Random(seed)  # noqa: S311 - A story, no secret.
    rare = Random(f"{seed} rare")  # noqa: S311 - Drawn apart, so that a new rarity leaves the other stories alone.
    settings = with_low_caps(_with_rarities(_settings(chance), rare), seed)
    pace = drawn_pace(chance)
    steps = with_strangers(_steps(chance, minutes * MINUTE_US, _faults(rare)), seed)
    steps = with_episode(steps, rare, is_poor=settings.execution.paper.balances is POOR)
    settings = _with_coins(settings, Random(f"{seed} coins"))  # noqa: S311 - Apart as well.
    settings, steps = with_lost_coins(settings, steps, seed)
    fears = Random(f"{seed} fears")  # noqa: S311 - Apart as well.
    return Plan(seed=seed, settings=settings, pace=pace, steps=with_situations(fears, steps))


def _faults(chance: Random) -> tuple[str, ...]:
    """Return what can go wrong in this story: anything, or a few faults that then meet each other often."""
    names = tuple(name for name in STRIKES if name not in SITUATIONAL)
    return tuple(chance.sample(names, FEW_FAULTS)) if chance.randrange(STORIES_OF_FEW_FAULTS) == 0 else names


def _steps(chance: Random, length_us: int, faults: tuple[str, ...]) -> Sequence[Step]:
    deck = _deck(chance, faults)
    steps: list[Step] = [PriceMoves(symbol=symbol, move_bps=0) for symbol in (BTC_USDT, XRP_USDT, XRP_BTC)]
    passed_us = 0
    while passed_us < length_us:
        gap_us = chance.choice(GAPS_US)
        step = chance.choice(deck)(chance)
        steps.append(attrs.evolve(step, after_us=gap_us))
        passed_us += gap_us
    return steps


def _deck(chance: Random, faults: tuple[str, ...]) -> Sequence[Callable[[Random], Step]]:
    """Return what is drawn from: each maker as often as it weighs, some missing in some stories."""
    strike = partial(_strike, faults)
    weights: dict[Callable[[Random], Step], int] = {
        _price_moves: 26,
        _propose: 14,
        _protect: 4,
        _cancel: 3,
        _close: 4,
        strike: 12,
        _heal: 3,
        _crash: 5,
        _jump: 1,
        _restart: 1,
        _set_state: 1,
    }
    if chance.randrange(STORIES_OF_ONE_KIND) == 0:
        favoured = chance.choice(list(weights))
        weights[favoured] = 20
    if chance.randrange(4) == 0:
        weights[_crash] = weights[_restart] = 0
    if chance.randrange(4) == 0:
        weights[strike] = 0
    return [make for make, weight in weights.items() for _ in range(weight)]


def _price_moves(chance: Random) -> Step:
    large = chance.randrange(8) == 0
    return PriceMoves(
        symbol=chance.choice(SYMBOLS), move_bps=chance.choice(LARGE_MOVES_BPS if large else SMALL_MOVES_BPS)
    )


def _propose(chance: Random) -> Step:
    flaws = list(Flaw)
    return Propose(
        symbol=chance.choice(SYMBOLS),
        side=chance.choice((Side.BUY, Side.BUY, Side.SELL)),
        size_usd=chance.choice((20, 100, 500, 2_000)),
        leverage=chance.choice((1, 1, 2, 3, 5)),
        entry_bps=chance.choice((None, None, None, 0, 5, 20, 60)),
        stop_bps=chance.choice((None, 30, 60, 150, 150, 300)),
        target_bps=chance.choice((None, None, 30, 80, 200)),
        trailing=chance.randrange(4) == 0,
        flaw=chance.choice(flaws) if chance.randrange(5) == 0 else Flaw.NONE,
    )


def _protect(chance: Random) -> Step:
    return Protect(
        trade=chance.randrange(50),
        stop_bps=chance.choice((None, 20, 50, 120, -50)),
        target_bps=chance.choice((None, None, 50, 120, -50)),
        trailing=chance.choice((None, None, True, False)),
    )


def _cancel(chance: Random) -> Step:
    return Cancel(trade=chance.randrange(50), is_said_twice=chance.randrange(4) == 0)


def _close(chance: Random) -> Step:
    return Close(trade=chance.randrange(50))


def _strike(faults: tuple[str, ...], chance: Random) -> Step:
    return Strike(fault=chance.choice(faults), amount=1 + chance.randrange(4))


def _heal(_chance: Random) -> Step:
    return Heal()


def _crash(chance: Random) -> Step:
    return Crash(
        messages=chance.choice((0, 1, 3, chance.randrange(12), chance.randrange(60), chance.randrange(250))),
        downtime_us=chance.choice((0, SECOND_US, 30 * SECOND_US, 5 * MINUTE_US)),
        moves_bps=tuple(chance.choice(SMALL_MOVES_BPS + LARGE_MOVES_BPS) for _ in range(chance.choice((0, 0, 1, 3)))),
        again=tuple(chance.randrange(40) for _ in range(chance.choice((0, 0, 0, 1, 2, 4)))),
    )


def _restart(_chance: Random) -> Step:
    return Restart()


def _jump(chance: Random) -> Step:
    return Jump(by_us=chance.choice((2 * MINUTE_US, HOUR_US, 7 * HOUR_US, DAY_US, 3 * DAY_US, 8 * DAY_US)))


def _set_state(chance: Random) -> Step:
    return SetState(state=chance.choice(list(TradingState)))


# Settings -----------------------------------------------------------------------------------------


def _with_rarities(settings: Settings, chance: Random) -> Settings:
    """Return the settings with what else would almost never happen: liquidations, entries that expire unheard."""
    execution = settings.execution
    if chance.randrange(6) == 0:
        execution = attrs.evolve(execution, orders=attrs.evolve(execution.orders, expiry_s=5))
    if execution.paper.balances is POOR:  # The rich are far from any margin call.
        level_pct = Decimal(chance.choice((40, 170, 250, 400)))
        execution = attrs.evolve(execution, paper=attrs.evolve(execution.paper, liquidation_level_pct=level_pct))
    return attrs.evolve(settings, execution=execution)


def _with_coins(settings: Settings, chance: Random) -> Settings:
    """Return the settings, some of the rich without a coin of their own."""
    execution = settings.execution
    if execution.paper.balances is not RICH or chance.randrange(3):
        return settings
    execution = attrs.evolve(execution, paper=attrs.evolve(execution.paper, balances=COINLESS))
    return attrs.evolve(settings, execution=execution)


@cache
def _defaults() -> Settings:
    return load_settings()


def _settings(chance: Random) -> Settings:
    """Return the defaults with some keys changed: what is rare under the defaults must not be rare here."""
    defaults = _defaults()
    execution, risk = defaults.execution, defaults.risk
    is_poor = chance.randrange(6) == 0
    execution = attrs.evolve(
        execution,
        orders=attrs.evolve(
            execution.orders,
            expiry_s=chance.choice((30, 600, 86_400)),
            default_time_in_force=chance.choice(("GTD", "GTD", "GTC", "IOC")),
            protection_delay_ms=chance.choice((0, 0, 300, 1_000)),
            local_watch_grace_ms=chance.choice((0, 500, 2_000)),
            retry_first_ms=chance.choice((100, 1_000)),
            stop_order_type=chance.choice(("stop-loss", "stop-loss", "stop-loss-limit")),
            target_order_type=chance.choice(("take-profit", "take-profit", "take-profit-limit")),
            history_max=chance.choice((12, 1_000)),
            permit_wait_max_s=chance.choice((5, 60)),
        ),
        positions=attrs.evolve(
            execution.positions,
            holding_max_s=chance.choice((60, 1_200, 172_800)),
            history_max=chance.choice((5, 1_000)),
            trailing=attrs.evolve(
                execution.positions.trailing,
                enabled=chance.randrange(4) == 0,
                activation_pct=Decimal(chance.choice(("0.1", "1"))),
                distance_pct=Decimal(chance.choice(("0.1", "0.4", "1.5"))),
                move_every_s=chance.choice((1, 15)),
            ),
        ),
        rate_limits=attrs.evolve(
            execution.rate_limits,
            orders_per_minute=chance.choice((10, 30, 60)),
            orders_burst=chance.choice((3, 5, 5)),
            api_per_minute=chance.choice((40, 60)),
        ),
        journal=attrs.evolve(execution.journal, group_max=chance.choice((1, 2, 512))),
        snapshots=attrs.evolve(execution.snapshots, every_s=chance.choice((20, 60, 3_600))),
        paper=attrs.evolve(
            execution.paper,
            balances=POOR if is_poor else RICH,
            acknowledge_delay_ms=chance.choice((0, 0, 50)),
            fill_delay_ms=chance.choice((0, 0, 30)),
            slippage_pct=Decimal(chance.choice(("0", "0.02"))),
            fill_share_pct=Decimal(chance.choice(("100", "100", "40", "7"))),
        ),
    )
    limits = LimitSettings(
        positions_per_symbol_max=chance.choice((1, 2, 3)),
        positions_total_max=chance.choice((1, 3, 5)),
        exposure_max_pct=Decimal(1_000 if is_poor else 80),
    )
    cooldowns = CooldownSettings(
        after_win_s=chance.choice((0, 0, 10)),
        after_loss_s=chance.choice((0, 0, 20)),
        after_3_losses_s=chance.choice((0, 60)),
        after_5_losses_s=chance.choice((0, 120)),
    )
    return Settings(execution=execution, risk=attrs.evolve(risk, limits=limits, cooldowns=cooldowns))

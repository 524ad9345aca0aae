"""What seldom meets by chance: short sequences that every trader fears, put into a story at a drawn place.

A story drawn step by step has all of these in it, but not within the second or two in which they matter.
Read in order: with_situations(), SITUATIONS, then the situations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import attrs

from actors.runtime.simulation.pace import MILLISECOND_US, SECOND_US
from actors.simulator.plan import Cancel, Close, Crash, Flaw, Heal, PriceMoves, Propose, Protect, SetState, Step, Strike
from messages.base import Symbol
from messages.risk import TradingState
from messages.trades import Side

BTC_USDT, XRP_USDT, XRP_BTC = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
NEWEST = -1
"""The place of the newest trade, counted from the end."""
SOON_US: Final = (0, MILLISECOND_US, 50 * MILLISECOND_US, 500 * MILLISECOND_US, 2 * SECOND_US)
UNDER_WAY_US: Final = (50 * MILLISECOND_US, 500 * MILLISECOND_US, 2 * SECOND_US)
LATER_US: Final = (SECOND_US, 3 * SECOND_US, 8 * SECOND_US)
STORIES_WITHOUT: Final = 3
"""One story in so many has no such situation."""

Situation = Callable[[Random], tuple[Step, ...]]


def with_situations(chance: Random, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the story with a few situations in it."""
    story = list(steps)
    if chance.randrange(STORIES_WITHOUT) == 0:
        return tuple(story)
    for _ in range(chance.choice((2, 3, 4))):
        place = chance.randrange(len(story) + 1)
        story[place:place] = chance.choice(SITUATIONS)(chance)
    return tuple(story)


def _cancel_before_a_crash(chance: Random) -> tuple[Step, ...]:
    """Cancels are taken and do not reach the exchange, and the process dies."""
    return (
        Heal(),
        attrs.evolve(_trade(chance, entry_bps=300, stop_bps=None), symbol=XRP_USDT),
        _trade(chance, entry_bps=300, stop_bps=None),
        _later(chance, Strike(fault="lost cancels", amount=4)),
        Cancel(trade=NEWEST),
        Cancel(trade=NEWEST - 1),
        Crash(after_us=chance.choice(UNDER_WAY_US), messages=chance.randrange(4), downtime_us=0),
    )


def _close_before_a_crash(chance: Random) -> tuple[Step, ...]:
    """A close is taken, the process dies, and the entry fills while nobody looks."""
    return (
        _trade(chance, entry_bps=20),
        _later(chance, Strike(fault="lost cancels", amount=4)),
        Close(trade=NEWEST),
        Crash(
            after_us=chance.choice(UNDER_WAY_US),
            messages=chance.randrange(4),
            downtime_us=30 * SECOND_US,
            moves_bps=(-40,),
        ),
    )


def _trailing(chance: Random) -> tuple[Step, ...]:
    """A trailing stop follows, is set nearer by hand, and the price goes on, back, and on."""
    side = chance.choice((Side.BUY, Side.SELL))
    sign = 1 if side is Side.BUY else -1
    moves_bps = (chance.choice((3, 10, 25)), 3, -10, 10)
    return (
        _trade(chance, side=side, leverage=2, trailing=True, stop_bps=300),
        _later(chance, _price(sign * 150)),
        _later(chance, Protect(trade=NEWEST, stop_bps=chance.choice((15, 30)), target_bps=None)),
        *(_price(sign * move_bps, after_us=5 * SECOND_US) for move_bps in moves_bps),
    )


def _traded_by_hand_unheard(chance: Random) -> tuple[Step, ...]:
    """Somebody trades on the account, the push of it is lost, and trading goes on or the process dies."""
    hand = chance.choice(("closed by hand", "closed by hand", "sold by hand on margin", "bought by hand on margin"))
    next_step = chance.choice(
        (_trade(chance, leverage=2), _trade(chance, leverage=2), Crash(messages=0, downtime_us=0))
    )
    return (
        _trade(chance, leverage=2),
        _later(chance, Strike(fault="lost executions")),
        Strike(fault=hand, amount=1 + chance.randrange(4)),
        _price(0),
        _soon(chance, next_step),
    )


def _price_meets_the_start(chance: Random) -> tuple[Step, ...]:
    """The process dies, and while it starts again the price runs through its orders."""
    return (
        _trade(chance, leverage=chance.choice((1, 2)), entry_bps=chance.choice((None, 5)), stop_bps=60),
        Crash(after_us=chance.choice(LATER_US), messages=chance.randrange(4), downtime_us=0),
        *(_price(move, after_us=chance.choice((0, 0, MILLISECOND_US))) for move in (-10, -70, -70)),
    )


def _cancelled_while_it_fills(chance: Random) -> tuple[Step, ...]:
    """An entry is cancelled in the moment in which the price comes to it, and the news of both are late."""
    return (
        Strike(fault="ends without figures"),
        Strike(fault="pushes behind polls", amount=1 + chance.randrange(4)),
        _trade(chance, entry_bps=5),
        _soon(chance, Strike(fault="partial fills", amount=3)),
        _later(chance, _price(-6)),
        _soon(chance, Cancel(trade=NEWEST)),
        Heal(after_us=3 * SECOND_US),
    )


def _stop_moved_unheard(chance: Random) -> tuple[Step, ...]:
    """A stop is to be moved, and the wish or its answer is lost."""
    fault = chance.choice(("lost amends", "lost answers to amends", "amends throttled", "no answers at all"))
    return (
        _trade(chance, leverage=chance.choice((1, 2))),
        _later(chance, Strike(fault=fault, amount=1 + chance.randrange(2))),
        Protect(trade=NEWEST, stop_bps=chance.choice((20, 50, 120)), target_bps=None),
        _soon(chance, _price(3)),
    )


def _exit_before_a_crash(chance: Random) -> tuple[Step, ...]:
    """One of two exits fills, and the process dies before the other is cancelled; another trade holds the same."""
    return (
        _trade(chance, leverage=2, stop_bps=300),
        _trade(chance, leverage=2, stop_bps=60, target_bps=80),
        _later(chance, Strike(fault="lost cancels", amount=4)),
        _price(chance.choice((-100, 100))),
        Crash(
            after_us=chance.choice(UNDER_WAY_US),
            messages=chance.randrange(4),
            downtime_us=chance.choice((0, SECOND_US)),
        ),
    )


def _closed_while_it_opens(chance: Random) -> tuple[Step, ...]:
    """A part of an entry fills, the price runs to the target, and the rest of the entry is still there."""
    return (
        Strike(fault="partial fills", amount=2 + chance.randrange(2)),
        _trade(chance, leverage=2, entry_bps=0, target_bps=30),
        _later(chance, Strike(fault=chance.choice(("lost cancels", "lost answers to cancels")), amount=2)),
        _price(40),
        _soon(chance, _trade(chance, leverage=2)),
        _soon(chance, _trade(chance, leverage=2)),
    )


def _answer_lost_while_records_lag(chance: Random) -> tuple[Step, ...]:
    """Nobody hears whether an order was taken, and the exchange does not know of it yet."""
    return (
        Strike(fault="lagging records", amount=1 + chance.randrange(3)),
        Strike(fault="lost answers", amount=1 + chance.randrange(2)),
        Strike(fault="lost executions", amount=1 + chance.randrange(4)),
        _trade(chance, leverage=chance.choice((1, 2)), stop_bps=300),
        *(_price(move, after_us=8 * SECOND_US) for move in (3, -3, 3)),
    )


def _nothing_protects(chance: Random) -> tuple[Step, ...]:
    """A stop is refused for longer than any patience."""
    return (
        _trade(chance, leverage=chance.choice((1, 2)), stop_bps=None),
        Strike(after_us=3 * SECOND_US, fault="throttled", amount=4),
        *(Strike(fault="throttled", amount=4) for _ in range(3)),
        Protect(trade=NEWEST, stop_bps=300, target_bps=None),
        *(_price(move, after_us=20 * SECOND_US) for move in (0, 3, -3, 0, 3, -3, 0)),
        Heal(),
    )


def _halted_before_a_crash(chance: Random) -> tuple[Step, ...]:
    """A person halts trading; whether before a crash or not, nothing opens until it is resumed."""
    return (
        SetState(state=chance.choice((TradingState.HALTED, TradingState.REDUCING))),
        Crash(after_us=chance.choice(LATER_US), messages=chance.randrange(8), downtime_us=0),
        _later(chance, _trade(chance)),
        _later(chance, _trade(chance)),
    )


def _many_at_once(chance: Random) -> tuple[Step, ...]:
    """More is asked for in one instant than may leave in a minute, and then nothing more."""
    side = chance.choice((Side.BUY, Side.SELL))
    wishes = [_trade(chance, side=side, leverage=2, entry_bps=chance.choice((None, 300))) for _ in range(6)]
    return (
        *wishes,
        *(Cancel(after_us=SECOND_US, trade=-number) for number in range(1, 7)),
        *(Protect(trade=-number, stop_bps=chance.choice((120, 300)), target_bps=200) for number in range(1, 7)),
        _price(0, after_us=20 * SECOND_US),
    )


def _held_for_long(chance: Random) -> tuple[Step, ...]:
    """Two positions, one opened after the other, and nothing happens to them."""
    side = chance.choice((Side.BUY, Side.SELL))
    return (
        _trade(chance, side=side, leverage=2, stop_bps=300),
        _later(chance, _trade(chance, side=side, leverage=2, stop_bps=300)),
        *(_price(move_bps, after_us=30 * SECOND_US) for move_bps in (3, -3, 3, -3, 3)),
    )


def _said_again_after_a_crash(chance: Random) -> tuple[Step, ...]:
    """A strategy that has seen the engine die hands in again what it handed in before."""
    trade = _trade(chance)
    return (
        trade,
        Crash(after_us=chance.choice(SOON_US), messages=chance.randrange(30), downtime_us=0),
        *(_later(chance, attrs.evolve(trade, flaw=Flaw.SAME_AGAIN)) for _ in range(3)),
    )


def _paid_with_coins_that_are_held(chance: Random) -> tuple[Step, ...]:
    """What is quoted in bitcoin is bought while a position holds all the bitcoin there is, and its stop is reached."""
    wishes = [_trade(chance, stop_bps=60), _with_bitcoin(chance)]
    if chance.randrange(4) == 0:
        wishes.reverse()
    return (
        wishes[0],
        _later(chance, wishes[1]),
        _later(chance, _price(-100)),
        *(_price(move_bps, after_us=8 * SECOND_US) for move_bps in (3, -3)),
    )


def _lost_what_it_had_not(chance: Random) -> tuple[Step, ...]:
    """On margin more bitcoin is lost than there was, and then some is bought outright."""
    return (
        attrs.evolve(_with_bitcoin(chance), leverage=2, stop_bps=30),
        _later(chance, PriceMoves(symbol=XRP_BTC, move_bps=-400)),
        Close(trade=NEWEST, after_us=3 * SECOND_US),
        attrs.evolve(_trade(chance, stop_bps=60), after_us=70 * SECOND_US),
        _later(chance, _price(-100)),
    )


def _levels_changed_before_the_fill(chance: Random) -> tuple[Step, ...]:
    """The levels of a trade are changed while its entry waits, the process dies or does not, and it fills."""
    change = Protect(trade=NEWEST, stop_bps=chance.choice((50, 120)), target_bps=chance.choice((None, 200)))
    crash = Crash(after_us=chance.choice(UNDER_WAY_US), messages=chance.randrange(8), downtime_us=0)
    return (
        _trade(chance, leverage=chance.choice((1, 2)), entry_bps=20),
        _later(chance, change),
        *((crash,) if chance.randrange(2) else ()),
        _later(chance, _price(-30)),
        _soon(chance, Protect(trade=NEWEST, stop_bps=chance.choice((None, 100)), target_bps=None)),
    )


def _over_before_its_fills_are_told(chance: Random) -> tuple[Step, ...]:
    """A part of an entry has filled, and its end is told before that; in between nobody believes that it holds any."""
    entry_bps = chance.choice((None, 5))
    by_hand = Strike(fault="sold by hand", after_us=500 * MILLISECOND_US)
    crash = Crash(after_us=chance.choice(UNDER_WAY_US), messages=chance.randrange(12), downtime_us=0)
    return (
        Strike(fault="late executions", amount=1 + chance.randrange(3)),
        Strike(fault="partial fills", amount=1 + chance.randrange(3)),
        _trade(chance, leverage=chance.choice((1, 1, 2)), entry_bps=entry_bps),
        *((_price(-6, after_us=SECOND_US), _soon(chance, Cancel(trade=NEWEST))) if entry_bps else ()),
        chance.choice((crash, _later(chance, _trade(chance)), by_hand, by_hand)),
        *(_price(0, after_us=after_us) for after_us in (MILLISECOND_US, 3 * SECOND_US)),
    )


def _expired_before_its_fills_are_told(chance: Random) -> tuple[Step, ...]:
    """The same, when the entry rests until its time is over and the records lag behind all of it."""
    return (
        Strike(fault="lagging records", amount=4),
        Strike(fault="late executions", amount=2),
        Strike(fault="partial fills", amount=1 + chance.randrange(3)),
        _trade(chance, entry_bps=5),
        _later(chance, _price(-6)),
        *(_price(10, after_us=after_us) for after_us in (0, 8 * SECOND_US, 25 * SECOND_US)),
    )


def _stop_made_smaller_than_it_has_filled(chance: Random) -> tuple[Step, ...]:
    """A part of a stop has filled unheard, the rest is closed by hand, and the stop is cut to what it has sold."""
    share = 1 + chance.randrange(3)
    return (
        Strike(fault="partial fills", amount=4),
        Strike(fault="partial fills", amount=share),
        Strike(fault="lagging records", amount=4),
        _trade(chance, leverage=2, stop_bps=60),
        Strike(fault="late executions", amount=1, after_us=3 * SECOND_US),
        _price(-65),
        Strike(fault="closed by hand", after_us=chance.choice((0, MILLISECOND_US, 50 * MILLISECOND_US))),
        Protect(trade=NEWEST, stop_bps=120, target_bps=None),
    )


SITUATIONS: Final[tuple[Situation, ...]] = (
    _cancel_before_a_crash,
    _close_before_a_crash,
    _trailing,
    _traded_by_hand_unheard,
    _price_meets_the_start,
    _cancelled_while_it_fills,
    _stop_moved_unheard,
    _exit_before_a_crash,
    _closed_while_it_opens,
    _answer_lost_while_records_lag,
    _nothing_protects,
    _halted_before_a_crash,
    _said_again_after_a_crash,
    _many_at_once,
    _held_for_long,
    _paid_with_coins_that_are_held,
    _lost_what_it_had_not,
    _levels_changed_before_the_fill,
    _over_before_its_fills_are_told,
    _expired_before_its_fills_are_told,
    _stop_made_smaller_than_it_has_filled,
)


def _trade(
    chance: Random,
    *,
    side: Side = Side.BUY,
    leverage: int = 1,
    entry_bps: int | None = None,
    stop_bps: int | None = 150,
    target_bps: int | None = None,
    trailing: bool = False,
) -> Propose:
    return Propose(
        symbol=BTC_USDT,
        side=side,
        size_usd=chance.choice((20, 100, 500)),
        leverage=leverage,
        entry_bps=entry_bps,
        stop_bps=stop_bps,
        target_bps=target_bps,
        trailing=trailing,
    )


def _with_bitcoin(chance: Random) -> Propose:
    return attrs.evolve(_trade(chance, stop_bps=None), symbol=XRP_BTC, size_usd=chance.choice((20, 100, 500)))


def _price(move_bps: int, after_us: int = 0) -> PriceMoves:
    return PriceMoves(after_us=after_us, symbol=BTC_USDT, move_bps=move_bps)


def _soon(chance: Random, step: Step) -> Step:
    return attrs.evolve(step, after_us=chance.choice(SOON_US))


def _later(chance: Random, step: Step) -> Step:
    return attrs.evolve(step, after_us=chance.choice(LATER_US))

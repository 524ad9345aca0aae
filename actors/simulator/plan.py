"""What can happen in a story, as values: a plan is a list of steps, so it can be shown, shortened and told again.

Prices are relative (in basis points of the price at that moment) and trades are named by their place in the story, so
a plan still makes sense when steps are taken out of it.
Read in order: Step and its kinds, Plan.
"""

from __future__ import annotations

from enum import Enum

import attrs

from actors.runtime.simulation.pace import Pace
from config.settings import Settings
from messages.base import Symbol
from messages.risk import TradingState
from messages.trades import Side

BPS = 10_000
"""Basis points in the whole."""


@attrs.frozen(kw_only=True)
class Step:
    """Something that happens to the engine, `after_us` after the step before it."""

    after_us: int = 0


@attrs.frozen(kw_only=True)
class PriceMoves(Step):
    """A trade happens: the symbol's price moves by so much of itself."""

    symbol: Symbol
    move_bps: int


class Flaw(Enum):
    """What is wrong with a proposal."""

    NONE = "none"
    NEGATIVE_SIZE = "negative size"
    UNKNOWN_SYMBOL = "unknown symbol"
    STOP_ON_THE_WRONG_SIDE = "stop on the wrong side"
    NO_LEVERAGE = "leverage 0"
    TOO_SMALL = "too small for any order"
    TOO_LARGE = "more than there is"
    SAME_AGAIN = "the same proposal again"
    CONTRADICTS = "an earlier id with another content"
    UNREADABLE = "unreadable"


@attrs.frozen(kw_only=True)
class Propose(Step):
    """A strategy hands in a proposal; distances are measured from the price of the moment. None: without."""

    symbol: Symbol
    side: Side
    size_usd: int
    leverage: int
    entry_bps: int | None = None
    """How much better than the price a limit entry waits."""
    stop_bps: int | None
    target_bps: int | None
    trailing: bool = False
    flaw: Flaw = Flaw.NONE


@attrs.frozen(kw_only=True)
class Cancel(Step):
    """A strategy cancels the entry of an earlier trade."""

    trade: int
    is_said_twice: bool = False


@attrs.frozen(kw_only=True)
class Close(Step):
    """A strategy closes an earlier trade."""

    trade: int


@attrs.frozen(kw_only=True)
class Protect(Step):
    """A strategy moves the levels of an earlier trade to so far from the price of the moment."""

    trade: int
    stop_bps: int | None
    target_bps: int | None
    trailing: bool | None = None


@attrs.frozen(kw_only=True)
class SetState(Step):
    """A person halts trading, lets it shrink only, or resumes it."""

    state: TradingState


@attrs.frozen(kw_only=True)
class Strike(Step):
    """The exchange or the journal begins to misbehave, see `faults.py`. `amount` means what the fault makes of it."""

    fault: str
    amount: int = 1


@attrs.frozen(kw_only=True)
class Heal(Step):
    """Nothing misbehaves any more, for a while."""


@attrs.frozen(kw_only=True)
class Crash(Step):
    """The process dies once so many more messages have been read, is away for a while, and starts again.

    Meanwhile the exchange trades on. `again`: so many messages after each start it dies once more.
    """

    messages: int
    downtime_us: int
    moves_bps: tuple[int, ...] = ()
    """Of BTC/USDT while we are away."""
    again: tuple[int, ...] = ()


@attrs.frozen(kw_only=True)
class Restart(Step):
    """The engine is drained, as by SIGTERM, and started again."""


@attrs.frozen(kw_only=True)
class Jump(Step):
    """The machine sleeps: the clock jumps, and whatever was due meanwhile is due at once."""

    by_us: int


@attrs.frozen(kw_only=True)
class Plan:
    """One story: who trades how (settings), how fast everything is (pace), and what happens, in order."""

    seed: int
    settings: Settings = attrs.field(repr=False)
    pace: Pace
    steps: tuple[Step, ...]

"""A story for people: its plan in words, what its settings have of their own, and its last messages.

Read in order: plan_as_text(), step_as_text(), last_messages().
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import attrs

from actors.runtime.simulation.pace import CALM, MILLISECOND_US, SECOND_US
from actors.runtime.wording import message_as_text
from actors.simulator.exercised import everyone
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
from config.loader import load_settings
from messages.base import Message, Symbol
from messages.market import PriceMoved, Tick
from messages.trades import Side

MINUTE_US, HOUR_US = 60 * SECOND_US, 3_600 * SECOND_US
NOBODY = "nobody"
MESSAGES_SHOWN = 50
AT_WIDTH, READERS_WIDTH = 14, 22


def plan_as_text(plan: Plan) -> Iterator[str]:
    """Yield the plan line by line: what is not as usual, then each step."""
    yield "settings: " + (", ".join(_other_settings(plan)) or "the defaults")
    yield "pace: " + (", ".join(_other_pace(plan)) or "calm")
    for number, step in enumerate(plan.steps, start=1):
        gap = f"+{duration_as_text(step.after_us)}" if step.after_us else ""
        yield f"{number:>4} {gap:>10}  {step_as_text(step)}"


def _other_settings(plan: Plan) -> Iterator[str]:
    defaults = _leaves(load_settings())
    for name, value in _leaves(plan.settings).items():
        if defaults.get(name) != value:
            yield f"{name}={value}"


def _leaves(owner: Any, path: str = "") -> Mapping[str, str]:
    """Return every single setting by its name with dots, as a person writes it."""
    if attrs.has(type(owner)):
        pairs = [(field.name, getattr(owner, field.name)) for field in attrs.fields(type(owner))]
    elif isinstance(owner, Mapping):
        pairs = list(owner.items())
    else:
        return {path: str(getattr(owner, "value", owner))}
    leaves: dict[str, str] = {}
    for name, value in pairs:
        leaves.update(_leaves(value, f"{path}.{name}" if path else str(name)))
    return leaves


def _other_pace(plan: Plan) -> Iterator[str]:
    for field in attrs.fields(type(CALM)):
        value = getattr(plan.pace, field.name)
        if value != getattr(CALM, field.name):
            is_time = field.name.endswith("_us")
            name = field.name.removesuffix("_us").replace("_", " ")
            yield f"{name} up to {duration_as_text(value)}" if is_time else f"{name} {value}"


# Steps --------------------------------------------------------------------------------------------


def step_as_text(step: Step) -> str:  # noqa: C901  # One case a kind of step.
    """Return what happens, in words."""
    match step:
        case PriceMoves():
            return f"the price of {step.symbol} moves by {step.move_bps:+} bps"
        case Propose():
            return _proposal_as_text(step)
        case Cancel():
            return f"trade {step.trade} is cancelled{', twice' if step.is_said_twice else ''}"
        case Close():
            return f"trade {step.trade} is closed"
        case Protect():
            return f"trade {step.trade} gets new levels: {_levels(step.stop_bps, step.target_bps, step.trailing)}"
        case SetState():
            return f"a person sets trading to {step.state.value}"
        case Strike():
            return f"from now on: {step.fault} ({step.amount})"
        case Heal():
            return "everything works again"
        case Crash():
            return _crash_as_text(step)
        case Restart():
            return "the engine is drained and started again"
        case Jump():
            return f"the machine sleeps for {duration_as_text(step.by_us)}"
        case _:
            raise TypeError(f"{type(step).__name__} is no step")


def _proposal_as_text(step: Propose) -> str:
    verb = "buys" if step.side is Side.BUY else "sells"
    kind = "at market" if step.entry_bps is None else f"with a limit {step.entry_bps} bps better"
    flaw = "" if step.flaw is Flaw.NONE else f"; wrong with it: {step.flaw.value}"
    levels = _levels(step.stop_bps, step.target_bps, step.trailing or None)
    return f"a strategy {verb} {step.symbol} for {step.size_usd} x {step.leverage} {kind}: {levels}{flaw}"


def _levels(stop_bps: int | None, target_bps: int | None, trailing: bool | None) -> str:  # noqa: FBT001
    words = (
        None if stop_bps is None else f"stop {stop_bps} bps away",
        None if target_bps is None else f"target {target_bps} bps away",
        None if trailing is None else "trailing" if trailing else "not trailing",
    )
    return ", ".join(word for word in words if word is not None) or "without levels"


def _crash_as_text(step: Crash) -> str:
    words = [f"the engine dies after {_count(step.messages)}"]
    if step.downtime_us:
        words.append(f"is away for {duration_as_text(step.downtime_us)}")
    if step.moves_bps:
        words.append(f"BTC/USDT moves meanwhile by {', '.join(f'{move:+}' for move in step.moves_bps)} bps")
    if step.again:
        words.append(f"and it dies again, each time after {', '.join(map(str, reversed(step.again)))} messages")
    return "; ".join(words)


def _count(messages: int) -> str:
    return f"{messages} more message{'' if messages == 1 else 's'}"


def duration_as_text(duration_us: int) -> str:
    """Return a duration in its largest unit that leaves no remainder."""
    for unit_us, unit in ((HOUR_US, "h"), (MINUTE_US, "min"), (SECOND_US, "s"), (MILLISECOND_US, "ms")):
        if duration_us >= unit_us and duration_us % unit_us == 0:
            return f"{duration_us // unit_us} {unit}"
    return f"{duration_us} us"


# Messages -----------------------------------------------------------------------------------------


def last_messages(began_us: int, messages: Iterable[tuple[int, Message]]) -> Iterator[str]:
    """Yield one line for each of the last messages: when it was said, who reads it, what it says."""
    for at_us, message in deque(_telling(messages), maxlen=MESSAGES_SHOWN):
        yield said_as_text(at_us - began_us, ", ".join(readers().get(type(message), (NOBODY,))), message)


def _telling(messages: Iterable[tuple[int, Message]]) -> Iterator[tuple[int, Message]]:
    """Yield what tells anything: no ticks, which are told again as PriceMoved, and no price that stands still."""
    prices: dict[Symbol, Decimal] = {}
    for at_us, message in messages:
        match message:
            case Tick():
                continue
            case PriceMoved():
                if prices.get(message.symbol) == message.last_quote:
                    continue
                prices[message.symbol] = message.last_quote
        yield at_us, message


def said_as_text(after_us: int, readers: str, message: Message) -> str:
    """Return the line of one message, `after_us` after the beginning of the story."""
    seconds, rest_us = divmod(after_us, SECOND_US)
    at = f"{seconds:,}.{rest_us:06}"
    return f"{at:>{AT_WIDTH}}  {readers:<{READERS_WIDTH}} {message_as_text(message)}"


@cache
def readers() -> Mapping[type[Message], tuple[str, ...]]:
    """Return the roles that hear each message, in the order in which they start."""
    roles: dict[type[Message], tuple[str, ...]] = {}
    for actor in everyone():
        for kind in actor.accepts:
            roles[kind] = (*roles.get(kind, ()), actor.role)
    return roles

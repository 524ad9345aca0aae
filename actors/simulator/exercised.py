"""What simulations have exercised, beside everything that they could: what was never reached shows as a zero.

What could be reached is derived from the code (fault plan, tables, declarations) wherever the code says so itself.
What no simulation can reach is named here with its reason; a name without a reason counts.
Read in order: possible(), exercised(), merged(), zeros().
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from random import Random
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from actors.exchange.mock.faults import FAULT_NAMES
from actors.order import proposals
from actors.order.lifecycle import TRANSITIONS, Happening
from actors.order.shell import requests
from actors.risk import limits
from actors.runtime.clock import SteppedClock
from actors.runtime.ids import seeded_ids
from actors.runtime.simulation.scheduler import SeededScheduler
from actors.runtime.switchboard import Switchboard
from actors.runtime.typed_actor import Recover, TypedActor
from actors.simulator.faults import STRIKES
from actors.simulator.machines import SimulatedMachine
from actors.simulator.plan import Flaw, Propose, Step, Strike
from actors.system import World, parts
from config.loader import load_settings
from messages.base import Message
from messages.bus import Subscribe, Unsubscribe
from messages.exchange import InstrumentsReported
from messages.lifecycle import ActorFailed, ExchangeRefusesUs
from messages.orders import OrderStatus
from messages.permits import CallGranted, CallsThrottled, RequestCall
from messages.positions import CloseReason, PositionStatus
from messages.risk import TradingState
from persistence.memory import MemoryJournal

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

Figures = Mapping[str, Mapping[str, int]]
"""Group, then name, then how often."""
Row = tuple[OrderStatus, Happening]
"""What an order was, and what happened to it."""
Statuses = tuple[OrderStatus | None, OrderStatus] | tuple[PositionStatus | None, PositionStatus]

DATABASE_AWAY, ANSWER_LOST, BOOKS_UNSAVED = "database_away", "commit_answers_lost", "books_unsaved"
CRASHES: Final[Mapping[str, str]] = {
    # What the stage counts: what a person reads.
    "crash": "between messages",
    "crash while it starts": "while it starts",
    "drained": "drained",
    "no start without a database": "no start without a database",
    "UnreliableJournal.commit died": "a commit died with it",
    "UnreliableJournal.commit survived": "a commit survived it",
    "UnreliableJournal.load died": "a load died with it",
    "UnreliableJournal.load survived": "a load survived it",
    "UnreliableStore.save died": "a save of the exchange died with it",
    "UnreliableStore.save survived": "a save of the exchange survived it",
    "_read died": "a load of the exchange died with it",
    "_read survived": "a load of the exchange survived it",
}
FIRST_STATUSES: Final = (
    (None, OrderStatus.PENDING),
    (None, OrderStatus.OPEN),  # One of ours that the journal has forgotten is taken up.
    (None, OrderStatus.FILLED),  # What others did with a position of ours is kept as an order when it is over.
)
POSITION_STATUSES: Final = (
    # What actors/position makes of positions; a test compares with its functions.
    (None, PositionStatus.OPEN),
    (PositionStatus.OPEN, PositionStatus.CLOSING),
    (PositionStatus.OPEN, PositionStatus.CLOSED),
    (PositionStatus.OPEN, PositionStatus.LIQUIDATED),
    (PositionStatus.CLOSING, PositionStatus.CLOSED),
    (PositionStatus.CLOSING, PositionStatus.LIQUIDATED),
    (PositionStatus.CLOSED, PositionStatus.OPEN),  # A late fill of its entry.
    (PositionStatus.LIQUIDATED, PositionStatus.OPEN),
)
RULE_BOOKS: Final = (proposals, requests, limits)
"""The modules that turn something down."""
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")

# What no simulation reaches, and why.
UNREACHED_REASONS: Final[Mapping[CloseReason, str]] = {
    CloseReason.BREAKER: "no breaker closes positions yet",
}
UNREACHED_STATUSES: Final[Mapping[Statuses, str]] = {}
WHOLE = "an order counts as filled when nothing of it is left, by an amend under way neither"
REFUSED = "a refused order does not trade, and absence is believed when no record can lag behind any more"
UNREACHED_ROWS: Final[Mapping[Row, str]] = {
    (OrderStatus.FILLED, Happening.FILLED_IN_PART): WHOLE,
    (OrderStatus.FILLED, Happening.FILLED_WHOLLY): WHOLE,
    (OrderStatus.CANCELLED, Happening.FILLED_WHOLLY): "one in thousands: cut to just what it had filled unheard",
    (OrderStatus.EXPIRED, Happening.FILLED_WHOLLY): "what fills wholly does not expire; no entry is made smaller",
    (OrderStatus.ERROR, Happening.FILLED_IN_PART): REFUSED,
    (OrderStatus.ERROR, Happening.FILLED_WHOLLY): REFUSED,
}
UNREACHED_CODES: Final[Mapping[str, str]] = {
    "TOO_MANY_WAITING": "10,000 proposals would have to wait at once",
}
UNREACHED_MESSAGES: Final[Mapping[type[Message], str]] = {
    Recover: "told past the switchboard, by every actor to itself: no machine begins without it",
    ActorFailed: "in a simulation every failure ends the story, and is news",
    Subscribe: "said by those who listen from outside, such as the harness",
    Unsubscribe: "said by those who listen from outside, such as the harness",
    RequestCall: "asked by a client of the real exchange: the mock makes no REST calls",
    CallGranted: "told to a client of the real exchange: the mock makes no REST calls",
    CallsThrottled: "said by a client of the real exchange: the mock's refusals are of single orders",
    InstrumentsReported: "said by a client of the real exchange: the mock's pairs are those of the settings",
    ExchangeRefusesUs: "said by a client of the real exchange: the mock asks for no key",
}


# What could be ------------------------------------------------------------------------------------


@cache
def possible() -> Mapping[str, tuple[str, ...]]:
    """Return every name of every group."""
    return {
        "steps": tuple(sorted(kind.__name__ for kind in Step.__subclasses__())),
        "flaws of proposals": tuple(flaw.value for flaw in Flaw),
        "faults drawn": tuple(STRIKES),
        "faults met": (*FAULT_NAMES, DATABASE_AWAY, ANSWER_LOST, BOOKS_UNSAVED),
        "crashes": tuple(CRASHES.values()),
        "trading states": tuple(state.value for state in TradingState),
        "order statuses": tuple(map(change, _reachable((*FIRST_STATUSES, *_order_statuses())))),
        "rows of the order table": tuple(in_words(row) for row in TRANSITIONS if row not in UNREACHED_ROWS),
        "position statuses": tuple(map(change, _reachable(POSITION_STATUSES))),
        "close reasons": tuple(reason.value for reason in CloseReason if reason not in UNREACHED_REASONS),
        "rejection codes": tuple(sorted(rejection_codes() - set(UNREACHED_CODES))),
        "messages": tuple(sorted(name for kind, name in names_of_messages().items() if kind not in UNREACHED_MESSAGES)),
    }


def spoken() -> frozenset[type[Message]]:
    """Return every message that some actor of the machine hears or says, its timers and results included."""
    return frozenset[type[Message]]().union(*(actor.accepts | actor.emits for actor in everyone()))


@cache
def names_of_messages() -> Mapping[type[Message], str]:
    """Return what each message is counted as: its name, and whose it is where two actors have a word of that name."""
    kinds = spoken()
    shared = Counter(kind.__name__ for kind in kinds)
    return {
        kind: kind.__name__ if shared[kind.__name__] == 1 else f"{kind.__name__} ({kind.__module__.split('.')[1]})"
        for kind in kinds
    }


@cache
def everyone() -> tuple[type[TypedActor], ...]:
    """Return the class of every actor of the machine."""
    clock = SteppedClock()
    scheduler = SeededScheduler(Random(0), clock)  # noqa: S311 - Nothing is drawn: the machine never starts.
    world = World(
        settings=load_settings(),
        clock=clock,
        new_id=seeded_ids("nobody"),
        journal=MemoryJournal(),
        equity_start_usd=Decimal(0),
        book_store=None,
        is_repeatable=True,
    )
    machine = SimulatedMachine(world, scheduler, scheduler.timers, Switchboard(logs=False))
    return tuple(part.actor_class for part in parts(world, machine))


def change(statuses: Statuses) -> str:
    """Return a change of status in words: `OPEN -> FILLED`; the first status ever is `-> PENDING`."""
    before, after = statuses
    return f"{before.value} -> {after.value}" if before is not None else f"-> {after.value}"


def in_words(row: Row) -> str:
    """Return what happened to an order of which status: `CANCELLED, filled in part`."""
    status, happening = row
    return f"{status.value}, {happening.value}"


def _reachable(changes: Iterable[Statuses]) -> Iterator[Statuses]:
    return (statuses for statuses in changes if statuses not in UNREACHED_STATUSES)


def _order_statuses() -> Iterable[tuple[OrderStatus, OrderStatus]]:
    """Return what TRANSITIONS allows: a status that stays is no change, and several ways to one count as one."""
    return dict.fromkeys((before, after) for (before, _), after in TRANSITIONS.items() if after is not before)


@cache
def rejection_codes() -> frozenset[str]:
    """Return every code that the rule books can turn something down with: the texts in their code that look so."""
    return frozenset(text for book in RULE_BOOKS for text in _texts_of(book) if CODE.fullmatch(text))


def _texts_of(module: ModuleType) -> Iterator[str]:
    for one in vars(module).values():
        if isinstance(one, FunctionType | type) and one.__module__ == module.__name__:
            for function in (one, *vars(one).values()):
                if isinstance(function, FunctionType):
                    yield from _texts_in(function.__code__.co_consts)


def _texts_in(constants: Iterable[object]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from _texts_in(constant)
        elif isinstance(constant, CodeType):
            yield from _texts_in(constant.co_consts)


# What was -----------------------------------------------------------------------------------------


def exercised(stage: Stage, acted: Sequence[Step]) -> Figures:
    """Return what one story has exercised, names that were never reached included. `acted` are its steps so far."""
    watch, kept, outage = stage.watch, stage.kept, stage.outage
    database = {DATABASE_AWAY: outage.refused, ANSWER_LOST: outage.answers_lost, BOOKS_UNSAVED: stage.store.failed}
    reasons = (position.close_reason for position in kept.positions.values())
    met: Mapping[str, Mapping[str, int]] = {
        "steps": Counter(type(step).__name__ for step in acted),
        "flaws of proposals": Counter(step.flaw.value for step in acted if isinstance(step, Propose)),
        "faults drawn": Counter(step.fault for step in acted if isinstance(step, Strike)),
        "faults met": {**stage.exchange.struck, **database},
        "crashes": {CRASHES[name]: count for name, count in stage.struck.items() if name in CRASHES},
        "trading states": Counter(state.value for state in watch.states),
        "order statuses": _counted(watch.order_steps),
        "rows of the order table": {in_words(row): stage.happened[row] for row in TRANSITIONS if stage.happened[row]},
        "position statuses": _counted(watch.position_steps),
        "close reasons": Counter(reason.value for reason in reasons if reason is not None),
        "rejection codes": Counter(code for request in kept.requests.values() for code in request.codes),
        "messages": {names_of_messages()[kind]: count for kind, count in watch.said.items()},
    }
    names = possible()
    return {group: {**dict.fromkeys(names[group], 0), **found} for group, found in met.items()}


def _counted(steps: Mapping[Any, int]) -> Mapping[str, int]:
    """Return how often each status became another."""
    return {change(statuses): count for statuses, count in steps.items() if statuses[0] is not statuses[1]}


def merged(all_figures: Iterable[Figures]) -> Figures:
    """Return the sums."""
    sums: dict[str, Counter[str]] = {}
    for figures in all_figures:
        for group, names in figures.items():
            sums.setdefault(group, Counter()).update(names)
    return {group: dict(names) for group, names in sums.items()}


def zeros(figures: Figures) -> tuple[tuple[str, str], ...]:
    """Return what was never reached: the blind spots, each as group and name."""
    return tuple((group, name) for group, names in figures.items() for name, count in names.items() if not count)

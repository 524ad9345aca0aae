"""What a story can make go wrong around the engine: at the exchange, and at the database.

Each fault is a name and what it does to the surroundings; `amount` says how often or how much, 1 to 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

import attrs

from actors.exchange.mock.faults import Faults
from actors.runtime.simulation.pace import SECOND_US
from actors.simulator.store import UnreliableStore
from messages.base import Currency, OrderId, Symbol
from messages.trades import Side
from persistence.unreliable import Outage

HAND_BASE = Decimal("0.002")
BELOW_BPS: Final = (3, 20, 60, 300)
"""How far from the price somebody leaves an order."""
BTC, BTC_USDT = Currency("BTC"), Symbol("BTC/USDT")
THROTTLED = "EAPI:Rate limit exceeded"
ORDER_THROTTLED = "EOrder:Rate limit exceeded"
ORDERED_BY_HAND: Final = "ordered by hand"
DENIED = "EGeneral:Permission denied"
SHARES_PCT: Final = (Decimal(1), Decimal(13), Decimal(40), Decimal(90))


@attrs.frozen
class Surroundings:
    """What can be made to fail."""

    exchange: Faults
    database: Outage
    store: UnreliableStore
    """Where the exchange keeps its books."""
    bits: Callable[[int], int]
    """So many random bits, from the seed."""
    resting: list[OrderId] = attrs.field(factory=list)
    """Orders of ours that a person could cancel at the exchange."""


@attrs.frozen
class DrawnLatency:
    """How long each saying takes, drawn."""

    bits: Callable[[int], int]
    answer_us_max: int
    push_us_max: int

    def answer_us(self) -> int:
        """Return it for an answer."""
        return self.bits(40) % self.answer_us_max

    def push_us(self) -> int:
        """Return it for a push."""
        return self.bits(40) % self.push_us_max


Misbehave = Callable[[Surroundings, int], None]


def _counted(name: str) -> Misbehave:
    def strike(around: Surroundings, amount: int) -> None:
        setattr(around.exchange, name, getattr(around.exchange, name) + amount)

    return strike


def _lasting(name: str, unit_us: int) -> Misbehave:
    def strike(around: Surroundings, amount: int) -> None:
        setattr(around.exchange, name, amount * unit_us)

    return strike


def _switched(name: str) -> Misbehave:
    def strike(around: Surroundings, _amount: int) -> None:
        setattr(around.exchange, name, True)

    return strike


def _refusal(text: str) -> Misbehave:
    return lambda around, amount: around.exchange.refuse_next(text, times=amount)


def _amend_refusal(around: Surroundings, amount: int) -> None:
    around.exchange.refuse_next_amend(THROTTLED, times=amount)


def _no_funds(around: Surroundings, _amount: int) -> None:
    around.exchange.refuse_next_for_funds()


def _partial_fill(around: Surroundings, amount: int) -> None:
    around.exchange.fill_only(SHARES_PCT[amount - 1])


def _funds_vanish(around: Surroundings, amount: int) -> None:
    around.exchange.move_funds(BTC, -Decimal(amount) / 1_000)


def _closed_by_hand(around: Surroundings, _amount: int) -> None:
    around.exchange.close_by_hand(BTC_USDT)


def _traded_by_hand(side: Side, *, on_margin: bool) -> Misbehave:
    def strike(around: Surroundings, amount: int) -> None:
        around.exchange.trade_by_hand(BTC_USDT, side, HAND_BASE * amount, on_margin=on_margin)

    return strike


def _ordered_by_hand(around: Surroundings, amount: int) -> None:
    around.exchange.order_by_hand(BTC_USDT, HAND_BASE * amount, below_bps=BELOW_BPS[amount - 1])


def _cancelled_by_hand(around: Surroundings, _amount: int) -> None:
    if around.resting:
        around.exchange.cancel_by_hand(around.resting[around.bits(20) % len(around.resting)])


def _erratic(around: Surroundings, amount: int) -> None:
    unit_us = (1_000, 200_000, 2 * SECOND_US, 8 * SECOND_US)[amount - 1]
    around.exchange.latency = DrawnLatency(around.bits, unit_us, unit_us)


def _pushes_late(around: Surroundings, amount: int) -> None:
    around.exchange.latency = DrawnLatency(around.bits, 1, amount * 12 * SECOND_US)


def _database_away(around: Surroundings, _amount: int) -> None:
    around.database.is_away = True


def _commit_answers_lost(around: Surroundings, amount: int) -> None:
    around.database.lost_answers += amount


def _books_unsaved(around: Surroundings, amount: int) -> None:
    around.store.failures += amount


STRIKES: Final[Mapping[str, Misbehave]] = {
    "lost requests": _counted("lost_requests"),
    "lost answers": _counted("lost_answers"),
    "lost cancels": _counted("lost_cancels"),
    "lost answers to cancels": _counted("lost_cancel_answers"),
    "lost amends": _counted("lost_amends"),
    "lost answers to amends": _counted("lost_amend_answers"),
    "lost executions": _counted("lost_executions"),
    "late executions": _counted("late_executions"),
    "no answers at all": _counted("mute_answers"),
    "slow timeouts": _lasting("timeout_us", 6 * SECOND_US),
    "slow answers": _lasting("answer_delay_us", 700_000),
    "answers beyond every timeout": _lasting("answer_delay_us", 25 * SECOND_US),
    "erratic latency": _erratic,
    "pushes behind polls": _pushes_late,
    "answers told twice": _switched("duplicates_answers"),
    "ends without figures": _switched("silent_ends"),
    "executions told twice": _switched("duplicates_executions"),
    "executions told first": _switched("executes_first"),
    "lagging records": _lasting("poll_lag_us", 15 * SECOND_US),
    "maintenance": _switched("maintenance"),
    "throttled": _refusal(THROTTLED),
    "orders throttled": _refusal(ORDER_THROTTLED),
    "denied": _refusal(DENIED),
    "amends throttled": _amend_refusal,
    "insufficient funds": _no_funds,
    "partial fills": _partial_fill,
    "funds vanish": _funds_vanish,
    "closed by hand": _closed_by_hand,
    "bought by hand": _traded_by_hand(Side.BUY, on_margin=False),
    "sold by hand": _traded_by_hand(Side.SELL, on_margin=False),
    "bought by hand on margin": _traded_by_hand(Side.BUY, on_margin=True),
    "sold by hand on margin": _traded_by_hand(Side.SELL, on_margin=True),
    "cancelled by hand": _cancelled_by_hand,
    ORDERED_BY_HAND: _ordered_by_hand,
    "database away": _database_away,
    "answers to commits lost": _commit_answers_lost,
    "books of the exchange unsaved": _books_unsaved,
}

SITUATIONAL: Final = frozenset({"ends without figures", ORDERED_BY_HAND})
"""Drawn apart: where nothing tells of a fill that was lost, nothing can be asked of the engine; and the strangers of
rarities.py come to stories that are the same without them."""


def heal(around: Surroundings) -> None:
    """Let everything work again."""
    around.exchange.heal()
    around.database.is_away = False
    around.database.lost_answers = 0
    around.store.failures = 0


def give_back(around: Surroundings, moved: Mapping[Currency, Decimal]) -> None:
    """Give back what has vanished: `moved` is the exchange's own count of what came less what went."""
    for currency, amount in moved.items():
        if amount:
            around.exchange.move_funds(currency, -amount)

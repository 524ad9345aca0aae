"""What may go wrong with an exchange, switched on for tests, the harness and simulations.

The mock and whoever tests it share one `Faults` object: the one door between them beside the messages. Its methods
are to be called between messages, on the thread that runs the mock (the shared dispatcher's loop). Counted faults
strike the next so many times; the others stay on until they are switched off. A fault that changes the books
(`acts.py`: funds that vanish, a trade by hand) strikes just before the mock handles its next message, tick or query.

Each fault strikes the telling or the taking of an order, never the arithmetic: the books stay true throughout.
What has really struck is counted in `struck`, so that a fault which a test only believes to have met shows as a zero.
"""

from __future__ import annotations

from collections import Counter, deque
from decimal import Decimal
from typing import Final, Literal, Protocol

import attrs

from actors.exchange.mock.acts import (
    ACT_NAMES,
    Act,
    CancelledByHand,
    ClosedByHand,
    FundsMoved,
    OrderedByHand,
    TradedByHand,
)
from actors.exchange.mock.refusals import INSUFFICIENT_FUNDS
from messages.base import Currency, OrderId, Symbol
from messages.trades import Side

CountedFault = Literal[
    "lost_requests",
    "lost_answers",
    "lost_cancels",
    "lost_cancel_answers",
    "lost_amends",
    "lost_amend_answers",
    "lost_executions",
    "late_executions",
    "mute_answers",
]


class Latency(Protocol):
    """How much longer than the settings say each saying is under way, asked anew for each; never below zero."""

    def answer_us(self) -> int:
        """Return it for an answer: answers travel one by one, and overtake each other and the pushes."""
        ...

    def push_us(self) -> int:
        """Return it for a push: pushes travel on one ordered channel, so a slow one keeps back those behind it."""
        ...


@attrs.define(kw_only=True, eq=False)
class Faults:
    """The fault plan. As made, nothing goes wrong."""

    refusals: deque[str] = attrs.field(factory=deque)
    """Texts with which the next placements are refused."""
    amend_refusals: deque[str] = attrs.field(factory=deque)
    first_shares_pct: deque[Decimal] = attrs.field(factory=deque)
    """Shares of which the next placements fill at most in their first fill."""
    lost_requests: int = 0
    """Placements that never arrive: the engine hears OutcomeUnknown, the books know nothing."""
    lost_answers: int = 0
    """Placements that are accepted and whose acceptance is lost: the engine hears OutcomeUnknown, the order lives."""
    lost_cancels: int = 0
    """Cancels that never arrive: the engine hears that the outcome is unknown, the order rests as before."""
    lost_cancel_answers: int = 0
    lost_amends: int = 0
    """Amends that never arrive: the engine hears that the outcome is unknown, the order rests as before."""
    lost_amend_answers: int = 0
    lost_executions: int = 0
    """Executions that are not pushed: only polling and looking up tell them."""
    late_executions: int = 0
    """Executions that the end of their order overtakes: they are pushed a moment after it, and it counts without them.
    Those of an order that fills wholly are told before its last one, and of a sale outright none is late."""
    mute_answers: int = 0
    """Answers, to whatever is asked, that are never told, not even as unknown. The request itself is carried out."""
    timeout_us: int = 0
    """How long after the answer was due the engine hears OutcomeUnknown."""
    answer_delay_us: int = 0
    """Added to the delay of every answer."""
    latency: Latency | None = None
    """What is added to the way of each saying, one by one; None is nothing."""
    duplicates_executions: bool = False
    duplicates_answers: bool = False
    """Whether OrderAccepted, OrderAmended and OrderEnded are told twice."""
    silent_ends: bool = False
    """Whether OrderEnded does not say how much had filled by then."""
    executes_first: bool = False
    """Whether the executions of an order that fills at once are told before its acceptance."""
    poll_lag_us: int = 0
    """Polls and look-ups do not see what is younger than this."""
    maintenance: bool = False
    """The exchange takes and answers nothing: placements, amends and cancels are refused as unavailable, questions
    stay without any answer. Prices go on and resting orders trade, and what is to be pushed of it is held back until
    the mock handles its next message after the end. What was under way before still arrives."""
    acts: deque[Act] = attrs.field(factory=deque)
    struck: Counter[str] = attrs.field(factory=Counter)
    """How often each of FAULT_NAMES has really struck."""

    def refuse_next(self, reason: str, times: int = 1) -> None:
        """Refuse the next placements with this text; whether they may be retried follows from it."""
        self.refusals.extend([reason] * times)

    def refuse_next_for_funds(self) -> None:
        """Refuse the next placement as if it could not be paid."""
        self.refuse_next(INSUFFICIENT_FUNDS)

    def refuse_next_amend(self, reason: str, times: int = 1) -> None:
        """Refuse the next amends with this text."""
        self.amend_refusals.extend([reason] * times)

    def fill_only(self, share_pct: Decimal) -> None:
        """Let the first fill of the next order be at most this share of it."""
        self.first_shares_pct.append(share_pct)

    def move_funds(self, currency: Currency, amount: Decimal) -> None:
        """Let funds vanish (below zero) or appear before the next message."""
        self.acts.append(FundsMoved(currency, amount))

    def close_by_hand(self, symbol: Symbol) -> None:
        """Close a margin position outside the engine before the next message."""
        self.acts.append(ClosedByHand(symbol))

    def trade_by_hand(self, symbol: Symbol, side: Side, volume_base: Decimal, *, on_margin: bool = False) -> None:
        """Trade outside the engine before the next message; nothing happens if the exchange would refuse it."""
        self.acts.append(TradedByHand(symbol, side, volume_base, on_margin))

    def order_by_hand(self, symbol: Symbol, volume_base: Decimal, *, below_bps: int) -> None:
        """Leave a resting order to buy outside the engine; nothing happens if the exchange would refuse it."""
        self.acts.append(OrderedByHand(symbol, volume_base, below_bps))

    def cancel_by_hand(self, order_id: OrderId) -> None:
        """Cancel one of our orders outside the engine before the next message; nothing happens if it is over."""
        self.acts.append(CancelledByHand(order_id))

    def heal(self) -> None:
        """Go back to a plan in which nothing goes wrong. Acts that are still to come are dropped, `struck` stays."""
        peace = Faults(struck=self.struck)
        for field in attrs.fields(Faults):
            setattr(self, field.name, getattr(peace, field.name))

    # What the mock asks ---------------------------------------------------------------------------

    def strikes(self, fault: CountedFault) -> bool:
        """Say whether a counted fault strikes now, and count it down."""
        left: int = getattr(self, fault)
        if left <= 0:
            return False
        setattr(self, fault, left - 1)
        self.struck[fault] += 1
        return True

    def next_refusal(self) -> str | None:
        """Return the text that refuses this placement."""
        if not self.refusals:
            return None
        self.struck["refusals"] += 1
        return self.refusals.popleft()

    def next_amend_refusal(self) -> str | None:
        """Return the text that refuses this amend."""
        if not self.amend_refusals:
            return None
        self.struck["amend_refusals"] += 1
        return self.amend_refusals.popleft()

    def keeps_shut(self) -> bool:
        """Say whether maintenance turns this request down."""
        if self.maintenance:
            self.struck["maintenance"] += 1
        return self.maintenance


_STANDING = frozenset({"acts", "struck"})
FAULT_NAMES: Final[tuple[str, ...]] = (
    *(field.name for field in attrs.fields(Faults) if field.name not in _STANDING),
    *ACT_NAMES,
)
"""Everything that can go wrong: each field of the plan, and each act by the method that asks for it."""

"""What may go wrong with an exchange, switched on for tests and the harness.

The mock and whoever tests it share one `Faults` object: the one door between them beside the messages. Its methods
are to be called between messages, on the thread that runs the mock (the shared dispatcher's loop). Counted faults
strike the next so many times; the others stay on until they are switched off. A fault that changes the books
(funds that vanish, a position closed by hand) strikes just before the mock handles its next message, tick or query.

Each fault strikes the telling or the taking of an order, never the arithmetic: the books stay true throughout.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import attrs

from actors.exchange.mock.refusals import INSUFFICIENT_FUNDS
from messages.base import Currency, Symbol


@attrs.frozen
class FundsMoved:
    """Funds appear, or vanish when the amount is below zero."""

    currency: Currency
    amount: Decimal


@attrs.frozen
class ClosedByHand:
    """Somebody closes the margin position of a symbol outside the engine."""

    symbol: Symbol


Act = FundsMoved | ClosedByHand


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
    lost_cancel_answers: int = 0
    lost_amend_answers: int = 0
    lost_executions: int = 0
    """Executions that are not pushed: only polling and looking up tell them."""
    timeout_us: int = 0
    """How long after the answer was due the engine hears OutcomeUnknown."""
    answer_delay_us: int = 0
    """Added to the delay of every answer."""
    duplicates_executions: bool = False
    executes_first: bool = False
    """Whether the executions of an order that fills at once are told before its acceptance."""
    poll_lag_us: int = 0
    """Polls and look-ups do not see what is younger than this."""
    acts: deque[Act] = attrs.field(factory=deque)

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

    # What the mock asks ---------------------------------------------------------------------------

    def next_refusal(self) -> str | None:
        """Return the text that refuses this placement."""
        return self.refusals.popleft() if self.refusals else None

    def next_amend_refusal(self) -> str | None:
        """Return the text that refuses this amend."""
        return self.amend_refusals.popleft() if self.amend_refusals else None

    def next_first_share_pct(self) -> Decimal | None:
        """Return how much of this order its first fill may be."""
        return self.first_shares_pct.popleft() if self.first_shares_pct else None

    def loses_request(self) -> bool:
        """Say whether this placement never arrives."""
        self.lost_requests, strikes = _counted(self.lost_requests)
        return strikes

    def loses_answer(self) -> bool:
        """Say whether this acceptance is lost."""
        self.lost_answers, strikes = _counted(self.lost_answers)
        return strikes

    def loses_cancel_answer(self) -> bool:
        """Say whether the answer to this cancel is lost."""
        self.lost_cancel_answers, strikes = _counted(self.lost_cancel_answers)
        return strikes

    def loses_amend_answer(self) -> bool:
        """Say whether the answer to this amend is lost."""
        self.lost_amend_answers, strikes = _counted(self.lost_amend_answers)
        return strikes

    def loses_execution(self) -> bool:
        """Say whether this execution is not pushed."""
        self.lost_executions, strikes = _counted(self.lost_executions)
        return strikes


def _counted(left: int) -> tuple[int, bool]:
    """Return how often a fault strikes from now on, and whether it does so now."""
    return max(0, left - 1), left > 0

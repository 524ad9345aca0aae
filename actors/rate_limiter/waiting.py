"""Calls that wait for tokens, and which of them may leave.

Every call costs an API token; one that changes an order costs an order token too. Rules, in order of weight:
1. never above the limit; 2. the higher priority first, then the earlier arrival, among calls that need the same bucket;
3. opening leaves the reserve of order tokens to calls that protect, close and cancel; 4. a call that needs API tokens
alone may pass calls that wait for order tokens, unless it would take an API token that one of them will need.

So only two calls can be next: the first of those that need an order token, and the first of those that do not.
Read in order: WaitingCall, WaitingCalls.grant(), next_instant_us().
"""

from __future__ import annotations

from bisect import bisect_left, insort
from copy import copy
from typing import Any, NamedTuple

from actors.rate_limiter.token_bucket import TokenBucket
from messages.base import ProposalId
from messages.permits import CallKind, CallPriority, RequestPermit

SPENDS_ORDER_TOKEN = frozenset({CallKind.PLACE, CallKind.AMEND, CallKind.CANCEL})
MAY_USE_RESERVE = frozenset({CallPriority.PROTECT, CallPriority.CANCEL})


class WaitingCall(NamedTuple):
    """A call in line. Sorted as a tuple: by priority, then by arrival, which is unique."""

    priority: CallPriority
    arrival: int
    request: RequestPermit
    proposal_id: ProposalId | None


class WaitingCalls:
    """The two lines and the two buckets."""

    def __init__(self, *, api: TokenBucket, orders: TokenBucket, orders_reserved: int) -> None:
        self.api = api
        self.orders = orders
        self._orders_reserved = orders_reserved
        self._arrivals = 0
        self._order_calls: list[WaitingCall] = []
        self._other_calls: list[WaitingCall] = []
        self._by_deadline: list[tuple[int, int, WaitingCall]] = []

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._by_deadline)

    def refill(self, now_us: int) -> None:
        """Bring both buckets up to date."""
        self.api.refill(now_us)
        self.orders.refill(now_us)

    def add(self, request: RequestPermit, proposal_id: ProposalId | None) -> None:
        """Put a call in line."""
        self._arrivals += 1
        call = WaitingCall(request.priority, self._arrivals, request, proposal_id)
        insort(self._line_of(call), call)
        insort(self._by_deadline, (request.deadline_us, call.arrival, call))

    def expire(self, now_us: int) -> list[WaitingCall]:
        """Take out every call whose deadline has come: a permit at its deadline is of no use any more."""
        over = bisect_left(self._by_deadline, (now_us + 1,))
        expired = [call for _deadline_us, _arrival, call in self._by_deadline[:over]]
        del self._by_deadline[:over]
        for call in expired:
            _remove(self._line_of(call), call)
        return expired

    def grant(self) -> list[WaitingCall]:
        """Take out every call that may leave now, in order, and spend its tokens. Buckets must be refilled."""
        granted: list[WaitingCall] = []
        while (call := self._next()) is not None:
            line = self._line_of(call)
            self.api.spend()
            if line is self._order_calls:
                self.orders.spend()
            del line[0]
            _remove(self._by_deadline, (call.request.deadline_us, call.arrival, call))
            granted.append(call)
        return granted

    def next_instant_us(self) -> int | None:
        """Return when something happens next if nobody calls: a grant or an expiry. None when nobody waits."""
        if not self._by_deadline:
            return None
        return min(self._by_deadline[0][0], self._next_grant_us())

    def _line_of(self, call: WaitingCall) -> list[WaitingCall]:
        return self._order_calls if call.request.kind in SPENDS_ORDER_TOKEN else self._other_calls

    def _next(self) -> WaitingCall | None:
        """Return the call that may leave now, if any."""
        if not self.api.has(1) or not self._by_deadline:
            return None
        order_call = self._order_calls[0] if self._order_calls else None
        other_call = self._other_calls[0] if self._other_calls else None
        if other_call is not None and (order_call is None or other_call < order_call):
            return other_call
        if order_call is not None and self.orders.has(self._order_tokens(order_call)):
            return order_call
        return other_call if other_call is not None and self._can_spare_token_for(other_call) else None

    def _order_tokens(self, call: WaitingCall) -> int:
        """Return how many order tokens must be there for this call, of which it spends one."""
        return 1 if call.priority in MAY_USE_RESERVE else 1 + self._orders_reserved

    def _can_spare_token_for(self, other: WaitingCall) -> bool:
        """Say whether an API token can go now without making any call ahead of `other` wait longer for its own."""
        api, orders = copy(self.api), copy(self.orders)
        api.spend()
        for ahead in self._order_calls[: bisect_left(self._order_calls, other)]:
            instant_us = orders.ready_at_us(self._order_tokens(ahead))
            api.refill(instant_us)
            orders.refill(instant_us)
            if not api.has(1):
                return False
            api.spend()
            orders.spend()
        return True

    def _next_grant_us(self) -> int:
        """Return the first instant at which one of the two first calls could leave."""
        api_us = self.api.ready_at_us(1)
        order_call = self._order_calls[0] if self._order_calls else None
        other_call = self._other_calls[0] if self._other_calls else None
        if order_call is None or (other_call is not None and other_call < order_call):
            return api_us
        order_us = max(api_us, self.orders.ready_at_us(self._order_tokens(order_call)))
        # With a token to spare `other_call` would have left. Without one, waiting for time alone gives it none:
        # what drips in until the orders' turn is counted already. So it is looked at again at the orders' turn.
        return order_us if other_call is None or self.api.has(1) else api_us


def _remove(ordered: list[Any], item: object) -> None:
    """Take `item` out of a sorted list that holds it."""
    del ordered[bisect_left(ordered, item)]

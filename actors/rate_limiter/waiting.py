"""Calls that wait for tokens and for room on Kraken's counters, and which of them may leave.

What a call needs:
- one that changes an order: an API token, an order token, and room on its pair's counter; an amend a REST point too;
- one that asks about orders: an API token. What it costs on the REST counter its REST calls ask for themselves;
- a REST call: points of the REST counter.

Rules, in order of weight:
1. never above a limit;
2. the higher priority first, then the earlier arrival, among calls that need the same;
3. opening and asking leave the reserves to calls that protect, close and cancel, and while one of those waits, for
   whatever and in whichever pair, nothing opens;
4. a call that waits for its pair's counter is passed by calls of other pairs, an amend that waits for the REST
   counter by calls that need none of it, and an opening that waits for a place among the open orders of its pair by
   all but openings;
5. a call that needs API tokens alone may pass calls that wait for something else, unless it would take an API token
   that one of them will need. It does not pass a REST call that waits: it would only make that line longer.

Read in order: WaitingCall, WaitingCalls.grant(), _next(), next_instant_us().
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

from actors.rate_limiter.kraken_counters import AMEND_REST_MILLI, MAY_USE_RESERVE, KrakenCounters
from actors.rate_limiter.point_counter import NEVER_US
from actors.rate_limiter.token_bucket import TokenBucket
from messages.base import ProposalId, Symbol
from messages.permits import CallKind, CallPriority, CallsThrottled, RequestCall, RequestPermit, ThrottleScope

SPENDS_ORDER_TOKEN = frozenset({CallKind.PLACE, CallKind.AMEND, CallKind.CANCEL})


class WaitingCall(NamedTuple):
    """A call in line. Sorted as a tuple: by priority, then by arrival, which is unique."""

    priority: CallPriority
    arrival: int
    request: RequestPermit
    proposal_id: ProposalId | None
    symbol: Symbol
    """The pair of a call that changes an order."""


class WaitingRestCall(NamedTuple):
    """A REST call in line, sorted likewise."""

    priority: CallPriority
    arrival: int
    request: RequestCall
    proposal_id: ProposalId | None


class WaitingCalls:
    """The lines, the two buckets, and Kraken's counters."""

    def __init__(
        self, *, api: TokenBucket, orders: TokenBucket, orders_reserved: int, counters: KrakenCounters
    ) -> None:
        self.api = api
        self.orders = orders
        self.counters = counters
        self.held_until_us = 0
        """Until then nothing leaves at all."""
        self._openings_held_until_us = 0
        self._orders_reserved = orders_reserved
        self._now_us = 0
        self._arrivals = 0
        self._order_calls: list[WaitingCall] = []
        self._lines: dict[tuple[Symbol, bool], list[WaitingCall]] = {}
        """The same calls by pair, amends apart: of each line only the first can be next."""
        self._other_calls: list[WaitingCall] = []
        self._rest_calls: list[WaitingRestCall] = []
        self._by_deadline: list[tuple[int, int, WaitingCall]] = []
        self._turned_away: list[WaitingCall] = []

    def __len__(self) -> int:
        """Return how many calls wait."""
        return len(self._by_deadline) + len(self._rest_calls)

    def refill(self, now_us: int) -> None:
        """Bring buckets and counters up to date."""
        self._now_us = now_us
        self.api.refill(now_us)
        self.orders.refill(now_us)
        self.counters.decay(now_us)

    def add(self, request: RequestPermit, proposal_id: ProposalId | None) -> None:
        """Put a call in line."""
        is_of_order = request.kind in SPENDS_ORDER_TOKEN
        if is_of_order and request.symbol is None:
            raise ValueError(f"{request.kind.name} of order {request.order_id} must name its pair, which counts it")
        self._arrivals += 1
        call = WaitingCall(request.priority, self._arrivals, request, proposal_id, request.symbol or Symbol(""))
        if is_of_order:
            self.counters.note_asked(request, call.symbol)
            insort(self._order_calls, call)
        insort(self._line_of(call), call)
        insort(self._by_deadline, (request.deadline_us, call.arrival, call))

    def add_rest(self, request: RequestCall, proposal_id: ProposalId | None) -> None:
        """Put a REST call in line."""
        if not self.counters.is_possible(request.points_milli, request.priority):
            raise ValueError(f"a call of {request.points_milli} thousandths of a point would wait for ever")
        self._arrivals += 1
        insort(self._rest_calls, WaitingRestCall(request.priority, self._arrivals, request, proposal_id))

    def hear(self, message: CallsThrottled) -> None:
        """Pause what the exchange would refuse."""
        if message.scope is ThrottleScope.ALL:
            self.held_until_us = max(self.held_until_us, message.until_us)
        elif message.scope is ThrottleScope.OPENINGS:
            self._openings_held_until_us = max(self._openings_held_until_us, message.until_us)
        self.counters.hear(message)

    def expire(self, now_us: int) -> list[WaitingCall]:
        """Take out every call whose deadline has come: a permit at its deadline is of no use any more."""
        expired = [call for _us, _arrival, call in self._by_deadline[: bisect_left(self._by_deadline, (now_us + 1,))]]
        for call in expired:
            self._take_out(call)
        return expired

    def grant(self) -> list[WaitingCall | WaitingRestCall]:
        """Take out every call that may leave now, in order, and spend what it needs. All must be up to date."""
        granted: list[WaitingCall | WaitingRestCall] = []
        while (call := self._next()) is not None:
            if isinstance(call, WaitingRestCall):
                self.counters.rest.spend(call.request.points_milli)
                del self._rest_calls[0]
            else:
                self._take_out(call)
                if not self._spend_on(call):
                    self._turned_away.append(call)
                    continue
            granted.append(call)
        return granted

    def turn_away(self) -> list[WaitingCall]:
        """Return what protects or closes and had its turn while its pair had no place for it; nothing was spent.

        It must be asked for again, or watched otherwise. What opens waits for a place, until its deadline.
        """
        turned_away, self._turned_away = self._turned_away, []
        return turned_away

    def next_instant_us(self) -> int | None:
        """Return when something may happen next if nobody calls: a grant or an expiry. None when nobody waits."""
        if not len(self):
            return None
        is_held = self._now_us < self.held_until_us
        granting_us = self.held_until_us if is_held else min(self._rest_instant_us(), self._token_instant_us())
        deadline_us = self._by_deadline[0][0] if self._by_deadline else NEVER_US
        return min(deadline_us, granting_us)

    # Lines ----------------------------------------------------------------------------------------

    def _line_of(self, call: WaitingCall) -> list[WaitingCall]:
        kind = call.request.kind
        if kind not in SPENDS_ORDER_TOKEN:
            return self._other_calls
        return self._lines.setdefault((call.symbol, kind is CallKind.AMEND), [])

    def _take_out(self, call: WaitingCall) -> None:
        _remove(self._by_deadline, (call.request.deadline_us, call.arrival, call))
        _remove(self._line_of(call), call)
        if call.request.kind in SPENDS_ORDER_TOKEN:
            _remove(self._order_calls, call)
            self.counters.note_answered(call.request, call.symbol)

    def _heads(self) -> list[WaitingCall]:
        """Return the first call of each line that changes orders, in order."""
        if not self._order_calls:
            return []
        return sorted(line[0] for line in self._lines.values() if line)

    def _spend_on(self, call: WaitingCall) -> bool:
        """Spend what the call needs; say False, and spend nothing, if its pair has no place for it."""
        if call.request.kind in SPENDS_ORDER_TOKEN:
            if not self.counters.has_place(call.request, call.symbol):
                return False
            self.counters.spend(call.request, call.symbol)
            self.orders.spend()
        self.api.spend()
        return True

    # Who is next ----------------------------------------------------------------------------------

    def _next(self) -> WaitingCall | WaitingRestCall | None:
        """Return the call that may leave now, if any."""
        if self._now_us < self.held_until_us:
            return None
        if self._rest_calls and self._rest_instant_us() <= self._now_us:
            return self._rest_calls[0]
        if not self.api.has(1) or not self._by_deadline:
            return None
        order_call = next((call for call, ready_us in self._counted() if ready_us <= self._now_us), None)
        other_call = self._other_call()
        if other_call is not None and (order_call is None or other_call < order_call):
            return other_call if self._can_spare_token_for(other_call) else None
        if order_call is not None and self.orders.has(self._order_tokens(order_call)):
            return order_call
        return other_call if other_call is not None and self._can_spare_token_for(other_call) else None

    def _counted(self) -> Iterator[tuple[WaitingCall, int]]:
        """Yield the calls that may be the next to change an order, in order, with when a counter next lets them on.

        Each has its turn while those before it wait for their counters; whoever has its own ends this.
        """
        is_protection_waiting = False
        waiting_pairs: set[Symbol] = set()
        for call in self._heads():
            is_opening = call.priority not in MAY_USE_RESERVE
            if is_opening and is_protection_waiting:
                return
            if is_opening and self._now_us < self._openings_held_until_us:
                yield call, self._openings_held_until_us
                return  # Whoever comes after it opens as well.
            if call.symbol in waiting_pairs:
                continue
            ready_us = self.counters.engine_ready_us(call.request, call.symbol)
            if ready_us > self._now_us:
                waiting_pairs.add(call.symbol)  # Nobody in this pair has room before; then others may pass an amend.
            elif is_opening and not self.counters.has_place(call.request, call.symbol):
                continue
            else:
                ready_us = self._rest_for_amend_us(call)
            yield call, ready_us
            if ready_us <= self._now_us:
                return
            is_protection_waiting |= not is_opening

    def _rest_for_amend_us(self, call: WaitingCall) -> int:
        """Return when the REST counter has room for an amend; never while a REST call before it waits for that."""
        if call.request.kind is not CallKind.AMEND:
            return 0
        if self._rest_calls and self._rest_calls[0][:2] < call[:2]:
            return NEVER_US
        return self.counters.rest_ready_us(AMEND_REST_MILLI, call.priority, 0)

    def _other_call(self) -> WaitingCall | None:
        """Return the first call that needs an API token alone, unless the REST calls that it leads to would wait."""
        if not self._other_calls or self.counters.rest.at_us > self._now_us:
            return None
        call = self._other_calls[0]
        return None if self._rest_calls and self._rest_calls[0][:2] < call[:2] else call

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

    # When somebody is -----------------------------------------------------------------------------

    def _rest_instant_us(self) -> int:
        """Return when the first REST call may leave; it leaves to amends before it what they will need."""
        if not self._rest_calls:
            return NEVER_US
        call = self._rest_calls[0]
        amends_ahead = sum(
            line[0][:2] < call[:2] for (_symbol, is_amend), line in self._lines.items() if is_amend and line
        )
        return self.counters.rest_ready_us(call.request.points_milli, call.priority, amends_ahead * AMEND_REST_MILLI)

    def _token_instant_us(self) -> int:
        """Return the first instant to come at which a call that needs an API token may leave.

        What waits for another call to leave first has no instant of its own: it is looked at when that one leaves.
        """
        api_us = self.api.ready_at_us(1)
        instants_us = [
            max(api_us, ready_us, self.orders.ready_at_us(self._order_tokens(call)))
            for call, ready_us in self._counted()
        ]
        if self._other_calls:
            # With an API token to spare it would have left: one more may be it, or the end of a pause.
            instants_us += (self.api.next_token_at_us(), self.counters.rest.at_us)
        return min((instant_us for instant_us in instants_us if instant_us > self._now_us), default=NEVER_US)


def _remove(ordered: list[Any], item: object) -> None:
    """Take `item` out of a sorted list that holds it."""
    del ordered[bisect_left(ordered, item)]

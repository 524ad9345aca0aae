"""RateLimiterActor: lets calls leave as fast as the exchange's limits allow, and no faster."""

from __future__ import annotations

from typing import assert_never

import attrs

from actors.rate_limiter.kraken_counters import KrakenCounters
from actors.rate_limiter.kraken_tiers import TIERS
from actors.rate_limiter.token_bucket import TokenBucket
from actors.rate_limiter.waiting import WaitingCall, WaitingCalls, WaitingRestCall
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import RateLimitSettings
from messages.base import Event
from messages.permits import (
    CallGranted,
    CallsThrottled,
    PermitExpired,
    PermitGranted,
    RequestCall,
    RequestPermit,
    TokensReported,
)
from messages.protocols import RateLimiterInbox, RateLimiterOutbox


@attrs.frozen(kw_only=True)
class LookAgain(Event):
    """A token may have become free, or a deadline may have passed."""


Heard = RateLimiterInbox | LookAgain


class RateLimiterActor(TypedActor):
    """Owns the tokens and the counters. A call that must wait waits here, and everybody else goes on."""

    role = "rate_limiter"
    accepts = kinds(Heard)
    emits = kinds(RateLimiterOutbox)

    def __init__(self, ports: Ports, *, settings: RateLimitSettings) -> None:
        super().__init__(ports)
        if settings.orders_reserved >= settings.orders_burst:
            raise ValueError(
                f"orders_reserved ({settings.orders_reserved}) must be below orders_burst "
                f"({settings.orders_burst}), or nothing could ever be opened"
            )
        now_us = self.now_us
        self._calls = WaitingCalls(
            api=TokenBucket(per_minute=settings.api_per_minute, burst=settings.api_burst, now_us=now_us),
            orders=TokenBucket(per_minute=settings.orders_per_minute, burst=settings.orders_burst, now_us=now_us),
            orders_reserved=settings.orders_reserved,
            counters=KrakenCounters(
                TIERS[settings.kraken_tier],
                rest_points_reserved=settings.rest_points_reserved,
                engine_points_reserved=settings.engine_points_reserved,
                now_us=now_us,
            ),
        )
        self._timers_us: list[int] = []
        """The instants of the timers that are set, latest first: a new one is set only if it is the earliest."""

    def on_receive(self, message: Heard) -> None:
        """Put a call in line or believe the exchange, then let go whatever may go."""
        self._calls.refill(self.now_us)
        match message:
            case RequestPermit():
                self._calls.add(message, message.proposal_id)
            case RequestCall():
                self._calls.add_rest(message, message.proposal_id)
            case CallsThrottled():
                self._calls.hear(message)
            case LookAgain():
                self._timers_us.pop()
            case _:
                assert_never(message)
        self._let_go()

    def describe(self) -> TokensReported:
        """Return the exact figures of this instant."""
        calls, counters, now_us = self._calls, self._calls.counters, self.now_us
        calls.refill(now_us)
        return TokensReported(
            api_millitokens=calls.api.millitokens,
            order_millitokens=calls.orders.millitokens,
            waiting=len(calls),
            rest_millipoints=counters.rest.millipoints,
            rest_full_until_us=counters.rest.at_us if counters.rest.at_us > now_us else None,
            pairs=counters.report(),
            held_until_us=calls.held_until_us if calls.held_until_us > now_us else None,
        )

    def _let_go(self) -> None:
        for call in self._calls.expire(self.now_us):
            self._refuse(call)
        for granted in self._calls.grant():
            if isinstance(granted, WaitingRestCall):
                self.emit(CallGranted(call=granted.request.call), granted.proposal_id)
            else:
                request = granted.request
                self.emit(PermitGranted(kind=request.kind, order_id=request.order_id), granted.proposal_id)
        for call in self._calls.turn_away():
            self._refuse(call)
        self._wake_at(self._calls.next_instant_us())

    def _refuse(self, call: WaitingCall) -> None:
        self.emit(PermitExpired(kind=call.request.kind, order_id=call.request.order_id), call.proposal_id)

    def _wake_at(self, instant_us: int | None) -> None:
        if instant_us is not None and (not self._timers_us or instant_us < self._timers_us[-1]):
            self._timers_us.append(instant_us)
            self.after(instant_us - self.now_us, LookAgain())

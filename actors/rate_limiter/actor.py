"""RateLimiterActor: lets calls leave as fast as the exchange's limits allow, and no faster."""

from __future__ import annotations

from typing import assert_never

import attrs

from actors.rate_limiter.token_bucket import TokenBucket
from actors.rate_limiter.waiting import WaitingCalls
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import RateLimitSettings
from messages.base import Event
from messages.permits import PermitExpired, PermitGranted, RequestPermit, TokensReported
from messages.protocols import RateLimiterInbox, RateLimiterOutbox


@attrs.frozen(kw_only=True)
class LookAgain(Event):
    """A token may have become free, or a deadline may have passed."""


Heard = RateLimiterInbox | LookAgain


class RateLimiterActor(TypedActor):
    """Owns the tokens. A call that must wait waits here, and everybody else goes on."""

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
        )
        self._timers_us: list[int] = []
        """The instants of the timers that are set, latest first: a new one is set only if it is the earliest."""

    def on_receive(self, message: Heard) -> None:
        """Put a call in line, then let go whatever may go."""
        match message:
            case RequestPermit():
                self._calls.add(message, message.proposal_id)
            case LookAgain():
                self._timers_us.pop()
            case _:
                assert_never(message)
        self._let_go()

    def describe(self) -> TokensReported:
        """Return the exact figures of this instant."""
        self._calls.refill(self.now_us)
        return TokensReported(
            api_millitokens=self._calls.api.millitokens,
            order_millitokens=self._calls.orders.millitokens,
            waiting=len(self._calls),
        )

    def _let_go(self) -> None:
        now_us = self.now_us
        self._calls.refill(now_us)
        for call in self._calls.expire(now_us):
            self.emit(PermitExpired(kind=call.request.kind, order_id=call.request.order_id), call.proposal_id)
        for call in self._calls.grant():
            self.emit(PermitGranted(kind=call.request.kind, order_id=call.request.order_id), call.proposal_id)
        self._wake_at(self._calls.next_instant_us())

    def _wake_at(self, instant_us: int | None) -> None:
        if instant_us is not None and (not self._timers_us or instant_us < self._timers_us[-1]):
            self._timers_us.append(instant_us)
            self.after(instant_us - self.now_us, LookAgain())

"""Drives the engine through time: ticks, timers and requests, each at its instant, in one order.

At one instant timers come first, then ticks, then requests. On a stepped clock the next thing happens when
nothing is left of the last one, so a replay is exactly repeatable; on a paced clock it happens when it is due.
Read in order: Drivable, Pacer.run(), Pacer._come_to().
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from actors.runtime.clock import MICROSECONDS, PacedClock, SteppedClock
from actors.runtime.timers import Timers
from messages.base import Message
from messages.market import Tick

if TYPE_CHECKING:
    from actors.runtime.typed_actor import TypedActor
    from messages.base import ProposalId

FOREVER_US = 2**63
SKIPPED_PER_TURN = 65_536
TICKS_PER_TURN = 256
"""After so many things in a row the event loop looks after signals and sockets."""


class Ending(Enum):
    """Why driving ended."""

    PRICES_ENDED = "prices ended"
    INSTANT_REACHED = "instant reached"
    STOPPED = "stopped"
    FAILED = "failed"


class WakingTimers(Timers):
    """Timers that wake a pacer which sleeps towards a later one. Made on the event loop; set from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self.wake = asyncio.Event()

    def set(self, due_us: int, actor: TypedActor, message: Message, proposal_id: ProposalId | None) -> None:
        """Tell `message` to `actor` at `due_us`."""
        super().set(due_us, actor, message, proposal_id)
        if threading.get_ident() == self._thread_id:
            self.wake.set()
        else:
            self._loop.call_soon_threadsafe(self.wake.set)


class Drivable(Protocol):
    """What the pacer needs of an engine."""

    @property
    def clock(self) -> SteppedClock | PacedClock:
        """The clock that the actors see."""
        ...

    @property
    def timers(self) -> WakingTimers:
        """The timers that the actors set."""
        ...

    @property
    def failed(self) -> bool:
        """Whether an actor has failed whose loss ends the engine."""
        ...

    def tell(self, message: Message) -> None:
        """Put a message in from outside."""
        ...

    def settle(self) -> bool:
        """Handle what waits, without waiting for I/O. Returns whether nothing is left."""
        ...

    async def until_quiet(self) -> None:
        """Return when every inbox is empty and no I/O is under way."""
        ...


class Due(Protocol):
    """A message and its instant."""

    @property
    def at_us(self) -> int:
        """When it is to be told, on the prices' clock."""
        ...

    @property
    def message(self) -> Message:
        """What is to be told."""
        ...


class Pacer:
    """Hands ticks and requests to the engine and lets its timers fire, until an end.

    `stop` ends it from outside, at once: a signal sets it, and so must whoever notices that an actor failed.
    Ticks up to `skip_to_sequence` were handled by an earlier run. Requests need not be in the order of time; where
    prices come by themselves, `may_request` says whether there are any, and waking the timers lets it be asked anew.
    """

    def __init__(
        self,
        *,
        engine: Drivable,
        ticks: Iterable[Tick],
        requests: Iterable[Due] = (),
        stop: asyncio.Event,
        until_us: int | None = None,
        until_prices_end: bool = False,
        skip_to_sequence: int = 0,
        may_request: Callable[[], bool] | None = None,
    ) -> None:
        self._engine = engine
        clock = engine.clock
        self._stepped = clock if isinstance(clock, SteppedClock) else None
        self._paced = clock if isinstance(clock, PacedClock) else None
        self._source: Iterator[Tick] = iter(ticks)
        self._requests = deque(sorted(requests, key=_instant))
        self._stop = stop
        self._until_us = FOREVER_US if until_us is None else until_us
        self._until_prices_end = until_prices_end
        self._skip_to_sequence = skip_to_sequence
        self._may_request = may_request
        self._first_us = -1
        self._turn = 0
        self.ticks_told = 0
        self.last_tick: Tick | None = None

    @property
    def requests_waiting(self) -> int:
        """How many requests have not been told: after the end, those that were due later than it."""
        return len(self._requests)

    async def run(self) -> Ending:
        """Drive until an end, and say which."""
        await self._skip_known()
        for tick in self._source:
            if tick.at_us > self._until_us:
                break
            if not (self._is_next(tick.at_us) or await self._come_to(tick.at_us, self._requests_before(tick))):
                return self._interrupted()
            self._engine.tell(tick)
            self.ticks_told += 1
            self.last_tick = tick
            if self._must_wait():
                await self._wait()
            if self._engine.failed or self._stop.is_set():
                return self._interrupted()
        else:
            return await self._after_prices()
        return await self._end_at(self._until_us, Ending.INSTANT_REACHED)

    async def _skip_known(self) -> None:
        """Pass over the ticks that an earlier run has handled."""
        for tick in self._source:
            if tick.sequence > self._skip_to_sequence:
                self._source = chain((tick,), self._source)
                self._first_us = tick.at_us
                return
            if tick.sequence % SKIPPED_PER_TURN == 0:
                await asyncio.sleep(0)
                if self._stop.is_set():
                    self._source = iter(())
                    return

    def _requests_before(self, tick: Tick) -> int:
        """Return the last instant whose requests come before `tick`: none do at the very first one."""
        return tick.at_us - 1 if tick.at_us > self._first_us else -1

    async def _after_prices(self) -> Ending:
        if self._until_prices_end:
            last_us = self.last_tick.at_us if self.last_tick is not None else self._engine.clock.now_us()
            return await self._end_at(last_us, Ending.PRICES_ENDED)
        if self._until_us == FOREVER_US and self._stepped is not None:
            await self._stop.wait()  # Nobody says how fast time goes on without prices.
            return self._interrupted()
        return await self._end_at(self._until_us, Ending.INSTANT_REACHED)

    async def _end_at(self, instant_us: int, ending: Ending) -> Ending:
        """Let happen what is due up to and at the last instant."""
        tells_none = self.last_tick is None and self._may_request is None
        has_come = await self._come_to(instant_us, -1 if tells_none else instant_us)
        return ending if has_come else self._interrupted()

    def _interrupted(self) -> Ending:
        return Ending.FAILED if self._engine.failed else Ending.STOPPED

    # Coming to an instant ----------------------------------------------------------------------------

    def _is_next(self, instant_us: int) -> bool:
        """Advance to the instant if nothing is due before it: the short way, taken by nearly every tick."""
        if self._stepped is None or (self._requests and self._requests[0].at_us < instant_us):
            return False
        timer_us = self._engine.timers.next_due_us()
        if timer_us is not None and timer_us <= instant_us:
            return False
        self._stepped.advance_to(instant_us)
        return True

    async def _come_to(self, instant_us: int, requests_to_us: int) -> bool:
        """Come to the instant, with all timers up to it and all requests up to `requests_to_us` on the way.

        Returns False when stopped or failed on the way.
        """
        while not (self._engine.failed or self._stop.is_set()):
            timer_us = self._next_timer_us()
            request_us = self._next_request_us(requests_to_us)
            target_us = min(timer_us, request_us, instant_us)
            if not self._has_reached(target_us):
                await self._sleep_towards(target_us)
            elif not self._do_next(target_us, timer_us, request_us):
                return True
            elif self._must_wait():
                await self._wait()
        return False

    def _do_next(self, target_us: int, timer_us: int, request_us: int) -> bool:
        """Fire the timer or tell the request of this instant. Returns whether there was one."""
        if target_us == FOREVER_US:
            return False
        if timer_us == target_us:
            self._engine.timers.fire_next()
        elif request_us == target_us:
            self._engine.tell(self._requests.popleft().message)
        else:
            return False
        return True

    def _next_timer_us(self) -> int:
        due_us = self._engine.timers.next_due_us()
        return FOREVER_US if due_us is None else due_us

    def _next_request_us(self, requests_to_us: int) -> int:
        if self._may_request is not None and not self._may_request():
            return FOREVER_US
        if self._requests and self._requests[0].at_us <= requests_to_us:
            return self._requests[0].at_us
        return FOREVER_US

    def _has_reached(self, instant_us: int) -> bool:
        if self._stepped is not None:
            self._stepped.advance_to(instant_us)
            return True
        return self._engine.clock.now_us() >= instant_us

    async def _sleep_towards(self, instant_us: int) -> None:
        """Sleep until the instant, a timer that was set meanwhile, or the stop, whatever comes first."""
        wake = self._engine.timers.wake
        wake.clear()
        timeout_s = None
        if self._paced is not None and instant_us < FOREVER_US:
            timeout_s = (self._paced.wall_us_until(instant_us) + 1) / MICROSECONDS  # asyncio wants seconds.
        sleepers = [asyncio.ensure_future(event.wait()) for event in (wake, self._stop)]
        try:
            await asyncio.wait(sleepers, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sleeper in sleepers:
                sleeper.cancel()

    def _must_wait(self) -> bool:
        """Handle what was told. Returns whether the loop is due for a turn: for I/O, or for the rest of the world."""
        self._turn += 1
        is_quiet = self._engine.settle()
        return (self._stepped is not None and not is_quiet) or self._turn >= TICKS_PER_TURN

    async def _wait(self) -> None:
        if self._stepped is not None:
            await self._engine.until_quiet()
        if self._turn >= TICKS_PER_TURN:
            self._turn = 0
            await asyncio.sleep(0)


def _instant(due: Due) -> int:
    return due.at_us

"""Calling: jobs that consist of calls to Kraken, sent one after the other, each when it may leave.

A job is a generator: it yields what it wants of the exchange, gets the reply, and says in between what it has learnt.
Only one call is ever under way, because nonces must arrive in order; which is next goes by priority, then by age.
A call that costs points of the REST counter first asks the rate limiter for them.
Read in order: Ask, Wait, Reply, Job, Calling.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Mapping
from decimal import InvalidOperation
from typing import Any

import attrs

from actors.exchange.kraken.errors import Meaning, Throttle, Verdict, judge
from actors.exchange.kraken.links import Answer, Links, Request
from actors.exchange.kraken.notation import instant_us, read_json
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor
from config.settings import KrakenSettings
from messages.base import Command, ProposalId, Symbol
from messages.lifecycle import ExchangeRefusesUs
from messages.permits import CallPriority, CallsThrottled, RequestCall, ThrottleScope

TRIES_MAX = 5
"""How often a question is asked that was too fast, or was not answered: whoever asked would have to begin anew."""
AGAIN_AFTER_US = MICROSECONDS
"""The wait before a question that was not answered is asked again; it grows by as much each time."""
NONCE_JUMPS_S = (1, 10, 100, 1_000, 10_000)
"""How far the nonces go ahead after each that came too late; after the last one somebody else must be using the key."""
INVALID_NONCE = "EAPI:Invalid nonce"
SEND_WITHIN_US = 2 * MICROSECONDS
"""Kraken takes no deadline that is nearer than this."""
SCOPES = {
    Throttle.REST: ThrottleScope.REST,
    Throttle.ORDERS: ThrottleScope.ORDERS,
    Throttle.OPENINGS: ThrottleScope.OPENINGS,
    Throttle.ALL: ThrottleScope.ALL,
}
NOT_SENT = Meaning("not sent", Verdict.THROTTLED)
"""Nothing has left us, so the same wish may be made again."""
NO_SENSE = Meaning("no sense", Verdict.UNKNOWN)
ASKED_AGAIN = (Verdict.THROTTLED, Verdict.UNKNOWN)
"""Verdicts after which a question may well be answered the next time: it changes nothing, however often it is asked."""


@attrs.frozen(kw_only=True)
class Ask:
    """One call that a job wants to make."""

    path: str
    params: Mapping[str, str] = attrs.field(factory=dict)
    points_milli: int = 1_000
    """What it costs of the REST counter, in thousandths of a point."""
    priority: CallPriority = CallPriority.QUERY
    deadline_us: int | None = None
    """It must reach the exchange before; too late for that, it is not sent at all."""
    symbol: Symbol | None = None
    is_wish: bool = False
    """Whether it changes something: then it is never made again from here, but for a nonce that came too late."""


@attrs.frozen
class Wait:
    """A pause that a job wants to make."""

    until_us: int


@attrs.frozen
class Reply:
    """What came of a call: a result, or what its error means."""

    result: Any = None
    meaning: Meaning | None = None
    reason: str = ""
    """The error in Kraken's own words, or why there was no answer."""


Steps = Generator[Ask | Wait, Reply, None]


@attrs.define(eq=False)
class Job:
    """One job under way."""

    number: int
    steps: Steps
    proposal_id: ProposalId | None
    ask: Ask | None = None
    tries: int = 0


@attrs.frozen(kw_only=True)
class Answered(Command):
    """The call under way has been answered, or given up."""

    job: int
    answer: Answer


@attrs.frozen(kw_only=True)
class WaitOver(Command):
    """A job's pause is over, its own or before it asks again."""

    job: int


class Calling(TypedActor):
    """The lowest layer: who calls when."""

    def __init__(self, ports: Ports, *, settings: KrakenSettings, links: Links) -> None:
        super().__init__(ports)
        self._settings = settings
        self._links = links
        self._jobs: dict[int, Job] = {}
        self._job_count = 0
        self._ready: list[tuple[int, int]] = []
        """Jobs whose call may leave, as (priority, number)."""
        self._calling: Job | None = None
        self._late_nonces = 0

    def _begin(self, steps: Steps, proposal_id: ProposalId | None = None) -> None:
        """Start a job."""
        self._job_count += 1
        job = Job(self._job_count, steps, proposal_id)
        self._jobs[job.number] = job
        self._advance(job, None)

    def _advance(self, job: Job, reply: Reply | None) -> None:
        """Let the job go on until it wants something of the exchange again, or is done."""
        try:
            wanted = next(job.steps) if reply is None else job.steps.send(reply)
        except StopIteration:
            del self._jobs[job.number]
            return
        if isinstance(wanted, Wait):
            job.ask = None
            self.after(max(0, wanted.until_us - self.now_us), WaitOver(job=job.number))
        else:
            job.ask, job.tries = wanted, 0
            self._line_up(job, wanted)

    def _line_up(self, job: Job, ask: Ask) -> None:
        if ask.points_milli:
            self.emit(RequestCall(call=job.number, points_milli=ask.points_milli, priority=ask.priority))
        else:
            self._granted(job.number)

    def _granted(self, number: int) -> None:
        """The call of this job may leave: at once, or when those before it have been answered."""
        job = self._jobs.get(number)
        if job is not None and job.ask is not None:
            heapq.heappush(self._ready, (job.ask.priority, number))
            self._send_next()

    def _wait_over(self, number: int) -> None:
        """Let the job go on, or ask its question again."""
        job = self._jobs.get(number)
        if job is not None and job.ask is not None:
            self._line_up(job, job.ask)
        elif job is not None:
            self._advance(job, Reply())

    def _send_next(self) -> None:
        while self._calling is None and self._ready:
            job = self._jobs[heapq.heappop(self._ready)[1]]
            ask = job.ask
            if ask is None:
                continue
            if ask.deadline_us is not None and ask.deadline_us < self.now_us + SEND_WITHIN_US:
                self._advance(job, Reply(meaning=NOT_SENT, reason="not sent: too late for its deadline"))
                continue
            self._calling = job
            self._call(job, ask)

    def _call(self, job: Job, ask: Ask) -> None:
        is_private = ask.path.startswith("/0/private/")
        patience_s = self._settings.order_timeout_s if ask.is_wish else self._settings.query_timeout_s
        request = Request(path=ask.path, params=ask.params, is_private=is_private, timeout_ms=patience_s * 1_000)
        number = job.number
        self.pipe(
            self._links.call(request),
            lambda answer: Answered(job=number, answer=answer),
            lambda error: Answered(job=number, answer=Answer(failure=f"{type(error).__name__}: {error}")),
        )

    # Answers --------------------------------------------------------------------------------------

    def _hear(self, message: Answered) -> None:
        """Hand the answer to its job, unless the call is to be made once more."""
        job, self._calling = self._jobs[message.job], None
        reply = read_answer(message.answer)
        if not self._tries_again(job, reply):
            self._advance(job, reply)
        self._send_next()

    def _tries_again(self, job: Job, reply: Reply) -> bool:
        """Say whether the call is made again: a question, or if it is certain that nothing was done."""
        meaning, ask = reply.meaning, job.ask
        if meaning is None:
            self._late_nonces = 0
            return False
        if meaning.verdict is Verdict.FATAL:
            self.emit(ExchangeRefusesUs(reason=reply.reason))
            return False
        self._pause(meaning, reply.reason, ask)
        if meaning.text == INVALID_NONCE and ask is not None:
            return self._nonce_was_late(job, reply)
        job.tries += 1
        if ask is None or ask.is_wish or meaning.verdict not in ASKED_AGAIN or job.tries >= TRIES_MAX:
            return False
        if meaning.verdict is Verdict.THROTTLED and meaning.throttle is not Throttle.NOTHING:
            self._line_up(job, ask)  # The rate limiter knows how long it has to wait.
        else:
            self.after(job.tries * AGAIN_AFTER_US, WaitOver(job=job.number))
        return True

    def _nonce_was_late(self, job: Job, reply: Reply) -> bool:
        """Go ahead with the nonces, and call again; nothing was done, whatever the wish was."""
        if self._late_nonces == len(NONCE_JUMPS_S):
            self.emit(ExchangeRefusesUs(reason=f"{reply.reason}: another program uses this key; give each its own"))
            return False
        self._links.jump_nonces(NONCE_JUMPS_S[self._late_nonces])
        self._late_nonces += 1
        self._granted(job.number)
        return True

    def _pause(self, meaning: Meaning, reason: str, ask: Ask | None) -> None:
        """Tell the rate limiter what must not leave for a while.

        An order costs nothing on the REST counter: one that is refused because of it meets a key that is shut out.
        """
        if meaning.throttle is Throttle.NOTHING:
            return
        until_us = max(self.now_us + meaning.pause_s * MICROSECONDS, _told_until_us(reason, self.now_us))
        scope, symbol = SCOPES[meaning.throttle], None if ask is None else ask.symbol
        is_shut_out = scope is ThrottleScope.REST and ask is not None and ask.is_wish
        if is_shut_out or (scope is ThrottleScope.ORDERS and symbol is None):
            scope = ThrottleScope.ALL
        self.emit(CallsThrottled(scope=scope, symbol=symbol, until_us=until_us, reason=reason))


def _told_until_us(reason: str, now_us: int) -> int:
    """Return until when Kraken wants to be left alone (`EService: Throttled: 1700000000`); an hour at most."""
    try:
        until_us = instant_us(reason.rpartition(":")[2].strip())
    except InvalidOperation:
        return 0
    return min(until_us, now_us + 3_600 * MICROSECONDS)


def read_answer(answer: Answer) -> Reply:
    """Return what an answer says. Whatever is not Kraken's own form says nothing about what was done."""
    if not answer.was_sent:
        return Reply(meaning=NOT_SENT, reason=f"not sent: {answer.failure}")
    if answer.failure:
        return Reply(meaning=NO_SENSE, reason=answer.failure)
    try:
        told = read_json(answer.text)
        errors = [str(error) for error in told["error"]]
    except (ValueError, KeyError, TypeError):
        return Reply(meaning=NO_SENSE, reason=f"HTTP {answer.status} without an answer of Kraken's own")
    meaning = judge(errors)
    if meaning is not None:
        return Reply(meaning=meaning, reason=", ".join(errors))
    if answer.status != 200 or told.get("result") is None:
        return Reply(meaning=NO_SENSE, reason=f"HTTP {answer.status} without a result")
    return Reply(result=told["result"])

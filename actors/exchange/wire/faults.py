"""What goes wrong on the way between a client and the books, by rules that a script, a test or the control door sets.

A rule names a fault, where it strikes, and how often: `times` (once by default, null for as long as it stands; what
describes a state stands by default), after `skip` chances were let pass, each time with `probability_pct` drawn from
the seed. The books stay true throughout;
what has really struck is counted in `struck`, so that a fault which a test only believes to have met shows as a zero.

Read in order: FAULTS, Rule, WireFaults.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from actors.exchange.wire.numbers import number_in

ERRORS: Final[Mapping[str, str]] = {
    "service_unavailable": "EService:Unavailable",
    "service_busy": "EService:Busy",
    "service_timeout": "EService:Timeout",
    "throttled": "EService: Throttled: {throttled_until_s}",
    "deadline_elapsed": "EService:Deadline elapsed",
    "internal_error": "EGeneral:Internal error",
    "rate_limit": "EAPI:Rate limit exceeded",
    "order_rate_limit": "EOrder:Rate limit exceeded",
    "too_many_requests": "EGeneral:Too many requests",
    "invalid_nonce": "EAPI:Invalid nonce",
    "temporary_lockout": "EGeneral:Temporary lockout",
    "error": "",
}
"""Faults that answer with an error, and its text; `error` brings its own. With `placed` it is said after the deed."""

FAULTS: Final[Mapping[str, str]] = {
    "request_lost": "The request never arrives: nothing happens, and nothing is answered.",
    "answer_lost": "The request is carried out, and nothing is answered.",
    "delay": "Carried out, and answered `seconds` later; with `before` it is carried out later as well.",
    "http_error": "A page in HTML with `status` (502) instead of an answer; with `placed` after the deed.",
    **dict.fromkeys(ERRORS, "An error as answer; with `placed` after the deed."),
    "rest_lag": "REST sees orders and trades as they were `seconds` (60) ago.",
    "first_share": "The first fill of the order is at most `share_pct` of it.",
    "maintenance": "Nothing is taken and nothing is cancelled.",
    "cancel_only": "Orders may be cancelled and nothing else.",
    "post_only": "Only orders that rest are taken.",
    "ws_drop": "The connection breaks; `channel` says of whom (executions).",
    "ws_refuse": "A new connection is turned away with `status` (503).",
    "ws_silent": "Nothing more is sent on the connections there are; with `heartbeats` only those.",
    "ws_gap": "A message is lost, and its number with it.",
    "ws_duplicate": "A message is sent twice.",
    "ws_reorder": "A message comes after the next one.",
    "ws_stale_token": "A token is refused.",
    "ws_lost_ack": "A subscription is not acknowledged, and does not exist.",
}
CONNECTION_FAULTS: Final = frozenset({"ws_drop", "ws_silent"})
"""Strike when they are set, and not at the next message."""
STATES: Final = ("maintenance", "cancel_only", "post_only")
STANDING: Final = frozenset({*STATES, "rest_lag"})
HOLD, RESET = "hold", "reset"
TEXTS: Final = frozenset({"fault", "name", "endpoint", "channel", "text", "how"})
FLAGS: Final = frozenset({"placed", "before", "heartbeats"})
COUNTS: Final = frozenset({"times", "skip", "status"})


class FaultError(ValueError):
    """A rule cannot be understood."""


@attrs.define(eq=False, kw_only=True)
class Rule:
    """One thing that goes wrong."""

    fault: str
    name: str = ""
    """What it is counted by besides, where several rules are of one fault."""
    endpoint: str | None = None
    """Of REST; None for any."""
    channel: str | None = None
    """Of the websocket; None for any."""
    times: int | None = 1
    """How often at most; None for as long as the rule stands."""
    skip: int = 0
    probability_pct: Decimal = Decimal(100)
    seconds: Decimal | None = None
    status: int = 502
    text: str = ""
    how: str = HOLD
    """How a lost answer looks: the connection is held until the client gives up, or reset."""
    placed: bool = False
    before: bool = False
    heartbeats: bool = False
    share_pct: Decimal = Decimal(50)
    struck: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it has struck as often as it should."""
        return self.times is not None and self.struck >= self.times

    def concerns(self, fault: str, place: str | None) -> bool:
        """Say whether it is about this fault at this endpoint or on this channel."""
        where = self.channel if fault.startswith("ws_") else self.endpoint
        return self.fault == fault and not self.is_over and (where is None or place is None or where == place)


class WireFaults:
    """The rules in force. As made, nothing goes wrong."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - misfortune to play with, no secret.
        self.rules: list[Rule] = []
        self.struck: Counter[str] = Counter()
        self.struck_by_name: Counter[str] = Counter()
        self.on_connections: Callable[[Rule], None] = lambda _rule: None
        """What carries out a rule about the connections that there are."""
        self.on_clear: Callable[[], None] = lambda: None
        """What lets silent connections speak again."""

    def add(self, fault: str, **terms: Any) -> Rule:
        """Let something go wrong from now on. Raises FaultError for what does not exist."""
        return self.read({"fault": fault, **terms})

    def read(self, written: Mapping[str, Any]) -> Rule:
        """Take up a rule as a file or the control door writes it."""
        rule = Rule(**{name: _value(name, value) for name, value in written.items()})
        if rule.fault in STANDING and "times" not in written:
            rule.times = None
        if rule.fault not in FAULTS:
            raise FaultError(f"no fault is called {rule.fault!r}; there are {', '.join(sorted(FAULTS))}")
        if rule.fault == "error" and not rule.text:
            raise FaultError("the fault 'error' needs a text")
        if rule.how not in (HOLD, RESET):
            raise FaultError(f"how is {rule.how!r}; give {HOLD} or {RESET}")
        if rule.fault in CONNECTION_FAULTS:
            self.on_connections(rule)
        else:
            self.rules.append(rule)
        return rule

    def read_all(self, written: Iterable[Mapping[str, Any]]) -> None:
        """Take up several rules."""
        for one in written:
            self.read(one)

    def clear(self, fault: str | None = None) -> None:
        """End all rules, or those of one fault; what has struck stays counted."""
        self.rules = [rule for rule in self.rules if fault is not None and rule.fault != fault]
        if fault in (None, "ws_silent"):
            self.on_clear()

    def strike(self, fault: str, place: str | None = None) -> Rule | None:
        """Return the rule by which the fault strikes here and now, and count it."""
        for rule in self.rules:
            if not rule.concerns(fault, place):
                continue
            if rule.skip:
                rule.skip -= 1
            elif rule.probability_pct >= 100 or self._chance.randrange(10_000) < rule.probability_pct * 100:
                self.count(rule)
                return rule
        return None

    def strike_any(self, faults: Iterable[str], place: str | None) -> Rule | None:
        """Return the first of several that strikes."""
        if not self.rules:
            return None
        return next((rule for fault in faults if (rule := self.strike(fault, place)) is not None), None)

    def count(self, rule: Rule) -> None:
        """Note that a rule has struck."""
        rule.struck += 1
        self.struck[rule.fault] += 1
        if rule.name:
            self.struck_by_name[rule.name] += 1
        if rule.is_over and rule in self.rules:
            self.rules.remove(rule)

    def state(self) -> str | None:
        """Return the state of the exchange that a rule keeps it in; it counts when it turns somebody away."""
        return next((rule.fault for rule in self.rules if rule.fault in STATES), None)

    def turned_away(self, fault: str) -> None:
        """Count that the state of the exchange turned a request away."""
        rule = next(rule for rule in self.rules if rule.fault == fault)
        self.count(rule)


def error_text(rule: Rule, now_s: int) -> str:
    """Return what a rule answers with."""
    return rule.text or ERRORS[rule.fault].format(throttled_until_s=now_s + int(rule.seconds or 5))


def _value(name: str, value: Any) -> Any:
    """Return one term of a rule in its type. Raises FaultError for a wrong one."""
    if name in TEXTS and isinstance(value, str):
        return value
    if name in FLAGS and isinstance(value, bool):
        return value
    if name in COUNTS and isinstance(value, int) and not isinstance(value, bool):
        return value
    if name == "times" and value is None:
        return None
    if name in ("seconds", "probability_pct", "share_pct") and (number := number_in(value)) is not None and number >= 0:
        return number
    raise FaultError(f"{name!r} cannot be {value!r} in a rule")

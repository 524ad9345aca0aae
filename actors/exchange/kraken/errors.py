"""What Kraken's errors mean, as a table: whether the wish was taken, and what to do now.

The rule behind it: only an error that proves that nothing was placed may be answered by another attempt. An error that
is not in the table proves nothing, so for orders it is unknown.
Read in order: Verdict, Meaning, TABLE, meaning_of().
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import attrs


class Verdict(Enum):
    """What an error says about the wish that it answers."""

    REFUSED = "refused"
    """Nothing was done, and the same wish will be refused again."""
    THROTTLED = "throttled"
    """Nothing was done, because we were too fast or a nonce came late: wait, then ask for the same again."""
    MAINTENANCE = "maintenance"
    """Nothing was done: the exchange takes no such orders for a while."""
    UNKNOWN = "unknown"
    """It may have been done, or may still be: look it up, never send it again."""
    ALIVE = "alive"
    """An order with this client id is open: an earlier attempt was taken after all."""
    FATAL = "fatal"
    """It will be the same with every call until a person has changed the key, its rights or the account."""


class Throttle(Enum):
    """What has to pause when we were too fast."""

    NOTHING = "nothing"
    REST = "the REST counter"
    ORDERS = "the pair's order counter"
    OPENINGS = "new entries"
    ALL = "everything"


@attrs.frozen
class Meaning:
    """One row of the table."""

    text: str
    """How the error begins."""
    verdict: Verdict
    throttle: Throttle = Throttle.NOTHING
    pause_s: int = 0
    """How long the pause is, where Kraken does not say until when."""
    lacks_position: bool = False
    """Whether it was to reduce a position, and there is none."""
    is_too_small: bool = False
    """Whether volume or worth are below the minimum."""
    is_off_grid: bool = False
    """Whether the pair's decimals, tick or minimums are not what we believed: they are to be asked for anew."""


REFUSED, THROTTLED, MAINTENANCE = Verdict.REFUSED, Verdict.THROTTLED, Verdict.MAINTENANCE
UNKNOWN, ALIVE, FATAL = Verdict.UNKNOWN, Verdict.ALIVE, Verdict.FATAL
LOCKOUT_S = 900
"""A lock-out lasts for minutes, by vendors' experience a quarter of an hour, and longer for those who keep calling."""

TABLE: tuple[Meaning, ...] = (
    # The order itself is wrong, or cannot be paid.
    Meaning("EOrder:Insufficient funds", REFUSED),
    Meaning("EOrder:Insufficient margin", REFUSED),
    Meaning("EOrder:Margin allowance exceeded", REFUSED),
    Meaning("EOrder:Margin level too low", REFUSED),
    Meaning("EOrder:Margin position size exceeded", REFUSED),
    Meaning("EOrder:Positions limit exceeded", REFUSED),
    Meaning("EOrder:Cannot open position", REFUSED),
    Meaning("EOrder:Cannot open opposing position", REFUSED),
    Meaning("EOrder:Order minimum not met", REFUSED, is_too_small=True, is_off_grid=True),
    Meaning("EOrder:Cost minimum not met", REFUSED, is_too_small=True, is_off_grid=True),
    Meaning("EOrder:Tick size check failed", REFUSED, is_off_grid=True),
    Meaning("EOrder:Invalid price", REFUSED, is_off_grid=True),
    Meaning("EOrder:Invalid limit price", REFUSED),
    Meaning("EOrder:Invalid order", REFUSED),
    Meaning("EOrder:Post only order", REFUSED),
    Meaning("EOrder:Reduce only:No position exists", REFUSED, lacks_position=True),
    Meaning("EOrder:Reduce only:Position is closed", REFUSED, lacks_position=True),
    Meaning("EOrder:Reduce only", REFUSED),
    Meaning("EOrder:Scheduled orders limit exceeded", REFUSED),
    Meaning("EOrder:Trading agreement required", FATAL),
    Meaning("EOrder:Unknown order", REFUSED),
    Meaning("EOrder:Unknown position", REFUSED, lacks_position=True),
    Meaning("EGeneral:Invalid arguments:cl_ord_id not unique", ALIVE),
    Meaning("EGeneral:Invalid arguments:volume minimum not met", REFUSED, is_too_small=True, is_off_grid=True),
    Meaning("EGeneral:Invalid arguments:volume", REFUSED, is_too_small=True, is_off_grid=True),
    Meaning("EGeneral:Invalid arguments:price", REFUSED, is_off_grid=True),
    Meaning("EGeneral:Invalid arguments:deadline", THROTTLED),  # It took too long on its way: too near by now.
    Meaning("EGeneral:Invalid arguments", REFUSED),
    Meaning("EGeneral:Unknown method", REFUSED),
    Meaning("EQuery:Unknown asset pair", REFUSED, is_off_grid=True),
    Meaning("EQuery:Unknown asset", REFUSED, is_off_grid=True),
    # Too fast, or out of step: none of these was looked at by the matching engine.
    Meaning("EAPI:Rate limit exceeded", THROTTLED, Throttle.REST, 15),
    Meaning("EOrder:Rate limit exceeded", THROTTLED, Throttle.ORDERS, 10),
    Meaning("EOrder:Domain rate limit exceeded", THROTTLED, Throttle.ORDERS, 10),
    Meaning("EOrder:Orders limit exceeded", THROTTLED, Throttle.OPENINGS, 30),
    Meaning("EGeneral:Too many requests", THROTTLED, Throttle.ALL, 15),
    Meaning("EGeneral:Temporary lockout", THROTTLED, Throttle.ALL, LOCKOUT_S),
    Meaning("EAPI:Invalid nonce", THROTTLED),
    # The market takes no new orders of this kind for a while.
    Meaning("EService:Market in cancel_only mode", MAINTENANCE, Throttle.OPENINGS, 15),
    Meaning("EService:Market in post_only mode", MAINTENANCE, Throttle.OPENINGS, 15),
    Meaning("EService:Market in limit_only mode", MAINTENANCE, Throttle.OPENINGS, 15),
    Meaning("EService:Market in reduce_only mode", MAINTENANCE, Throttle.OPENINGS, 15),
    # Orders went through after such errors, sometimes most of a minute later.
    Meaning("EService:Unavailable", UNKNOWN, Throttle.OPENINGS, 5),
    Meaning("EService:Busy", UNKNOWN, Throttle.OPENINGS, 5),
    Meaning("EService:Timeout", UNKNOWN),
    Meaning("EService:Deadline elapsed", UNKNOWN),
    Meaning("EService: Throttled", UNKNOWN, Throttle.ALL, 5),
    Meaning("EService:Throttled", UNKNOWN, Throttle.ALL, 5),
    Meaning("EGeneral:Internal error", UNKNOWN),
    Meaning("EGeneral:Unknown error", UNKNOWN),
    # Keys, rights, account: a person has to act. Each further try brings a lock-out nearer.
    Meaning("EAPI:Invalid key", FATAL),
    Meaning("EAPI:Invalid signature", FATAL),
    Meaning("EAPI:Feature disabled", FATAL),
    Meaning("EAPI:Bad request", FATAL),
    Meaning("EGeneral:Permission denied", FATAL),
    Meaning("EAuth:", FATAL),
    Meaning("EAccount:", FATAL),
)
ANYTHING_ELSE = Meaning("", UNKNOWN)

_BY_LENGTH = sorted(TABLE, key=lambda meaning: len(meaning.text), reverse=True)
_WEIGHT = (FATAL, UNKNOWN, ALIVE, THROTTLED, MAINTENANCE, REFUSED)
"""Of several errors in one answer the gravest counts: one that leaves it open outweighs those that prove something."""


def meaning_of(error: str) -> Meaning:
    """Return what one error means: the longest row that it begins with."""
    return next((meaning for meaning in _BY_LENGTH if error.startswith(meaning.text)), ANYTHING_ELSE)


def judge(errors: Sequence[str]) -> Meaning | None:
    """Return what the errors of one answer mean together, None when there are none. Warnings are no errors."""
    meanings = [meaning_of(error) for error in errors if not error.startswith("W")]
    return min(meanings, key=lambda meaning: _WEIGHT.index(meaning.verdict), default=None)

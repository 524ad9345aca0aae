"""What the loss of an actor means, and how often a loss may be made good in place.

Read in order: ON_FAILURE, RestartLimit, Control.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Protocol, Self

import attrs

EXIT_DRAINED = 0
EXIT_FAILED = 70
"""An actor met what it did not expect: start again, and recover."""
EXIT_REFUSED = 2
"""The exchange refuses our key: starting again is of no use before a person has acted."""
EXIT_NOT_DRAINED = 0
"""What was in flight did not settle in time. Nothing is lost: the next start reconciles it."""


class OnFailure(Enum):
    """What to do when an actor has stopped by itself."""

    STOP_ENGINE = "stop the engine"
    RESTART = "restart it in place"


ON_FAILURE: Mapping[str, OnFailure] = MappingProxyType(
    {
        "order": OnFailure.STOP_ENGINE,  # Their memory can no longer be trusted:
        "position": OnFailure.STOP_ENGINE,  # end, and recover from the journal and the exchange.
        "risk": OnFailure.STOP_ENGINE,
        "journal": OnFailure.STOP_ENGINE,  # It may hold units that nobody else has.
        "rate_limiter": OnFailure.STOP_ENGINE,  # Calls wait in it, and a new one would grant a second burst.
        "exchange": OnFailure.STOP_ENGINE,
        "market": OnFailure.STOP_ENGINE,  # Without prices no stop is watched.
        "supervisor": OnFailure.STOP_ENGINE,
        "snapshot": OnFailure.RESTART,  # Losing these disturbs nobody else.
        "bus": OnFailure.RESTART,
    }
)


def on_failure_of(role: str) -> OnFailure:
    """Return what the loss of `role` means. A role that nobody thought of stops the engine."""
    return ON_FAILURE.get(role, OnFailure.STOP_ENGINE)


@attrs.frozen(kw_only=True)
class RestartLimit:
    """At most `restarts_max` restarts, of all actors together, in any `window_us`."""

    restarts_max: int
    window_us: int
    at_us: tuple[int, ...] = ()
    """The instants of the restarts that still count."""

    def after_restart(self, now_us: int) -> Self | None:
        """Return the limit with one more restart in it, None when that would be one too many."""
        recent = tuple(instant_us for instant_us in self.at_us if instant_us > now_us - self.window_us)
        if len(recent) >= self.restarts_max:
            return None
        return attrs.evolve(self, at_us=(*recent, now_us))


class Control(Protocol):
    """What the supervisor may do to the engine. The engine does it after the message at hand."""

    def stop(self, exit_code: int, reason: str) -> None:
        """Stop every actor and end the process with `exit_code`."""
        ...

    def restart(self, role: str) -> None:
        """Put a new actor in the place of the one that failed."""
        ...

    def is_drained(self) -> bool:
        """Say whether no order is under way and nothing waits for the journal."""
        ...

"""What is counted of each actor, cheap enough to be counted always."""

from __future__ import annotations

from collections import deque

import attrs

WINDOW = 1024
"""How many of the newest handling times the percentiles look at."""


@attrs.frozen(kw_only=True)
class ActorReport:
    """One actor at one instant, for the shell, the live view and the metrics."""

    role: str
    handled: int
    mailbox_depth: int
    mailbox_depth_max: int
    handling_p50_ns: int
    handling_p99_ns: int
    handling_max_ns: int
    last_error: str


class ActorStatistics:
    """The running figures of one actor. The dispatcher writes them, anyone may read them."""

    __slots__ = ("depth_max", "durations_ns", "handled", "last_error", "max_ns")

    def __init__(self) -> None:
        self.handled = 0
        self.depth_max = 0
        self.max_ns = 0
        self.durations_ns: deque[int] = deque(maxlen=WINDOW)
        self.last_error = ""

    def report(self, role: str, mailbox_depth: int) -> ActorReport:
        """Return the figures of this instant."""
        ordered = sorted(self.durations_ns)
        return ActorReport(
            role=role,
            handled=self.handled,
            mailbox_depth=mailbox_depth,
            mailbox_depth_max=max(self.depth_max, mailbox_depth),
            handling_p50_ns=percentile(ordered, 50),
            handling_p99_ns=percentile(ordered, 99),
            handling_max_ns=self.max_ns,
            last_error=self.last_error,
        )


def percentile(ordered: list[int], percent: int) -> int:
    """Return the nearest-rank percentile of an ascending list; 0 for an empty one."""
    if not ordered:
        return 0
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

"""How slow the simulated world is: drawn once for each story, so that calm and sluggish machines both occur."""

from __future__ import annotations

from random import Random

import attrs

MILLISECOND_US = 1_000
SECOND_US = 1_000_000


@attrs.frozen(kw_only=True)
class Pace:
    """Upper bounds of what is drawn for each read, each I/O and each timer; `one_in` 0 means never."""

    slow_read_one_in: int = 0
    """How seldom an actor with mail is not looked at for a while."""
    slow_read_us: int = 0
    io_us: int = 1
    slow_io_one_in: int = 0
    slow_io_us: int = 1
    timer_late_us: int = 1


CALM = Pace()


def drawn_pace(chance: Random) -> Pace:
    """Return the pace of one story."""
    return Pace(
        slow_read_one_in=chance.choice((0, 0, 200, 40)),
        slow_read_us=chance.choice((MILLISECOND_US, 50 * MILLISECOND_US, 2 * SECOND_US)),
        io_us=chance.choice((1, 500, 5 * MILLISECOND_US, 200 * MILLISECOND_US)),
        slow_io_one_in=chance.choice((0, 0, 50, 10)),
        slow_io_us=chance.choice((SECOND_US, 5 * SECOND_US, 40 * SECOND_US)),
        timer_late_us=chance.choice((1, 1, 20 * MILLISECOND_US, 3 * SECOND_US)),
    )

"""The runs of the engine: so that one that was killed is continued, not begun again."""

from __future__ import annotations

import attrs
from asyncpg import Connection

NEWEST = """
SELECT number, until, arguments, ended FROM runs WHERE account = $1 ORDER BY number DESC LIMIT 1
"""
BEGIN = "INSERT INTO runs (account, number, until, arguments) VALUES ($1, $2, $3, $4)"
END = "UPDATE runs SET ended = true, ended_at = now() WHERE account = $1 AND number = $2"


@attrs.frozen(kw_only=True)
class Run:
    """One run. `until_us` is when it ends by itself on the prices' clock, None for never."""

    number: int
    until_us: int | None
    resumed: bool
    """Whether it continues a run that was killed."""


async def begin_run(connection: Connection, account: str, until_us: int | None, arguments: str) -> Run:
    """Begin a run. If the last one was killed and had the same arguments, this one takes over its end.

    The account is held by the caller, so nobody else begins a run of it.
    """
    last = await connection.fetchrow(NEWEST, account)
    run = _next_run(None, until_us) if last is None else _next_run(last["number"], until_us)
    if last is not None and not last["ended"] and last["arguments"] == arguments:
        run = attrs.evolve(run, until_us=last["until"], resumed=True)
    await connection.execute(BEGIN, account, run.number, run.until_us, arguments)
    return run


def _next_run(last_number: int | None, until_us: int | None) -> Run:
    return Run(number=(last_number or 0) + 1, until_us=until_us, resumed=False)


async def end_run(connection: Connection, account: str, number: int) -> None:
    """Note that the run ended by itself: the next one is a new one."""
    await connection.execute(END, account, number)

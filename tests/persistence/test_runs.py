"""A run that was killed is continued; one that ended is not."""

from __future__ import annotations

import asyncio

from persistence.database import Database
from persistence.runs import Run, begin_run, end_run
from tests.persistence.samples import T0


def test_runs_are_continued_or_begun(database: Database, account: str) -> None:
    async def story() -> None:
        connection = await database.connect()
        first = await begin_run(connection, account, T0, "--for 60")
        assert first == Run(number=1, until_us=T0, resumed=False)
        # Killed, and started again with the same arguments: twice.
        second = await begin_run(connection, account, T0 + 99, "--for 60")
        assert second == Run(number=2, until_us=T0, resumed=True)
        third = await begin_run(connection, account, None, "--for 60")
        assert third == Run(number=3, until_us=T0, resumed=True)
        # Killed, and started with others.
        fourth = await begin_run(connection, account, None, "")
        assert fourth == Run(number=4, until_us=None, resumed=False)
        assert (await begin_run(connection, account, T0, "")) == Run(number=5, until_us=None, resumed=True)
        # Ended by itself.
        await end_run(connection, account, 5)
        assert (await begin_run(connection, account, T0, "")) == Run(number=6, until_us=T0, resumed=False)
        # Another account has runs of its own.
        assert (await begin_run(connection, f"{account}-other", None, "")).number == 1
        await connection.close()

    asyncio.run(story())

"""The engine beside a real server that stops, with an exchange that does not stand in it: what leaves, what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from messages.base import Message, ProposalId
from messages.journal import JournalResumed, JournalStalled
from messages.orders import OrderRole, PlaceOrder
from messages.trades import CloseTrade
from persistence.database import Database, connect, ensure_schema
from persistence.embedded import EmbeddedPostgres
from persistence.journal import PostgresJournal
from scripts.benchmarks.stage import Stage

LOOK = """
SELECT (SELECT count(*) FROM fills) AS fills, (SELECT count(*) FROM positions WHERE status = 'CLOSED') AS closed,
       (SELECT count(*) FROM execution_events WHERE kind = 'journal_stalled') AS stalls,
       (SELECT count(*) FROM execution_events WHERE kind = 'sent_unrecorded') AS unrecorded,
       (SELECT count(*) FROM orders WHERE role = 'entry' AND filled_volume > 0) AS entered
"""


async def looked(dsn: str) -> Mapping[str, Any]:
    connection = await connect(dsn)
    row = await connection.fetchrow(LOOK)
    await connection.close()
    assert row is not None
    return dict(row)


async def fire_until(stage: Stage, kind: type[Message], said: list[Message]) -> None:
    """Fire timers, each at its instant, until something is said."""
    while not any(isinstance(message, kind) for message in said):
        due_us = stage.engine.timers.next_due_us()
        assert due_us is not None
        stage.clock.advance_to(due_us)
        stage.engine.timers.fire_next()
        await stage.engine.until_quiet()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_exits_leave_while_the_server_is_away_and_entries_do_not(mode: str, own_server: EmbeddedPostgres) -> None:
    async def story() -> None:
        await ensure_schema(own_server.dsn)
        journal = PostgresJournal(Database(own_server.dsn).connect, "main")
        async with Stage.opened(journal) as stage:
            said: list[Message] = []
            stage.engine.switchboard.tap(said.append)
            trade = stage.proposal(stop=Decimal(98_000))
            stage.hand_in(trade)
            await stage.engine.until_quiet()
            own_server._pg_ctl_stop(mode)
            said.clear()

            stage.hand_in(stage.proposal(stop=Decimal(98_000)))
            closing = ProposalId("5b0b8d3c-2f1e-4a76-9d3f-3f0f6a1f2b11")
            stage.engine.tell(CloseTrade(request_id=closing, target_id=trade.proposal.id), trade.proposal.id)
            await stage.engine.until_quiet()
            await fire_until(stage, PlaceOrder, said)

            assert any(isinstance(message, JournalStalled) for message in said)
            placed = [message.intent.role for message in said if isinstance(message, PlaceOrder)]
            assert placed == [OrderRole.EXIT]
            exchange: Any = stage.engine.actors["exchange"].describe()
            assert exchange.account.holdings == (), "out, with no database anywhere"

            own_server.ensure_running()
            await fire_until(stage, JournalResumed, said)
            await stage.engine.until_quiet()
            for _ in range(20):
                await asyncio.sleep(0)
            await stage.engine.until_quiet()
        await journal.close()
        seen = await looked(own_server.dsn)
        assert (seen["closed"], seen["stalls"], seen["unrecorded"]) == (1, 1, 1)
        assert seen["entered"] == 2, "the entry left when its intent was kept"

    asyncio.run(story())

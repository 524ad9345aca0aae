"""Every key of the section `kraken` changes what goes over the wire (X23): told once as configured, and once changed.

`tests/scenarios/test_every_key.py` has the other keys, and fails for one that is tested nowhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest

from actors.exchange.kraken.links import LineNews, LineOpened
from actors.exchange.wire.server import WireServer
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from actors.runtime.clock import PacedClock
from config.settings import Settings
from messages.orders import OutcomeUnknown
from scripts.live import opened
from tests.scenarios.conftest import with_settings
from tests.scenarios.test_every_key import changed
from tests.wire.world import WireWorld, wire_settings

BTC = "BTC/USDT"
Told = Callable[[WireWorld], Any]


@attrs.frozen
class Key:
    """One key, another value for it, and a story that must end differently."""

    name: str
    changed: Any
    told: Told
    also: Mapping[str, Any] = attrs.field(factory=dict)
    """Settings that both tellings need."""


def slow_order(world: WireWorld) -> list[str]:
    """The answer to an order does not come; see when it is given up."""
    world.goes_wrong("answer_lost", endpoint="AddOrder")
    world.proposes(BTC, "buy", stop=98_000)
    return [unknown.reason for unknown in world.said(OutcomeUnknown)]


def slow_answer(world: WireWorld) -> list[str]:
    """The answer to a question does not come; see when it is given up."""
    world.goes_wrong("answer_lost", endpoint="OpenOrders")
    world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=10)
    return [answer.failure for answer in world.wires.answers if answer.failure]


def silent_line(world: WireWorld) -> int:
    """Nothing comes over the line any more; count the lines after four seconds."""
    world.goes_wrong("ws_silent", heartbeats=False)
    world.passes(seconds=4)
    return len(world.sent("GetWebSocketsToken"))


def calls_in_three_minutes(*endpoints: str) -> Told:
    """A protected position is held; count calls."""

    def told(world: WireWorld) -> list[int]:
        world.proposes(BTC, "buy", stop=98_000)
        world.passes(minutes=3)
        return [len(world.sent(endpoint)) for endpoint in endpoints]

    return told


def switched(world: WireWorld) -> list[Any]:
    """A minute passes; see what the exchange would do if we fell silent now."""
    world.passes(minutes=1)
    fires_at_us = world.server.exchange.switch_fires_at_us
    return [None if fires_at_us is None else fires_at_us > world.now_us]


KEYS = (
    Key("kraken.order_timeout_s", 20, slow_order),
    Key("kraken.query_timeout_s", 2, slow_answer),
    Key("kraken.quiet_max_s", 3, silent_line),
    Key("kraken.reconcile_s", 20, calls_in_three_minutes("TradesHistory")),
    Key("kraken.refresh_s", 60, calls_in_three_minutes("AssetPairs", "TradeVolume")),
    Key("kraken.dead_man_s", 60, switched),
)


def telling(settings: Settings, told: Told) -> Any:
    """Tell a story in a world with these settings."""
    with WireWorld(settings) as world:
        world.price(BTC, 100_000)
        return told(world)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_x23_the_key_changes_what_happens(key: Key) -> None:
    settings = with_settings(**key.also)
    assert telling(settings, key.told) != telling(changed(settings, key.name, key.changed), key.told)


def test_the_patience_for_orders_is_the_one_configured() -> None:
    assert telling(with_settings(), slow_order) == ["no answer within 12000 ms"]
    assert telling(with_settings(), slow_answer) == ["no answer within 5000 ms"]


# Where the exchange is ------------------------------------------------------------------------------


async def reached(rest_of: int, websocket_of: int) -> tuple[list[bool], list[int]]:
    """Open Kraken with two exchanges running; return at which of them we asked, and how many lines each has."""
    packaged = wire_settings().execution
    servers = [
        WireServer(
            instruments=packaged.instruments,
            balances=packaged.paper.balances,
            clock=PacedClock(time.time_ns() // 1_000, 1),
            more_keys=((PAPER_KEY, PAPER_SECRET),),
        )
        for _ in range(2)
    ]
    for number, server in enumerate(servers):
        await server.start()
        await server.tick(BTC, Decimal(100_000))
        server.exchange.move_funds(packaged.usd_equivalents[0], Decimal(number))
    kraken = {"rest_url": servers[rest_of].rest_url, "websocket_url": servers[websocket_of].websocket_url}
    is_up = asyncio.Event()

    def hear(news: LineNews) -> None:
        if isinstance(news, LineOpened):
            is_up.set()

    try:
        async with opened(wire_settings(**kraken).execution, 1) as there:
            there.venue.links.open_line(1, hear)
            await asyncio.wait_for(is_up.wait(), 60)
            balances = [server.books.account.balances for server in servers]
            return [there.balances == one for one in balances], [len(one.sockets.connections) for one in servers]
    finally:
        for server in servers:
            await server.stop()


@pytest.mark.parametrize(("rest_of", "websocket_of"), [(0, 0), (0, 1), (1, 0)])
def test_x23_rest_url_and_websocket_url_say_where_the_exchange_is(
    monkeypatch: pytest.MonkeyPatch, rest_of: int, websocket_of: int
) -> None:
    monkeypatch.setenv("KRAKEN_API_KEY", PAPER_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", PAPER_SECRET)

    asked, lines = asyncio.run(reached(rest_of, websocket_of))

    assert asked == [rest_of == 0, rest_of == 1]
    assert lines == [int(websocket_of == 0), int(websocket_of == 1)]

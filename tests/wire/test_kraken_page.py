"""docs/kraken.md: what its table says is what is sent and what the exchange hears; its example is read as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from actors.exchange.kraken import terms
from actors.exchange.kraken.notation import client_id, plain
from actors.exchange.kraken.pairs import Pair
from actors.exchange.wire.private import ALL_PERMISSIONS
from actors.runtime.clock import MICROSECONDS
from config.loader import load_settings
from config.settings import TradingMode
from messages.orders import OrderIntent, OrderRole, PlaceOrder
from scripts.live import LIVE_GATES
from tests.scenarios.conftest import with_settings
from tests.wire.world import WireWorld

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "kraken.md").read_text(encoding="utf-8")
BTC = "BTC/USDT"
ALWAYS = {"pair", "type", "volume", "oflags", "cl_ord_id", "deadline"}
LEVERAGE = 3
LIMITED = {"orders": {"stop_order_type": "stop-loss-limit", "target_order_type": "take-profit-limit"}}
ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
Act = Callable[[WireWorld, int], None]


def trade(world: WireWorld, leverage: int, **wishes: Any) -> Any:
    return world.proposes(BTC, "buy", leverage=leverage, **wishes)


def closed(world: WireWorld, leverage: int) -> None:
    world.closes(trade(world, leverage))


ACTS: Mapping[str, tuple[OrderRole, Mapping[str, Any], Act]] = {
    "entry at market": (ENTRY, {}, trade),
    "entry with a limit, GTD": (ENTRY, {}, lambda world, leverage: trade(world, leverage, entry=99_000)),
    "entry with a limit, GTC": (
        ENTRY,
        {"orders": {"default_time_in_force": "GTC"}},
        lambda world, leverage: trade(world, leverage, entry=99_000),
    ),
    "entry with a limit, IOC": (
        ENTRY,
        {"orders": {"default_time_in_force": "IOC"}},
        lambda world, leverage: trade(world, leverage, entry=99_000),
    ),
    "stop, stop-loss": (STOP, {}, lambda world, leverage: trade(world, leverage, stop=98_000)),
    "stop, stop-loss-limit": (STOP, LIMITED, lambda world, leverage: trade(world, leverage, stop=98_000)),
    "target, take-profit": (TARGET, {}, lambda world, leverage: trade(world, leverage, target=104_000)),
    "target, take-profit-limit": (TARGET, LIMITED, lambda world, leverage: trade(world, leverage, target=104_000)),
    "exit": (EXIT, {}, closed),
}
"""How each order of the table comes about: its role, the settings that it takes, and what has to happen."""


def table() -> dict[str, dict[str, str]]:
    """Return the rows of the table, by the name of the order."""
    lines = re.findall(r"^\| (.+) \|$", PAGE.partition("## What is sent")[2].partition("\n## ")[0], flags=re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    columns = cells[0][1:]
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in cells[1:]}


def meant(word: str, intent: OrderIntent, *, is_margin: bool) -> str | None:
    """Return the value that a cell of the table means; None for what is not sent."""
    match word:
        case "-":
            return None
        case "the limit":
            return plain(intent.limit_price_quote or Decimal(0))
        case "the trigger":
            return plain(intent.trigger_price_quote or Decimal(0))
        case "the expiry":
            return str(-(-(intent.expires_at_us or 0) // MICROSECONDS))
        case "on margin":
            return "true" if is_margin else None
    return word


def test_every_order_of_the_table_can_be_brought_about() -> None:
    assert list(table()) == list(ACTS)


@pytest.mark.parametrize(
    ("name", "leverage"),
    [(name, leverage) for name in ACTS for leverage in (1, LEVERAGE) if leverage > 1 or ACTS[name][0] is not TARGET],
)
def test_the_table_is_what_is_sent_and_what_the_exchange_hears(name: str, leverage: int) -> None:
    role, settings, act = ACTS[name]
    with WireWorld(with_settings(**settings)) as world:
        world.price(BTC, 100_000)
        act(world, leverage)
        world.passes(seconds=5)
        (wish,) = [wish for wish in world.said(PlaceOrder) if wish.intent.role is role]
        sent = {request.params["cl_ord_id"]: dict(request.params) for request in world.sent("AddOrder")}
        notes = world.server.exchange.registry.of_client(client_id(wish.intent.id))
        pair = _pair(world)
    intent = wish.intent
    params = sent[client_id(intent.id)]

    assert params == terms.add_order(intent, pair, wish.deadline_us)
    columns = {column: meant(word, intent, is_margin=leverage > 1) for column, word in table()[name].items()} | {
        "leverage": str(LEVERAGE) if leverage > 1 else None
    }
    assert {key: params.get(key) for key in columns} == columns
    assert params.keys() - columns.keys() == ALWAYS
    assert params["oflags"] == "fciq"
    (note,) = notes
    heard = note.order
    assert (heard.order_type.value, heard.side.value) == (params["ordertype"], params["type"])
    assert (heard.limit_price_quote, heard.trigger_price_quote) == (
        intent.limit_price_quote,
        intent.trigger_price_quote,
    )
    assert (heard.leverage, heard.reduce_only) == (leverage, params.get("reduce_only") == "true")
    assert (note.time_in_force, note.oflags) == (params.get("timeinforce", "GTC"), ("fciq",))


def _pair(world: WireWorld) -> Pair:
    actor: Any = world.engine.actors["exchange"]
    pair = actor._pairs.of(BTC)
    assert isinstance(pair, Pair)
    return pair


@pytest.mark.parametrize("stop", [{}, {"stop": 98_000}], ids=["bare", "stop"])
def test_the_target_of_a_spot_position_is_watched_here(stop: dict[str, int]) -> None:
    """As the page says below the table; on margin it rests."""
    for leverage in (1, LEVERAGE):
        with WireWorld() as world:
            world.price(BTC, 100_000)
            trade(world, leverage, target=104_000, **stop)
            world.passes(seconds=5)
            roles = {wish.intent.role for wish in world.said(PlaceOrder)}
            assert (TARGET in roles) == (leverage > 1)
            assert (STOP in roles) == bool(stop)


def test_the_configuration_of_the_page_is_read_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "execution.yaml").write_text(example, encoding="utf-8")

    assert load_settings(tmp_path).execution.trading_mode is TradingMode.LIVE


def test_every_gate_and_every_permission_is_on_the_page() -> None:
    for name, value in LIVE_GATES:
        assert f"{name}={value or '...'}" in PAGE
    rights = PAGE.partition("| it needs | for |")[2].partition("\n\n")[0].strip().splitlines()[1:]
    assert len(rights) == len(ALL_PERMISSIONS)


def test_what_the_page_names_is_there() -> None:
    settings = load_settings().execution
    for section, key in re.findall(r"`(orders|kraken|rate_limits)\.([a-z_0-9]+)", PAGE):
        assert hasattr(getattr(settings, section), key), f"{section}.{key}"
    for path in re.findall(r"`((?:actors|docs|config)/[\w/]+\.\w+)`", PAGE):
        assert (ROOT / path).exists(), path

"""Every key of the configuration changes what the engine does (X23): told once as configured, and once changed.

Rule: a key that is in neither table fails the last test. Those in ELSEWHERE are shown by the test that is named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from actors.harness import Harness
from config.settings import Settings
from messages.base import Currency, Symbol
from messages.bus import Subscribe, Topic
from messages.journal import RecordSnapshots
from messages.orders import AmendOrder, LookUpOrder, OrderRole, PlaceOrder, PollOrders
from messages.permits import CallGranted, CallPriority, RequestCall
from messages.trades import Side
from tests.scenarios.conftest import with_settings

ENTRY, STOP, TARGET = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET
ROOT = Path(__file__).resolve().parents[2]
BTC = Symbol("BTC/USDT")
Told = Callable[[Harness], Any]
NO_LIMITS = {"limits": {"positions_per_symbol_max": 100, "positions_total_max": 100}}
QUICK = {"api_per_minute": 6_000, "api_burst": 1_000, "orders_per_minute": 6_000, "orders_burst": 1_000}
NO_COOLDOWNS = {"after_win_s": 0, "after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0}
THROTTLED = "EAPI:Rate limit exceeded"


@attrs.frozen
class Key:
    """One key, another value for it, and a story that must end differently."""

    name: str
    changed: Any
    told: Told
    also: Mapping[str, Any] = attrs.field(factory=dict)
    """Settings that both tellings need."""


# Stories: each returns what one can see of it ---------------------------------------------------------------


def entry(world: Harness, what: Callable[[Any], Any], **wishes: Any) -> Any:
    """Enter a trade, and look at its first order."""
    return what(world.orders(world.proposes("BTC/USDT", "buy", **{"stop": 98_000, **wishes}), ENTRY)[0])


def exits(role: OrderRole, what: Callable[[Any], Any]) -> Told:
    """Enter a protected trade, and look at the order of this role."""

    def told(world: Harness) -> Any:
        trade = world.proposes("BTC/USDT", "buy", stop="98000.04", target=104_000, leverage=2)
        orders = world.orders(trade, role)
        return what(orders[-1]) if orders else None

    return told


def many(world: Harness, count: int = 10, seconds: int = 0) -> int:
    """Hand in limit orders in one instant, and count what leaves."""
    world.hands_in(*(world.proposal("BTC/USDT", "buy", size=100, entry=99_000) for _ in range(count)))
    world.passes(seconds=seconds)
    return len(world.said(PlaceOrder))


def lost(seconds: int, what: Callable[[Harness, Any], Any]) -> Told:
    """The entry vanishes on its way; look after some seconds."""

    def told(world: Harness) -> Any:
        world.exchange.lost_requests = 1
        trade = world.proposes("BTC/USDT", "buy", stop=98_000)
        world.passes(seconds=seconds)
        return what(world, trade)

    return told


def refused(times: int, ms: int) -> Told:
    """The entry is refused so many times; count the attempts after a while."""

    def told(world: Harness) -> int:
        world.exchange.refuse_next(THROTTLED, times=times)
        trade = world.proposes("BTC/USDT", "buy", stop=98_000)
        world.passes(ms=ms)
        return len(world.orders(trade, ENTRY))

    return told


def opened_by_hand(world: Harness) -> int:
    """Somebody else opens a position on margin."""
    world.exchange.trade_by_hand(BTC, Side.BUY, Decimal("0.01"), on_margin=True)
    world.price(BTC, 100_000)
    world.passes(minutes=4)
    return len(world.journal.positions)


def resting_for(minutes: int) -> Told:
    """A limit entry rests so long."""

    def told(world: Harness) -> Any:
        trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000)
        world.passes(minutes=minutes)
        return world.order(trade, ENTRY).status

    return told


def silent(world: Harness) -> int:
    """No poll mentions a resting order."""
    world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000)
    world.exchange.poll_lag_us = 600_000_000
    world.passes(minutes=3)
    return len(world.events("order_silent"))


def unprotectable(world: Harness) -> Any:
    """The exchange takes no stop."""
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.exchange.refuse_next(THROTTLED, times=1_000)
    world.price("BTC/USDT", 98_990)
    world.passes(seconds=10)
    return world.position(trade).status


def leapt_over(world: Harness) -> Any:
    """The price leaps over the limit of a stop-loss-limit."""
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.price("BTC/USDT", 96_000)
    world.passes(ms=500)
    return world.position(trade).status


def ended_trades(count: int, what: Callable[[Harness], Any]) -> Told:
    """Open and close some trades."""

    def told(world: Harness) -> Any:
        for _ in range(count):
            world.closes(world.proposes("BTC/USDT", "buy", stop=98_000))
            world.passes(seconds=20)
        return what(world)

    return told


def trailed(*prices: int, seconds: int = 20) -> Told:
    """A trailing position rises."""

    def told(world: Harness) -> Any:
        trade = world.proposes("BTC/USDT", "buy", stop=95_000, leverage=2, trailing=True)
        for price in prices:
            world.price("BTC/USDT", price)
            world.passes(seconds=seconds)
        return world.position(trade).stop_loss_quote, len(world.said(AmendOrder))

    return told


def held(world: Harness) -> Any:
    """A position is held for two minutes."""
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(minutes=2)
    return world.position(trade).status


def does_trail(world: Harness) -> bool:
    """Nobody asked for trailing."""
    return world.position(world.proposes("BTC/USDT", "buy", stop=98_000)).trailing


def photographed(what: Callable[[Harness], Any]) -> Told:
    """Two minutes pass."""

    def told(world: Harness) -> Any:
        world.passes(minutes=2)
        return what(world)

    return told


def subscribed(world: Harness) -> bool:
    """Somebody wants to hear a lot."""
    question = Subscribe(name="reader", topics=frozenset(Topic), capacity=50)
    try:
        world.asks("bus", question)
    except ValueError:
        return False
    return True


def paid(**wishes: Any) -> Told:
    """Enter, and look at the first fill."""

    def told(world: Harness) -> Any:
        trade = world.proposes("BTC/USDT", "buy", **wishes)
        world.price("BTC/USDT", 99_000)
        return [(fill.price_quote, fill.volume_base, fill.fee_quote) for fill in world.fills(trade)][:1]

    return told


def fallen(world: Harness) -> Any:
    """The price falls so far that the margin level matters."""
    world.proposes("BTC/USDT", "buy", size=900, leverage=5)
    world.price("BTC/USDT", 86_000)
    return world.account().holdings


def equity(world: Harness) -> Decimal:
    """What risk believes that we own."""
    risk: Any = world.engine.actors["risk"].describe()
    return Decimal(risk.equity_usd)


def rejected(count: int, **wishes: Any) -> Told:
    """Ask for some trades in a row; look at what is said to the last."""

    def told(world: Harness) -> Any:
        codes: Any = ()
        for _ in range(count):
            codes = world.codes(world.proposes("BTC/USDT", "buy", **{"stop": 98_000, **wishes}))
        return codes

    return told


def after_results(count: int, out: int) -> Told:
    """Some trades end well or badly; ask for one more."""

    def told(world: Harness) -> Any:
        for _ in range(count):
            world.price("BTC/USDT", 100_000)
            trade = world.proposes("BTC/USDT", "buy", stop=90_000)
            world.price("BTC/USDT", out)
            world.closes(trade)
            world.passes(seconds=20)
        return world.codes(world.proposes("BTC/USDT", "buy", stop=90_000))

    return told


def queried(world: Harness) -> int:
    """A client of the exchange asks for some REST calls at once; count those that may leave."""
    for number in range(20):
        world.tell(RequestCall(call=number, points_milli=1_000, priority=CallPriority.QUERY))
    return len(world.said(CallGranted))


def said(kind: type) -> Callable[[Harness, Any], int]:
    """Count the messages of a type."""
    return lambda world, _trade: len(world.said(kind))


KEYS = (
    Key("usd_equivalents", (Currency("USD"),), equity),
    Key("instruments.price_tick_quote", Decimal(100), exits(STOP, lambda order: order.trigger_price_quote)),
    Key("instruments.lot_step_base", Decimal("0.001"), exits(STOP, lambda order: order.volume_base)),
    Key("instruments.volume_min_base", Decimal(1), rejected(1)),
    Key("instruments.notional_min_quote", Decimal(10_000), rejected(1)),
    Key("instruments.leverage_max", 1, rejected(1, leverage=2)),
    Key("instruments.fee_maker_pct", Decimal(1), paid(entry=99_500)),
    Key("instruments.fee_taker_pct", Decimal(1), paid()),
    Key("orders.fee_pct", Decimal(1), lambda world: entry(world, lambda order: order.volume_base)),
    Key("orders.slippage_pct", Decimal(1), lambda world: entry(world, lambda order: order.intent.limit_price_quote)),
    Key(
        "orders.default_time_in_force",
        "GTC",
        lambda world: entry(world, lambda order: order.intent.time_in_force, entry=99_000),
    ),
    Key("orders.adopt_external", changed=True, told=opened_by_hand),
    Key("orders.expiry_s", 600, resting_for(11)),
    Key("orders.deadline_s", 20, lambda world: (entry(world, bool), world.said(PlaceOrder)[0].deadline_us)[1]),
    Key("orders.settle_lag_s", 5, lost(30, lambda world, trade: world.orders(trade, ENTRY)[0].status)),
    Key("orders.look_up_every_s", 1, lost(4, said(LookUpOrder))),
    Key("orders.poll_s", 1, lambda world: (resting_for(1)(world), len(world.said(PollOrders)))[1]),
    Key("orders.silence_max_s", 60, silent),
    Key("orders.permit_wait_max_s", 1, lambda world: many(world, seconds=30), NO_LIMITS),
    Key("orders.retries_max", 0, refused(1, 5_000)),
    Key("orders.retry_first_ms", 5_000, refused(1, 2_000)),
    Key("orders.retry_longest_ms", 1_000, refused(3, 4_000)),
    Key("orders.stop_order_type", "stop-loss-limit", exits(STOP, lambda order: order.intent.order_type)),
    Key("orders.target_order_type", "take-profit-limit", exits(TARGET, lambda order: order.intent.order_type)),
    Key(
        "orders.trigger_limit_pct",
        Decimal(1),
        exits(STOP, lambda order: order.intent.limit_price_quote),
        {"orders": {"stop_order_type": "stop-loss-limit"}},
    ),
    Key("orders.protection_delay_ms", 1_000, exits(STOP, lambda order: order.status)),
    Key("orders.protection_grace_s", 5, unprotectable),
    Key("orders.local_watch_grace_ms", 0, leapt_over, {"orders": {"stop_order_type": "stop-loss-limit"}}),
    Key(
        "orders.history_max",
        1,
        ended_trades(2, lambda world: world.engine.actors["order"].describe().over),  # type: ignore[attr-defined]
        {"cooldowns": NO_COOLDOWNS},
    ),
    Key("positions.holding_max_s", 60, held),
    Key(
        "positions.history_max",
        1,
        ended_trades(2, lambda world: world.engine.actors["position"]._portfolio.remembered),  # type: ignore[attr-defined]
        {"cooldowns": NO_COOLDOWNS},
    ),
    Key("positions.trailing.enabled", True, does_trail),  # noqa: FBT003
    Key("positions.trailing.activation_pct", Decimal(5), trailed(102_000)),
    Key("positions.trailing.distance_pct", Decimal(3), trailed(102_000)),
    Key("positions.trailing.move_every_s", 300, trailed(102_000, 103_000, 104_000)),
    Key("rate_limits.api_per_minute", 6, lambda world: (resting_for(2)(world), len(world.said(PollOrders)))[1]),
    Key("rate_limits.api_burst", 1, lambda world: many(world, 3), NO_LIMITS),
    Key("rate_limits.orders_per_minute", 6, lambda world: many(world, 10, 10), NO_LIMITS),
    Key("rate_limits.orders_burst", 8, many, NO_LIMITS),
    Key("rate_limits.orders_reserved", 0, many, NO_LIMITS),
    Key("rate_limits.kraken_tier", "pro", lambda world: many(world, 40), {**NO_LIMITS, "rate_limits": QUICK}),
    Key("rate_limits.rest_points_reserved", 1, queried),
    Key("rate_limits.engine_points_reserved", 50, lambda world: many(world, 20), {**NO_LIMITS, "rate_limits": QUICK}),
    Key("snapshots.every_s", 10, photographed(lambda world: len(world.journal.snapshots))),
    Key(
        "snapshots.ring_max",
        1,
        photographed(lambda world: world.engine.actors["snapshot"].describe().kept),  # type: ignore[attr-defined]
    ),
    Key("snapshots.write_every", 2, photographed(lambda world: len(world.said(RecordSnapshots)))),
    Key("journal.group_max", 1, lambda world: (many(world), world.journal.commits)[1], NO_LIMITS),
    Key("bus.capacity_max", 10, subscribed),
    Key("paper.balances", {Currency("USDT"): Decimal(1_000)}, equity),
    Key("paper.acknowledge_delay_ms", 1_000, lambda world: entry(world, lambda order: order.status)),
    Key("paper.fill_delay_ms", 1_000, lambda world: entry(world, lambda order: order.status)),
    Key("paper.slippage_pct", Decimal("0.1"), paid()),
    Key("paper.fill_share_pct", Decimal(50), paid(entry=99_500)),
    Key(
        "paper.liquidation_level_pct",
        Decimal(190),
        fallen,
        {"paper": {"balances": {Currency("USDT"): Decimal(2_000)}}, "limits": {"exposure_max_pct": Decimal(1_000)}},
    ),
    Key("limits.positions_per_symbol_max", 1, rejected(2)),
    Key("limits.positions_total_max", 1, rejected(2)),
    Key("limits.exposure_max_pct", Decimal("0.1"), rejected(1)),
    Key("limits.leverage_max", 2, lambda world: entry(world, lambda order: order.intent.leverage, leverage=3)),
    Key("cooldowns.after_win_s", 600, after_results(1, 110_000)),
    Key("cooldowns.after_loss_s", 0, after_results(1, 99_000)),
    Key("cooldowns.after_3_losses_s", 0, after_results(3, 99_000), {"cooldowns": {"after_loss_s": 0}}),
    Key(
        "cooldowns.after_5_losses_s",
        0,
        after_results(5, 99_000),
        {"cooldowns": {"after_loss_s": 0, "after_3_losses_s": 0}},
    ),
)
ELSEWHERE = {
    "trading_mode": "tests/operations/test_exit_codes.py",
    "account": "tests/operations/test_configuration.py",
    "actors.dispatcher": "tests/operations/test_configuration.py",
    "actors.restarts_max": "tests/actors/test_supervisor.py",
    "actors.restart_window_s": "tests/actors/test_supervisor.py",
    "journal.retry_ms": "tests/actors/test_journal.py",
    "journal.commit_slow_ms": "tests/actors/test_journal.py",
    "journal.commit_timeout_s": "tests/operations/test_database_away.py",
    "journal.account_wait_s": "tests/operations/test_two_engines.py",
    "journal.waiting_max": "tests/actors/test_journal.py",
    "journal.retention_months": "tests/operations/test_configuration.py",
    "kraken.rest_url": "tests/wire/test_kraken_keys.py",
    "kraken.websocket_url": "tests/wire/test_kraken_keys.py",
    "kraken.order_timeout_s": "tests/wire/test_kraken_keys.py",
    "kraken.query_timeout_s": "tests/wire/test_kraken_keys.py",
    "kraken.quiet_max_s": "tests/wire/test_kraken_keys.py",
    "kraken.reconcile_s": "tests/wire/test_kraken_keys.py",
    "kraken.refresh_s": "tests/wire/test_kraken_keys.py",
    "kraken.dead_man_s": "tests/wire/test_kraken_keys.py",
    "demo.every_s": "tests/operations/test_configuration.py",
    "demo.size_usd": "tests/operations/test_configuration.py",
    "demo.stop_pct": "tests/operations/test_configuration.py",
    "demo.target_pct": "tests/operations/test_configuration.py",
}


def changed(settings: Settings, name: str, value: Any) -> Settings:
    """Return the settings with one key changed; of the instruments that of BTC/USDT."""
    owner = "execution" if hasattr(settings.execution, name.partition(".")[0]) else "risk"
    path = [owner, *name.split(".")]
    if path[1] == "instruments":
        instruments = dict(settings.execution.instruments)
        instruments[BTC] = attrs.evolve(instruments[BTC], **{path[2]: value})
        return attrs.evolve(settings, execution=attrs.evolve(settings.execution, instruments=instruments))
    evolved: Settings = _evolved(settings, path, value)
    return evolved


def _evolved(owner: Any, path: list[str], value: Any) -> Any:
    if len(path) == 1:
        return attrs.evolve(owner, **{path[0]: value})
    return attrs.evolve(owner, **{path[0]: _evolved(getattr(owner, path[0]), path[1:], value)})


def telling(settings: Settings, told: Told) -> Any:
    """Tell a story in a world with these settings."""
    with Harness(settings) as world:
        world.price("BTC/USDT", 100_000)
        return told(world)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_x23_the_key_changes_what_happens(key: Key) -> None:
    settings = with_settings(**key.also)
    assert telling(settings, key.told) != telling(changed(settings, key.name, key.changed), key.told)


def configured() -> set[str]:
    """Return every key of the two files; instruments and balances have the same keys for each of theirs."""
    found: set[str] = set()

    def walk(value: Any, path: tuple[str, ...]) -> None:
        if path == ("instruments",):
            found.update(f"instruments.{name}" for instrument in value.values() for name in instrument)
        elif isinstance(value, dict) and path[-1:] != ("balances",):
            for name, inner in value.items():
                walk(inner, (*path, name))
        else:
            found.add(".".join(path))

    for file in ("execution.yaml", "risk.yaml"):
        walk(yaml.safe_load((ROOT / "config" / file).read_text(encoding="utf-8")), ())
    return found


def test_x23_no_key_is_forgotten() -> None:
    assert {key.name for key in KEYS} | set(ELSEWHERE) == configured()
    for name, file in ELSEWHERE.items():
        assert name.rpartition(".")[2] in (ROOT / file).read_text(encoding="utf-8"), f"{file} says nothing of {name}"

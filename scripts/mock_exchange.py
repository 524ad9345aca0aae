"""The wire mock as a process of its own: Kraken's face on one port of this machine, until SIGTERM or Ctrl-C.

Read in order: serve_with_keys(), serve_mock_exchange(), _serve, _play.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import yaml

from actors.exchange.wire.counters import TIERS
from actors.exchange.wire.faults import FaultError
from actors.exchange.wire.server import WireServer
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from actors.market.files import PriceFileError
from actors.market.sources import PriceStream, open_prices
from actors.runtime.clock import MICROSECONDS, PacedClock
from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings
from scripts.trading import stop_on_signals

EXIT_DONE, EXIT_USAGE = 0, 2
NO_PRICES = "none"
NANOSECONDS_PER_US = 1_000


@attrs.frozen(kw_only=True)
class Wanted:
    """What the command line asked for."""

    port: int
    prices: tuple[str, ...]
    faults: Path | None
    speed: int
    tier: str
    """One of TIERS, or none."""
    seed: int
    config: Path | None
    key: str = PAPER_KEY
    secret: str = PAPER_SECRET


def serve_with_keys(key: str | None, secret: str | None, wanted: Wanted) -> int:
    """Serve with these keys, or with those for paper if there are none."""
    if key is None and secret is None:
        return serve_mock_exchange(wanted)
    if not key or not secret or not _is_base64(secret):
        print("triplegain: --key and --secret go together, and the secret is base64", file=sys.stderr)
        return EXIT_USAGE
    return serve_mock_exchange(attrs.evolve(wanted, key=key, secret=secret))


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def serve_mock_exchange(wanted: Wanted) -> int:
    """Serve until told to stop, and return the exit code: 0 done, 2 for bad usage or a port that is taken."""
    try:
        settings = load_settings(wanted.config)
        rules = _read_rules(wanted.faults)
        return asyncio.run(_serve(wanted, settings, rules))
    except (ConfigurationError, PriceFileError, FaultError, OSError) as error:
        print(f"triplegain: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_USAGE


def _read_rules(path: Path | None) -> list[Any]:
    """Return the rules in a file of JSON or YAML, of which JSON is a part."""
    if path is None:
        return []
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FaultError(f"{path}: {error}") from error
    rules = written.get("faults") if isinstance(written, dict) else written
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise FaultError(f"{path}: give a list of rules, such as [{{fault: answer_lost, endpoint: AddOrder}}]")
    return rules


async def _serve(wanted: Wanted, settings: Settings, rules: list[Any]) -> int:
    stop = stop_on_signals()
    execution = settings.execution
    stream = None if wanted.prices == (NO_PRICES,) else open_prices(wanted.prices, execution.instruments)
    clock = PacedClock(time.time_ns() // NANOSECONDS_PER_US, wanted.speed)
    server = WireServer(
        instruments=execution.instruments,
        balances=execution.paper.balances,
        usd_equivalents=execution.usd_equivalents,
        clock=clock,
        tier=TIERS.get(wanted.tier),
        slippage_pct=execution.paper.slippage_pct,
        fill_share_pct=execution.paper.fill_share_pct,
        liquidation_level_pct=execution.paper.liquidation_level_pct,
        key=wanted.key,
        secret=wanted.secret,
        seed=wanted.seed,
        speed=wanted.speed,
    )
    server.faults.read_all(rules)
    await server.start(wanted.port)
    player = asyncio.ensure_future(_play(server, clock, stream))
    try:
        print(_where(server, wanted), flush=True)
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({player, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if player.done():
            player.result()  # A file that cannot be read to its end is said.
        await stopped
    finally:
        player.cancel()
        await server.stop()
    return EXIT_DONE


def _where(server: WireServer, wanted: Wanted) -> str:
    """Return the line that says where we listen; the key for paper is no secret, any other is its owner's."""
    line = f"mock exchange: rest {server.rest_url} websocket {server.websocket_url}"
    is_ours = (wanted.key, wanted.secret) == (PAPER_KEY, PAPER_SECRET)
    return f"{line} key {PAPER_KEY} secret {PAPER_SECRET}" if is_ours else f"{line} with the keys given"


async def _play(server: WireServer, clock: PacedClock, stream: PriceStream | None) -> None:
    """Hand in each tick when it is due: the prices begin now, whenever they were recorded."""
    if stream is None:
        return
    shift_us = clock.now_us() - stream.starts_at_us
    for tick in stream.ticks:
        wait_us = clock.wall_us_until(tick.at_us + shift_us)
        if wait_us:
            await asyncio.sleep((wait_us + 1) / MICROSECONDS)
        await server.tick(tick.symbol, tick.price_quote)

"""Before live trading: the gates, the wires to Kraken, and what has to be known of the account first.

Read in order: refuse_unless_allowed(), opened(), Opened.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
from loguru import logger

from actors.exchange.kraken.errors import Verdict
from actors.exchange.kraken.links import Answer, LineNews, Links, Request
from actors.exchange.kraken.notation import instant_us
from actors.exchange.kraken.pairs import PairError, read_pairs, with_fees
from actors.exchange.kraken.records import balances_of
from actors.exchange.kraken.shell.asking import UNREADABLE
from actors.exchange.kraken.shell.calling import INVALID_NONCE, read_answer
from actors.exchange.kraken.venue import Venue
from actors.runtime.clock import MICROSECONDS, PacedClock
from config.settings import ExecutionSettings, KrakenSettings, Settings, TradingMode
from messages.base import Currency

if TYPE_CHECKING:
    from actors.exchange.kraken.rest import Rest
    from actors.exchange.kraken.socket import Line

LIVE_GATES = (
    ("TRIPLEGAIN_TRADING_MODE", "live"),
    ("TRIPLEGAIN_CONFIRM_LIVE_TRADING", "I_UNDERSTAND_THE_RISKS"),
    ("KRAKEN_API_KEY", None),
    ("KRAKEN_API_SECRET", None),
)
"""What must stand in the environment, beside trading_mode: live in the file; None is anything."""
OWN_DOMAIN = "kraken.com"
OWN_PUBLIC, OWN_PRIVATE = "wss://ws.kraken.com", "wss://ws-auth.kraken.com"
TRIES_MAX = 12
TRIES_WITHOUT_NEED = 3
"""How often something is asked that the run can do without."""
WAIT_LONGEST_S = 8
CLOCK_OFF_MAX_S = 2
CLOCK_TRIES_MAX = 5
ANSWER_LATE_MS = 1_000
"""An answer that took longer says too little about the time."""


class LiveError(Exception):
    """Live trading cannot begin. The text says why, and what to do."""


def refuse_unless_allowed(settings: Settings) -> None:
    """Let paper pass; live trading needs every gate open. Raises LiveError naming each that is closed."""
    if settings.execution.trading_mode is TradingMode.PAPER:
        return
    closed = closed_gates()
    if closed:
        raise LiveError(f"trading_mode is live, but missing in the environment: {', '.join(closed)}")
    problem = malformed_key()
    if problem:
        raise LiveError(f"{problem}; copy it anew")


def closed_gates() -> list[str]:
    """Return what has to be set in the environment and is not."""
    return [
        name if wanted is None else f"{name}={wanted}"
        for name, wanted in LIVE_GATES
        if not os.environ.get(name) or (wanted is not None and os.environ[name] != wanted)
    ]


def malformed_key() -> str:
    """Return what is wrong with the key as it is written; nothing if it may be asked with."""
    key, secret = os.environ.get("KRAKEN_API_KEY", ""), os.environ.get("KRAKEN_API_SECRET", "")
    if not key.isascii() or not key.isprintable() or " " in key:
        return "KRAKEN_API_KEY holds a space or a sign that no key has"
    try:
        base64.b64decode(secret, validate=True)
    except ValueError:
        return "KRAKEN_API_SECRET is no base64"
    return ""


@attrs.frozen(kw_only=True)
class Opened:
    """Kraken, found open."""

    venue: Venue
    balances: Mapping[Currency, Decimal]
    clock: PacedClock
    """The engine's clock: the wall's, or the exchange's own where both run faster than that."""

    def settled(self, settings: Settings) -> Settings:
        """Return the settings with what the exchange demands and charges in place of what the file says.

        No less is held back for fees than the dearest pair takes: an order for all the money would be refused.
        """
        instruments = self.venue.pairs.instruments()
        dearest_pct = max(instrument.fee_taker_pct for instrument in instruments.values())
        orders = attrs.evolve(settings.execution.orders, fee_pct=max(settings.execution.orders.fee_pct, dearest_pct))
        execution = attrs.evolve(settings.execution, instruments=instruments, orders=orders)
        return attrs.evolve(settings, execution=execution)


@asynccontextmanager
async def opened(execution: ExecutionSettings, speed: int) -> AsyncIterator[Opened]:
    """Open the wires, and ask what has to be known first. Raises LiveError."""
    from actors.exchange.kraken.rest import Rest  # noqa: PLC0415 - Paper trading does without the SDK.
    from actors.exchange.kraken.socket import Line, address  # noqa: PLC0415

    kraken = execution.kraken
    rest = Rest(
        url=kraken.rest_url, key=os.environ["KRAKEN_API_KEY"], secret=os.environ["KRAKEN_API_SECRET"], speed=speed
    )
    line = Line(address(private_url(kraken)))
    try:
        yield await found(execution, Wires(rest, line), speed)
    finally:
        await line.closed()
        await rest.close()


def wall_us() -> int:
    """Return the wall clock's instant."""
    return time.time_ns() // 1_000


def is_real(kraken: KrakenSettings) -> bool:
    """Say whether this is Kraken itself, and not something that speaks its language."""
    host = (urlsplit(kraken.rest_url).hostname or "").rstrip(".")
    return host == OWN_DOMAIN or host.endswith(f".{OWN_DOMAIN}")


def private_url(kraken: KrakenSettings) -> str:
    """Return where private messages come from: Kraken has a host of its own for them."""
    return kraken.websocket_url.replace(OWN_PUBLIC, OWN_PRIVATE, 1)


async def found(execution: ExecutionSettings, links: Links, speed: int) -> Opened:
    """Ask what has to be known before the engine starts. Raises LiveError."""
    try:
        return await _found(execution, links, speed)
    except UNREADABLE as error:
        told = f"{type(error).__name__}: {error}"
        raise LiveError(
            f"what {execution.kraken.rest_url} tells is not understood ({told}); is it Kraken's?"
        ) from error


async def _found(execution: ExecutionSettings, links: Links, speed: int) -> Opened:
    front_door = FrontDoor(links, execution.kraken, speed)
    try:
        pairs = read_pairs(await front_door.ask("/0/public/AssetPairs"), execution.instruments)
    except PairError as error:
        raise LiveError(str(error)) from error
    missing = execution.instruments.keys() - pairs.instruments().keys()
    if missing:
        logger.warning(
            "{} lists no pair {}: nothing is traded in it", execution.kraken.rest_url, ", ".join(sorted(missing))
        )
    names = ",".join(pair.altname for pair in pairs.all)
    volume = await front_door.ask("/0/private/TradeVolume", may_refuse=True, pair=names)
    pairs = with_fees(pairs, volume or {})
    balances = balances_of(await front_door.ask("/0/private/Balance"), pairs)
    clock, ahead_us = await _clock(front_door, speed)
    return Opened(venue=Venue(links=links, pairs=pairs, clock_ahead_us=ahead_us), balances=balances, clock=clock)


async def _clock(front_door: FrontDoor, speed: int) -> tuple[PacedClock, int]:
    """Return the engine's clock, and how far the exchange's is ahead of it.

    An answer that was long on its way, or had to be asked for again, tells little: then another one is asked for.
    """
    if speed != 1:
        return await _fast_clock(front_door, speed), 0
    for _try in range(CLOCK_TRIES_MAX):
        asked_us = wall_us()
        told = await front_door.ask("/0/public/Time", may_refuse=True)
        now_us = wall_us()
        if told is None:
            break  # Then ours is believed: all that it decides is until when an order may arrive.
        ahead_us = instant_us(told["unixtime"]) - (asked_us + now_us) // 2
        # It is told in whole seconds: what is less than two is no difference.
        if abs(ahead_us) <= CLOCK_OFF_MAX_S * MICROSECONDS:
            break
        if now_us - asked_us <= ANSWER_LATE_MS * 1_000:
            return PacedClock(now_us, 1), ahead_us
    return PacedClock(wall_us(), 1), 0


async def _fast_clock(front_door: FrontDoor, speed: int) -> PacedClock:
    """Return a clock that goes as fast as the exchange's.

    A moment on the way is seconds of theirs, and would put ours back for the whole run: an answer that took longer is
    asked for again, and the quickest counts.
    """
    quickest: tuple[int, PacedClock] | None = None
    for _attempt in range(TRIES_MAX):
        asked_us = wall_us()
        told_us = instant_us((await front_door.ask("/0/public/Time"))["unixtime"])
        clock, took_us = PacedClock(told_us, speed), wall_us() - asked_us
        if quickest is None or took_us < quickest[0]:
            quickest = took_us, clock
        if took_us * speed <= CLOCK_OFF_MAX_S * MICROSECONDS // 2:
            break
    assert quickest is not None
    return quickest[1]


class FrontDoor:
    """Questions before the engine runs: few, one after the other, and asked again while nobody answers."""

    def __init__(self, links: Links, kraken: KrakenSettings, speed: int) -> None:
        self._links = links
        self._timeout_ms = kraken.query_timeout_s * 1_000
        self._url = kraken.rest_url
        self._speed = speed

    async def ask(self, path: str, *, may_refuse: bool = False, **params: str) -> Any:
        """Return the result; None for a question that the exchange `may_refuse`, and refuses or does not answer.

        Raises LiveError when it refuses another one, or does not answer for a minute or more.
        """
        is_private = path.startswith("/0/private/")
        request = Request(path=path, params=params, is_private=is_private, timeout_ms=self._timeout_ms)
        reason = ""
        for attempt in range(TRIES_WITHOUT_NEED if may_refuse else TRIES_MAX):
            reply = read_answer(await self._links.call(request))
            if reply.meaning is None:
                return reply.result
            reason = reply.reason
            if reply.meaning.verdict is Verdict.REFUSED and may_refuse:
                logger.warning("{} does not say {}: {}", self._url, path, reason)
                return None
            if reply.meaning.verdict in (Verdict.FATAL, Verdict.REFUSED):
                raise LiveError(f"{self._url} refuses {path}: {reason}; see to the key and its rights")
            if reply.meaning.text == INVALID_NONCE:
                self._links.jump_nonces(10 ** min(attempt, 4))
            wait_s = max(reply.meaning.pause_s, min(2**attempt, WAIT_LONGEST_S))
            logger.warning("{} has not answered {}: {}; asked again in {} s", self._url, path, reason, wait_s)
            await asyncio.sleep(wait_s / self._speed)
        if may_refuse:
            return None
        raise LiveError(f"{self._url} does not answer {path}: {reason}")


class Wires:
    """The real wires, together."""

    def __init__(self, rest: Rest, line: Line) -> None:
        self.rest = rest
        self.line = line

    async def call(self, request: Request) -> Answer:
        """Send one request."""
        return await self.rest.call(request)

    def jump_nonces(self, seconds: int) -> None:
        """Go ahead with the nonces."""
        self.rest.nonces.jump(seconds)

    def open_line(self, line: int, tell: Callable[[LineNews], None]) -> None:
        """Open the line anew."""
        self.line.open(line, tell)

    def say(self, text: str) -> None:
        """Send a message over the line."""
        self.line.say(text)

    def close_line(self) -> None:
        """Close the line."""
        self.line.close()

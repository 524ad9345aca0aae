"""Live prices: Kraken's public websocket, kept open, and each price told to the engine as it comes.

Read in order: LivePrices, watched().
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import InvalidOperation
from itertools import count

from loguru import logger

from actors.engine import Engine
from actors.exchange.kraken.line_watch import LineWatch
from actors.exchange.kraken.links import LineClosed, LineNews, LineOpened, LineSaid
from actors.exchange.kraken.notation import read_json, write_json
from actors.exchange.kraken.prices import Prices
from actors.runtime.clock import MICROSECONDS
from config.settings import KrakenSettings
from messages.base import Symbol
from messages.market import Tick

LOOKS_PER_S = 2
"""On the engine's clock."""
FIRST_PRICES_MAX_S = 20
"""After so long proposals are taken although a symbol has no price yet: nobody may have traded in it."""


class LivePrices:
    """Tells the engine every price; whoever asks learns whether the first of each symbol has come."""

    def __init__(
        self,
        engine: Engine,
        kraken: KrakenSettings,
        symbols: Sequence[Symbol],
        first_sequence: int,
        speed: int,
        needed: frozenset[Symbol] | None = None,
    ) -> None:
        from actors.exchange.kraken.socket import Line, address  # noqa: PLC0415 - Other prices do without it.

        self._engine = engine
        self._look_every_s = 1 / (LOOKS_PER_S * speed)
        self._line = Line(address(kraken.websocket_url))
        self._prices = Prices(symbols)
        self._symbols = frozenset(symbols)
        self._needed = self._symbols if needed is None else self._symbols & needed
        self._sequences = count(first_sequence)
        self._number = 0
        self._began_us = engine.clock.now_us()
        self._watch = LineWatch(kraken.quiet_max_s, self._began_us)
        self._is_up = False
        self.told = 0

    def are_known(self) -> bool:
        """Say whether every symbol that is needed has a price, or has had its time to get one."""
        late_us = self._began_us + FIRST_PRICES_MAX_S * MICROSECONDS
        return self._needed <= self._prices.last.keys() or self._engine.clock.now_us() >= late_us

    async def keep_open(self) -> None:
        """Open the line, and open it anew whenever nothing comes over it; until cancelled."""
        try:
            while True:
                self._look()
                await asyncio.sleep(self._look_every_s)
        finally:
            await self._line.closed()

    def _look(self) -> None:
        now_us = self._engine.clock.now_us()
        if not self._is_up and self._watch.may_open(now_us):
            self._number += 1
            self._is_up = True
            self._watch.hears(now_us)
            self._line.open(self._number, self._hear)
        elif self._is_up and self._watch.is_silent(now_us):
            self._begin_anew("nothing was heard")
        elif self._is_up:
            self._line.say(write_json({"method": "ping"}))
        if not self.are_known():
            return
        self._engine.timers.wake.set()  # Requests may have waited for the first prices.

    def _begin_anew(self, reason: str) -> None:
        wait_s = self._watch.fails(self._engine.clock.now_us())
        self._is_up = False
        self._line.close()
        logger.warning("the price feed is down, opened again in {} s: {}", wait_s, reason)

    def _hear(self, news: LineNews) -> None:
        if news.line != self._number or not self._is_up:
            return
        self._watch.hears(self._engine.clock.now_us())
        match news:
            case LineOpened():
                for text in self._prices.subscriptions():
                    self._line.say(text)
            case LineSaid():
                self._hear_message(news.text)
            case LineClosed():
                self._begin_anew(news.reason)

    def _hear_message(self, text: str) -> None:
        try:
            message = read_json(text)
            if message.get("method") == "subscribe" and not message.get("success"):
                logger.error("no prices: {}", message.get("error"))
                return
            for symbol, price_quote in self._prices.hear(message):
                if symbol in self._symbols:
                    self._watch.succeeds()
                    self.told += 1
                    tick = Tick(
                        symbol=symbol,
                        price_quote=price_quote,
                        at_us=self._engine.clock.now_us(),
                        sequence=next(self._sequences),
                    )
                    self._engine.tell(tick)
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            self._begin_anew(f"a message was not understood: {type(error).__name__}: {error}")


@asynccontextmanager
async def kept_open(prices: LivePrices) -> AsyncIterator[None]:
    """Keep the prices coming while inside."""
    keeping = asyncio.create_task(prices.keep_open())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait((keeping,))

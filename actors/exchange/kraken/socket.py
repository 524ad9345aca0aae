"""The line to Kraken's websocket: it opens, hands over what comes, and says when it is down. It decides nothing.

The `websockets` library is used directly: the SDK's client reconnects without telling anybody, replays what the server
acknowledged instead of what was asked for, and reads numbers as floats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from actors.exchange.kraken.links import LineClosed, LineNews, LineOpened, LineSaid

OPEN_MAX_S = 10
CLOSE_MAX_S = 2
MESSAGE_MAX_BYTES = 16_000_000
SAYINGS_MAX = 1_000

_quiet = logging.getLogger("triplegain.websocket")
_quiet.setLevel(logging.WARNING)
"""The library writes every frame into its log at DEBUG, the token too."""


class Line:
    """One websocket at a time. Made on the running loop; what it hears is told on that loop.

    An actor on a thread of its own may open, say and close as well: that is then done on the loop, in the same order.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._to_say: asyncio.Queue[str] = asyncio.Queue(SAYINGS_MAX)
        self.said = 0
        """Messages of the present line that were to be sent."""
        self.heard = 0
        """Messages that have come over it."""

    def open(self, line: int, tell: Callable[[LineNews], None]) -> None:
        """Open the line anew; exactly one LineClosed ends what is told of it, unless it is closed from here."""
        self._on_the_loop(self._open, line, tell)

    def say(self, text: str) -> None:
        """Send a message. A line that is down, or so slow that a thousand messages wait, drops it."""
        self._on_the_loop(self._say, text)

    def close(self) -> None:
        """Close the line at once; nothing more is told of it."""
        self._on_the_loop(self._close)

    def _on_the_loop(self, deed: Callable[..., None], *about: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # Said on a thread that runs no loop.
            self._loop.call_soon_threadsafe(deed, *about)
        else:
            deed(*about)

    def _open(self, line: int, tell: Callable[[LineNews], None]) -> None:
        self._close()
        self._to_say = asyncio.Queue(SAYINGS_MAX)
        self.said = self.heard = 0
        self._task = self._loop.create_task(self._run(line, tell, self._to_say))

    def _say(self, text: str) -> None:
        if not self._to_say.full():
            self._to_say.put_nowait(text)
            self.said += 1

    def _close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def closed(self) -> None:
        """Close the line, and return when nothing is left of it."""
        task = self._task
        self.close()
        if task is not None:
            await asyncio.wait((task,))

    async def _run(self, line: int, tell: Callable[[LineNews], None], to_say: asyncio.Queue[str]) -> None:
        try:
            async with connect(
                self._url,
                open_timeout=OPEN_MAX_S,
                close_timeout=CLOSE_MAX_S,
                max_size=MESSAGE_MAX_BYTES,
                compression=None,
                proxy=None,
                logger=_quiet,
            ) as connection:
                tell(LineOpened(line=line))
                await self._talk(connection, line, tell, to_say)
            reason = "closed by the exchange"
        except (WebSocketException, OSError, TimeoutError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        tell(LineClosed(line=line, reason=reason))

    async def _talk(
        self, connection: ClientConnection, line: int, tell: Callable[[LineNews], None], to_say: asyncio.Queue[str]
    ) -> None:
        speaking = asyncio.create_task(_speak(connection, to_say))
        try:
            async for text in connection:
                if isinstance(text, str):
                    self.heard += 1
                    tell(LineSaid(line=line, text=text))
        finally:
            speaking.cancel()
            await asyncio.wait((speaking,))


async def _speak(connection: ClientConnection, to_say: asyncio.Queue[str]) -> None:
    while True:
        await connection.send(await to_say.get())


def address(url: str) -> str:
    """Return where version 2 is spoken: people configure the host, with or without that, or a path of its own."""
    bare = url.rstrip("/")
    has_path = "/" in bare.partition("://")[2]
    return bare if has_path else f"{bare}/v2"

"""A way to a PostgreSQL that can be cut, swallow what passes, or be slow: what networks do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from persistence.embedded import SOCKET_NAME

T = TypeVar("T")


class Proxy:
    """Listens on a port of this machine and hands everything on to a server's socket. It has a thread of its own."""

    def __init__(self, socket_directory: Path) -> None:
        self._target = str(socket_directory / SOCKET_NAME)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._swallowing: set[int] = set()
        self._is_swallowing_new = False
        self._numbers = 0
        self._port = 0
        self.delay_s = 0.0
        """How late the server's answers come."""
        self.swallowed = 0
        """Bytes that went nowhere."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def address(self, database: str) -> str:
        """As DATABASE_URL names it."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def cut(self) -> int:
        """Cut every connection at once; return how many ends there were to cut."""
        return self._do(self._cut())

    def swallow(self) -> None:
        """From now on nothing comes through, on the connections there are and on new ones; nobody is told."""
        self._do(self._swallow(is_on=True))

    def heal(self) -> None:
        """New connections come through again; what was swallowed stays so."""
        self._do(self._swallow(is_on=False))

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._numbers += 1
        number = self._numbers
        if self._is_swallowing_new:
            self._swallowing.add(number)
        try:
            there, back = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, back}
        self._tasks |= {
            asyncio.ensure_future(self._pump(number, reader, back, is_answer=False)),
            asyncio.ensure_future(self._pump(number, there, writer, is_answer=True)),
        }

    async def _pump(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        try:
            while data := await reader.read(65_536):
                if is_answer and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if number in self._swallowing:
                    self.swallowed += len(data)
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        if number not in self._swallowing:  # Nobody hears of an end in a black hole either.
            writer.close()

    async def _cut(self) -> int:
        living = [writer for writer in self._open if not writer.transport.is_closing()]
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()
        return len(living)

    async def _swallow(self, *, is_on: bool) -> None:
        self._is_swallowing_new = is_on
        if is_on:
            self._swallowing.update(range(1, self._numbers + 1))

    async def _end(self) -> None:
        assert self._listener is not None
        self._listener.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

"""The machine at work: on an event loop, with doors for those outside to tell, ask, wait and stop.

Read in order: Engine, its sections.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from actors.runtime.dispatchers import LoopDispatcher, SharedDispatcher, ThreadDispatcher
from actors.runtime.pacer import WakingTimers
from actors.runtime.switchboard import Switchboard
from actors.system import Machine, World
from messages.base import Message, Query

Answer = TypeVar("Answer", bound=Message)
ASK_PATIENCE_S = 30


class Engine(Machine):
    """The running machine, as those outside see it."""

    def __init__(self, world: World) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.timers = WakingTimers()
        self.dispatcher = _dispatcher(world)
        super().__init__(world, self.dispatcher, self.timers, Switchboard())

    async def ask(self, role: str, question: Message) -> Any:
        """Return what an actor answers to a question from outside."""
        future = self.actors[role].actor_ref.ask(question, block=False)
        return await asyncio.to_thread(future.get, timeout=ASK_PATIENCE_S)

    async def query(self, question: Query, answer_type: type[Answer]) -> Answer:
        """Ask as an actor would, and return the answer as it passes the switchboard."""
        answers: asyncio.Queue[Answer] = asyncio.Queue()

        def listen(message: Message) -> None:
            if isinstance(message, answer_type):
                self._loop.call_soon_threadsafe(answers.put_nowait, message)

        self.switchboard.tap(listen)
        try:
            self.tell(question)
            await self.until_quiet()
            return await asyncio.wait_for(answers.get(), ASK_PATIENCE_S)
        finally:
            self.switchboard.untap(listen)

    def settle(self) -> bool:
        """Handle what is queued; say whether that was all, so that nobody has to wait."""
        return self.dispatcher.settle()

    async def until_quiet(self) -> None:
        """Return when every inbox is empty and no I/O is under way."""
        await self.dispatcher.until_quiet()

    async def until_ended(self) -> None:
        """Return when the engine has stopped, for whatever reason: `exit_code` says which."""
        await self._ended.wait()

    def stop(self, exit_code: int, reason: str) -> None:
        """End the engine, and wake whoever waits for that."""
        super().stop(exit_code, reason)
        self._loop.call_soon_threadsafe(self._ended.set)

    async def close(self) -> None:
        """Stop every actor and cancel their I/O."""
        for actor in reversed(self.actors.values()):
            actor.end()
        await self.dispatcher.close()


def _dispatcher(world: World) -> LoopDispatcher:
    if world.settings.execution.actors.dispatcher == "threads":
        return ThreadDispatcher()
    return SharedDispatcher(ordered_io=world.is_repeatable, io_suspends=world.io_suspends)

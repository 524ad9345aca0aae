"""The pacer: ticks, timers and requests in one order, on a clock that a test may turn."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest

from actors.runtime.clock import PacedClock, SteppedClock
from actors.runtime.pacer import TICKS_PER_TURN, Drivable, Ending, Pacer, WakingTimers
from actors.runtime.typed_actor import TypedActor
from messages.base import Event, Message, Symbol
from messages.market import Tick

S = 1_000_000
WALL_MAX_S = 30.0


@attrs.frozen(kw_only=True)
class Note(Event):
    text: str


@attrs.frozen
class Timed:
    at_us: int
    message: Message


class FakeEngine:
    """Writes down what happens and when; `on` makes something happen after it."""

    def __init__(self, clock: SteppedClock | PacedClock) -> None:
        self.clock = clock
        self.timers = WakingTimers()
        self.failed = False
        self.quiet_after: set[str] = set()
        self.waited = 0
        self.story: list[tuple[str, int]] = []
        self.on: dict[str, Callable[[], None]] = {}
        self._waits_for_io = False

    def tell(self, message: Message) -> None:
        name = f"tick {message.sequence}" if isinstance(message, Tick) else cast("Note", message).text
        self.story.append((name, self.clock.now_us()))
        self._waits_for_io = name in self.quiet_after
        if name in self.on:
            self.on[name]()

    def settle(self) -> bool:
        return not self._waits_for_io

    async def until_quiet(self) -> None:
        await asyncio.sleep(0)
        self.waited += self._waits_for_io
        self._waits_for_io = False

    def remind(self, due_us: int, text: str) -> None:
        """Set a timer, as an actor would."""
        self.timers.set(due_us, cast("TypedActor", self), Note(text=text), None)

    def tell_self(self, message: Message, _proposal_id: object) -> None:
        self.tell(message)

    @property
    def names(self) -> list[str]:
        return [name for name, _at_us in self.story]


class VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """Instead of waiting it lets the loop's clock jump."""

    now_s = 0.0
    sleeps = 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if timeout is None and not ready:
            raise AssertionError("everybody waits and nothing can happen any more")
        if not ready and timeout:
            self.now_s += timeout
            self.sleeps += 1
        return ready


class VirtualPacedClock(PacedClock):
    """A paced clock on the virtual loop's time."""

    def now_us(self) -> int:
        return self._start_us + round(asyncio.get_running_loop().time() * S) * self._speed


Play = Callable[[FakeEngine, asyncio.Event], Awaitable[None]]


def stepped(play: Play, start_us: int = 0) -> FakeEngine:
    """Play with a stepped clock; returns the engine with its story."""

    async def run() -> FakeEngine:
        engine = FakeEngine(SteppedClock(start_us))
        async with asyncio.timeout(WALL_MAX_S):
            await play(engine, asyncio.Event())
        return engine

    return asyncio.run(run())


def paced(play: Play, speed: int = 1) -> tuple[FakeEngine, VirtualSelector]:
    """Play with a paced clock on a loop whose time costs nothing."""
    selector = VirtualSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now_s  # type: ignore[method-assign]

    async def run() -> FakeEngine:
        engine = FakeEngine(VirtualPacedClock(0, speed))
        await play(engine, asyncio.Event())
        return engine

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run()), selector


def ticks(*instants_us: int, first: int = 1) -> list[Tick]:
    return [
        Tick(symbol=Symbol("BTC/USDT"), price_quote=Decimal(5), at_us=at_us, sequence=sequence)
        for sequence, at_us in enumerate(instants_us, start=first)
    ]


def requests(*timed: tuple[int, str]) -> list[Timed]:
    return [Timed(at_us, Note(text=text)) for at_us, text in timed]


def pacer(engine: FakeEngine, stop: asyncio.Event, prices: Iterable[Tick], **arguments: Any) -> Pacer:
    drivable: Drivable = engine
    return Pacer(engine=drivable, ticks=prices, stop=stop, **arguments)


# At full speed ------------------------------------------------------------------------------------


def test_timers_come_first_then_ticks_then_requests() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        for at_us in (5, 10, 20, 21):
            engine.remind(at_us, f"timer {at_us}")
        todo = requests((10, "at 10"), (15, "at 15"), (20, "at 20"))
        ending = await pacer(engine, stop, ticks(10, 10, 20), requests=todo, until_prices_end=True).run()
        assert ending is Ending.PRICES_ENDED

    assert stepped(play).story == [
        ("timer 5", 5),
        ("timer 10", 10),
        ("tick 1", 10),
        ("tick 2", 10),
        ("at 10", 10),
        ("at 15", 15),
        ("timer 20", 20),
        ("tick 3", 20),
        ("at 20", 20),
    ]


def test_a_timer_that_a_timer_sets_fires_at_its_own_instant() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(5, "poll")
        engine.on["poll"] = lambda: engine.remind(engine.clock.now_us() + 5, "poll")
        await pacer(engine, stop, ticks(1, 16), until_prices_end=True).run()

    assert stepped(play).story == [("tick 1", 1), ("poll", 5), ("poll", 10), ("poll", 15), ("tick 2", 16)]


def test_requests_before_the_first_tick_come_behind_it_and_in_the_order_of_time() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        todo = requests((7, "seven"), (3, "three"), (7, "seven again"), (0, "zero"))
        await pacer(engine, stop, ticks(10, 10, 12), requests=todo, until_prices_end=True).run()

    assert stepped(play).story == [
        ("tick 1", 10),
        ("tick 2", 10),
        ("zero", 10),
        ("three", 10),
        ("seven", 10),
        ("seven again", 10),
        ("tick 3", 12),
    ]


def test_requests_after_the_end_are_left_and_counted() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        driver = pacer(engine, stop, ticks(1, 2), requests=requests((2, "in"), (3, "out")), until_prices_end=True)
        await driver.run()
        assert (driver.requests_waiting, driver.ticks_told) == (1, 2)
        assert driver.last_tick == ticks(1, 2)[-1]

    assert stepped(play).names == ["tick 1", "tick 2", "in"]


def test_the_next_thing_happens_when_nothing_is_left_of_the_last() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.quiet_after = {"tick 1", "timer", "request"}
        engine.remind(2, "timer")
        await pacer(engine, stop, ticks(1, 4, 5), requests=requests((3, "request")), until_prices_end=True).run()
        assert engine.waited == 3

    stepped(play)


@pytest.mark.parametrize("last", [20, 1000])
def test_until_ends_at_its_instant_with_what_is_due_till_then(last: int) -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        for at_us in (14, 15, 16):
            engine.remind(at_us, f"timer {at_us}")
        todo = requests((13, "at 13"), (15, "at 15"), (16, "at 16"))
        driver = pacer(engine, stop, ticks(10, 12, last), requests=todo, until_us=15)
        assert await driver.run() is Ending.INSTANT_REACHED
        assert engine.clock.now_us() == 15

    assert stepped(play).names == ["tick 1", "tick 2", "at 13", "timer 14", "timer 15", "at 15"]


def test_until_goes_on_behind_the_last_price() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(90, "timer")
        assert await pacer(engine, stop, ticks(10), until_us=100).run() is Ending.INSTANT_REACHED

    assert stepped(play).story == [("tick 1", 10), ("timer", 90)]


def test_a_tick_at_the_last_instant_still_counts() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        await pacer(engine, stop, ticks(10, 15, 15, 16), until_us=15).run()

    assert stepped(play).names == ["tick 1", "tick 2", "tick 3"]


def test_behind_the_last_price_full_speed_waits_for_the_stop_without_advancing() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(99, "timer")
        running = asyncio.create_task(pacer(engine, stop, ticks(10)).run())
        await asyncio.sleep(0.01)
        assert not running.done()
        stop.set()
        assert await running is Ending.STOPPED
        assert engine.clock.now_us() == 10

    assert stepped(play).names == ["tick 1"]


def test_a_stop_ends_it_between_two_ticks() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.on["tick 2"] = stop.set
        assert await pacer(engine, stop, ticks(1, 2, 3), until_prices_end=True).run() is Ending.STOPPED

    assert stepped(play).names == ["tick 1", "tick 2"]


def test_a_stop_is_heard_during_a_long_run_of_ticks_that_need_no_io() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_soon(stop.set)  # As a signal would be.
        prices = ticks(*range(10 * TICKS_PER_TURN))
        assert await pacer(engine, stop, prices, until_prices_end=True).run() is Ending.STOPPED

    assert len(stepped(play).names) <= TICKS_PER_TURN


@pytest.mark.parametrize("where", ["tick 2", "timer", "request"])
def test_a_failure_ends_it_at_once(where: str) -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        def break_down() -> None:
            engine.failed = True

        engine.on[where] = break_down
        engine.remind(12, "timer")
        todo = requests((13, "request"))
        assert await pacer(engine, stop, ticks(10, 14, 15), requests=todo, until_prices_end=True).run() is Ending.FAILED

    assert stepped(play).names[-1] == where


def test_a_resumed_run_goes_on_behind_the_ticks_it_knows() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(25, "timer")
        driver = pacer(
            engine,
            stop,
            ticks(10, 20, 30, 40),
            requests=requests((5, "again"), (35, "new")),
            until_prices_end=True,
            skip_to_sequence=2,
        )
        await driver.run()
        assert driver.ticks_told == 2

    assert stepped(play, start_us=20).story == [
        ("timer", 25),
        ("tick 3", 30),
        ("again", 30),
        ("new", 35),
        ("tick 4", 40),
    ]


def test_when_all_ticks_are_known_there_is_nothing_to_do() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        driver = pacer(engine, stop, ticks(10, 20), until_prices_end=True, skip_to_sequence=9)
        assert await driver.run() is Ending.PRICES_ENDED

    assert stepped(play, start_us=20).story == []


def test_an_error_of_the_price_source_comes_through() -> None:
    def breaking() -> Iterable[Tick]:
        yield from ticks(1)
        raise ValueError("line 2")

    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        with pytest.raises(ValueError, match="line 2"):
            await pacer(engine, stop, breaking(), until_prices_end=True).run()

    assert stepped(play).names == ["tick 1"]


# At a person's pace -------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "wall_s"), [(1, 60.0), (60, 1.0)])
def test_things_happen_when_they_are_due(speed: int, wall_s: float) -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(30 * S, "timer")
        todo = requests((40 * S, "request"))
        driver = pacer(engine, stop, ticks(10 * S, 20 * S, 60 * S), requests=todo, until_prices_end=True)
        assert await driver.run() is Ending.PRICES_ENDED

    engine, selector = paced(play, speed)

    assert engine.names == ["tick 1", "tick 2", "timer", "request", "tick 3"]
    for (_name, at_us), due_s in zip(engine.story, (10, 20, 30, 40, 60), strict=True):
        assert due_s * S <= at_us < due_s * S + 1000 * speed
    assert selector.now_s == pytest.approx(wall_s, abs=0.01)


def test_waiting_is_sleeping() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        await pacer(engine, stop, ticks(3600 * S), until_prices_end=True).run()

    _engine, selector = paced(play)

    assert selector.sleeps <= 3


def test_a_timer_set_while_it_sleeps_fires_in_time() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(5, engine.remind, 7 * S, "timer")
        await pacer(engine, stop, ticks(100 * S), until_prices_end=True).run()

    engine, _selector = paced(play)

    assert engine.story[0][0] == "timer"
    assert engine.story[0][1] == pytest.approx(7 * S, abs=1000)


def test_a_stop_ends_the_sleep_at_once() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(5, stop.set)
        assert await pacer(engine, stop, ticks(100 * S)).run() is Ending.STOPPED

    engine, selector = paced(play)

    assert engine.story == []
    assert selector.now_s == pytest.approx(5, abs=0.01)


def test_behind_the_last_price_timers_and_requests_go_on_until_the_stop() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        engine.remind(20 * S, "timer")
        engine.on["timer"] = lambda: engine.remind(engine.clock.now_us() + 20 * S, "timer")
        asyncio.get_running_loop().call_later(70, stop.set)
        assert await pacer(engine, stop, ticks(1 * S), until_us=None).run() is Ending.STOPPED

    assert paced(play)[0].names == ["tick 1", "timer", "timer", "timer"]


def test_behind_the_last_price_with_nothing_to_wait_for_the_stop_still_ends_it() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        asyncio.get_running_loop().call_later(70, stop.set)
        assert await pacer(engine, stop, ticks(1 * S)).run() is Ending.STOPPED

    assert paced(play)[1].now_s == pytest.approx(70, abs=0.01)


def test_until_ends_a_paced_run_at_its_instant() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        assert await pacer(engine, stop, ticks(1 * S, 9 * S), until_us=5 * S).run() is Ending.INSTANT_REACHED

    engine, selector = paced(play)

    assert engine.names == ["tick 1"]
    assert selector.now_s == pytest.approx(5, abs=0.01)


def test_what_is_late_is_told_without_sleeping_and_the_loop_gets_its_turns() -> None:
    async def play(engine: FakeEngine, stop: asyncio.Event) -> None:
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if not stop.is_set():
                asyncio.get_running_loop().call_soon(turn)

        turn()
        await pacer(engine, stop, ticks(*range(-10 * TICKS_PER_TURN, 0)), until_prices_end=True).run()
        stop.set()
        assert turns >= 10

    engine, selector = paced(play)

    assert len(engine.names) == 10 * TICKS_PER_TURN
    assert selector.now_s == pytest.approx(0, abs=0.01)


def test_a_timer_set_on_another_thread_wakes_the_pacer() -> None:
    async def run() -> list[str]:
        engine = FakeEngine(PacedClock(0, 1000))
        stop = asyncio.Event()
        engine.on["timer"] = stop.set
        running = asyncio.create_task(pacer(engine, stop, ticks(10**15)).run())
        await asyncio.sleep(0.01)
        await asyncio.to_thread(engine.remind, 0, "timer")
        async with asyncio.timeout(WALL_MAX_S):
            await running
        return engine.names

    assert asyncio.run(run()) == ["timer"]

"""The runtime keeps its promises under both dispatchers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from decimal import Decimal

import attrs
import pykka
import pytest

from actors.runtime.ports import Ports
from actors.runtime.typed_actor import (
    GetState,
    Recover,
    TypedActor,
    UndeclaredMessageError,
    kinds,
)
from messages.base import Command, Event, Message, ProposalId, Symbol
from messages.market import PriceMoved
from tests.runtime.driver import Stage, on_both, on_shared, play

TRADE = ProposalId("trade-1")
OTHER_TRADE = ProposalId("trade-2")


@attrs.frozen(kw_only=True)
class Say(Command):
    """Say Said with this word, of this trade."""

    word: str
    proposal_id_: ProposalId | None = None


@attrs.frozen(kw_only=True)
class Said(Event):
    """The word was said."""

    word: str


@attrs.frozen(kw_only=True)
class SayLater(Command):
    """Say it after a while."""

    word: str
    delay_us: int


@attrs.frozen(kw_only=True)
class FetchThenSay(Command):
    """Say what the I/O brings."""

    io: Coroutine[object, object, str]


@attrs.frozen(kw_only=True)
class Break(Command):
    """Raise."""

    text: str = "broken on purpose"


@attrs.frozen(kw_only=True)
class SayUndeclared(Command):
    """Say what was never declared."""


@attrs.frozen(kw_only=True)
class Fetched(Event):
    """The I/O brought this."""

    word: str


Heard = Say | SayLater | FetchThenSay | Break | SayUndeclared | Fetched


class Speaker(TypedActor):
    """Does as it is told."""

    role = "speaker"
    accepts = kinds(Heard)
    emits = frozenset({Said})

    def on_receive(self, message: Heard) -> str | None:
        match message:
            case Say():
                self.emit(Said(word=message.word), message.proposal_id_)
                return message.word.upper()
            case SayLater():
                self.after(message.delay_us, Fetched(word=message.word))
            case FetchThenSay():
                self.pipe(message.io, lambda word: Fetched(word=word), lambda error: Fetched(word=repr(error)))
            case Fetched():
                self.emit(Said(word=message.word))
            case Break():
                raise RuntimeError(message.text)
            case SayUndeclared():
                self.emit(Fetched(word="no"))
        return None


def words(messages: list[Message]) -> list[str]:
    return [message.word for message in messages if isinstance(message, Said)]


# Telling and asking -------------------------------------------------------------------------------


@on_both
async def test_a_command_reaches_its_receiver_and_an_event_everyone(stage: Stage) -> None:
    stage.enter(Speaker)
    audiences = [stage.audience(Said), stage.audience(Said)]

    stage.say(Say(word="hello"))
    await stage.settle()

    assert [audience.heard for audience in audiences] == [[Said(word="hello")], [Said(word="hello")]]


@on_both
async def test_tell_from_outside_on_the_loop_and_from_another_thread(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    audience = stage.audience(Said)

    speaker.actor_ref.tell(Say(word="here"))
    await stage.settle()
    await asyncio.to_thread(speaker.actor_ref.tell, Say(word="there"))
    await stage.ask(speaker, GetState())  # It is answered in turn, so what was told before has been handled.
    await stage.settle()

    assert words(audience.heard) == ["here", "there"]


@on_both
async def test_ask_from_another_thread_returns_the_result(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    stage.audience(Said)

    assert await stage.ask(speaker, Say(word="loud")) == "LOUD"


@on_both
async def test_who_asks_gets_the_exception_and_the_actor_lives_on(stage: Stage) -> None:
    """As pykka has it: an exception stops an actor unless it answers somebody."""
    speaker = stage.enter(Speaker)
    stage.audience(Said)

    with pytest.raises(RuntimeError, match="broken on purpose"):
        await stage.ask(speaker, Break())

    assert stage.failures == []
    assert await stage.ask(speaker, Say(word="still here")) == "STILL HERE"


@on_both
async def test_who_asks_for_what_is_not_declared_is_told_so(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    with pytest.raises(UndeclaredMessageError, match="speaker does not declare to accept Said"):
        await stage.ask(speaker, Said(word="?"))


@on_both
async def test_messages_of_one_sender_arrive_in_order(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)
    spoken = [str(number) for number in range(2_000)]

    for word in spoken:
        stage.say(Say(word=word))
    await stage.settle()

    assert words(audience.heard) == spoken


# Failing ------------------------------------------------------------------------------------------


@on_both
async def test_an_exception_stops_the_actor_and_is_reported_once_with_its_role(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    audience = stage.audience(Said)

    for message in (Say(word="before"), Break(), Say(word="after"), Break()):
        stage.say(message)
    await stage.settle()

    assert [(role, str(error)) for role, error in stage.failures] == [("speaker", "broken on purpose")]
    assert not speaker.actor_ref.is_alive()
    assert words(audience.heard) == ["before"]
    assert speaker.report().last_error == "RuntimeError: broken on purpose"


@on_both
async def test_the_others_go_on_when_one_has_stopped(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)
    stage.say(Break())
    await stage.settle()

    stage.say(Say(word="into the void"))
    await stage.settle()
    stage.enter(Speaker)
    stage.say(Say(word="I am new"))
    await stage.settle()

    assert words(audience.heard) == ["I am new"]


@on_both
async def test_an_undeclared_emit_is_an_error(stage: Stage) -> None:
    stage.enter(Speaker)
    stage.say(SayUndeclared())
    await stage.settle()

    [(role, error)] = stage.failures
    assert role == "speaker"
    assert isinstance(error, UndeclaredMessageError)
    assert str(error) == "speaker does not declare to emit Fetched"


@on_both
async def test_an_undeclared_message_that_is_told_stops_the_actor(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    speaker.actor_ref.tell(Said(word="?"))
    await stage.settle()

    assert [type(error) for _role, error in stage.failures] == [UndeclaredMessageError]


@on_both
async def test_whoever_asks_a_dead_actor_is_told(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    stage.say(Break())
    await stage.settle()

    with pytest.raises(pykka.ActorDeadError):
        await stage.ask(speaker, GetState())


@on_both
async def test_an_ask_that_overtakes_the_death_of_its_actor_is_answered(stage: Stage) -> None:
    """It was put into the inbox while the actor lived, behind the message that stopped it."""
    speaker = stage.enter(Speaker)

    def break_and_ask() -> object:
        speaker.actor_ref.tell(Break())
        return speaker.actor_ref.ask(GetState(), timeout=10)

    with pytest.raises(pykka.ActorDeadError):
        await asyncio.to_thread(break_and_ask)


# Starting -----------------------------------------------------------------------------------------


class Recovering(TypedActor):
    """Recovers first."""

    role = "recovering"
    accepts = frozenset({Recover, Say})
    emits = frozenset()

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.heard: list[Message] = []

    def on_receive(self, message: Recover | Say) -> None:
        self.heard.append(message)


@on_both
async def test_an_actor_that_recovers_does_so_before_anything_else(stage: Stage) -> None:
    actor = stage.enter(Recovering)
    stage.say(Say(word="first?"))
    await stage.settle()

    assert actor.heard == [Recover(), Say(word="first?")]


@on_both
async def test_pykka_knows_the_actors_and_forgets_the_stopped(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    assert pykka.ActorRegistry.get_by_urn(speaker.actor_urn) is speaker.actor_ref
    assert pykka.ActorRegistry.get_by_class_name("Speaker") == [speaker.actor_ref]

    speaker.actor_ref.stop(block=False)
    await stage.settle()

    assert pykka.ActorRegistry.get_by_urn(speaker.actor_urn) is None


# Conflation ---------------------------------------------------------------------------------------

BTC, ETH = Symbol("BTC/USDT"), Symbol("ETH/USDT")


def price(symbol: Symbol, value: int, sequence: int = 0) -> PriceMoved:
    exact = Decimal(value)
    return PriceMoved(
        symbol=symbol, last_quote=exact, low_quote=exact, high_quote=exact, at_us=sequence, sequence=sequence
    )


@attrs.frozen(kw_only=True)
class Wait(Command):
    """Tell all prices to oneself from inside a handler, so that they queue."""

    prices: tuple[PriceMoved, ...]
    between: tuple[tuple[int, Message], ...] = ()


class Market(TypedActor):
    """Says prices in one go, faster than anyone can read them."""

    role = "market"
    accepts = frozenset({Wait})
    emits = frozenset({PriceMoved, Said})

    def on_receive(self, message: Wait) -> None:
        between = dict(message.between)
        for index, moved in enumerate(message.prices):
            if index in between:
                self.emit(between[index])
            self.emit(moved)


class Reader(TypedActor):
    """Reads prices, once it is let go; says a word for each."""

    role = "reader"
    accepts = frozenset({PriceMoved, Said, FetchThenSay})
    emits = frozenset()

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self.heard: list[Message] = []
        self.depths: list[int] = []

    def on_receive(self, message: PriceMoved | Said | FetchThenSay) -> None:
        self.depths.append(self.mailbox_depth())
        self.heard.append(message)


@on_shared
async def test_prices_that_queue_become_one_per_symbol_with_last_low_and_high(stage: Stage) -> None:
    stage.enter(Market)
    reader = stage.enter(Reader)
    prices = tuple(
        price(symbol, value, index)
        for index, (symbol, value) in enumerate(
            [(BTC, 100), (ETH, 10), (BTC, 90), (BTC, 120), (ETH, 11), (BTC, 110), (ETH, 9)], start=1
        )
    )

    stage.say(Wait(prices=prices))
    await stage.settle()

    assert reader.heard == [
        PriceMoved(
            symbol=BTC,
            last_quote=Decimal(110),
            low_quote=Decimal(90),
            high_quote=Decimal(120),
            at_us=6,
            sequence=6,
        ),
        PriceMoved(
            symbol=ETH, last_quote=Decimal(9), low_quote=Decimal(9), high_quote=Decimal(11), at_us=7, sequence=7
        ),
    ]
    assert reader.statistics.depth_max == 2, "one place in the queue for each symbol, however many ticks came"


@on_shared
async def test_a_conflated_price_keeps_its_place_before_later_messages(stage: Stage) -> None:
    """Told in between, a message is heard after the first price and before nothing that was said earlier."""
    stage.enter(Market)
    reader = stage.enter(Reader)

    stage.say(Wait(prices=(price(BTC, 100), price(BTC, 90), price(ETH, 10)), between=((1, Said(word="between")),)))
    await stage.settle()

    assert [type(message).__name__ for message in reader.heard] == ["PriceMoved", "Said", "PriceMoved"]
    first = reader.heard[0]
    assert isinstance(first, PriceMoved)
    assert (first.last_quote, first.high_quote) == (Decimal(90), Decimal(100))


@on_both
async def test_what_was_read_is_never_merged_into(stage: Stage) -> None:
    reader = stage.enter(Reader)
    for value in (100, 90, 120):
        stage.say(price(BTC, value))
        await stage.settle()

    assert reader.heard == [price(BTC, 100), price(BTC, 90), price(BTC, 120)]


@on_both
async def test_no_extreme_is_lost_and_the_last_price_is_the_last_however_slow_the_reader(stage: Stage) -> None:
    stage.enter(Market)
    reader = stage.enter(Reader)
    values = [1_000 + (number * 7_919) % 997 for number in range(3_000)]

    stage.say(Wait(prices=tuple(price(BTC, value, number) for number, value in enumerate(values))))
    await stage.settle()

    heard = [message for message in reader.heard if isinstance(message, PriceMoved)]
    assert min(moved.low_quote for moved in heard) == min(values)
    assert max(moved.high_quote for moved in heard) == max(values)
    assert heard[-1].last_quote == values[-1]
    assert [moved.sequence for moved in heard] == sorted(moved.sequence for moved in heard)
    assert max(reader.depths) <= 1


class PriceEcho(TypedActor):
    """Says a word for each price."""

    role = "echo"
    accepts = frozenset({PriceMoved})
    emits = frozenset({Said})

    def on_receive(self, message: PriceMoved) -> None:
        self.emit(Said(word=str(message.sequence)))


@on_shared
async def test_a_merged_price_has_an_id_that_its_consequences_name_as_their_cause(stage: Stage) -> None:
    stage.enter(Market)
    stage.enter(PriceEcho)
    audience = stage.audience(Said)

    stage.say(Wait(prices=(price(BTC, 100, 1), price(BTC, 90, 2))))
    await stage.settle()

    assert stage.failures == []
    assert words(audience.heard) == ["2"]
    assert audience.heard[0].caused_by == stage.of(PriceMoved)[-1].id


# Causes -------------------------------------------------------------------------------------------


async def fetch(word: str) -> str:
    return word


async def fail() -> str:
    raise ConnectionError("the line is dead")


@on_both
async def test_cause_and_trade_are_carried_by_emit(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)

    wish = Say(word="mine")
    stage.say(wish, TRADE)
    await stage.settle()
    stage.say(Say(word="another's", proposal_id_=OTHER_TRADE), TRADE)
    await stage.settle()

    first, second = audience.heard
    assert (first.caused_by, first.proposal_id) == (wish.id, TRADE)
    assert second.proposal_id == OTHER_TRADE
    assert len({message.id for message in stage.said}) == len(stage.said)


@on_both
async def test_the_trade_is_carried_by_a_timer(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)

    stage.say(SayLater(word="later", delay_us=5), TRADE)
    await stage.advance(5)

    assert audience.heard[0].proposal_id == TRADE


@on_both
async def test_cause_and_trade_are_carried_by_io(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)

    wish = FetchThenSay(io=fetch("brought"))
    stage.say(wish, TRADE)
    await stage.settle()

    [fetched] = stage.of(Fetched)
    assert (fetched.caused_by, fetched.proposal_id) == (wish.id, TRADE)
    assert (audience.heard[0].caused_by, audience.heard[0].proposal_id) == (fetched.id, TRADE)


# Timers and I/O -----------------------------------------------------------------------------------


@on_both
async def test_timers_fire_by_instant_then_in_the_order_they_were_set(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)
    for word, delay_us in (("c", 30), ("a", 10), ("b1", 20), ("b2", 20)):
        stage.say(SayLater(word=word, delay_us=delay_us))

    await stage.advance(9)
    assert audience.heard == []
    await stage.advance(21)

    assert words(audience.heard) == ["a", "b1", "b2", "c"]
    assert len(stage.timers) == 0


@on_both
async def test_an_io_error_is_a_message(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)

    stage.say(FetchThenSay(io=fail()))
    await stage.settle()

    assert words(audience.heard) == ["ConnectionError('the line is dead')"]
    assert stage.failures == []


@on_both
async def test_quiet_waits_for_io_and_for_what_follows_from_it(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)
    gate = asyncio.Event()

    async def gated() -> str:
        await gate.wait()
        return "at last"

    stage.say(FetchThenSay(io=gated()))
    quiet = asyncio.ensure_future(stage.settle())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not quiet.done()
    gate.set()
    await quiet

    assert words(audience.heard) == ["at last"]


@pytest.mark.parametrize("ordered_io", [True, False])
def test_ordered_io_is_told_in_the_order_of_its_start_whatever_finishes_first(ordered_io: bool) -> None:  # noqa: FBT001
    async def scenario(stage: Stage) -> None:
        stage.enter(Speaker)
        audience = stage.audience(Said)
        gate = asyncio.Event()

        async def slow() -> str:
            await gate.wait()
            return "slow"

        async def quick() -> str:
            gate.set()
            return "quick"

        stage.say(FetchThenSay(io=slow()))
        stage.say(FetchThenSay(io=quick()))
        await stage.settle()

        assert words(audience.heard) == (["slow", "quick"] if ordered_io else ["quick", "slow"])

    play(scenario, ordered_io=ordered_io)


@on_both
async def test_closing_cancels_the_io_that_is_under_way(stage: Stage) -> None:
    stage.enter(Speaker)
    stage.audience(Said)
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    stage.say(FetchThenSay(io=endless()))
    await began.wait()
    await stage.dispatcher.close()

    assert cancelled.is_set()
    assert stage.of(Fetched) == []


# Looking in ---------------------------------------------------------------------------------------


@on_both
async def test_statistics_count_what_was_handled(stage: Stage) -> None:
    speaker = stage.enter(Speaker)
    stage.audience(Said)
    for number in range(50):
        stage.say(Say(word=str(number)))
    await stage.settle()

    report = await stage.state_of(speaker)

    assert (report.role, report.handled, report.mailbox_depth, report.last_error) == ("speaker", 50, 0, "")
    assert report.mailbox_depth_max >= 1
    assert 0 < report.handling_p50_ns <= report.handling_p99_ns <= report.handling_max_ns


@on_both
async def test_a_tap_sees_what_passes_until_it_is_taken_off(stage: Stage) -> None:
    stage.enter(Speaker)
    stage.audience(Said)
    seen: list[Message] = []
    stage.switchboard.tap(seen.append)
    stage.say(Say(word="one"))
    await stage.settle()
    stage.switchboard.untap(seen.append)
    stage.say(Say(word="two"))
    await stage.settle()

    assert seen == [Say(word="one"), Said(word="one")]


@on_both
async def test_a_burst_between_actors_is_quiet_only_when_all_of_it_has_been_heard(stage: Stage) -> None:
    stage.enter(Speaker)
    audience = stage.audience(Said)
    for round_ in range(20):
        for number in range(50):
            stage.say(Say(word=f"{round_}.{number}"))
        await stage.settle()
        assert len(audience.heard) == (round_ + 1) * 50

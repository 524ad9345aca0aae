"""What is asked before the engine runs: what it cannot do without is waited for, the rest is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from actors.exchange.kraken.links import Answer, LineNews, Request
from scripts import live
from scripts.live import LiveError, Opened, found
from tests.wire.world import wire_settings

SPEED = 100_000
"""Waits pass at once."""
PAIRS = """{"error": [], "result": {"XBTUSDT": {
    "altname": "XBTUSDT", "wsname": "XBT/USDT", "base": "XXBT", "quote": "USDT", "pair_decimals": 1, "lot_decimals": 8,
    "ordermin": "0.0001", "costmin": "1", "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]]
}}}"""
ANSWERS = {
    "/0/public/AssetPairs": Answer(status=200, text=PAIRS),
    "/0/public/Time": Answer(status=200, text='{"error": [], "result": {"unixtime": 1795408753}}'),
    "/0/private/Balance": Answer(status=200, text='{"error": [], "result": {"USDT": "5.0"}}'),
}
NOT_THERE = (
    Answer(status=404, text="404: Not Found"),
    Answer(status=200, text='{"error": ["EGeneral:Unknown method"]}'),
    Answer(status=200, text='{"error": ["EService:Unavailable"]}'),
    Answer(failure="no answer within 5000 ms"),
)


class _Door:
    """Answers by path; what it has no answer for is the same every time. It has no line."""

    def __init__(self, answers: Mapping[str, Answer], otherwise: Answer) -> None:
        self._answers = answers
        self._otherwise = otherwise
        self.asked: list[str] = []

    async def call(self, request: Request) -> Answer:
        """Answer."""
        self.asked.append(request.path)
        return self._answers.get(request.path, self._otherwise)

    def jump_nonces(self, seconds: int) -> None:
        """There are none."""

    def open_line(self, line: int, tell: Callable[[LineNews], None]) -> None:
        """Nobody asks for it yet."""

    def say(self, text: str) -> None:
        """Nobody listens."""

    def close_line(self) -> None:
        """There is none."""


def knocked(door: _Door, speed: int = SPEED) -> Opened:
    return asyncio.run(found(wire_settings().execution, door, speed))


def without(path: str) -> dict[str, Answer]:
    return {name: told for name, told in ANSWERS.items() if name != path}


@pytest.mark.parametrize("answer", NOT_THERE)
def test_an_exchange_that_does_not_tell_what_it_charges_is_believed_by_its_listing(answer: Answer) -> None:
    door = _Door(ANSWERS, answer)
    opened = knocked(door)

    assert 1 <= door.asked.count("/0/private/TradeVolume") <= 3
    assert [str(one.fee_taker_pct) for one in opened.venue.pairs.instruments().values()] == ["0.4"]


def test_an_exchange_without_a_clock_is_reckoned_to_have_ours() -> None:
    refusing = Answer(status=200, text='{"error": ["EGeneral:Unknown method"]}')
    assert knocked(_Door(without("/0/public/Time"), refusing), speed=1).venue.clock_ahead_us == 0


@pytest.mark.parametrize("answer", NOT_THERE)
def test_without_a_balance_nothing_begins(answer: Answer) -> None:
    door = _Door(without("/0/private/Balance"), answer)

    with pytest.raises(LiveError, match="Balance"):
        knocked(door)


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("result", ["[]", '["no", "object"]', '"nothing"', '{"what": "else"}'])
def test_nonsense_is_told_in_a_line(path: str, result: str) -> None:
    nonsense = Answer(status=200, text=f'{{"error": [], "result": {result}}}')
    if path.endswith("Balance") and result.startswith("{"):  # What is of no currency of ours is no balance.
        assert knocked(_Door(without(path), nonsense)).balances == {}
        return
    with pytest.raises(LiveError) as error:
        knocked(_Door(without(path), nonsense))
    assert "\n" not in str(error.value)


def test_an_answer_that_had_to_be_asked_for_again_does_not_set_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds pass before the exchange answers at all: its clock is not five seconds ahead because of that."""
    now_us = 1_795_408_743_000_000
    answered: list[str] = []

    async def call(door: _Door, request: Request) -> Answer:
        nonlocal now_us
        if request.path.endswith("/Time"):
            answered.append(request.path)
            now_us += 10_000_000 if len(answered) == 1 else 1_000
            told = f'{{"error": [], "result": {{"unixtime": {now_us // 1_000_000}}}}}'
            return Answer(status=200, text=told)
        return ANSWERS.get(request.path, NOT_THERE[1])

    monkeypatch.setattr(_Door, "call", call)
    monkeypatch.setattr(live, "wall_us", lambda: now_us)

    assert knocked(_Door(ANSWERS, NOT_THERE[1]), speed=1).venue.clock_ahead_us == 0
    assert len(answered) == 2


def test_a_clock_that_is_off_is_told_by_an_answer_that_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "wall_us", lambda: 1_795_408_743_000_000)
    assert knocked(_Door(ANSWERS, NOT_THERE[1]), speed=1).venue.clock_ahead_us == 10_000_000

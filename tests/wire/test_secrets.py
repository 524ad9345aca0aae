"""No key, secret, token or signature in anything that a live run writes: logs, errors, events, rows, the report.

A real process trades at the wire mock as another one, at the levels that say most, while calls fail and the line
breaks; then everything that it wrote is searched for everything that must not be in it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.operations.command import (
    PATIENCE_S,
    Result,
    Where,
    dump,
    ended,
    environment,
    run,
    running,
    wait_until,
)

KEY = "3q2TzS8vJk0nY5wXbLrUe1GdHfAcMiOpKqNsVtZxRyBgDuEwFhJlIaCo"
SECRET = base64.b64encode(bytes(range(3, 67))).decode()
SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}==|[A-Za-z0-9+/]{86}%3D%3D")
"""64 bytes in base64: what signs a request. The secret has the same form."""
GATES = {
    "TRIPLEGAIN_TRADING_MODE": "live",
    "TRIPLEGAIN_CONFIRM_LIVE_TRADING": "I_UNDERSTAND_THE_RISKS",
    "KRAKEN_API_KEY": KEY,
    "KRAKEN_API_SECRET": SECRET,
}
SPEED = "20"
CALM = "cooldowns: {after_loss_s: 0, after_3_losses_s: 0, after_5_losses_s: 0}\n"
EVERYTHING_FAILS = [
    {"fault": "invalid_nonce", "endpoint": "OpenOrders", "times": 2},
    {"fault": "internal_error", "endpoint": "AddOrder", "placed": True, "times": 2},
    {"fault": "service_busy", "endpoint": "AddOrder", "times": 1},
    {"fault": "answer_lost", "endpoint": "AddOrder", "times": 1},
    {"fault": "http_error", "endpoint": "TradesHistory", "times": 2},
    {"fault": "error", "text": "EGeneral:Internal error", "endpoint": "GetWebSocketsToken", "times": 1},
    {"fault": "ws_stale_token", "times": 2},
    {"fault": "ws_gap", "channel": "executions", "times": 1},
]
TELLING = """
from loguru import logger
from actors.exchange.kraken.socket import Line
from scripts.triplegain import main

say = Line.say
def tell(self, text):
    logger.info("{}", text)
    say(self, text)
Line.say = tell
main()
"""
"""A run that betrays its tokens: the search must find them."""
FAILING = """
from actors.exchange.kraken.actor import KrakenActor
from actors.exchange.kraken.shell.calling import Answered
from scripts.triplegain import main

heard = KrakenActor.on_receive
def on_receive(self, message):
    if type(message) is Answered and '"token"' in message.answer.text:
        raise ZeroDivisionError("the seam has split")
    return heard(self, message)
KrakenActor.on_receive = on_receive
main()
"""


@attrs.frozen
class Exchange:
    """The wire mock as a process."""

    rest: str
    websocket: str

    def at_the_door(self, what: str, body: Any = None) -> Any:
        """Look, or meddle."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.rest}/mock/{what}", data) as answer:
            return json.loads(answer.read())

    def tokens(self) -> list[str]:
        given: list[str] = self.at_the_door("tokens")["tokens"]
        return given


@pytest.fixture
def state() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="triplegain-state-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


@contextmanager
def exchange(directory: Path, *, secret: str = SECRET) -> Iterator[Exchange]:
    """Run `triplegain mock-exchange` with our key, and write a configuration that trades there."""
    words = ("--prices", "random:7", "--speed", SPEED, "--tier", "none", "--key", KEY, "--secret", secret)
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.triplegain", "mock-exchange", *words],
        cwd="/",
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"mock exchange: rest (\S+) websocket (\S+) with the keys given\n", line)
        assert found is not None, line
        there = Exchange(*found.groups())
        kraken = f"kraken: {{rest_url: '{there.rest}', websocket_url: '{there.websocket}'}}\n"
        tier = "rate_limits: {kraken_tier: none}\n"
        (directory / "execution.yaml").write_text(f"trading_mode: live\n{kraken}{tier}", encoding="utf-8")
        (directory / "risk.yaml").write_text(CALM, encoding="utf-8")
        yield there
    finally:
        process.terminate()
        rest, _none = process.communicate(timeout=PATIENCE_S)
        assert leaks({"mock": rest or ""}, [SECRET]) == []


def live_words(directory: Path, state: Path, seconds: int, *more: str | Path) -> tuple[str, ...]:
    words = ("--prices", "kraken", "--speed", SPEED, "--demo", "--for", str(seconds), "--config", directory)
    return tuple(map(str, (*words, "--state", state, *more)))


def leaks(texts: Mapping[str, str], secrets: Iterable[str]) -> list[str]:
    """Return where something stands that must not, without repeating what."""
    found = []
    wanted = list(secrets)
    for where, text in texts.items():
        found += [f"secret {number} in {where}" for number, secret in enumerate(wanted) if secret in text]
        found += [f"a signature in {where}" for _match in SIGNATURE.finditer(text)]
    return found


def written(result: Result, state: Path) -> dict[str, str]:
    """Return everything that a run has written: both streams, and every row of every table."""
    texts = {"stdout": result.stdout, "stderr": result.stderr}
    return texts | {table: "\n".join(rows) for table, rows in dump(Where(state)).items()}


@pytest.mark.parametrize("more", [("--log-level", "DEBUG"), ("--log-level", "TRACE", "--log-json")], ids="".join)
def test_nothing_secret_is_written_whatever_fails(
    tmp_path: Path, state: Path, log: Path, more: tuple[str, ...]
) -> None:
    report = tmp_path / "report.json"
    with exchange(tmp_path) as there:
        words = live_words(tmp_path, state, 300, "--report", report, *more)
        with running(*words, log=log, **GATES) as process:
            wait_until(lambda: "OrderAccepted" in log.read_text(), "the first order")
            there.at_the_door("faults", EVERYTHING_FAILS)
            there.at_the_door("faults", {"fault": "ws_drop"})
            result = ended(process, log, 0)
        tokens = there.tokens()
        struck = there.at_the_door("books")["struck"]

    assert result.code == 0, result.stderr
    assert len(tokens) >= 4, "the line was opened anew"
    assert {"invalid_nonce", "internal_error", "answer_lost", "ws_drop", "ws_stale_token"} <= struck.keys()
    texts = written(result, state) | {"report": report.read_text(encoding="utf-8")}
    assert "OutcomeUnknown" in texts["stdout"]
    assert "feed_lost" in texts["stdout"]
    assert texts["execution_events"].count("\n") > 10
    assert texts["orders"].count("\n") > 3
    assert leaks(texts, [KEY, SECRET, *tokens]) == []


def test_an_actor_that_fails_on_a_token_does_not_repeat_it(tmp_path: Path, state: Path, log: Path) -> None:
    with exchange(tmp_path) as there:
        words = live_words(tmp_path, state, 60, "--log-level", "TRACE")
        result = run(*words, log=log, program=FAILING, **GATES)
        tokens = there.tokens()

    assert result.code == 70
    assert "ZeroDivisionError: the seam has split" in result.stdout
    assert tokens != []
    assert leaks(written(result, state), [KEY, SECRET, *tokens]) == []


def test_a_key_that_is_refused_is_not_repeated(tmp_path: Path, state: Path, log: Path) -> None:
    with exchange(tmp_path, secret=base64.b64encode(b"another").decode()):
        result = run(*live_words(tmp_path, state, 60, "--log-level", "TRACE"), log=log, **GATES)

    assert result.code == 2
    assert "EAPI:Invalid signature" in result.line
    assert leaks(written(result, state), [KEY, SECRET]) == []


# The search itself ----------------------------------------------------------------------------------


def test_a_run_that_betrays_its_tokens_is_found_out(tmp_path: Path, state: Path, log: Path) -> None:
    with exchange(tmp_path) as there:
        result = run(*live_words(tmp_path, state, 20), log=log, program=TELLING, **GATES)
        tokens = there.tokens()

    assert result.code == 0, result.stderr
    assert leaks(written(result, state), [KEY, SECRET, *tokens]) == ["secret 2 in stdout"]


@pytest.mark.parametrize("planted", [KEY, SECRET, "a-token", base64.b64encode(b"s" * 64).decode()])
def test_whatever_is_planted_is_found(planted: str) -> None:
    assert leaks({"stdout": "nothing", "orders": f'{{"reason": "is {planted}."}}'}, [KEY, SECRET, "a-token"]) != []
    assert leaks({"stdout": "nothing"}, [KEY, SECRET, "a-token"]) == []

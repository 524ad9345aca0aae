"""Log lines: for people and for machines, with the trade they belong to, and never with a secret."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from scripts.logs import MASK, Secrets, configure_logging

KEY = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
PASSWORD = "p+ss%20w0rd"  # As it stands in a URL; as it is meant: "p+ss w0rd".
TRADE = "1a2b3c4d-0000-4000-8000-000000000001"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logger.remove()
    logger.configure(extra={}, patcher=lambda _record: None)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def human(level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(as_json=False, level=level, stream=stream)
    return stream


def machine(level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(as_json=True, level=level, stream=stream)
    return stream


def objects_in(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(stream)]


def fail(text: str) -> None:
    raise ValueError(text)


def test_a_line_for_people_has_time_level_trade_and_message() -> None:
    stream = human()

    logger.bind(correlation_id=TRADE).info("{}", "OrderAccepted {order}")
    logger.warning("no trade")

    first, second = lines_of(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO     1a2b3c4d OrderAccepted \{order\}", first)
    assert re.fullmatch(r".{23} WARNING  -        no trade", second)


def test_a_line_for_machines_is_one_flat_object() -> None:
    stream = machine()

    logger.bind(correlation_id=TRADE, message_id=7, caused_by=5).info("{}", 'say "x"\n{order}')
    logger.error("no trade")

    first, second = objects_in(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first.pop("time"))
    assert first == {
        "level": "INFO",
        "message": 'say "x"\n{order}',
        "correlation_id": TRADE,
        "message_id": 7,
        "caused_by": 5,
        "error": None,
    }
    assert (second["correlation_id"], second["message_id"], second["caused_by"]) == ("-", None, None)


def test_an_exception_is_part_of_its_line() -> None:
    stream = machine()

    try:
        fail("broken")
    except ValueError:
        logger.exception("it failed")

    (line,) = objects_in(stream)
    assert (line["message"], line["error"]) == ("it failed", "ValueError: broken")
    assert "in fail" in line["traceback"]


def test_a_level_keeps_what_is_below_it_out() -> None:
    stream = human("warning")

    logger.info("quiet")
    logger.warning("loud")

    assert len(lines_of(stream)) == 1


def test_nothing_is_coloured_in_a_pipe() -> None:
    stream = human()

    logger.error("plain")

    assert "\x1b" not in stream.getvalue()


def test_the_standard_librarys_warnings_come_along() -> None:
    stream = machine()

    logging.getLogger("pykka").info("quiet")
    logging.getLogger("pykka").warning("loud %s {}", "%")
    logging.getLogger("pykka").log(35, "between")

    assert [(line["level"], line["message"]) for line in objects_in(stream)] == [
        ("WARNING", "loud % {}"),
        ("Level 35", "between"),
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_secrets_are_masked_in_messages_and_exceptions(monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> None:
    monkeypatch.setenv("KRAKEN_API_KEY", "key-of-the-account")
    monkeypatch.setenv("KRAKEN_API_SECRET", KEY)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@db/x")
    stream = machine() if as_json else human()

    logger.info("key {} and {!r}", "key-of-the-account", {"secret": KEY})
    logger.info("to postgresql://me:{}@db/x as p+ss w0rd, or redis://:other@cache", PASSWORD)
    try:
        fail(f"refused {KEY}")
    except ValueError:
        logger.exception("failed with {}", KEY)
    logging.getLogger("asyncpg").error("password %s", "p+ss w0rd")

    text = stream.getvalue()
    for secret in ("key-of-the-account", KEY, PASSWORD, "p+ss w0rd", "other"):
        assert secret not in text
    assert text.count(MASK) >= 7
    assert "postgresql://me:" in text


def test_other_sinks_see_no_secret_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KRAKEN_API_SECRET", KEY)
    human()
    seen = io.StringIO()
    logger.add(seen, format="{message}")

    logger.info("it is {}", KEY)

    assert seen.getvalue() == f"it is {MASK}\n"


@pytest.mark.parametrize(
    ("environment", "text", "masked"),
    [
        ({}, "nothing to hide", "nothing to hide"),
        ({"KRAKEN_API_KEY": ""}, "nothing", "nothing"),
        ({"KRAKEN_API_KEY": "abc"}, "abc is too short to be one", "abc is too short to be one"),
        ({"KRAKEN_API_KEY": "abcd", "KRAKEN_API_SECRET": "abcdef"}, "abcdef abcd", "*** ***"),
        ({"KRAKEN_API_SECRET": "a.c+d*"}, "a.c+d* abc+d*", "*** abc+d*"),
        ({"DATABASE_URL": "postgresql://db/x?password=hunter22&user=me"}, "hunter22", "***"),
        ({"DATABASE_URL": "postgresql://me@db/x"}, "postgresql://me@db/x", "postgresql://me@db/x"),
        ({"DATABASE_URL": "postgresql://[bad:pass@word/x"}, "dsn postgresql://[bad:pass@word/x", "dsn ***"),
    ],
)
def test_what_counts_as_a_secret(environment: dict[str, str], text: str, masked: str) -> None:
    assert Secrets.of(environment).masked(text) == masked

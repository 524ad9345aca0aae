"""Where log lines go and how they look: for people, or one JSON object a line. Secrets never.

Time is the wall clock's; the prices' clock stands in the messages. Read in order: configure_logging(), Secrets.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import parse_qs, unquote, urlsplit

from loguru import logger

if TYPE_CHECKING:
    from loguru import Message, Record

NO_TRADE = "-"
"""The correlation id of what belongs to no trade."""
HUMAN = (
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> <level>{level: <8}</level> "
    "<cyan>{extra[correlation_id]: <8.8}</cyan> {message}"
)
SECRET_NAMES = ("KRAKEN_API_KEY", "KRAKEN_API_SECRET", "KRAKEN_SPOT_API_KEY", "KRAKEN_SPOT_API_SECRET", "PGPASSWORD")
URL_NAMES = ("DATABASE_URL",)
SECRET_MIN = 4
"""Characters. Anything shorter stands in too many innocent words."""
LEVELS_OF_BOTH = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})
MASK = "***"
PASSWORD_IN_URL = re.compile(r"(://[^\s:/@]*:)[^\s@]+(?=@)")


def configure_logging(*, as_json: bool, level: str, stream: TextIO) -> None:
    """Send every log line, pykka's and other libraries' warnings too, to `stream`. Replaces what was set before."""
    secrets = Secrets.of(os.environ)
    extra = {"correlation_id": NO_TRADE, "message_id": None, "caused_by": None}
    logger.remove()
    # The patcher serves every sink, also those that others add; the sinks below mask what is made after it.
    logger.configure(extra=extra, patcher=secrets.mask_record)

    def write_json(message: Message) -> None:
        _write(stream, json.dumps(_as_object(message.record, secrets), ensure_ascii=False) + "\n")

    def write_text(message: Message) -> None:
        _write(stream, secrets.masked(message))

    logger.add(
        write_json if as_json else write_text,
        level=level.upper(),
        format="{message}" if as_json else HUMAN,
        colorize=not as_json and stream.isatty() and "NO_COLOR" not in os.environ,
        backtrace=False,
        diagnose=False,  # It would print the values of variables, and some of them are secret.
    )
    logging.basicConfig(handlers=[_Intercept()], level=logging.WARNING, force=True)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()


def _as_object(record: Record, secrets: Secrets) -> dict[str, Any]:
    extra = record["extra"]
    error = record["exception"]
    line = {
        "time": record["time"].astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "level": record["level"].name,
        "message": record["message"],
        "correlation_id": extra.get("correlation_id", NO_TRADE),
        "message_id": extra.get("message_id"),
        "caused_by": extra.get("caused_by"),
        "error": None,
    }
    if error is not None and error.type is not None:
        line["error"] = secrets.masked(f"{error.type.__name__}: {error.value}")
        line["traceback"] = secrets.masked(_traceback(error))
    return line


def _traceback(error: Any) -> str:
    formatter = logging.Formatter()
    return formatter.formatException((error.type, error.value, error.traceback))


class Secrets:
    """What must never be written, wherever it turns up."""

    def __init__(self, words: Iterable[str]) -> None:
        # The longest first, so that a secret inside another one does not leave the rest of it standing.
        kept = sorted({word for word in words if len(word) >= SECRET_MIN}, key=lambda word: (-len(word), word))
        self._words = re.compile("|".join(map(re.escape, kept))) if kept else None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Secrets:
        """Return the secrets of an environment: keys, and passwords in URLs."""
        words = [environment.get(name, "") for name in SECRET_NAMES]
        for name in URL_NAMES:
            words += _passwords(environment.get(name, ""))
        return cls(words)

    def masked(self, text: str) -> str:
        """Return the text with every secret, and every password in a URL, replaced."""
        if self._words is not None:
            text = self._words.sub(MASK, text)
        return PASSWORD_IN_URL.sub(rf"\g<1>{MASK}", text) if "://" in text else text

    def mask_record(self, record: Record) -> None:
        """Mask the message of a log record before any sink sees it."""
        record["message"] = self.masked(record["message"])


def _passwords(url: str) -> list[str]:
    """Return the passwords in a database URL, as they are written there and as they are meant."""
    try:
        parts = urlsplit(url)
        written = [parts.password or ""]
    except ValueError:
        return [url]  # Not to be understood, so all of it is kept quiet.
    query = parse_qs(parts.query)
    return [*written, unquote(written[0]), *query.get("password", ()), *re.findall(r"password=([^&\s]+)", url)]


class _Intercept(logging.Handler):
    """Hands the standard library's log records to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname if record.levelname in LEVELS_OF_BOTH else record.levelno
        logger.opt(exception=record.exc_info).log(level, "{}", record.getMessage())

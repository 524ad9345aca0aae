"""The verb `doctor`: looks at what a run needs, and says of each thing what was found and what to do about it.

Without --live only the configuration and the database are looked at, and no exchange is talked to.
Read in order: examine(), _findings(), _database(); what is asked of the exchange stands in `doctor_live.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs

from config.errors import ConfigurationError
from config.loader import load_settings
from config.settings import Settings, TradingMode
from persistence.backup import open_as_it_is
from persistence.database import (
    SCHEMA_HEAD,
    SERVER_ERRORS,
    Database,
    disconnect,
    schema_version,
    shown,
)
from persistence.errors import DatabaseUnreachableError
from scripts.findings import Finding, as_json, failure, fine, is_sound, remark
from scripts.logs import configure_logging

EXIT_SOUND, EXIT_FAILED = 0, 1


@attrs.frozen(kw_only=True)
class Wanted:
    """What the command line asked for."""

    live: bool
    config: Path | None
    state: Path
    as_json: bool


def examine(wanted: Wanted) -> int:
    """Look at everything, and return the exit code: 0 when nothing failed, otherwise 1."""
    configure_logging(as_json=False, level="ERROR", stream=sys.stderr)
    return asyncio.run(_examine(wanted))


async def _examine(wanted: Wanted) -> int:
    findings: list[Finding] = []
    async for finding in _findings(wanted):
        findings.append(finding)
        if not wanted.as_json:
            print(finding.as_line(), flush=True)
    if wanted.as_json:
        print(as_json(findings))
    return EXIT_SOUND if is_sound(findings) else EXIT_FAILED


async def _findings(wanted: Wanted) -> AsyncIterator[Finding]:
    settings: Settings | None = None
    try:
        settings = load_settings(wanted.config)
    except ConfigurationError as error:
        yield failure("configuration", str(error), "mend the line; config/execution.yaml explains every key")
    else:
        yield _configuration(settings, wanted.config)
    yield await _database(wanted.state)
    if wanted.live and settings is not None:
        from scripts.doctor_live import exchange_findings  # noqa: PLC0415 - The SDK is loaded only for this.

        async for finding in exchange_findings(settings):
            yield finding


def _configuration(settings: Settings, directory: Path | None) -> Finding:
    execution = settings.execution
    where = "the packaged defaults" if directory is None else str(directory)
    mode = execution.trading_mode.value
    symbols = ", ".join(execution.instruments)
    found = f"{where}: trading_mode {mode}, account {execution.account}, {symbols}"
    if execution.trading_mode is TradingMode.LIVE and execution.kraken.dead_man_s:
        return remark(
            "configuration",
            f"{found}; kraken.dead_man_s is {execution.kraken.dead_man_s}: should the engine fall silent for so long, "
            "Kraken cancels every order of the account, protective stops too",
            "0 switches that off",
        )
    return fine("configuration", found)


async def _database(state: Path) -> Finding:
    """Start or reach the database and look at its schema; nothing in it is changed."""
    url = os.environ.get("DATABASE_URL") or None
    try:
        database = await open_as_it_is(url, state, must_exist=False)
    except (OSError, DatabaseUnreachableError) as error:
        return _no_database(error, url, state)
    try:
        return await _schema(database, "embedded" if url is None else shown(database.dsn), state)
    except (*SERVER_ERRORS, OSError, TimeoutError, DatabaseUnreachableError) as error:
        return _no_database(error, url, state)
    finally:
        await database.stop()


def _no_database(error: Exception, url: str | None, state: Path) -> Finding:
    if url is not None or isinstance(error, DatabaseUnreachableError):
        return failure("database", str(error) or type(error).__name__)
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return failure("database", f"{state} cannot be used: {reason}", "name another directory with --state")


async def _schema(database: Database, name: str, state: Path) -> Finding:
    where = f"embedded in {state}" if name == "embedded" else name
    connection = await database.connect()
    try:
        version = await schema_version(connection)
    finally:
        await disconnect(connection)
    if version is None:
        return fine("database", f"{where}, empty: the first run makes the tables")
    if version > SCHEMA_HEAD:
        return failure(
            "database", f"{where}, schema {version} is newer than this engine's {SCHEMA_HEAD}", "install the newer one"
        )
    if version < SCHEMA_HEAD:
        return remark(
            "database",
            f"{where}, schema {version}: the next run brings it to {SCHEMA_HEAD}",
            "make a backup first (triplegain backup FILE)",
        )
    return fine("database", f"{where}, schema {version}")

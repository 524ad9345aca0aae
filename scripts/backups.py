"""The verbs `backup` and `restore`: the whole database into a file, and back."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from persistence.backup import Backup, back_up, open_as_it_is, refuse_target, refuse_unless_archive, restore
from persistence.database import SERVER_ERRORS, Database, is_outage
from persistence.errors import (
    AccountHeldError,
    BackupFailedError,
    BackupRefusedError,
    DatabaseUnreachableError,
    SchemaError,
)

EXIT_DONE = 0
EXIT_REFUSED = 2
EXIT_DATABASE = 3


def write_backup(file: Path, state: Path, *, force: bool) -> int:
    """Back up, and return the exit code: 0 done, 2 refused, 3 the database cannot be reached or did not do it."""

    async def work() -> Backup:
        refuse_target(file, force=force)
        database = await _open(state, must_exist=True)
        return await _with(database, lambda: back_up(database, file, force=force))

    return _ended(work, "backed up {} at schema {} to {}")


def read_backup(file: Path, state: Path, *, replace: bool, keep_paper: bool) -> int:
    """Restore, and return the exit code, as for a backup."""

    async def work() -> Backup:
        refuse_unless_archive(file)
        database = await _open(state, must_exist=False)
        return await _with(database, lambda: restore(database, file, replace=replace, keep_paper=keep_paper))

    return _ended(work, "restored {} of schema {} from {}")


async def _open(state: Path, *, must_exist: bool) -> Database:
    url = os.environ.get("DATABASE_URL") or None
    try:
        return await open_as_it_is(url, state, must_exist=must_exist)
    except OSError as error:
        if url is not None:
            raise
        raise BackupRefusedError(f"--state {state}: cannot be used: {error.strerror or error}") from error


async def _with(database: Database, work: Callable[[], Awaitable[Backup]]) -> Backup:
    try:
        return await work()
    finally:
        await database.stop()


def _ended(work: Callable[[], Awaitable[Backup]], sentence: str) -> int:
    async def run() -> Backup:
        return await work()

    try:
        backup = asyncio.run(run())
    except (BackupRefusedError, AccountHeldError) as error:
        return _say(error, EXIT_REFUSED)
    except (BackupFailedError, DatabaseUnreachableError, SchemaError) as error:
        return _say(error, EXIT_DATABASE)
    except SERVER_ERRORS as error:
        if not is_outage(error):
            raise
        return _say(DatabaseUnreachableError(f"the database went away: {error}"), EXIT_DATABASE)
    count = len(backup.accounts)
    accounts = f"{count} account{'' if count == 1 else 's'} ({', '.join(backup.accounts)})" if count else "no accounts"
    print(sentence.format(accounts, backup.schema, backup.file))
    return EXIT_DONE


def _say(error: Exception, exit_code: int) -> int:
    print(f"triplegain: {' '.join(str(error).split())}", file=sys.stderr)
    return exit_code

"""The whole database into a file, and back: an ordinary archive of pg_dump, so that PostgreSQL's own tools read it too.

Backup: one consistent snapshot, taken while engines run; the file appears whole or not at all.
Restore: one transaction that gives up what is there, puts back what the file holds, and brings an older schema up to
date. Whatever goes wrong on the way, the database is as it was. Nobody writes meanwhile: the accounts are held.
Read in order: open_as_it_is(), back_up(), restore(), then what they call.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import attrs
from asyncpg import Connection

from persistence.database import (
    HOUSE,
    SCHEMA_HEAD,
    SCHEMA_LOCK,
    Database,
    ensure_schema,
    hold_account,
    schema_version,
    shown,
    without_driver,
)
from persistence.embedded import VERSION, EmbeddedPostgres, programs
from persistence.errors import AccountHeldError, BackupFailedError, BackupRefusedError, DatabaseUnreachableError

JOURNAL = (
    *("accounts", "runs", "trade_requests", "orders", "order_status_log", "fills", "positions"),
    *("position_snapshots", "equity_snapshots", "execution_events", "risk_state", "standings"),
)
PAPER = ("paper_documents", "paper_progress")
"""The paper exchange's own books: kept as they are if the exchange shall not go back in time with the journal."""
STEP = "alembic_version"
TABLES = (*JOURNAL, *PAPER, STEP)
"""Every table of ours, of whatever schema; partitions belong to theirs. A test compares them with the database."""
ARCHIVE = b"PGDMP"
"""How an archive of pg_dump begins."""
CHUNK_BYTES = 1 << 20
NO_TIMEOUT = b"SET transaction_timeout = 0;"
"""Said by every script of today's pg_restore, and not understood by servers before 17."""

PRESENT = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname = ANY($1::text[])
"""
ACCOUNTS = "SELECT account FROM accounts ORDER BY account"
SERVER_VERSION = "SELECT current_setting('server_version_num')::int / 10000"


@attrs.frozen(kw_only=True)
class Backup:
    """What a file holds, or has given back."""

    file: Path
    schema: str
    accounts: tuple[str, ...]


# Backup -------------------------------------------------------------------------------------------


async def open_as_it_is(url: str | None, state: Path, *, must_exist: bool) -> Database:
    """Return the database of this address, or the embedded one below `state`, whatever its schema."""
    if url:
        return Database(url)
    if must_exist and not (state / "postgres").is_dir():
        raise BackupRefusedError(f"there is no database in {state}: name the right --state, or set DATABASE_URL")
    server = await asyncio.to_thread(EmbeddedPostgres.start, state)
    return Database(server.dsn, server)


def refuse_unless_archive(file: Path) -> None:
    """Raise BackupRefusedError for what cannot be a backup, before anything is opened."""
    try:
        with file.open("rb") as opened:
            is_archive = opened.read(len(ARCHIVE)) == ARCHIVE
    except OSError as error:
        raise BackupRefusedError(f"{file}: cannot be read: {error.strerror or error}") from error
    if not is_archive:
        raise _no_backup(file)


def _no_backup(file: Path) -> BackupRefusedError:
    return BackupRefusedError(f"{file} is no backup of this engine: give a file that `triplegain backup` has made")


async def back_up(database: Database, file: Path, *, force: bool) -> Backup:
    """Write the database into the file: whole, under its name, or not at all."""
    refuse_target(file, force=force)
    connection = await database.connect()
    try:
        step, accounts = await _what_there_is(connection, database.dsn)
        present = {row[0] for row in await connection.fetch(PRESENT, list(TABLES))}
        pg_dump = await _program("pg_dump", connection)
    finally:
        await connection.close()
    with _unfinished(file) as unfinished:
        tables = [f"--table-and-children=public.{table}" for table in TABLES if table in present]
        words = ("--format=custom", "--no-owner", "--no-privileges", *tables, f"--file={unfinished}")
        await _run(pg_dump, *words, dsn=database.dsn)
        _put_in_place(unfinished, file, force=force)
    return Backup(file=file, schema=step, accounts=accounts)


@contextmanager
def _unfinished(file: Path) -> Iterator[Path]:
    """Lend a file beside `file` that nobody else reads; what is left of it goes."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".unfinished", dir=file.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def refuse_target(file: Path, *, force: bool) -> None:
    """Raise BackupRefusedError for a file that could not be written, or would be lost."""
    if file.is_dir() or not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise BackupRefusedError(f"{file}: cannot be written; name a file in a directory that exists")
    if file.exists() and not force:
        raise BackupRefusedError(f"{file} exists: give another name, or --force to replace it")


async def _what_there_is(connection: Connection, dsn: str) -> tuple[str, tuple[str, ...]]:
    step = await schema_version(connection)
    if step is None:
        raise BackupRefusedError(f"the database at {shown(dsn)} is empty: there is nothing to back up")
    if step > SCHEMA_HEAD:
        raise BackupRefusedError(
            f"the database at {shown(dsn)} is at schema {step}, newer than this engine's {SCHEMA_HEAD}: "
            "back it up with the newer engine"
        )
    return step, tuple(row[0] for row in await connection.fetch(ACCOUNTS))


def _put_in_place(unfinished: Path, file: Path, *, force: bool) -> None:
    """Give the finished file its name, safe from a power cut; nobody's file is replaced unasked."""
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    if force:
        unfinished.replace(file)
    else:
        try:
            file.hardlink_to(unfinished)
        except FileExistsError as error:
            raise BackupRefusedError(f"{file} has appeared meanwhile: give another name, or --force") from error
        except OSError:  # A file system without links.
            unfinished.rename(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# Restore ------------------------------------------------------------------------------------------


async def restore(database: Database, file: Path, *, replace: bool, keep_paper: bool) -> Backup:
    """Put the file's content into the database, in one transaction.

    With `keep_paper` the paper exchange stays in the present, as a real exchange would.
    """
    connection = await database.connect()
    try:
        backup = await _look_into(file, connection)
        await ensure_schema(database.dsn)
        present = tuple(row[0] for row in await connection.fetch(ACCOUNTS))
        if present and not replace:
            raise BackupRefusedError(
                f"the database at {shown(database.dsn)} has rows of {_listed(present)}: "
                "restore into an empty one, or give --replace to lose them"
            )
        await _hold(connection, {*present, *backup.accounts})
        await _put_back(database.dsn, connection, backup, present, keep_paper=keep_paper)
    finally:
        await connection.close()
    return backup


async def _look_into(file: Path, connection: Connection) -> Backup:
    """Return what the file holds; refuse one that is no backup of ours, or of a newer schema."""
    refuse_unless_archive(file)
    pg_restore = await _program("pg_restore", connection)
    try:
        step = await _column(pg_restore, file, STEP, 0)
        accounts = await _column(pg_restore, file, "accounts", 0)
    except BackupFailedError as error:
        raise BackupRefusedError(f"{file} is damaged: {error}") from error
    if len(step) != 1 or not re.fullmatch(r"\d{4}", step[0]):
        raise _no_backup(file)
    if step[0] > SCHEMA_HEAD:
        raise BackupRefusedError(
            f"{file} is of schema {step[0]}, newer than this engine's {SCHEMA_HEAD}: install the newer engine"
        )
    return Backup(file=file, schema=step[0], accounts=tuple(sorted(accounts)))


async def _column(pg_restore: Path, file: Path, table: str, column: int) -> list[str]:
    """Return one column of a table in the archive."""
    text = await _run(pg_restore, "--data-only", f"--table={table}", "--file=-", str(file))
    rows: list[str] = []
    is_data = False
    for line in text.splitlines():
        if line.startswith(f"COPY public.{table} "):
            is_data = True
        elif line == "\\.":
            is_data = False
        elif is_data:
            rows.append(line.split("\t")[column])
    return rows


async def _hold(connection: Connection, accounts: set[str]) -> None:
    """Keep every engine out for as long as this session lives."""
    for account in sorted(accounts):
        try:
            await hold_account(connection, account)
        except AccountHeldError as error:
            raise AccountHeldError(f"an engine owns the account {account!r} in this database: stop it first") from error


async def _put_back(
    dsn: str, connection: Connection, backup: Backup, present: Sequence[str], *, keep_paper: bool
) -> None:
    """Have the script run, from BEGIN to COMMIT: without its last word, nothing has happened."""
    psql, pg_restore = await _program("psql", connection), await _program("pg_restore", connection)
    is_old_server = await connection.fetchval(SERVER_VERSION) < 17
    migration = await _migration_from(backup.schema)
    async with _started(psql, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", dsn=dsn) as into:
        script = into.stdin
        said = asyncio.create_task(_said(into))
        try:
            assert script is not None  # Asked for as a pipe.
            script.write(_beginning(present, keep_paper=keep_paper).encode())
            await _copy_script(pg_restore, backup.file, script, is_old_server=is_old_server)
            script.write(_ending(migration, keep_paper=keep_paper).encode())
            await script.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # It has ended before us: it says why.
        finally:
            if script is not None:
                script.close()
        text = await said
    if into.returncode != 0:
        raise BackupFailedError(f"nothing was restored: {_first_error(text)}")


def _beginning(present: Sequence[str], *, keep_paper: bool) -> str:
    known = ", ".join(_quoted(account) for account in present)
    others = f"WHERE account NOT IN ({known})" if known else ""
    kept = [f"CREATE TEMPORARY TABLE kept_{table} ON COMMIT DROP AS TABLE public.{table};" for table in PAPER]
    return "\n".join(
        [
            "BEGIN;",
            f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK});",
            "LOCK TABLE public.accounts IN ACCESS EXCLUSIVE MODE;",
            "DO $$ BEGIN",
            f"IF EXISTS (SELECT FROM public.accounts {others}) THEN",
            "RAISE EXCEPTION 'an engine has begun another account meanwhile: stop it first';",
            "END IF; END $$;",
            *(kept if keep_paper else []),
            *(f"DROP TABLE IF EXISTS public.{table};" for table in TABLES),
            "",
        ]
    )


def _ending(migration: str, *, keep_paper: bool) -> str:
    back = [f"TRUNCATE public.{table}; INSERT INTO public.{table} TABLE kept_{table};" for table in PAPER]
    return "\n".join(["", "SET search_path = public;", migration, *(back if keep_paper else []), "COMMIT;", ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


async def _copy_script(pg_restore: Path, file: Path, script: asyncio.StreamWriter, *, is_old_server: bool) -> None:
    """Hand over what the archive says, piece by piece; an archive that breaks off takes everything back."""
    words = ("--no-owner", "--no-privileges", "--file=-", str(file))
    async with _started(pg_restore, *words) as source:
        assert source.stdout is not None  # Asked for as a pipe.
        is_first = True
        while chunk := await source.stdout.read(CHUNK_BYTES):
            script.write(chunk.replace(NO_TIMEOUT, b"") if is_first and is_old_server else chunk)
            await script.drain()
            is_first = False
        text = await _said(source)
    if source.returncode != 0:
        raise BackupFailedError(f"nothing was restored: {_first_error(text)}")


async def _migration_from(step: str) -> str:
    """Return the statements that bring this schema up to date: none for today's."""
    if step == SCHEMA_HEAD:
        return ""
    path = os.pathsep.join(part for part in (HOUSE, os.environ.get("PYTHONPATH", "")) if part)
    words = ("-m", "persistence.migrate", "--sql", step)
    return await _run(Path(sys.executable), *words, variables={"PYTHONPATH": path})


# The programs -------------------------------------------------------------------------------------


async def _program(name: str, connection: Connection) -> Path:
    """Return one of PostgreSQL's programs that understands the server: the wheel's, or a newer one on PATH."""
    wanted = await connection.fetchval(SERVER_VERSION)
    if wanted <= int(VERSION):
        with suppress(DatabaseUnreachableError):  # The wheel is not installed: PATH may help.
            return programs() / name
    found = shutil.which(name)
    if found is not None:
        major = re.search(r"(\d+)", (await _run(Path(found), "--version")).replace("(PostgreSQL)", ""))
        if major is not None and int(major[1]) >= wanted:
            return Path(found)
    raise BackupFailedError(
        f"the server is PostgreSQL {wanted}, and there is no {name} of that version here: "
        f"put one of version {wanted} or later on PATH"
    )


def _address(dsn: str) -> tuple[str, dict[str, str]]:
    """Return the address without its password, and the password where only the program sees it."""
    parts = urlsplit(without_driver(dsn))
    password = unquote(parts.password) if parts.password else ""
    query = []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "password":
            password = value
        else:
            query.append((name, value))
    user, _, host = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    place = f"{name}@{host}" if name else host
    address = urlunsplit((parts.scheme, place, parts.path, urlencode(query, quote_via=quote, safe="/"), ""))
    # An empty place makes urlunsplit leave the slashes out.
    address = address if "://" in address else address.replace(":", "://", 1)
    return address, {"PGPASSWORD": password} if password else {}


@asynccontextmanager
async def _started(
    program: Path, *words: str, dsn: str = "", variables: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a program with pipes; it does not outlive us."""
    address, secret = _address(dsn) if dsn else ("", {})
    process = await asyncio.create_subprocess_exec(
        *(str(program), *([f"--dbname={address}"] if address else []), *words),
        env={**os.environ, "LC_ALL": "C", "PGAPPNAME": "triplegain backup", **secret, **(variables or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _run(program: Path, *words: str, dsn: str = "", variables: Mapping[str, str] | None = None) -> str:
    """Run a program to its good end, and return what it has said."""
    async with _started(program, *words, dsn=dsn, variables=variables) as process:
        output, errors = await process.communicate()
    if process.returncode != 0:
        raise BackupFailedError(_first_error(errors.decode(errors="replace")))
    return output.decode(errors="replace")


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None  # Asked for as a pipe.
    return (await process.stderr.read()).decode(errors="replace")


def _first_error(text: str) -> str:
    """Return the line that says what went wrong: what follows is its echo."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower() or "FATAL:" in line]
    line = (errors or lines or ["no reason given"])[0]
    return re.sub(r"^(psql|pg_dump|pg_restore)?:?(<stdin>:\d+:)?\s*(error:)?\s*(ERROR:)?\s*", "", line)


def _listed(accounts: Sequence[str]) -> str:
    return f"account{'s' if len(accounts) > 1 else ''} {', '.join(accounts)}"

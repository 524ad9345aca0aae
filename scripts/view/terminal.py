"""Writing to a terminal that may stand still: one that was stopped with Ctrl-S must never stop the trading.

A frame is drawn on the event loop and written by a thread; while the thread waits for the terminal, no new frame is
drawn. Read in order: Terminal, LogLines, AsWritten.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment

BEGIN_TOGETHER, END_TOGETHER = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals that know these show what is in between at once; the others ignore them."""
LOG_LINES_MAX = 100
"""Between two frames. More is a flood that nobody reads: the newest are shown, and how many were not."""
CLOSE_PATIENCE_S = 5.0


class Terminal:
    """What rich's console writes to: gathers a frame, and hands it to the thread that writes it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._parts: list[str] = []
        self._frames: SimpleQueue[str | None] = SimpleQueue()
        self._handed = 0
        self._written = 0
        self.error: Exception | None = None
        """Why nothing can be written any more: the terminal has gone."""
        self._thread = threading.Thread(target=self._write_all, name="terminal", daemon=True)
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether the terminal has not taken all of the last frame."""
        return self._handed != self._written

    @property
    def encoding(self) -> str:
        """The encoding that the reader's terminal wants."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Say that this is a terminal."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the terminal."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Keep a part of a frame."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was kept."""
        if self._parts:
            self._handed += 1
            self._frames.put("".join((BEGIN_TOGETHER, *self._parts, END_TOGETHER)))
            self._parts.clear()

    def wait(self) -> None:
        """Return when all is written; a terminal that stands still is waited for a little while."""
        until_s = time.monotonic() + CLOSE_PATIENCE_S
        while self.is_busy and time.monotonic() < until_s:
            time.sleep(0.01)

    def close(self) -> None:
        """Wait until all is written, but not for ever."""
        self.wait()
        self._frames.put(None)

    def _write_all(self) -> None:
        while (frame := self._frames.get()) is not None:
            try:
                if self.error is None:
                    # A sign that the terminal's encoding does not know is a question mark, not the end.
                    self._stream.buffer.write(frame.encode(self._stream.encoding, "replace"))
                    self._stream.buffer.flush()
            except (OSError, ValueError) as error:
                self.error = error
            self._written += 1


class LogLines:
    """Where log lines wait until the next frame, above which they are printed. Any thread may write."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES_MAX)
        self._kept = 0
        self.written = 0
        """How many lines there were since the beginning."""

    def isatty(self) -> bool:
        """Say that colours will be seen."""
        return True

    def write(self, text: str) -> int:
        """Keep a line."""
        self._lines.append(text)
        self._kept += 1
        self.written += 1
        return len(text)

    def flush(self) -> None:
        """Do nothing: the next frame is soon."""

    def take(self) -> str:
        """Return what has been kept since the last time."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        lost, self._kept = self._kept - len(lines), 0
        note = f"({lost:,} log lines were too many to show; in a pipe there are all)\n" if lost > 0 else ""
        return note + "".join(lines)


class AsWritten:
    """Text that goes to the terminal as it is: rich neither measures nor wraps it, whatever its length."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """Yield it as if it were one control code."""
        yield Segment(self._text, None, [(ControlType.CARRIAGE_RETURN,)])

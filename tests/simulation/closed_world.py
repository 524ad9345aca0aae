"""A guard around a simulation: whoever reaches out of it (clock, chance, threads, sockets, files) is noted.

Two nets, because each has holes. The profiler sees every call of a function of C made from Python, by whatever name it
was imported, and every frame of Python; the audit hook sees what the interpreter itself does, such as opening sockets.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

STDLIB = Path(random.__file__).parent
OUTSIDE_IN_C = frozenset(
    {"time", "posix", "_thread", "_socket", "select", "_asyncio", "_queue", "_io", "_ssl", "_posixsubprocess", "_uuid"}
)
"""Modules of C, none of whose functions and objects a simulation may call."""
OUTSIDE_IN_PYTHON = (
    str(Path(asyncio.__file__).parent),
    *(
        str(STDLIB / name)
        for name in (
            *("threading.py", "socket.py", "selectors.py", "subprocess.py", "secrets.py", "tempfile.py", "queue.py"),
            *("logging", "multiprocessing", "concurrent", "importlib"),
        )
    ),
    uuid.__file__,
)
AUDITED = ("open", "import", "socket.", "subprocess.", "os.", "time.", "_thread.", "ctypes.", "shutil.", "tempfile.")
HIDDEN: random.Random = random._inst
"""Whose methods random.random, random.choice and so on are."""

_notes: list[str] | None = None


@contextmanager
def closed_world() -> Iterator[list[str]]:
    """Yield the list in which every step out of the world is noted, while inside.

    The garbage collector rests meanwhile, and what others let it call (a test library times it, for one) is put aside:
    it would clear away what others have left, in the middle of a simulation and without being called by it.
    """
    global _notes  # noqa: PLW0603 - An audit hook stays for ever, so it must know when it is wanted.
    notes: list[str] = []
    gc.collect()
    gc.disable()
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    _notes = notes
    sys.setprofile(_look)
    try:
        yield notes
    finally:
        sys.setprofile(None)
        _notes = None
        gc.callbacks[:] = callbacks
        gc.enable()
        notes[:] = [note for note in notes if "setprofile" not in note]


def _look(frame: FrameType, event: str, called: Any) -> None:
    if _notes is None:
        return
    if event == "c_call":
        what = _of_c(called)
    elif event == "call":
        what = _of_python(frame)
    else:
        return
    if what:
        caller = frame if event == "c_call" or frame.f_back is None else frame.f_back
        _notes.append(f"{what} from {caller.f_code.co_filename}:{caller.f_lineno}")


def _of_c(called: Any) -> str:
    """Return what is reached by a function of C, if it is outside."""
    owner = getattr(called, "__self__", None)
    name = getattr(called, "__qualname__", str(called))
    module = getattr(called, "__module__", None) or type(owner).__module__
    if owner is HIDDEN or isinstance(owner, random.SystemRandom):
        return f"random.{name}"
    if isinstance(owner, type) and issubclass(owner, date) and name.endswith((".now", ".today", ".utcnow")):
        return f"datetime.{name}"
    return f"{module}.{name}" if module in OUTSIDE_IN_C else ""


def _of_python(frame: FrameType) -> str:
    """Return what is reached by a function of Python, if it is outside."""
    code = frame.f_code
    name = f"{code.co_filename}:{code.co_qualname}"
    if code.co_filename.startswith(OUTSIDE_IN_PYTHON) or "/loguru/" in code.co_filename:
        return name
    if code.co_filename == random.__file__:
        owner = frame.f_locals.get("self")
        is_global = owner is HIDDEN or isinstance(owner, random.SystemRandom)
        is_unseeded = code.co_name == "seed" and frame.f_locals.get("a") is None
        return name if is_global or is_unseeded else ""
    return ""


def _audit(event: str, _arguments: tuple[Any, ...]) -> None:
    if _notes is not None and event.startswith(AUDITED):
        _notes.append(f"audit: {event}")


sys.addaudithook(_audit)

"""The disk is full: the engine stands still and says why, and goes on when there is space. A small disk of its own."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.operations.busy import Rows, a_busy_replay
from tests.operations.command import Where, running, stop, wait_until
from tests.operations.sums import assert_nothing_twice, assert_same_orders

SIZE_MIB = 200
NO_SPACE = re.compile(r"(waits? for the database: |JournalStalled reason=).*No space left on device")


@attrs.frozen
class Disk:
    """A mounted file system that can be filled."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "state"

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / "filler").open("wb", buffering=0) as file:
            for size in (1_048_576, 4_096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        (self.path / "filler").unlink()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A small disk; the test is skipped where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    path = Path(tempfile.mkdtemp(prefix="triplegain-disk-"))
    mounted = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=755", "triplegain", str(path)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        path.rmdir()
        pytest.skip(f"no small disk can be mounted here to fill: {mounted.stderr.strip()}")
    yield Disk(path)
    subprocess.run(("umount", "--lazy", str(path)), check=True)
    path.rmdir()


def says_why(log: Path) -> bool:
    return NO_SPACE.search(log.read_text()) is not None


def test_a_replay_stands_still_and_goes_on(disk: Disk, tmp_path: Path, log: Path, calm: Path, quiet: Rows) -> None:
    busy = a_busy_replay(tmp_path, Where(disk.state), log, calm)
    with busy.begun() as process:
        for moment in busy.moments(seed=6, count=2):
            busy.come_to(process, moment)
            size = log.stat().st_size
            disk.fill()
            wait_until(lambda size=size: NO_SPACE.search(log.read_text()[size:]) is not None, "the reason")  # type: ignore[misc]
            assert process.poll() is None
            disk.free()
        busy.ended(process)
    busy.assert_undisturbed(quiet)


def test_paced_trading_stalls_with_an_alert_and_resumes(disk: Disk, log: Path) -> None:
    words = ("--prices", "random:5", "--speed", "50", "--demo", "--state", str(disk.state))
    with running(*words, log=log) as process:
        wait_until(lambda: "role=stop" in log.read_text(), "a position")
        disk.fill()
        wait_until(lambda: "JournalStalled" in log.read_text(), "the journal to stall")
        wait_until(lambda: says_why(log), "the reason")
        assert process.poll() is None
        disk.free()
        wait_until(lambda: "JournalResumed" in log.read_text(), "the journal to resume")
        size = log.stat().st_size
        wait_until(lambda: log.stat().st_size > size + 5_000, "it to trade")
        result = stop(process, signal.SIGTERM, log)

    assert (result.code, result.stderr) == (0, "")
    assert "broken invariants 0" in result.stdout
    assert_nothing_twice(Where(disk.state))
    assert_same_orders(Where(disk.state))

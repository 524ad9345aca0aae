"""`triplegain mock-exchange` as a process: it says where it listens, plays prices, takes faults, and ends when told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET, sign
from tests.operations.command import ROOT, environment
from tests.wire.stage import PATIENCE_S, wait_for

COMMAND = [sys.executable, "-m", "scripts.triplegain", "mock-exchange"]


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().split()
    finally:
        process.kill()
        process.communicate()


def url_of(line: list[str]) -> str:
    assert (line[:3], line[4]) == (["mock", "exchange:", "rest"], "websocket")
    assert line[5] == line[3].replace("http", "ws")
    return line[3]


def get(url: str) -> dict[str, object]:
    with requests.Session() as session:
        session.trust_env = False
        answer: dict[str, object] = session.get(url, timeout=PATIENCE_S).json()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("- {fault: service_busy, endpoint: Time, times: 1}\n")
    with serving("--prices", "random:3", "--speed", "20", "--faults", str(faults)) as (process, line):
        url = url_of(line)
        assert line[6:] == ["key", PAPER_KEY, "secret", PAPER_SECRET]
        assert get(f"{url}/0/public/Time") == {"error": ["EService:Busy"]}
        first = wait_for(lambda: get(f"{url}/mock/books")["prices"], "a price")
        assert first
        wait_for(lambda: get(f"{url}/mock/books")["prices"] != first, "another price")
        nonce, path = "1", "/0/private/Balance"
        headers = {"API-Key": PAPER_KEY, "API-Sign": sign(path, nonce, b"nonce=1", PAPER_SECRET)}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = requests.post(url + path, data="nonce=1", headers=headers, timeout=PATIENCE_S).json()
        assert answer == {"error": [], "result": {"USDT": "50000.0000000000", "ZUSD": "50000.0000000000"}}
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out, err) == (0, "", "")


def test_its_clock_may_run_fast_and_its_prices_come_from_a_file(tmp_path: Path) -> None:
    history = tmp_path / "xbt.csv"
    history.write_text("1600000000,10000.1,1\n1600000100,10000.2,1\n")
    with serving("--prices", f"BTC/USDT={history}", "--speed", "1000") as (_process, line):
        url = url_of(line)
        wait_for(lambda: get(f"{url}/mock/books")["prices"] == {"BTC/USDT": "10000.2"}, "the last price")


def test_prices_may_come_through_the_door_alone() -> None:
    with serving("--prices", "none", "--tier", "none", "--key", "mine", "--secret", "c2VjcmV0") as (_process, line):
        url = url_of(line)
        assert line[6:] == ["with", "the", "keys", "given"]
        assert get(f"{url}/mock/books")["prices"] == {}
        act = {"act": "set_price", "symbol": "BTC/USDT", "price": "5"}
        assert requests.post(f"{url}/mock/acts", data=json.dumps(act), timeout=PATIENCE_S).ok
        assert get(f"{url}/mock/books")["prices"] == {"BTC/USDT": "5"}


def tried(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--key", "mine"), "go together"),
        (("--key", "mine", "--secret", "?"), "base64"),
        (("--prices", "none", "--faults", "nowhere.json"), "nowhere.json"),
        (("--prices", "BTC/EUR=x"), "not a configured symbol"),
        (("--tier", "gold"), "tier"),
        (("--speed", "0"), "speed"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(words: tuple[str, ...], said: str) -> None:
    done = tried(*words)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr.lower()


def test_a_faults_file_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for number, text in enumerate(["fault: {", "- 1", '[{"fault": "nonsense"}]']):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        done = tried("--prices", "none", "--faults", str(path))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_a_port_that_is_taken_is_said() -> None:
    with serving("--prices", "none") as (_process, line):
        port = url_of(line).rpartition(":")[2]
        done = tried("--prices", "none", "--port", port)
    assert (done.returncode, "address already in use" in done.stderr) == (2, True)

"""The verb `doctor`: what it finds, what it says of it, and that it harms nothing.

The main paths are the real command as a subprocess against the wire mock; the rest asks the same questions in-process.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from actors.exchange.kraken.errors import Meaning, Verdict
from actors.exchange.kraken.links import Answer, Request
from actors.exchange.kraken.notation import read_json
from actors.exchange.kraken.pairs import read_pairs
from actors.exchange.kraken.rest import Nonces
from actors.exchange.kraken.shell.calling import Reply
from actors.exchange.wire.numbers import encode
from actors.exchange.wire.private import ALL_PERMISSIONS, WITHDRAW
from actors.exchange.wire.public import asset_pairs
from actors.exchange.wire.server import WireServer
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from actors.runtime.clock import MICROSECONDS, PacedClock
from config.settings import Settings, TradingMode
from messages.base import Symbol
from scripts import doctor_live
from scripts.doctor_live import Enquiry, exchange_findings, is_key_refused
from scripts.findings import Finding, Grade
from tests.operations.command import environment
from tests.wire.world import wire_settings

BTC = Symbol("BTC/USDT")
OPEN_GATES = {
    "TRIPLEGAIN_TRADING_MODE": "live",
    "TRIPLEGAIN_CONFIRM_LIVE_TRADING": "I_UNDERSTAND_THE_RISKS",
    "KRAKEN_API_KEY": PAPER_KEY,
    "KRAKEN_API_SECRET": PAPER_SECRET,
}
RIGHTS = {
    "query-funds": "query funds",
    "query-open-trades": "query open orders & trades",
    "query-closed-trades": "query closed orders & trades",
    "modify-trades": "create & modify orders",
    "websockets": "access WebSockets API",
}
ALL_LIVE = ("gates", "clock", "status", "symbols", "instruments", "permissions", "withdrawal", "fees", "margin")


@pytest.fixture
def state() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="triplegain-state-"))
    yield directory
    shutil.rmtree(directory)


def a_server(ahead_s: int = 0, **options: Any) -> WireServer:
    """Return an exchange that is not started yet, and whose clock may be off."""
    execution = wire_settings().execution
    return WireServer(
        instruments=execution.instruments,
        balances=execution.paper.balances,
        clock=PacedClock(time.time_ns() // 1_000 + ahead_s * MICROSECONDS, 1),
        **options,
    )


# The real command -----------------------------------------------------------------------------------


async def command(*words: str | Path, **variables: str) -> tuple[int | None, str, str]:
    """Run `triplegain doctor WORDS`; return its code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.triplegain", "doctor", *map(str, words)),
        cwd="/",
        env=environment(**variables),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def at_a_server(directory: Path, *words: str | Path, variables: Mapping[str, str], **options: Any) -> Any:
    """Run the command against a wire mock; return its code, its output, and the mock."""

    async def act() -> Any:
        server = a_server(**options)
        await server.start()
        try:
            await server.tick(BTC, Decimal(100_000))
            kraken = f"kraken: {{rest_url: '{server.rest_url}', websocket_url: '{server.websocket_url}'}}\n"
            (directory / "execution.yaml").write_text(f"trading_mode: live\n{kraken}", encoding="utf-8")
            return (*await command("--live", "--config", directory, *words, **variables), server)
        finally:
            await server.stop()

    return asyncio.run(act())


def names_of(out: str) -> list[str]:
    return [line[6:].partition(":")[0] for line in out.splitlines()]


def test_all_is_well_and_nothing_has_happened_on_the_account(tmp_path: Path, state: Path) -> None:
    code, out, err, server = at_a_server(tmp_path, "--state", state, variables=OPEN_GATES)

    assert (code, err) == (0, ""), out
    assert names_of(out) == ["configuration", "database", *ALL_LIVE]
    lines = out.splitlines()
    assert {line[:6] for line in lines} == {"ok    "}, out
    assert f"database: embedded in {state}, empty" in lines[1]
    assert list(server.exchange.registry.orders()) == []
    assert server.faults.struck == {}
    assert PAPER_KEY not in out
    assert PAPER_SECRET not in out


def test_every_gate_that_is_missing_is_named_and_the_rest_is_looked_at(tmp_path: Path, state: Path) -> None:
    code, out, _err, _server = at_a_server(tmp_path, "--state", state, variables={})

    assert code == 1
    lines = out.splitlines()
    assert lines[2].startswith("FAIL  gates: missing in the environment: TRIPLEGAIN_TRADING_MODE=live, ")
    assert all(name in lines[2] for name in OPEN_GATES)
    assert [line[:4].strip() for line in lines] == ["ok", "ok", "FAIL", "warn", "ok", "ok", "ok", "ok"]


def test_json_is_one_object(tmp_path: Path, state: Path) -> None:
    permissions = ALL_PERMISSIONS - {"modify-trades", "close-trades"} | {WITHDRAW}
    code, out, err, _server = at_a_server(
        tmp_path, "--state", state, "--json", variables=OPEN_GATES, permissions=permissions
    )

    told = json.loads(out)
    assert (code, err, told["ok"]) == (1, "", False)
    grades = {check["check"]: check["grade"] for check in told["checks"]}
    assert grades["permissions"] == "fail"
    assert grades["withdrawal"] == "warn"
    (lacks,) = [check["found"] for check in told["checks"] if check["check"] == "permissions"]
    assert lacks == "the key lacks: create & modify orders, cancel & close orders"


def test_without_live_no_exchange_is_talked_to(tmp_path: Path, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        host = f"http://127.0.0.1:{listening.getsockname()[1]}"
        text = f"trading_mode: live\nkraken: {{rest_url: '{host}', websocket_url: 'ws{host[4:]}'}}\n"
        (tmp_path / "execution.yaml").write_text(text, encoding="utf-8")
        code, out, err = asyncio.run(command("--config", tmp_path, "--state", state, **OPEN_GATES))
        with pytest.raises(BlockingIOError):
            listening.accept()

    assert (code, err) == (0, "")
    assert names_of(out) == ["configuration", "database"]


def test_a_wrong_configuration_and_a_database_out_of_reach_are_both_told(tmp_path: Path) -> None:
    (tmp_path / "execution.yaml").write_text("orders: {deadline_s: 1}\n", encoding="utf-8")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://me:s3cr3t-w0rd@127.0.0.1:{closed.getsockname()[1]}/db"
        code, out, err = asyncio.run(command("--live", "--config", tmp_path, DATABASE_URL=url))

    assert (code, err) == (1, "")
    first, second = out.splitlines()
    assert first.startswith("FAIL  configuration: ")
    assert "orders.deadline_s" in first
    assert second.startswith("FAIL  database: no connection to the database at 127.0.0.1:")
    assert "s3cr3t" not in out


def test_a_state_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    code, out, err = asyncio.run(command("--state", tmp_path / "state"))

    assert (code, err) == (1, "")
    assert f"FAIL  database: {tmp_path / 'state'} cannot be used: " in out


# The same questions in-process ----------------------------------------------------------------------


def live_settings(server: WireServer, **execution: Any) -> Settings:
    settings = wire_settings(rest_url=server.rest_url, websocket_url=server.websocket_url, query_timeout_s=1)
    changed = attrs.evolve(settings.execution, trading_mode=TradingMode.LIVE, **execution)
    return attrs.evolve(settings, execution=changed)


def examined(
    monkeypatch: pytest.MonkeyPatch,
    *faults: Mapping[str, Any],
    has_price: bool = True,
    variables: Mapping[str, str] = OPEN_GATES,
    execution: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Finding]:
    """Return what is found at a wire mock with these options and faults."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    async def act() -> dict[str, Finding]:
        server = a_server(**options)
        await server.start()
        try:
            if has_price:
                await server.tick(BTC, Decimal(100_000))
            server.faults.read_all(list(faults))
            settings = live_settings(server, **(execution or {}))
            return {finding.name: finding async for finding in exchange_findings(settings)}
        finally:
            await server.stop()

    return asyncio.run(act())


def instruments(**changes: Any) -> dict[str, Any]:
    """Return the packaged instruments with those of BTC/USDT changed."""
    packaged = dict(wire_settings().execution.instruments)
    packaged[BTC] = attrs.evolve(packaged[BTC], **changes)
    return {"instruments": packaged}


def without_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let nobody wait before a question is asked again; return how long it would have been."""
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(doctor_live, "Enquiry", lambda **given: Enquiry(pause=note, **given))
    return waits


@pytest.mark.parametrize("permission", RIGHTS)
def test_each_right_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, permission: str) -> None:
    found = examined(monkeypatch, permissions=ALL_PERMISSIONS - {permission})

    assert found["permissions"].grade is Grade.FAIL
    assert found["permissions"].found == f"the key lacks: {RIGHTS[permission]}"


def test_a_key_that_may_only_cancel_through_modifying_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, permissions=ALL_PERMISSIONS - {"close-trades"})

    assert found["permissions"].grade is Grade.OK


def test_a_key_that_may_withdraw_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined(monkeypatch, permissions=ALL_PERMISSIONS | {WITHDRAW})["withdrawal"].grade is Grade.WARN
    assert examined(monkeypatch)["withdrawal"].grade is Grade.OK


@pytest.mark.parametrize("text", ["EFunding:Something new", "EGeneral:Invalid arguments"])
def test_any_answer_but_a_denial_means_that_the_key_may_withdraw(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    fault = {"fault": "error", "text": text, "endpoint": "WithdrawMethods", "times": None}

    without_waits(monkeypatch)
    assert examined(monkeypatch, fault)["withdrawal"].grade is Grade.WARN


@pytest.mark.parametrize(("ahead_s", "grade"), [(0, Grade.OK), (1, Grade.OK), (4, Grade.FAIL), (-4, Grade.FAIL)])
def test_a_clock_that_is_off_by_more_than_two_seconds_fails(
    monkeypatch: pytest.MonkeyPatch, ahead_s: int, grade: Grade
) -> None:
    clock = examined(monkeypatch, ahead_s=ahead_s)["clock"]

    assert clock.grade is grade
    if ahead_s > 1:
        assert "ahead of ours" in clock.found
    if ahead_s < 0:
        assert "behind ours" in clock.found


def test_a_clock_that_had_to_be_asked_for_twice_is_not_off_because_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of our clock pass before the exchange answers at all."""
    passed_us = 0

    async def wait(seconds: float) -> None:
        nonlocal passed_us
        passed_us += 10_000_000

    def begun(**given: Any) -> Enquiry:
        return Enquiry(pause=wait, now_us=lambda: time.time_ns() // 1_000 - 10_000_000 + passed_us, **given)

    monkeypatch.setattr(doctor_live, "Enquiry", begun)
    fault = {"fault": "http_error", "endpoint": "Time"}
    assert examined(monkeypatch, fault)["clock"].grade is Grade.OK


@pytest.mark.parametrize("fault", ["maintenance", "cancel_only", "post_only"])
def test_an_exchange_that_is_not_online_fails(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    without_waits(monkeypatch)
    found = examined(monkeypatch, {"fault": fault})

    assert found["status"].grade is Grade.FAIL
    assert fault in found["status"].found


def test_an_exchange_that_does_not_answer_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OPEN_GATES.items():
        monkeypatch.setenv(name, value)

    without_waits(monkeypatch)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings = wire_settings(rest_url=f"http://127.0.0.1:{closed.getsockname()[1]}")

        async def act() -> list[Finding]:
            return [finding async for finding in exchange_findings(settings)]

        findings = asyncio.run(act())

    assert [(one.name, one.grade) for one in findings] == [("gates", Grade.WARN), ("exchange", Grade.FAIL)]


def test_a_symbol_that_is_not_listed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = wire_settings().execution.instruments
    listed = {symbol: one for symbol, one in packaged.items() if symbol != "XRP/BTC"}

    async def act() -> dict[str, Finding]:
        server = WireServer(
            instruments=listed,
            balances=wire_settings().execution.paper.balances,
            clock=PacedClock(time.time_ns() // 1_000, 1),
        )
        await server.start()
        try:
            await server.tick(BTC, Decimal(100_000))
            return {one.name: one async for one in exchange_findings(live_settings(server))}
        finally:
            await server.stop()

    for name, value in OPEN_GATES.items():
        monkeypatch.setenv(name, value)
    found = asyncio.run(act())

    assert found["symbols"].grade is Grade.FAIL
    assert "XRP/BTC" in found["symbols"].found
    assert found["permissions"].grade is Grade.OK, "the other symbols go on being looked at"


def test_figures_that_differ_are_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, execution=instruments(price_tick_quote=Decimal("0.5"), volume_min_base=Decimal(1)))

    assert found["instruments"].grade is Grade.WARN
    assert "BTC/USDT price_tick_quote is 0.5 in the file and 0.1 at the exchange" in found["instruments"].found
    assert "BTC/USDT volume_min_base is 1 in the file and 0.00005" in found["instruments"].found


@pytest.mark.parametrize(("fee_pct", "grade"), [("0.26", Grade.OK), ("0.25", Grade.WARN)])
def test_a_fee_that_sizing_does_not_reckon_with_is_a_remark(
    monkeypatch: pytest.MonkeyPatch, fee_pct: str, grade: Grade
) -> None:
    orders = attrs.evolve(wire_settings().execution.orders, fee_pct=Decimal(fee_pct))
    found = examined(monkeypatch, execution={"orders": orders})

    assert found["fees"].grade is grade
    assert "taker 0.26 %, maker 0.16 %" in found["fees"].found


def test_leverage_that_the_exchange_does_not_grant_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    found = examined(monkeypatch, execution=instruments(leverage_max=7))

    assert found["margin"].grade is Grade.WARN
    assert "equity 100000.00, free margin 100000.00 USD; BTC/USDT up to 5 instead of 7" in found["margin"].found


def test_no_leverage_wanted_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = wire_settings().execution.instruments
    plain = {symbol: attrs.evolve(one, leverage_max=1) for symbol, one in packaged.items()}

    assert "not wanted" in examined(monkeypatch, execution={"instruments": plain})["margin"].found


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"KRAKEN_API_KEY": "another-key"}, "EAPI:Invalid key"),
        ({"KRAKEN_API_SECRET": "b3RoZXI="}, "EAPI:Invalid signature"),
        ({"KRAKEN_API_SECRET": "not base64!"}, "KRAKEN_API_SECRET is no base64"),
        ({"KRAKEN_API_KEY": "two words"}, "KRAKEN_API_KEY holds a space"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_once_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], text: str
) -> None:
    found = examined(monkeypatch, variables=OPEN_GATES | changes)

    assert found["key"].grade is Grade.FAIL
    assert text in found["key"].found
    assert not found.keys() & {"permissions", "withdrawal", "fees", "margin"}
    said = " ".join(one.as_line() for one in found.values())
    assert not any(secret in said for secret in (changes | {"": PAPER_SECRET}).values())


def test_an_answer_that_is_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[dict[str, Any]] = [
        {"fault": "http_error", "endpoint": "Time", "status": 520},
        {"fault": "http_error", "endpoint": "TradeVolume"},
        {"fault": "invalid_nonce", "endpoint": "OpenOrders", "times": 3},
        {"fault": "answer_lost", "endpoint": "AddOrder", "how": "reset"},
    ]
    waits = without_waits(monkeypatch)
    found = examined(monkeypatch, *faults)

    assert {name: one.grade for name, one in found.items()} == dict.fromkeys(ALL_LIVE, Grade.OK)
    assert waits == [1, 1, 1]


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("SystemStatus", "status"),
        ("AssetPairs", "symbols"),
        ("WithdrawMethods", "withdrawal"),
        ("TradeVolume", "fees"),
        ("TradeBalance", "margin"),
        ("OpenOrders", "permissions"),
    ],
)
def test_what_stays_unanswered_is_not_known(monkeypatch: pytest.MonkeyPatch, endpoint: str, name: str) -> None:
    without_waits(monkeypatch)
    found = examined(monkeypatch, {"fault": "http_error", "endpoint": endpoint, "times": None})

    assert found[name].grade is Grade.WARN
    assert found[name].found.startswith("not known")


def test_a_lockout_is_not_made_longer_by_asking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = {"fault": "temporary_lockout", "endpoint": "TradeBalance", "times": None}
    found = examined(monkeypatch, fault)

    assert found["margin"].found == "not known: EGeneral:Temporary lockout"


def test_a_nonce_that_is_always_too_late_blames_the_key() -> None:
    """Another program has used the key with larger numbers."""
    assert is_key_refused(Reply(meaning=Meaning("EAPI:Invalid nonce", Verdict.THROTTLED)))


def test_an_exchange_without_a_price_proves_no_right_to_place_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waits(monkeypatch)
    found = examined(monkeypatch, has_price=False)["permissions"]

    assert found.grade is Grade.WARN
    assert found.found == "not known of: create & modify orders (EService:Unavailable)"


class Scripted:
    """An exchange that says what a test wants it to say."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.nonces = Nonces()
        self.asked: list[Request] = []
        self._answers = answers

    async def call(self, request: Request) -> Answer:
        self.asked.append(request)
        result = self._answers.get(request.path.rpartition("/")[2], {})
        return Answer(status=200, text=json.dumps({"error": [], "result": result}))


def test_an_order_that_was_placed_all_the_same_is_cancelled_at_once() -> None:
    """`validate` is believed, and checked."""
    rest = Scripted({"AddOrder": {"txid": ["OAAAAA-BBBBB-CCCCCC"]}, "CancelOrder": {"count": 1}})

    execution = wire_settings().execution
    told = read_json(encode(asset_pairs(a_server().exchange, {})))
    enquiry = Enquiry(rest=rest, kraken=execution.kraken)  # type: ignore[arg-type]
    pairs = read_pairs(told, execution.instruments)

    finding = asyncio.run(doctor_live.rights(enquiry, pairs, Reply(result={})))

    assert finding.grade is Grade.FAIL
    assert "has been cancelled" in finding.found
    assert rest.asked[-1].params == {"txid": "OAAAAA-BBBBB-CCCCCC"}
    (order,) = [request.params for request in rest.asked if request.path.endswith("AddOrder")]
    assert (order["validate"], order["oflags"], order["ordertype"]) == ("true", "post", "limit")

"""The soak: hundreds of trades at the wire mock with everything going wrong, the engine killed again and again.

Two real processes and a real database; both clocks run `speed` times as fast as the wall's. Proposals go on until as
many positions were opened as wanted. Then nothing goes wrong any more: first prices stand still, and what is open must
be protected; then everything comes to its end, and our books are laid beside the exchange's: no intent with two orders,
every trade booked once, nothing bare or orphaned, money to the digit.

    python -m scripts.soak --trades 500 --kills 10 --seed 1

Read in order: main(), Soak.run(), the exchange, the engine, under fire, in peace. What goes wrong stands in
`soaking/trouble.py`, what must agree in `soaking/agreement.py`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import UUID

import attrs
from cyclopts import App

from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from persistence import comparison
from persistence.database import SERVER_ERRORS, Connection, Database, disconnect
from persistence.errors import DatabaseUnreachableError
from scripts.live import LIVE_GATES
from scripts.soaking.agreement import agreement, equity, held_by_us, protection
from scripts.soaking.trouble import ACTS, STATE_LASTS_S, STATES, SUDDEN, counted, wire_faults

ROOT = Path(__file__).parents[1]
ACCOUNT = "main"
SYMBOLS: Mapping[str, tuple[Decimal, int]] = {
    "BTC/USDT": (Decimal(100_000), 1),
    "BTC/USD": (Decimal(100_000), 1),
    "ETH/USDT": (Decimal(3_400), 2),
    "XRP/USDT": (Decimal("2.2"), 5),
}
"""Around which price each is traded, and to how many digits."""
SOLD_BY_HAND = "ETH/USDT"
"""A pair whose coins no other pair holds: else somebody's sale would take those of a position in another pair."""
SWING_PPM = 8_000
"""How far prices swing to either side."""
LEVELS_PPM = (4_000, 14_000)
"""How far stops and targets are from the middle: most are reached, some are on the wrong side by then, and refused."""
SHORT = ("BTC/USD", "XRP/USDT")
"""Pairs that are sold, on margin; opposite positions in a pair would be refused."""
EVERY_FAULT_PCT = 5
TIER = "pro"
"""Looking for orders of unknown fate costs points of the REST counter: a starter's account would do little else."""
LIMITS_PCT, CLOSES_PCT = 15, 5
"""How many entries have a limit, and how many trades somebody asks to close."""
PROPOSALS_PER_TRADE, PROPOSALS_BESIDES = 3, 150
"""So many proposals are ready for each position that is wanted, and so many for the time that starts take on a busy
machine; when they are used up, the soak has failed."""
FIRST_AFTER_S, EVERY_S = 30, 12
"""On the engine's clock: the first trade, and how far they are apart."""
HOLDING_MAX_S = 600
STEP_S = 2
"""On the engine's clock: how often prices move."""
STANDS_STILL_S, PROTECTED_WITHIN_S = 400, 120
"""On the engine's clock: how long prices stand still at most, and how long anything may lack its protection then."""
PEACE_MAX_S = 3_600
"""On the engine's clock: so long everything may take to come to rest once nothing goes wrong any more."""
LOOK_EVERY_S = 0.5
"""On the wall clock: how often the database is asked."""
ANSWER_WAIT_S = 30
KILLED = -signal.SIGKILL
EXIT_STOPPED = 128 + signal.SIGTERM

T = TypeVar("T")

app = App(name="soak", help="Hundreds of trades at the wire mock, with everything going wrong.")


@attrs.frozen(kw_only=True)
class Wanted:
    """How long and how hard."""

    trades: int
    kills: int
    seed: int
    speed: int
    fault_pct: int = EVERY_FAULT_PCT
    holding_s: int = HOLDING_MAX_S
    """On the engine's clock: what no level closes is closed after so long."""
    keep: bool = False


@app.default
def main(
    *,
    trades: int = 500,
    kills: int = 10,
    seed: int = 1,
    speed: int = 20,
    fault_pct: int = EVERY_FAULT_PCT,
    keep: bool = False,
) -> int:
    """Trade, break, kill, compare; print one JSON object, and return 1 if anything differs.

    Parameters
    ----------
    trades
        How many positions are opened.
    kills
        How often the engine is killed with -9 on the way.
    seed
        What the story is drawn from.
    speed
        How many times faster than the wall clock both sides' clocks run.
    fault_pct
        How often each fault strikes, in per cent of its chances.
    keep
        Leave the files where they are, and say where.

    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_STOPPED))  # Unwinds, so nothing is left running.
    wanted = Wanted(trades=trades, kills=kills, seed=seed, speed=speed, fault_pct=fault_pct, keep=keep)
    found = soak(wanted)
    print(json.dumps(found, indent=2))
    return 1 if found["differences"] else 0


def soak(wanted: Wanted) -> dict[str, Any]:
    """Run the soak, and return what it came to; `differences` is empty when the books agree."""
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        return Soak(wanted, directory).run()
    finally:
        if wanted.keep:
            print(f"soak: kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)


class Soak:
    """One soak, in a directory of its own."""

    def __init__(self, wanted: Wanted, directory: Path) -> None:
        self._wanted = wanted
        self._directory = directory
        self._chance = random.Random(wanted.seed)  # noqa: S311 - A story, no secret.
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._exits: Counter[int] = Counter()
        self._acts: Counter[str] = Counter()
        self._swings = dict.fromkeys(SYMBOLS, 0)
        self._began_s = 0.0
        self._state: str | None = None
        self._state_ends_s = 0.0
        self._proposals: list[dict[str, Any]] = []
        self._passed = 0
        """Proposals whose time has come."""
        self._differences: list[str] = []

    def run(self) -> dict[str, Any]:
        """Trade under fire, let everything come to rest, and compare."""
        began_s = time.monotonic()
        with self._exchange():
            self._write_configuration()
            initial = self._books()["balances"]
            self._move_prices()
            begins_s = self._books()["now_us"] // 1_000_000
            self._began_s = time.monotonic()
            self._write_proposals(begins_s)
            self._door("POST", "faults", wire_faults(self._wanted.fault_pct, self._wanted.trades))
            try:
                kills = self._under_fire()
                self._door("DELETE", "faults")
                self._withdraw_proposals()
                protected = self._stand_still()
                self._come_to_rest()
            finally:
                self._kill()
            opened = self._state_of_account().positions
            self._leave_by_hand()
            equity_there, equity_here = self._compare(initial)
            books = self._books()
        return {
            "seed": self._wanted.seed,
            "trades": opened,
            "proposals": self._passed,
            "orders": len(books["orders"]),
            "executions": len(books["trades"]),
            "kills": kills,
            "exits": {str(code): count for code, count in sorted(self._exits.items())},
            "protected": protected,
            "equity": {"there": f"{equity_there:f}", "here": f"{equity_here:f}"},
            "struck": counted(books["struck_by_name"], self._acts),
            "differences": self._differences,
            "seconds": round(time.monotonic() - began_s, 1),
        }

    def _clock_s(self) -> float:
        """Return how far the engine's clock has run since the first proposal could come."""
        return (time.monotonic() - self._began_s) * self._wanted.speed

    # The exchange ---------------------------------------------------------------------------------

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        wanted = self._wanted
        words = ["mock-exchange", "--prices", "none", "--tier", TIER, "--speed", str(wanted.speed)]
        with self._log("exchange").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.triplegain", *words, "--seed", str(wanted.seed)],
                cwd=ROOT,
                env=_environment(),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            try:
                line = process.stdout.readline() if process.stdout is not None else ""
                self._port = int(line.split("http://127.0.0.1:")[1].split()[0])
                yield
            finally:
                process.terminate()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()

    def _move_prices(self, *, by_ppm: int = SWING_PPM // 3) -> None:
        """Let every price take a step, and be drawn back to its middle."""
        acts = []
        for symbol, (middle, digits) in SYMBOLS.items():
            if by_ppm:
                step = self._chance.randrange(-by_ppm, by_ppm + 1)
                self._swings[symbol] = max(-SWING_PPM, min(SWING_PPM, self._swings[symbol] * 9 // 10 + step))
            price = middle * (1_000_000 + self._swings[symbol]) / 1_000_000
            acts.append({"act": "set_price", "symbol": symbol, "price": f"{price:.{digits}f}"})
        self._door("POST", "acts", acts)

    def _door(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self._port}/mock/{what}", data=data, method=method)
        with urlopen(request, timeout=ANSWER_WAIT_S) as answer:  # noqa: S310
            return json.load(answer)

    def _books(self) -> Any:
        return self._door("GET", "books")

    # The engine -----------------------------------------------------------------------------------

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _write_configuration(self) -> None:
        (self._directory / "execution.yaml").write_text(
            f"""
trading_mode: live
account: {ACCOUNT}
orders: {{permit_wait_max_s: 600, expiry_s: 120, slippage_pct: 2, retries_max: 8}}
rate_limits: {{kraken_tier: {TIER}, api_per_minute: 600, orders_per_minute: 120}}
positions: {{holding_max_s: {self._wanted.holding_s}}}
kraken:
  rest_url: http://127.0.0.1:{self._port}
  websocket_url: ws://127.0.0.1:{self._port}
""",
            encoding="utf-8",
        )
        (self._directory / "risk.yaml").write_text(
            """
limits: {positions_per_symbol_max: 100, positions_total_max: 400, exposure_max_pct: 400}
cooldowns: {after_win_s: 0, after_loss_s: 0, after_3_losses_s: 0, after_5_losses_s: 0}
""",
            encoding="utf-8",
        )

    def _write_proposals(self, begins_s: int) -> None:
        numbers = range(self._wanted.trades * PROPOSALS_PER_TRADE + PROPOSALS_BESIDES)
        for number in numbers:
            self._proposals.append(self._proposal(begins_s + FIRST_AFTER_S + number * EVERY_S))
        self._write(self._proposals, closes=True)

    def _write(self, proposals: list[dict[str, Any]], *, closes: bool) -> None:
        closed = [one for one in proposals if closes and self._chance.randrange(100) < CLOSES_PCT]
        wishes = [*proposals, *({"at": one["at"] + 3 * EVERY_S, "close": one["id"]} for one in closed)]
        lines = [json.dumps(wish) for wish in wishes]
        (self._directory / "proposals.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _withdraw_proposals(self) -> None:
        """Keep only those whose time had come when the fire ended."""
        del self._proposals[self._passed :]
        self._write(self._proposals, closes=False)

    def _proposal(self, at_s: int) -> dict[str, Any]:
        chance = self._chance
        symbol = chance.choice(tuple(SYMBOLS))
        middle, digits = SYMBOLS[symbol]
        side = "sell" if symbol in SHORT else "buy"
        is_margin = side == "sell" or chance.random() < 0.5
        way = 1 if side == "buy" else -1
        prices = {
            "stop_loss": middle * (1_000_000 - way * chance.randrange(*LEVELS_PPM)) / 1_000_000,
            "take_profit": middle * (1_000_000 + way * chance.randrange(*LEVELS_PPM)) / 1_000_000,
        }
        is_limit = chance.randrange(100) < LIMITS_PCT
        if is_limit:
            prices["entry_price"] = middle * (1_000_000 - way * chance.randrange(SWING_PPM // 4)) / 1_000_000
        return {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "at": at_s,
            "symbol": symbol,
            "side": side,
            "size_usd": str(chance.randrange(200, 900)),
            "order_type": "limit" if is_limit else "market",
            "leverage": chance.choice((2, 3)) if is_margin else 1,
            "trailing": chance.random() < 0.3,
            **{name: f"{price:.{digits}f}" for name, price in prices.items()},
        }

    def _start(self) -> None:
        directory = self._directory
        words = ["run", "--prices", "kraken", "--proposals", str(directory / "proposals.jsonl")]
        words += ["--config", str(directory), "--state", str(directory / "state"), "--speed", str(self._wanted.speed)]
        words += ["--report", str(directory / "report.json")]
        with self._log("engine").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "scripts.triplegain", *words],
                cwd=ROOT,
                env=_environment(),
                stdout=log,
                stderr=log,
            )

    def _keep_running(self) -> subprocess.Popen[bytes]:
        """Start the engine if it does not run, and count how it ended."""
        if self._process is not None and self._process.poll() is not None:
            self._note_exit(self._process.returncode)
        if self._process is None:
            self._start()
        assert self._process is not None
        return self._process

    def _note_exit(self, code: int) -> None:
        self._exits[code] += 1
        self._process = None

    def _kill(self) -> None:
        """Kill the engine with -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._note_exit(self._process.wait())

    # Under fire -----------------------------------------------------------------------------------

    def _under_fire(self) -> int:
        """Let the engine trade while everything goes wrong, and kill it; return how often. The last kill ends it."""
        wanted = self._wanted
        kill_at = sorted(self._chance.randrange(1, wanted.trades) for _kill in range(wanted.kills - 1))
        opened, looked_s = 0, 0.0
        last_s = FIRST_AFTER_S + len(self._proposals) * EVERY_S
        while opened < wanted.trades and self._clock_s() < last_s:
            self._pass_time()
            self._keep_running()
            self._meddle()
            if time.monotonic() - looked_s >= LOOK_EVERY_S:
                looked_s = time.monotonic()
                opened = max(opened, self._positions())
                if kill_at and opened >= kill_at[0]:
                    kill_at.pop(0)
                    self._kill()
        if opened < wanted.trades:
            self._differences.append(f"only {opened} of {wanted.trades} positions were opened in time")
        for _kill in range(len(kill_at) + min(1, wanted.kills)):
            self._keep_running()
            self._pass_time()
            self._kill()
        self._kill()
        return self._exits[KILLED]

    def _pass_time(self, *, by_ppm: int = SWING_PPM // 3) -> None:
        time.sleep(STEP_S / self._wanted.speed)
        self._move_prices(by_ppm=by_ppm)

    def _positions(self) -> int:
        with suppress(LookupError, OSError, *SERVER_ERRORS, DatabaseUnreachableError):
            return self._state_of_account().positions
        return 0

    def _meddle(self) -> None:
        """Let happen what is drawn for the proposals whose time has come, and what lasts begin and end."""
        if self._state is not None and self._clock_s() >= self._state_ends_s:
            self._door("DELETE", "faults", {"fault": self._state})
            self._state = None
        while self._clock_s() >= FIRST_AFTER_S + self._passed * EVERY_S:
            self._passed += 1
            for rule in SUDDEN:
                if self._strikes():
                    self._door("POST", "faults", rule)
            for rule in STATES:
                if self._strikes() and self._state is None:
                    self._state, self._state_ends_s = str(rule["fault"]), self._clock_s() + STATE_LASTS_S
                    self._door("POST", "faults", rule)
            for act in ACTS:
                if self._strikes():
                    self._act(act)

    def _strikes(self) -> bool:
        return self._chance.randrange(100) < self._wanted.fault_pct

    def _act(self, act: str) -> None:
        """Let somebody else do something on the account, if there is anything to do it with."""
        written = self._written(act)
        if written is None:
            return
        with suppress(HTTPError):  # It has just become impossible: nothing is left to close or to cancel.
            self._door("POST", "acts", written)
            self._acts[act] += 1

    def _written(self, act: str) -> dict[str, Any] | None:
        """Return what somebody does, as the door wants it."""
        chance = self._chance
        symbol = chance.choice(tuple(SYMBOLS))
        middle, digits = SYMBOLS[symbol]
        match act:
            case "trade_by_hand":
                return {"act": act, "symbol": symbol, "side": "buy", "volume": f"{200 / middle:.8f}"}
            case "order_by_hand":
                terms = {"ordertype": "limit", "type": "buy", "price": f"{middle * 3 / 4:.{digits}f}"}
                return {"act": act, "symbol": symbol, "volume": f"{100 / middle:.8f}", **terms}
            case "sell_by_hand":
                volume = held_by_us(self._books(), SOLD_BY_HAND)
                sale = {"act": "trade_by_hand", "symbol": SOLD_BY_HAND, "side": "sell", "volume": f"{volume:f}"}
                return sale if volume > 0 else None
            case "close_by_hand":
                symbols = sorted(self._books()["positions"])
                return {"act": act, "symbol": chance.choice(symbols)} if symbols else None
            case "cancel_by_hand":
                orders = [one for one in self._books()["orders"] if one["status"] == "open" and one["cl_ord_id"]]
                return {"act": act, "txid": chance.choice(orders)["txid"]} if orders else None
            case "move_funds":
                return {"act": act, "currency": "USDT", "amount": str(chance.choice((-25, 25)))}
            case _:
                return {"act": act} if self._books()["positions"] else None

    # In peace -------------------------------------------------------------------------------------

    def _stand_still(self) -> int:
        """Let prices stand still until everything that is open is protected; return how many positions that were."""
        until_s = self._clock_s() + STANDS_STILL_S
        since_s: dict[str, float] = {}
        while True:
            self._pass_time(by_ppm=0)
            self._keep_running()
            ours = self._ours()
            now_s = self._clock_s()
            since_s = {text: since_s.get(text, now_s) for text in protection(self._books(), ours)}
            if not since_s or now_s >= until_s:
                # Proposals that had waited may still be opening positions: what lacks has its time from then on.
                self._differences += [text for text, began_s in since_s.items() if now_s - began_s > PROTECTED_WITHIN_S]
                return len(ours.held)

    def _come_to_rest(self) -> None:
        """Let the engine finish what it has begun, and stop it."""
        until_s = self._clock_s() + PEACE_MAX_S
        while self._clock_s() < until_s:
            self._pass_time()
            process = self._keep_running()
            if self._is_at_rest():
                process.send_signal(signal.SIGTERM)
                self._note_exit(process.wait(ANSWER_WAIT_S))
                return
        self._differences.append("not at rest when the time for it was over")

    def _is_at_rest(self) -> bool:
        with suppress(LookupError):
            state = self._state_of_account()
            is_done = state.requests == len(self._proposals) and not state.open_positions and not state.live_orders
            return is_done and not self._books()["positions"]
        return False

    def _leave_by_hand(self) -> None:
        """Let whoever traded by hand take off what rests and sell what they bought: then equity is money alone."""
        books = self._books()
        for order in books["orders"]:
            if order["status"] == "open" and order["cl_ord_id"] is None:
                self._door("POST", "acts", {"act": "cancel_by_hand", "txid": order["txid"]})
        pairs = {symbol.partition("/")[0]: symbol for symbol in SYMBOLS}
        for currency, amount in books["balances"].items():
            if currency in pairs and Decimal(amount) > 0:
                sale = {"act": "trade_by_hand", "symbol": pairs[currency], "side": "sell", "volume": amount}
                self._door("POST", "acts", sale)

    # The comparison -------------------------------------------------------------------------------

    def _compare(self, initial: Mapping[str, str]) -> tuple[Decimal, Decimal]:
        """Note every difference between our books and the exchange's; return equity there and here."""
        books, ours = self._books(), self._ours()
        self._differences += agreement(books, ours, initial)
        try:
            report = json.loads((self._directory / "report.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            self._differences.append("the engine has left no report")
            report = {"equity_start": "0", "equity_end": "0", "violations": []}
        there, here = equity(books, ours, initial, report)
        if there != here:
            self._differences.append(f"equity is {there} there, and {here} here")
        # That balances differ by what others did is for the engine no agreement; here it is reckoned with.
        told = [text for text in report["violations"] if not text.startswith("I6")]
        self._differences += [f"the engine itself reports: {text}" for text in told]
        bad = sorted(code for code in self._exits if code not in (0, KILLED))
        self._differences += [f"the engine ended with exit code {code}" for code in bad]
        return there, here

    def _state_of_account(self) -> comparison.State:
        return self._ask(lambda connection: comparison.state(connection, ACCOUNT))

    def _ours(self) -> comparison.Ours:
        return self._ask(lambda connection: comparison.ours(connection, ACCOUNT))

    def _ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        async def ask() -> T:
            database = await Database.open(None, self._directory / "state")
            connection = await database.connect()
            try:
                return await question(connection)
            finally:
                await disconnect(connection)
                await database.stop()

        return asyncio.run(ask())


def _environment() -> dict[str, str]:
    keys = {"KRAKEN_API_KEY": PAPER_KEY, "KRAKEN_API_SECRET": PAPER_SECRET}
    gates = {name: wanted for name, wanted in LIVE_GATES if wanted is not None}
    own = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**own, **gates, **keys, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))

"""The soak: hundreds of trades at the wire mock with everything going wrong, the engine killed again and again.

Two real processes and a real database; both clocks run `speed` times as fast as the wall's. In the end everything is
left in peace, and our books are laid beside the exchange's: no intent with two orders, every trade booked once, nothing
bare or orphaned, money to the digit.

    python -m scripts.soak --trades 500 --kills 10 --seed 1

Read in order: main(), Soak.run(), the exchange, the engine, the comparison.
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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import UUID

import attrs
from cyclopts import App

from actors.exchange.kraken.notation import our_id
from actors.exchange.wire.signing import PAPER_KEY, PAPER_SECRET
from persistence import comparison
from persistence.database import Database, disconnect
from scripts.live import LIVE_GATES

ROOT = Path(__file__).parents[1]
ACCOUNT = "main"
SYMBOLS: Mapping[str, tuple[Decimal, int]] = {
    "BTC/USDT": (Decimal(100_000), 1),
    "BTC/USD": (Decimal(100_000), 1),
    "ETH/USDT": (Decimal(3_400), 2),
    "XRP/USDT": (Decimal("2.2"), 5),
}
"""Around which price each is traded, and to how many digits."""
SWING_PPM = 8_000
"""How far prices swing to either side."""
LEVELS_PPM = (2_000, 12_000)
"""How far stops and targets are from the middle: most are reached, some are on the wrong side by then, and refused."""
SIDE_CHANGES_EVERY = 40
"""Trades in a symbol are of one side for so long: opposite positions are refused."""
EVERY_FAULT_PCT = 5
ORDERS = ("AddOrder", "AmendOrder", "CancelOrder")
REST_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"fault": "answer_lost", "how": "reset"},
    {"fault": "request_lost", "how": "reset"},
    {"fault": "http_error", "status": 502, "placed": True},
    {"fault": "http_error", "status": 520},
    {"fault": "service_unavailable"},
    {"fault": "service_busy", "placed": True},
    {"fault": "service_timeout"},
    {"fault": "internal_error", "placed": True},
    {"fault": "invalid_nonce"},
    {"fault": "rate_limit"},
    {"fault": "throttled", "seconds": 3},
)
SOCKET_FAULTS = ("ws_gap", "ws_duplicate", "ws_reorder", "ws_stale_token", "ws_lost_ack")
HELD_PCT = 1
"""Answers that never come and are waited for to the end: a fifth of the others, for each takes its whole patience."""
CONNECTION_FAULTS = ("ws_drop", "ws_silent")
FIRST_AFTER_S, EVERY_S = 30, 20
"""On the engine's clock: the first trade, and how far they are apart."""
HOLDING_MAX_S = 300
PEACE_MAX_S = 7_200
"""On the engine's clock: so long everything may take to come to rest once nothing goes wrong any more."""
LOOK_EVERY_S = 0.1
ANSWER_WAIT_S = 10

app = App(name="soak", help="Hundreds of trades at the wire mock, with everything going wrong.")


@attrs.frozen(kw_only=True)
class Wanted:
    """How long and how hard."""

    trades: int
    kills: int
    seed: int
    speed: int
    fault_pct: int
    keep: bool


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
        How many proposals are handed in.
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
        self._kills = 0
        self._exits: Counter[int] = Counter()
        self._initial: dict[str, str] = {}
        self._swings = dict.fromkeys(SYMBOLS, 0)

    def run(self) -> dict[str, Any]:
        """Trade under fire, let everything come to rest, and compare."""
        began_s = time.monotonic()
        with self._exchange():
            self._write_configuration()
            self._initial = self._books()["balances"]
            self._move_prices()
            self._write_proposals()
            self._add_faults()
            self._under_fire()
            self._door("DELETE", "faults")
            has_rested = self._in_peace()
            differences = [] if has_rested else ["not at rest when the time for it was over"]
            differences += self._compare()
            books, state = self._books(), self._look()
        return {
            "seed": self._wanted.seed,
            "trades": self._wanted.trades,
            "positions": state.positions,
            "orders": len(books["orders"]),
            "executions": len(books["trades"]),
            "kills": self._kills,
            "exits": {str(code): count for code, count in sorted(self._exits.items())},
            "struck": books["struck"],
            "differences": differences,
            "seconds": round(time.monotonic() - began_s, 1),
        }

    # The exchange ---------------------------------------------------------------------------------

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        wanted = self._wanted
        words = ["mock-exchange", "--prices", "none", "--speed", str(wanted.speed)]
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

    def _move_prices(self) -> None:
        """Let every price take a step, and be drawn back to its middle."""
        acts = []
        for symbol, (middle, digits) in SYMBOLS.items():
            step = self._chance.randrange(-SWING_PPM // 3, SWING_PPM // 3 + 1)
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

    def _add_faults(self) -> None:
        often = {"times": None, "probability_pct": self._wanted.fault_pct}
        rules = [{**fault, **often, "endpoint": endpoint} for fault in REST_FAULTS for endpoint in ORDERS]
        rules += [{**fault, **often} for fault in REST_FAULTS if not fault.get("placed")]
        rules += [{"fault": fault, **often} for fault in SOCKET_FAULTS]
        seldom = {"times": None, "probability_pct": HELD_PCT}
        rules += [{"fault": "answer_lost", "how": "hold", **seldom}, {"fault": "delay", "seconds": 1, **seldom}]
        self._door("POST", "faults", rules)

    # The engine -----------------------------------------------------------------------------------

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _write_configuration(self) -> None:
        (self._directory / "execution.yaml").write_text(
            f"""
trading_mode: live
account: {ACCOUNT}
orders: {{permit_wait_max_s: 600}}
positions: {{holding_max_s: {HOLDING_MAX_S}}}
kraken:
  rest_url: http://127.0.0.1:{self._port}
  websocket_url: ws://127.0.0.1:{self._port}
""",
            encoding="utf-8",
        )
        (self._directory / "risk.yaml").write_text(
            """
limits: {positions_per_symbol_max: 10, positions_total_max: 20}
cooldowns: {after_win_s: 0, after_loss_s: 0, after_3_losses_s: 0, after_5_losses_s: 0}
""",
            encoding="utf-8",
        )

    def _write_proposals(self) -> None:
        begins_s = self._books()["now_us"] // 1_000_000 + FIRST_AFTER_S
        numbers = range(self._wanted.trades)
        lines = [json.dumps(self._proposal(number, begins_s + number * EVERY_S)) for number in numbers]
        (self._directory / "proposals.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _proposal(self, number: int, at_s: int) -> dict[str, Any]:
        chance = self._chance
        symbol = chance.choice(tuple(SYMBOLS))
        middle, digits = SYMBOLS[symbol]
        side = ("buy", "sell")[(number // SIDE_CHANGES_EVERY + len(symbol)) % 2]
        is_margin = side == "sell" or chance.random() < 0.5
        way = 1 if side == "buy" else -1
        levels = {
            "stop_loss": middle * (1_000_000 - way * chance.randrange(*LEVELS_PPM)) / 1_000_000,
            "take_profit": middle * (1_000_000 + way * chance.randrange(*LEVELS_PPM)) / 1_000_000,
        }
        return {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "at": at_s,
            "symbol": symbol,
            "side": side,
            "size_usd": str(chance.randrange(200, 900)),
            "order_type": "market",
            "leverage": chance.choice((2, 3)) if is_margin else 1,
            "trailing": chance.random() < 0.3,
            **{name: f"{level:.{digits}f}" for name, level in levels.items()},
        }

    def _start(self) -> subprocess.Popen[bytes]:
        directory = self._directory
        words = ["run", "--prices", "kraken", "--proposals", str(directory / "proposals.jsonl")]
        words += ["--config", str(directory), "--state", str(directory / "state"), "--speed", str(self._wanted.speed)]
        with self._log("engine").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "scripts.triplegain", *words],
                cwd=ROOT,
                env=_environment(),
                stdout=log,
                stderr=log,
            )

    def _under_fire(self) -> None:
        """Let the engine trade: kill it at random moments, break its line, start it again whenever it ends."""
        wall_s = (FIRST_AFTER_S + self._wanted.trades * EVERY_S) / self._wanted.speed
        until_s = time.monotonic() + wall_s
        kill_at_s = sorted(self._chance.random() * wall_s for _kill in range(self._wanted.kills))
        process = self._start()
        try:
            while time.monotonic() < until_s:
                time.sleep(LOOK_EVERY_S)
                self._move_prices()
                if process.poll() is not None:
                    self._exits[process.returncode] += 1
                    process = self._start()
                elif kill_at_s and until_s - time.monotonic() <= wall_s - kill_at_s[0]:
                    kill_at_s.pop(0)
                    self._kills += 1
                    process.kill()
                elif self._chance.random() * 1_000 < self._wanted.fault_pct:
                    self._door("POST", "faults", {"fault": self._chance.choice(CONNECTION_FAULTS)})
        finally:
            process.kill()
            process.wait()

    def _in_peace(self) -> bool:
        """Let the engine finish what it has begun; say whether nothing is open in the end."""
        until_s = time.monotonic() + PEACE_MAX_S / self._wanted.speed
        process = self._start()
        try:
            while time.monotonic() < until_s:
                time.sleep(LOOK_EVERY_S)
                self._move_prices()
                if process.poll() is not None:
                    self._exits[process.returncode] += 1
                    process = self._start()
                elif self._is_at_rest():
                    process.send_signal(signal.SIGTERM)
                    self._exits[process.wait(ANSWER_WAIT_S * 3)] += 1
                    return True
            return False
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _is_at_rest(self) -> bool:
        with suppress(LookupError, OSError):
            state = self._look()
            is_done = state.requests == self._wanted.trades and not state.open_positions and not state.live_orders
            return is_done and not self._books()["positions"]
        return False

    # The comparison -------------------------------------------------------------------------------

    def _look(self) -> comparison.State:
        async def look() -> comparison.State:
            database = await Database.open(None, self._directory / "state")
            connection = await database.connect()
            try:
                return await comparison.state(connection, ACCOUNT)
            finally:
                await disconnect(connection)
                await database.stop()

        return asyncio.run(look())

    def _compare(self) -> list[str]:
        """Return every difference between our books and the exchange's."""

        async def ask() -> tuple[list[comparison.SentOrder], list[comparison.BookedTrade], list[comparison.Flow]]:
            database = await Database.open(None, self._directory / "state")
            connection = await database.connect()
            try:
                return (
                    await comparison.sent_orders(connection, ACCOUNT),
                    await comparison.booked_trades(connection, ACCOUNT),
                    await comparison.flows(connection, ACCOUNT),
                )
            finally:
                await disconnect(connection)
                await database.stop()

        orders, trades, flows = asyncio.run(ask())
        books = self._books()
        return [*_orders(books, orders), *_trades(books, trades), *_money(books, flows, self._initial), *_rest(books)]


def _orders(books: Any, ours: list[comparison.SentOrder]) -> Iterator[str]:
    """No intent has two orders, and each order there is known here by both of its ids."""
    known = {order.id: order for order in ours}
    seen = Counter(our_id(order["cl_ord_id"]) for order in books["orders"])
    yield from (f"intent {id_} has {count} orders" for id_, count in seen.items() if count > 1)
    for order in books["orders"]:
        mine = known.get(str(our_id(order["cl_ord_id"])))
        if mine is None:
            yield f"order {order['txid']} is not in our books"
        elif mine.external_id != order["txid"]:
            yield f"order {mine.id} is {order['txid']} there, and {mine.external_id} here"


def _trades(books: Any, ours: list[comparison.BookedTrade]) -> Iterator[str]:
    """Every trade is booked once, with its volume and its fee."""
    booked = {trade.trade_id: trade for trade in ours}
    there = {trade["txid"]: trade for trade in books["trades"]}
    yield from (f"trade {id_} is booked, and never happened" for id_ in booked.keys() - there.keys())
    for id_, trade in there.items():
        mine = booked.get(id_)
        if mine is None:
            yield f"trade {id_} is not booked"
        elif (mine.volume, mine.fee) != (Decimal(trade["vol"]), Decimal(trade["fee"])):
            yield f"trade {id_}: {trade['vol']} for {trade['fee']} there, {mine.volume} for {mine.fee} here"


def _money(books: Any, flows: list[comparison.Flow], initial: Mapping[str, str]) -> Iterator[str]:
    """What the account has gained is what our fills say: everything is closed, so it is in the balances."""
    expected = {currency: Decimal(amount) for currency, amount in initial.items()}
    for flow in flows:
        base, _slash, quote = flow.symbol.partition("/")
        expected[base] = expected.get(base, Decimal(0)) + flow.base
        expected[quote] = expected.get(quote, Decimal(0)) + flow.quote
    for currency in sorted(expected.keys() | books["balances"].keys()):
        there = Decimal(books["balances"].get(currency, 0))
        if there != expected.get(currency, Decimal(0)):
            yield f"{currency}: {there} there, {expected.get(currency, Decimal(0))} by our fills"


def _rest(books: Any) -> Iterator[str]:
    """Nothing is left open."""
    yield from (f"order {order['txid']} is open" for order in books["orders"] if order["status"] == "open")
    yield from (f"a position in {symbol} is open" for symbol in books["positions"])


def _environment() -> dict[str, str]:
    keys = {"KRAKEN_API_KEY": PAPER_KEY, "KRAKEN_API_SECRET": PAPER_SECRET}
    gates = {name: wanted for name, wanted in LIVE_GATES if wanted is not None}
    own = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return {**own, **gates, **keys, "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))

"""Recorded prices and files of proposals, made from a seed: what the command is fed with.

Read in order: Recording, time_and_sales(), bars(), then Script, which writes the proposals.
"""

from __future__ import annotations

import json
import random
import uuid
from bisect import bisect_right
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import attrs

START_S = 1_762_795_433
TICK = Decimal("0.1")
MICROSECOND = Decimal("0.000001")
LEVERAGES = (1, 2, 3, 4, 5)


@attrs.frozen
class Recording:
    """A price file of one symbol, and what is in it."""

    symbol: str
    path: Path
    times_s: tuple[Decimal, ...]
    prices: tuple[Decimal, ...]
    """One for each time: of a trade its price, of a bar its open."""
    last: Decimal
    """The last price of the file."""

    @property
    def word(self) -> str:
        """As --prices wants it."""
        return f"{self.symbol}={self.path}"

    @property
    def length_s(self) -> Decimal:
        return self.times_s[-1] - self.times_s[0]

    def price_at(self, at_s: Decimal) -> Decimal:
        """Return the last price at or before an instant."""
        return self.prices[max(0, bisect_right(self.times_s, at_s) - 1)]


def time_and_sales(
    path: Path, *, seed: int, trades: int, symbol: str = "BTC/USDT", start: int = 105_000, every_s: int = 20
) -> Recording:
    """Write trades as Kraken does: `1762795433.9717445,105433.60000,0.00027625`. Some stand at the same instant."""
    chance = random.Random(seed)
    level, at_s = Decimal(start), Decimal(START_S)
    times, prices, lines = [], [], []
    for _ in range(trades):
        if chance.random() > 0.05:
            at_s += Decimal(chance.randrange(1, 2 * every_s * 10_000_000)).scaleb(-7)
        level = (level * (1 + Decimal(chance.randrange(-1000, 1001)).scaleb(-6))).quantize(TICK)
        volume = Decimal(chance.randrange(1_000, 50_000_000)).scaleb(-8)
        lines.append(f"{at_s:.7f},{level:.5f},{volume:.8f}\n")
        times.append(at_s)
        prices.append(level)
    path.write_text("".join(lines), encoding="utf-8")
    return Recording(symbol, path, tuple(times), tuple(prices), prices[-1])


def bars(
    path: Path, *, seed: int, minutes: int, symbol: str = "BTC/USD", start: int = 46_000, liveliness: int = 600
) -> Recording:
    """Write one-minute bars: `1640991660,46319.0,46385.0,46319.0,46377.0,2300413.7295,0`. Some minutes are missing."""
    chance = random.Random(seed)
    close = Decimal(start)
    first_s = START_S // 60 * 60
    times, opens, lines = [], [], []
    for minute in range(minutes):
        if minute and chance.random() < 0.02:
            continue

        def moved(price: Decimal, sign: int | None = None) -> Decimal:
            by = chance.randrange(0 if sign else -liveliness, liveliness + 1)
            return (price * (1 + Decimal(by * (sign or 1)).scaleb(-6))).quantize(TICK)

        opened, closed = close, moved(close)
        high, low = moved(max(opened, closed), 1), moved(min(opened, closed), -1)
        close = closed
        at_s = first_s + 60 * minute
        lines.append(f"{at_s},{opened},{high},{low},{closed},{chance.randrange(10**9) / 1000},{minute % 90}\n")
        times.append(Decimal(at_s))
        opens.append(opened)
    path.write_text("".join(lines), encoding="utf-8")
    return Recording(symbol, path, tuple(times), tuple(opens), close)


def read_recording(path: Path, symbol: str) -> Recording:
    """Return what a real file of Kraken's has."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return Recording(
        symbol,
        path,
        tuple(Decimal(row[0]) for row in rows),
        tuple(Decimal(row[1]) for row in rows),
        Decimal(rows[-1][4 if len(rows[-1]) == 7 else 1]),
    )


class Script:
    """Proposals, line by line. Ids are made from the seed."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.lines: list[str] = []
        self.trades: list[str] = []
        """The ids of the trades asked for."""

    def trade(self, at_s: Decimal, symbol: str, side: str, **fields: Any) -> str:
        """Ask for a trade; give its id."""
        trade_id = str(fields.pop("id", None) or uuid.UUID(int=self.chance.getrandbits(128), version=4))
        size = str(fields.pop("size_usd", "500"))
        self._add({"at": f"{at_s}", "id": trade_id, "symbol": symbol, "side": side, "size_usd": size} | fields)
        self.trades.append(trade_id)
        return trade_id

    def cancel(self, at_s: Decimal, trade_id: str) -> None:
        self._add({"at": f"{at_s}", "cancel": trade_id})

    def close(self, at_s: Decimal, trade_id: str) -> None:
        self._add({"at": f"{at_s}", "close": trade_id})

    def raw(self, line: str) -> None:
        self.lines.append(line)

    def _add(self, fields: dict[str, Any]) -> None:
        # A number in the file, whatever digits it has.
        self.lines.append(json.dumps(fields).replace(f'"at": "{fields["at"]}"', f'"at": {fields["at"]}', 1))

    def write(self, path: Path) -> Path:
        path.write_text("".join(f"{line}\n" for line in self.lines), encoding="utf-8")
        return path


def a_busy_script(recording: Recording, *, trades: int, seed: int = 7, width: Decimal = Decimal("0.004")) -> Script:
    """Ask for trades of every kind, spread over the recording.

    Both sides, leverage 1 to 5, market and limit, with stop, target, trailing or none of these; limits that rest far
    away until they expire or are cancelled; and closes by hand. `width` is how far stops and targets are, as a share.
    """
    script = Script(seed)
    chance = script.chance
    step_s = recording.length_s / (trades + 1)
    for number in range(trades):
        at_s = (recording.times_s[0] + step_s * number + 1).quantize(Decimal("0.0000001"))
        price = recording.price_at(at_s)
        leverage = LEVERAGES[number % len(LEVERAGES)]
        side = "buy" if leverage == 1 or number // (4 * len(LEVERAGES)) % 2 else "sell"
        sign = 1 if side == "buy" else -1

        def away(shares: str, price: Decimal = price, sign: int = sign) -> str:
            return str((price * (1 + sign * width * Decimal(shares))).quantize(TICK))

        fields: dict[str, Any] = {"leverage": leverage, "confidence": 0.8, "regime": "ranging"}
        kind = chance.randrange(14)
        if kind != 0:
            fields["stop_loss"] = away("-1.5" if kind == 4 else "-1")
        if kind not in (1, 4):
            fields["take_profit"] = away("1.2")
        if kind == 2:
            fields["entry_price"] = away("-0.2")
        elif kind == 3:
            fields |= {"entry_price": away("-8"), "stop_loss": away("-10")}
        elif kind == 4:
            fields["trailing"] = True
        trade_id = script.trade(at_s, recording.symbol, side, **fields)
        # What is far away or trails may take its time; the rest makes room soon.
        wait_s = step_s * (8 if kind == 4 or (kind == 3 and number % 2) else Decimal("1.8"))
        until_s = min(at_s + wait_s, recording.times_s[-1]).quantize(MICROSECOND, ROUND_DOWN)
        if kind == 3:
            script.cancel(until_s, trade_id)
        else:
            script.close(until_s, trade_id)
    return script

"""What the websocket tells of public prices, in our words: the channels `ticker` and `trade`.

Each trade is a tick. The ticker says the price before the first trade comes, and what was missed when it disagrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from actors.exchange.kraken.notation import number, write_json
from messages.base import Symbol

TICKER, TRADE = "ticker", "trade"


class Prices:
    """The last price of each symbol, as it is pushed."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._symbols = symbols
        self.last: dict[Symbol, Decimal] = {}

    def subscriptions(self) -> tuple[str, ...]:
        """Return what has to be said on a new line."""
        params = {"symbol": list(self._symbols), "snapshot": True}
        ticker = {**params, "channel": TICKER, "event_trigger": "trades"}
        trade = {**params, "channel": TRADE, "snapshot": False}
        return tuple(write_json({"method": "subscribe", "params": wanted}) for wanted in (ticker, trade))

    def hear(self, message: Mapping[str, Any]) -> Iterator[tuple[Symbol, Decimal]]:
        """Yield the prices in a message, in order. Raises KeyError, ValueError and the like for nonsense."""
        rows: Iterable[Mapping[str, Any]] = message.get("data") or ()
        if message.get("channel") == TRADE:
            yield from (self._take(row, number(row["price"])) for row in rows)
        elif message.get("channel") == TICKER:
            for row in rows:
                price_quote = number(row.get("last"))
                if price_quote > 0 and price_quote != self.last.get(Symbol(row["symbol"])):
                    yield self._take(row, price_quote)

    def _take(self, row: Mapping[str, Any], price_quote: Decimal) -> tuple[Symbol, Decimal]:
        symbol = Symbol(row["symbol"])
        self.last[symbol] = price_quote
        return symbol, price_quote

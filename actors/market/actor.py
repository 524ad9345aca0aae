"""MarketActor: takes ticks from a price source, tells everyone, and remembers the last price of each symbol."""

from __future__ import annotations

from typing import assert_never

from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from messages.base import Symbol
from messages.market import GetPrice, PriceMoved, PriceReported, Tick
from messages.protocols import MarketInbox, MarketOutbox


class MarketActor(TypedActor):
    """Knows the last price of each symbol. The sources refuse a price that is none, so it does not check again."""

    role = "market"
    accepts = kinds(MarketInbox)
    emits = kinds(MarketOutbox)

    def __init__(self, ports: Ports) -> None:
        super().__init__(ports)
        self._last: dict[Symbol, Tick] = {}

    def on_receive(self, message: MarketInbox) -> None:
        """Pass a tick on, or say what the last one was."""
        match message:
            case Tick():
                self._last[message.symbol] = message
                self.emit(_moved(message))
            case GetPrice():
                self.emit(self._reported(message), message.wanted_for)
            case _:
                assert_never(message)

    def _reported(self, question: GetPrice) -> PriceReported:
        tick = self._last.get(question.symbol)
        return PriceReported(
            symbol=question.symbol,
            wanted_for=question.wanted_for,
            last_quote=None if tick is None else tick.price_quote,
            heard_at_us=self.now_us if tick is None else tick.at_us,
        )


def _moved(tick: Tick) -> PriceMoved:
    price = tick.price_quote
    return PriceMoved(
        symbol=tick.symbol,
        last_quote=price,
        low_quote=price,
        high_quote=price,
        at_us=tick.at_us,
        sequence=tick.sequence,
    )

"""MarketActor: takes ticks from a price source, tells everyone, and remembers the last price of each symbol."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from messages.base import Currency, Symbol
from messages.market import GetPrice, Instrument, PriceMoved, PriceReported, Tick
from messages.protocols import MarketInbox, MarketOutbox


class MarketActor(TypedActor):
    """Knows the last price of each symbol. The sources refuse a price that is none, so it does not check again."""

    role = "market"
    accepts = kinds(MarketInbox)
    emits = kinds(MarketOutbox)

    def __init__(
        self,
        ports: Ports,
        *,
        instruments: Mapping[Symbol, Instrument],
        usd_equivalents: tuple[Currency, ...],
    ) -> None:
        super().__init__(ports)
        self._instruments = instruments
        self._usd_equivalents = usd_equivalents
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
            quote_usd=self._quote_usd(question.symbol),
        )

    def _quote_usd(self, symbol: Symbol) -> Decimal | None:
        """Return what one unit of the symbol's quote currency is worth in account money, by the last prices."""
        instrument = self._instruments.get(symbol)
        if instrument is None:
            return None
        if instrument.quote in self._usd_equivalents:
            return Decimal(1)
        for currency in self._usd_equivalents:
            tick = self._last.get(Symbol(f"{instrument.quote}/{currency}"))
            if tick is not None:
                return tick.price_quote
        return None


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

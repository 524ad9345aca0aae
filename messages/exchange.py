"""The account as the exchange sees it, and the state of the exchange itself."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import attrs

from messages.base import Command, Currency, Event, Query, Symbol
from messages.market import Instrument
from messages.orders import ExchangeOrder


@attrs.frozen(kw_only=True)
class GetAccount(Query):
    """What do we own and owe, by the exchange's own books? AccountReported answers."""


@attrs.frozen(kw_only=True)
class Holding:
    """The exchange's net margin position in one symbol: signed volume, and its cost at the entry prices."""

    symbol: Symbol
    volume_base: Decimal
    cost_quote: Decimal


@attrs.frozen(kw_only=True)
class AccountReported(Event):
    """The answer to GetAccount: balances by currency, open margin positions, every open order."""

    balances: tuple[tuple[Currency, Decimal], ...]
    holdings: tuple[Holding, ...]
    open_orders: tuple[ExchangeOrder, ...]
    at_us: int


@attrs.frozen(kw_only=True)
class CompareAccount(Command):
    """Compare the account with our books now, and keep what was found."""

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class InstrumentsReported(Event):
    """What the exchange demands of orders, and charges, has changed: all pairs, as they are from now on."""

    instruments: tuple[Instrument, ...]

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class ExchangeAlert(Event):
    """The exchange did something nobody asked for: a liquidation, an order placed by hand."""

    kind: str
    text: str

    log_level: ClassVar[str | None] = "ERROR"

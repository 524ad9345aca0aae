"""The account compared with our books: what differs, and since when it has been the very same.

On margin the exchange keeps one net position a symbol, ours and others' in one. So what it has must be ours and what
is known to be others'; where others have traded since that was known, it must at least be ours, and what it is besides
is learnt. Of coins only a shortage differs: whatever else lies there may be anybody's.
Records lag and fills are under way, so one look proves nothing: a difference counts when it has stood unchanged for
the lag of the records while nothing was under way.
Read in order: Books, compare(), its parts, Suspicions.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from decimal import Decimal
from enum import Enum

import attrs

from actors.order.adoption import is_our_id
from messages.base import Currency, OrderId, Symbol
from messages.exchange import AccountReported

ZERO = Decimal(0)


class What(Enum):
    """What is compared."""

    MARGIN = "on margin"
    COINS = "coins"
    MISSING = "an order of ours that does not rest there"
    UNKNOWN = "an order with an id of ours that is not in our books"
    OTHERS = "what others hold on margin"
    """No difference: it is to be learnt."""


@attrs.frozen(kw_only=True)
class Difference:
    """One thing of which account and books tell otherwise."""

    symbol: Symbol
    what: What
    ours_base: Decimal
    """By our books, with what is known to be others'."""
    theirs_base: Decimal
    """By the exchange's."""
    order_id: OrderId | None = None

    @property
    def gap_base(self) -> Decimal:
        """How much more the exchange has."""
        return self.theirs_base - self.ours_base

    @property
    def text(self) -> str:
        """The difference in words."""
        name = "" if self.order_id is None else f" ({self.order_id})"
        figures = f"our books say {self.ours_base:f}, the exchange says {self.theirs_base:f}: {self.gap_base:+f}"
        return f"{self.symbol}, {self.what.value}{name}: {figures}"


@attrs.frozen(kw_only=True)
class Resting:
    """An order that we believe to rest on the exchange, and what is left of it."""

    symbol: Symbol
    left_base: Decimal


@attrs.frozen(kw_only=True)
class Books:
    """What we believe at the instant of the comparison."""

    symbols: Container[Symbol]
    """The pairs that we trade: others are nobody's business here."""
    margin: Mapping[Symbol, Decimal] = attrs.field(factory=dict)
    """What our positions on margin come to, signed."""
    coins: Mapping[Symbol, Decimal] = attrs.field(factory=dict)
    """What our positions outright hold."""
    external: Mapping[Symbol, Decimal | None] = attrs.field(factory=dict)
    """What others hold on margin, signed; None where that is to be learnt, nothing where none is named."""
    resting: Mapping[OrderId, Resting] = attrs.field(factory=dict)
    live: Container[OrderId] = ()
    """All orders of ours that may be on the exchange, on their way to it included."""


def compare(account: AccountReported, books: Books) -> tuple[Difference, ...]:
    """Return everything that differs, and what is to be learnt."""
    return (*_on_margin(account, books), *_coins(account, books), *_orders(account, books))


def _on_margin(account: AccountReported, books: Books) -> Iterable[Difference]:
    held = {holding.symbol: holding.volume_base for holding in account.holdings if holding.symbol in books.symbols}
    for symbol in sorted({*held, *books.margin, *books.external}):
        ours_base, theirs_base = books.margin.get(symbol, ZERO), held.get(symbol, ZERO)
        external_base = books.external.get(symbol, ZERO)
        what = What.MARGIN
        if external_base is not None:
            ours_base += external_base
            if ours_base == theirs_base:
                continue
        elif covers(theirs_base, ours_base):
            what = What.OTHERS
        yield Difference(symbol=symbol, what=what, ours_base=ours_base, theirs_base=theirs_base)


def covers(theirs_base: Decimal, ours_base: Decimal) -> bool:
    """Say whether the exchange's net position has all of ours in it."""
    if not ours_base:
        return True
    return theirs_base >= ours_base if ours_base > 0 else theirs_base <= ours_base


def _coins(account: AccountReported, books: Books) -> Iterable[Difference]:
    there = dict(account.balances)
    needed: dict[Currency, Decimal] = {}
    for symbol, held_base in books.coins.items():
        needed[base_of(symbol)] = needed.get(base_of(symbol), ZERO) + held_base
    for symbol in sorted(books.coins):
        base = base_of(symbol)
        there_base = there.get(base, ZERO)
        if there_base < needed[base]:
            yield Difference(symbol=symbol, what=What.COINS, ours_base=needed[base], theirs_base=there_base)


def _orders(account: AccountReported, books: Books) -> Iterable[Difference]:
    open_there = {order.order_id: order for order in account.open_orders}
    for order_id, resting in sorted(books.resting.items()):
        if order_id not in open_there:
            yield Difference(
                symbol=resting.symbol,
                what=What.MISSING,
                ours_base=resting.left_base,
                theirs_base=ZERO,
                order_id=order_id,
            )
    for order_id, order in sorted(open_there.items()):
        if is_our_id(order_id) and order_id not in books.live and order.symbol in books.symbols:
            yield Difference(
                symbol=order.symbol,
                what=What.UNKNOWN,
                ours_base=ZERO,
                theirs_base=order.volume_base - order.filled_base,
                order_id=order_id,
            )


def base_of(symbol: Symbol) -> Currency:
    """Return the currency that is bought and sold in a pair."""
    return Currency(symbol.partition("/")[0])


class Suspicions:
    """What has differed, and since when unchanged."""

    def __init__(self, lag_us: int) -> None:
        self._lag_us = lag_us
        self._since_us: dict[Difference, int] = {}

    def standing(self, found: Iterable[Difference], busy: Busy, at_us: int) -> tuple[Difference, ...]:
        """Take note of what differs now; return what has for as long as records may lag, nothing being under way."""
        self._since_us = {
            difference: self._since_us.get(difference, at_us) for difference in found if not busy.touches(difference)
        }
        return tuple(one for one, since_us in self._since_us.items() if at_us - since_us >= self._lag_us)


class Busy:
    """The symbols in which something is under way. Coins are one heap, whatever they were bought with."""

    def __init__(self, symbols: Iterable[Symbol]) -> None:
        self._symbols = frozenset(symbols)
        self._coins = frozenset(map(base_of, self._symbols))

    def touches(self, difference: Difference) -> bool:
        """Say whether the figures may change at any moment."""
        is_heap = difference.what is What.COINS and base_of(difference.symbol) in self._coins
        return is_heap or difference.symbol in self._symbols

    def __contains__(self, symbol: Symbol) -> bool:
        return symbol in self._symbols

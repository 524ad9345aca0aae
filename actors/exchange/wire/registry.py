"""What the wire knows of each order, trade and lot beyond what the books keep.

Read in order: OrderNote, LotNote, Registry.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.margin import Lot
from actors.exchange.wire import ids
from messages.base import ExternalOrderId, TradeId
from messages.orders import Fill, OrderStatus

ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Terms:
    """What an amend may move."""

    volume_base: Decimal
    limit_price_quote: Decimal | None
    trigger_price_quote: Decimal | None


@attrs.define(eq=False, kw_only=True)
class OrderNote:
    """One order as its owner wrote it, and what became of it."""

    order: BookOrder
    cl_ord_id: str | None = None
    userref: int | None = None
    oflags: tuple[str, ...] = ("fciq",)
    time_in_force: str = "GTC"
    trigger: str = "last"
    touched_us: int
    """When it was placed or last amended."""
    is_liquidation: bool = False
    is_amended: bool = False
    fired_at_us: int | None = None
    """When its trigger was reached."""
    fills: list[Fill] = attrs.field(factory=list)
    history: list[tuple[int, Terms]] = attrs.field(factory=list)
    """Its terms from each instant on."""

    @property
    def txid(self) -> str:
        """The id of the order as the world knows it."""
        return ids.written(self.order.external_id)

    def remember_terms(self, now_us: int) -> None:
        """Keep today's terms for whoever sees the past."""
        order = self.order
        self.history.append(
            (
                now_us,
                Terms(
                    volume_base=order.volume_base,
                    limit_price_quote=order.limit_price_quote,
                    trigger_price_quote=order.trigger_price_quote,
                ),
            )
        )

    def terms_at(self, until_us: int) -> Terms:
        """Return the terms as they were."""
        return next((terms for since_us, terms in reversed(self.history) if since_us <= until_us), self.history[0][1])

    def fills_until(self, until_us: int) -> list[Fill]:
        """Return its trades that had happened by then."""
        return [fill for fill in self.fills if fill.at_us <= until_us]

    def is_over_at(self, until_us: int) -> bool:
        """Say whether it had ended by then."""
        return self.order.ended_at_us is not None and self.order.ended_at_us <= until_us

    def status_at(self, until_us: int) -> str:
        """Return the status in REST's words."""
        if not self.is_over_at(until_us):
            return "open"
        return {OrderStatus.FILLED: "closed", OrderStatus.EXPIRED: "expired"}.get(self.order.status, "canceled")


@attrs.define(eq=False, kw_only=True)
class LotNote:
    """One lot of a margin position, and the trade that opened it."""

    lot: Lot
    fill: Fill


class Registry:
    """Everything that can be asked for."""

    def __init__(self) -> None:
        self._orders: dict[ExternalOrderId, OrderNote] = {}
        self._by_client: dict[str, list[OrderNote]] = {}
        self.ended: list[OrderNote] = []
        """In the order of their ends."""
        self.trades: list[Fill] = []
        """Oldest first."""
        self._trade_times: list[int] = []
        self._trade_index: dict[TradeId, int] = {}
        self.lots: dict[int, LotNote] = {}
        self.lot_of_trade: dict[TradeId, LotNote] = {}

    # Orders ---------------------------------------------------------------------------------------

    def add_order(self, note: OrderNote) -> None:
        """Take up an order."""
        self._orders[note.order.external_id] = note
        if note.cl_ord_id is not None:
            self._by_client.setdefault(note.cl_ord_id, []).append(note)

    def order(self, external_id: ExternalOrderId) -> OrderNote | None:
        """Return the order of this id of the books."""
        return self._orders.get(external_id)

    def named(self, txid: str) -> OrderNote | None:
        """Return the order of this id of the world."""
        external_id = ids.counted(txid)
        return None if external_id is None else self._orders.get(ExternalOrderId(external_id))

    def of_client(self, cl_ord_id: str) -> Sequence[OrderNote]:
        """Return the orders of this client id, oldest first: only the last of them may be open."""
        return self._by_client.get(cl_ord_id, ())

    def orders(self) -> Iterator[OrderNote]:
        """Return every order, oldest first."""
        return iter(self._orders.values())

    def newest_ended(self, since_us: int, until_us: int) -> Iterator[OrderNote]:
        """Return orders that ended within, newest first."""
        for note in reversed(self.ended):
            ended_at_us = note.order.ended_at_us or 0
            if ended_at_us < since_us:
                return
            if ended_at_us <= until_us:
                yield note

    # Trades and lots ------------------------------------------------------------------------------

    def add_trade(self, fill: Fill) -> None:
        """Take up a trade."""
        self._trade_index[fill.trade_id] = len(self.trades)
        self._trade_times.append(fill.at_us)
        self.trades.append(fill)

    def trade(self, txid: str) -> Fill | None:
        """Return the trade of this id of the world."""
        trade_id = ids.counted(txid)
        index = None if trade_id is None else self._trade_index.get(TradeId(trade_id))
        return None if index is None else self.trades[index]

    def number_of(self, fill: Fill) -> int:
        """Return the how-manyth trade it is."""
        return self._trade_index[fill.trade_id] + 1

    def trades_between(self, after_us: int | None, until_us: int) -> Sequence[Fill]:
        """Return the trades after one instant and up to another, oldest first."""
        first = 0 if after_us is None else bisect_right(self._trade_times, after_us)
        return self.trades[first : bisect_right(self._trade_times, until_us)]

    def trades_from(self, since_us: int) -> Sequence[Fill]:
        """Return the trades from an instant on."""
        return self.trades[bisect_left(self._trade_times, since_us) :]

    def add_lot(self, lot: Lot, fill: Fill) -> None:
        """Take up a lot."""
        note = LotNote(lot=lot, fill=fill)
        self.lots[lot.number] = note
        self.lot_of_trade[fill.trade_id] = note

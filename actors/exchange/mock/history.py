"""Orders and trades as they are remembered: all that is open, and the newest 10,000 of what is over.

No question costs more when the history is longer: orders are found by id, trades by their number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import chain

from actors.exchange.mock.book_order import BookOrder
from messages.base import ExternalOrderId, OrderId, TradeId
from messages.orders import ExchangeOrder, Fill, OrderStatus

HISTORY_MAX = 10_000


def trade_id_of(number: int) -> TradeId:
    """Return the id of the how-manyth trade of these books."""
    return TradeId(f"T{number:010d}")


def number_of(trade_id: TradeId) -> int:
    """Return which trade of the account this one is."""
    return int(trade_id.removeprefix("T"))


def external_id_of(number: int) -> ExternalOrderId:
    """Return the exchange's id of the how-manyth order of these books."""
    return ExternalOrderId(f"O{number:010d}")


class History:
    """Every order and trade that the exchange can still be asked about."""

    def __init__(self, history_max: int = HISTORY_MAX) -> None:
        self._history_max = history_max
        self._orders: dict[OrderId, BookOrder] = {}
        """The newest order of each client id, open or over."""
        self._over: deque[BookOrder] = deque()
        self._fills: dict[int, Fill] = {}
        self._fills_of: dict[OrderId, dict[int, Fill]] = {}
        self.open: dict[int, BookOrder] = {}
        """Open orders by sequence."""
        self.order_count = 0
        self.trade_count = 0
        self.ended_count = 0
        self.changed_orders: dict[ExternalOrderId, BookOrder | None] = {}
        """None stands for an order that was forgotten."""
        self.changed_trades: list[Fill] = []

    # Orders ---------------------------------------------------------------------------------------

    def add_order(self, order: BookOrder) -> None:
        """Take up an order, new or restored."""
        self._orders[order.order_id] = order
        if order.is_open:
            self.open[order.sequence] = order
        else:
            self._over.append(order)
        self._forget_orders()

    def end(self, order: BookOrder, status: OrderStatus, reason: str, now_us: int) -> None:
        """Move an order to those that are over."""
        self.ended_count += 1
        order.status, order.reason = status, reason
        order.ended_at_us, order.ended_number = now_us, self.ended_count
        self.open.pop(order.sequence)
        self._over.append(order)
        self.changed(order)
        self._forget_orders()

    def changed(self, order: BookOrder) -> None:
        """Note that an order has to be saved and looks different now."""
        order.touch()
        self.changed_orders[order.external_id] = order

    def find(self, order_id: OrderId) -> BookOrder | None:
        """Return the newest order of this client id that is still remembered."""
        return self._orders.get(order_id)

    def find_open(self, order_id: OrderId) -> BookOrder | None:
        """Return the open order of this client id."""
        order = self._orders.get(order_id)
        return order if order is not None and order.is_open else None

    def _forget_orders(self) -> None:
        while len(self._over) > self._history_max:
            order = self._over.popleft()
            self.changed_orders[order.external_id] = None
            if self._orders.get(order.order_id) is order:
                del self._orders[order.order_id]

    # Trades ---------------------------------------------------------------------------------------

    def next_trade_id(self) -> TradeId:
        """Return the id that the next trade will have."""
        return trade_id_of(self.trade_count + 1)

    def add_trade(self, fill: Fill) -> None:
        """Take up the next trade."""
        self.trade_count += 1
        self.changed_trades.append(fill)
        self.restore_trade(self.trade_count, fill)

    def restore_trade(self, number: int, fill: Fill) -> None:
        """Take up a trade under its number; numbers only rise."""
        self._fills[number] = fill
        self._fills_of.setdefault(fill.order_id, {})[number] = fill
        if len(self._fills) > self._history_max:
            oldest = next(iter(self._fills))
            order_id = self._fills.pop(oldest).order_id
            del self._fills_of[order_id][oldest]
            if not self._fills_of[order_id]:
                del self._fills_of[order_id]

    def trades(self) -> Iterable[Fill]:
        """Return every remembered trade, oldest first."""
        return self._fills.values()

    def orders(self) -> Iterable[BookOrder]:
        """Return every remembered order: those that are over in the order of their ends, then the open ones."""
        return chain(self._over, self.open.values())

    def fills_of(self, order_id: OrderId, until_us: int | None = None) -> tuple[Fill, ...]:
        """Return the trades of an order; those after `until_us` are left out."""
        fills = self._fills_of.get(order_id, {}).values()
        return tuple(fill for fill in fills if until_us is None or fill.at_us <= until_us)

    def fills_after(self, number: int, until_us: int | None = None) -> tuple[tuple[Fill, ...], int]:
        """Return the trades after that number, and the number of the last one; later ones than `until_us` wait."""
        found: list[Fill] = []
        for following in range(max(number, self.trade_count - len(self._fills)) + 1, self.trade_count + 1):
            fill = self._fills[following]
            if until_us is not None and fill.at_us > until_us:
                return tuple(found), following - 1
            found.append(fill)
        return tuple(found), max(number, self.trade_count)

    def fills_since(self, since_us: int, until_us: int | None = None) -> tuple[Fill, ...]:
        """Return the trades from that instant on; those after `until_us` are left out."""
        trades = self._fills.values()
        return tuple(fill for fill in trades if since_us <= fill.at_us and (until_us is None or fill.at_us <= until_us))

    def seen_until(self, until_us: int | None) -> int:
        """Return the number of the newest trade that is not later than `until_us`."""
        number = self.trade_count
        while until_us is not None and number in self._fills and self._fills[number].at_us > until_us:
            number -= 1
        return number

    def view(self, order: BookOrder, until_us: int | None = None) -> ExchangeOrder | None:
        """Return what is said of an order: now, or as it was at `until_us`; None if it was not there yet."""
        if until_us is None:
            return order.view()
        if order.opened_at_us > until_us:
            return None
        if order.ended_at_us is not None and order.ended_at_us <= until_us:
            return order.view()
        fills = self.fills_of(order.order_id, until_us)
        own = (fill.volume_base for fill in fills if fill.external_order_id == order.external_id)
        filled_base = sum(own, Decimal(0))
        return order.view_with(OrderStatus.PARTIALLY_FILLED if filled_base else OrderStatus.OPEN, filled_base)

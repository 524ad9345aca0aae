"""Traffic as an engine makes it: calls that leave reach the model late and unevenly, and answers come later still."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import attrs

from messages.base import OrderId, Symbol
from messages.permits import CallKind, CallPriority, RequestPermit
from tests.pure.kraken_model import KrakenModel

DEADLINE_US = 10_000_000


@attrs.define
class Known:
    """An order, as whoever sends it knows it."""

    pair: Symbol
    touched: list[tuple[int, int]] = attrs.field(factory=list)
    """Each time it was placed or moved: when that is told, and until when it may happen if it is not told yet."""
    gone_us: int | None = None
    """When its end is known."""


class Traffic:
    """The orders of one engine, and the way to the model of the exchange."""

    def __init__(self, model: KrakenModel, latency_us: Callable[[], int]) -> None:
        self.model = model
        self._latency_us = latency_us
        self._under_way: list[tuple[int, int, Callable[[int], None]]] = []
        self._numbers = count()
        self.orders: dict[OrderId, Known] = {}

    def ask(
        self, order: OrderId, kind: CallKind, priority: CallPriority, pair: Symbol, deadline_us: int, now_us: int
    ) -> RequestPermit:
        """Return the request for a call about an order, with what is known at this instant."""
        known = self.orders.setdefault(order, Known(pair))
        return RequestPermit(
            kind=kind,
            priority=priority,
            order_id=order,
            symbol=known.pair,
            touched_at_us=self._touched_us(known, now_us),
            open_orders=self._open_besides(order, now_us),
            deadline_us=deadline_us,
        )

    def _touched_us(self, known: Known, now_us: int) -> int | None:
        latest = [told_us if told_us <= now_us else deadline_us for told_us, deadline_us in known.touched]
        return max(latest, default=None)

    def _open_besides(self, order: OrderId, now_us: int) -> int:
        pair = self.orders[order].pair
        return sum(
            known.pair == pair and (known.gone_us is None or known.gone_us > now_us)
            for other, known in self.orders.items()
            if other != order
        )

    def there(self, now_us: int) -> list[OrderId]:
        """Return the orders that the exchange has acknowledged, and that are not being cancelled."""
        return [
            order
            for order, known in self.orders.items()
            if known.gone_us is None and known.touched and known.touched[0][0] <= now_us
        ]

    def leave(self, now_us: int, request: RequestPermit) -> None:
        """A call about an order leaves."""
        order, pair, kind = request.order_id, request.symbol, request.kind
        assert order is not None
        assert pair is not None
        arrives_us = now_us + self._latency_us()
        told_us = arrives_us + self._latency_us()
        known = self.orders[order]
        if kind is CallKind.CANCEL:
            known.gone_us = told_us
        else:
            known.touched.append((told_us, now_us + DEADLINE_US))
        self._send(arrives_us, lambda at_us: self.model.order_call(at_us, kind, pair, order))

    def leave_rest(self, now_us: int, points_milli: int) -> None:
        """A REST call leaves."""
        self._send(now_us + self._latency_us(), lambda at_us: self.model.rest_call(at_us, points_milli))

    def give_up(self, order: OrderId | None, now_us: int) -> None:
        """An order was never placed."""
        assert order is not None
        self.orders[order].gone_us = now_us

    def forget(self, now_us: int) -> None:
        """Let go of what is over: a day is long."""
        for order in [order for order, known in self.orders.items() if (known.gone_us or now_us) < now_us]:
            del self.orders[order]

    def _send(self, arrives_us: int, arrival: Callable[[int], None]) -> None:
        heapq.heappush(self._under_way, (arrives_us, next(self._numbers), arrival))

    def arrive_until(self, now_us: int) -> None:
        """Let everything arrive that is due."""
        while self._under_way and self._under_way[0][0] <= now_us:
            at_us, _number, arrival = heapq.heappop(self._under_way)
            arrival(at_us)

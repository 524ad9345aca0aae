"""The trades that Kraken has told, newest last: so that none is asked for twice, and each order's are at hand.

Bounded: the newest 10,000. Read in order: TradeLog.
"""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal

from actors.exchange.kraken.notation import ZERO
from messages.base import ExternalOrderId, TradeId
from messages.orders import Fill

TRADES_REMEMBERED = 10_000


class TradeLog:
    """Each trade once, whoever told it."""

    def __init__(self) -> None:
        self._fills: OrderedDict[TradeId, Fill] = OrderedDict()
        self._of_order: dict[ExternalOrderId, dict[TradeId, Fill]] = {}
        self.newest: TradeId | None = None
        """The newest trade by the exchange's clock."""
        self._newest_at_us = 0

    def add(self, fill: Fill) -> bool:
        """Take in a trade; say whether it is new."""
        if fill.trade_id in self._fills:
            return False
        self._fills[fill.trade_id] = fill
        self._of_order.setdefault(fill.external_order_id, {})[fill.trade_id] = fill
        if fill.at_us >= self._newest_at_us:
            self.newest, self._newest_at_us = fill.trade_id, fill.at_us
        if len(self._fills) > TRADES_REMEMBERED:
            self._forget_oldest()
        return True

    def _forget_oldest(self) -> None:
        trade_id, fill = self._fills.popitem(last=False)
        fills = self._of_order[fill.external_order_id]
        del fills[trade_id]
        if not fills:
            del self._of_order[fill.external_order_id]

    def __contains__(self, trade_id: object) -> bool:
        """Say whether the trade has been told."""
        return trade_id in self._fills

    def of_order(self, external_id: ExternalOrderId) -> tuple[Fill, ...]:
        """Return the trades of an order, as they were told."""
        return tuple(self._of_order.get(external_id, {}).values())

    def filled_base(self, external_id: ExternalOrderId) -> Decimal:
        """Return how much of an order the trades that were told make up."""
        return sum((fill.volume_base for fill in self._of_order.get(external_id, {}).values()), ZERO)

"""What the `executions` channel says of each change, as sparse as Kraken says it.

Only the first word about an order tells what it is; `new`, `status`, `filled` and `canceled` carry its id and little
more. Whoever missed the first word asks for a snapshot.

Read in order: Delta, Executions; snapshots at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.mock.book_order import TRIGGERED_TYPES
from actors.exchange.wire import ids
from actors.exchange.wire.names import Names
from actors.exchange.wire.numbers import decimals_of, rfc3339
from actors.exchange.wire.registry import OrderNote
from messages.orders import Fill, OrderStatus, TimeInForce

ZERO = Decimal(0)
OUTER = frozenset({"new", "filled", "canceled", "expired", "trade"})
"""What is told also to whoever did not ask for every change of status."""
STATUS = {
    OrderStatus.PENDING: "pending_new",
    OrderStatus.OPEN: "new",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELLED: "canceled",
    OrderStatus.EXPIRED: "expired",
    OrderStatus.ERROR: "canceled",
}


@attrs.frozen(kw_only=True)
class Delta:
    """One row of an update, and what it says to whoever hears of the order here first."""

    row: dict[str, Any]
    full: dict[str, Any] | None = None

    def shown(self, *, every_status: bool) -> dict[str, Any] | None:
        """Return the row for a subscriber, None if it is not for them."""
        if every_status:
            return self.row
        return (self.full or self.row) if self.row["exec_type"] in OUTER else None


class Executions:
    """Puts changes of orders into rows."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def placed(self, note: OrderNote, now_us: int) -> list[Delta]:
        """Tell that an order has arrived, and that it is in the book."""
        pending = self._about(note) | {
            "exec_type": "pending_new",
            "order_status": "pending_new",
            "cum_qty": ZERO,
            "cum_cost": ZERO,
            "avg_price": ZERO,
            "fee_usd_equiv": ZERO,
            "timestamp": rfc3339(now_us),
        }
        new = {
            "timestamp": rfc3339(now_us),
            "order_status": "new",
            "exec_type": "new",
            "order_userref": note.userref or 0,
            "order_id": note.txid,
        }
        return [Delta(row=pending), Delta(row=new, full=pending | new)]

    def fired(self, note: OrderNote, now_us: int, last_quote: Decimal | None) -> Delta:
        """Tell that the trigger of an order was reached."""
        triggers = self._triggers(note)
        triggers |= {"status": "triggered", "timestamp": rfc3339(now_us)}
        if last_quote is not None:
            triggers |= {"last_price": last_quote, "actual_price": last_quote}
        return Delta(row=self._brief(note, "status", "new", now_us) | {"triggers": triggers})

    def traded(self, note: OrderNote, fill: Fill, number: int) -> Delta:
        """Tell a trade. One that completes the order may still call it partially filled, and does."""
        return Delta(row=self.trade_row(note, fill, number))

    def trade_row(self, note: OrderNote, fill: Fill, number: int) -> dict[str, Any]:
        """Return a trade as a row."""
        quote = self._names.pairs[fill.symbol].instrument.quote
        row: dict[str, Any] = {
            "order_id": note.txid,
            "order_userref": note.userref or 0,
            "exec_id": ids.written(fill.trade_id),
            "exec_type": "trade",
            "trade_id": number,
            "symbol": fill.symbol,
            "side": fill.side.value,
            "last_qty": fill.volume_base,
            "last_price": fill.price_quote,
            "liquidity_ind": "m" if fill.is_maker else "t",
            "cost": fill.volume_base * fill.price_quote,
            "order_status": "partially_filled",
            "order_type": note.order.order_type.value,
            "timestamp": rfc3339(fill.at_us),
            "fee_usd_equiv": fill.fee_quote,
            "fees": [{"asset": quote, "qty": fill.fee_quote}],
        }
        if fill.is_margin:
            row["margin_borrow"] = not note.order.reduce_only
        if fill.is_liquidation:
            row["liquidated"] = True
        return row

    def filled(self, note: OrderNote, now_us: int) -> Delta:
        """Tell that nothing is left of an order."""
        return Delta(row=self._brief(note, "filled", "filled", now_us) | self._sums(note))

    def ended(self, note: OrderNote, now_us: int) -> Delta:
        """Tell that an order was cancelled or has expired."""
        word = STATUS[note.order.status]
        row = self._brief(note, word, word, now_us) | self._sums(note)
        return Delta(row=row | {"reason": note.order.reason, "cancel_reason": note.order.reason})

    def amended(self, note: OrderNote, now_us: int) -> Delta:
        """Tell the new terms of an order."""
        status = "partially_filled" if note.fills else "new"
        about = self._about(note)
        moved = {name: about[name] for name in ("order_qty", "limit_price", "triggers") if name in about}
        row = self._brief(note, "amended", status, now_us) | moved | {"amended": True, "reason": "User requested"}
        return Delta(row=row)

    # Snapshots ------------------------------------------------------------------------------------

    def open_orders(self, notes: Iterable[OrderNote]) -> list[dict[str, Any]]:
        """Return the open orders in full."""
        return [
            self._about(note)
            | self._sums(note)
            | {
                "exec_type": "new",
                "order_status": STATUS[note.order.status],
                "timestamp": rfc3339(note.order.opened_at_us),
                "last_price": note.fills[-1].price_quote if note.fills else ZERO,
            }
            for note in notes
        ]

    # Parts of rows --------------------------------------------------------------------------------

    def _brief(self, note: OrderNote, exec_type: str, order_status: str, now_us: int) -> dict[str, Any]:
        return {
            "timestamp": rfc3339(now_us),
            "order_status": order_status,
            "exec_type": exec_type,
            "order_userref": note.userref or 0,
            "order_id": note.txid,
        }

    def _sums(self, note: OrderNote) -> dict[str, Any]:
        """Return what has traded of an order so far."""
        volume_base = sum((fill.volume_base for fill in note.fills), ZERO)
        cost_quote = sum((fill.volume_base * fill.price_quote for fill in note.fills), ZERO)
        return {
            "cum_qty": volume_base,
            "cum_cost": cost_quote,
            "avg_price": self._average(note, cost_quote, volume_base),
            "fee_usd_equiv": sum((fill.fee_quote for fill in note.fills), ZERO),
        }

    def _average(self, note: OrderNote, cost_quote: Decimal, volume_base: Decimal) -> Decimal:
        if not volume_base:
            return ZERO
        tick_quote = self._names.pairs[note.order.symbol].instrument.price_tick_quote
        return (cost_quote / volume_base).quantize(Decimal(1).scaleb(-decimals_of(tick_quote)))

    def _about(self, note: OrderNote) -> dict[str, Any]:
        """Return what an order is."""
        order = note.order
        row: dict[str, Any] = {
            "order_id": note.txid,
            "symbol": order.symbol,
            "order_qty": order.volume_base,
            "time_in_force": note.time_in_force,
            "order_userref": note.userref or 0,
            "side": order.side.value,
            "order_type": order.order_type.value,
            "margin": order.is_margin,
            "reduce_only": order.reduce_only,
            "post_only": "post" in note.oflags,
            "fee_ccy_pref": "fciq",
        }
        if note.cl_ord_id is not None:
            row["cl_ord_id"] = note.cl_ord_id
        if order.limit_price_quote is not None:
            row |= {"limit_price": order.limit_price_quote, "limit_price_type": "static"}
        if order.order_type in TRIGGERED_TYPES:
            row["triggers"] = self._triggers(note)
        if order.time_in_force is TimeInForce.GTD and order.expires_at_us is not None:
            row["expire_time"] = rfc3339(order.expires_at_us)
        return row

    def _triggers(self, note: OrderNote) -> dict[str, Any]:
        return {
            "reference": note.trigger,
            "price": note.order.trigger_price_quote or ZERO,
            "price_type": "static",
            "status": "triggered" if note.order.is_triggered else "untriggered",
        }

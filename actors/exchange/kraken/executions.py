"""What the websocket's channel `executions` tells, in our words.

Messages are numbered without gaps: each channel by itself, or all that is private on a line together. An order is told
in full once and in parts afterwards (symbol, side and client id are left out), so what was told before is kept.
Read in order: Heard, Executions.hear(), one row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.kraken.notation import ZERO, moment_us, number, our_id
from actors.exchange.kraken.pairs import Pair, Pairs
from actors.exchange.kraken.records import OrderRow, is_base
from messages.base import Event, ExternalOrderId, OrderId, TradeId
from messages.exchange import ExchangeAlert
from messages.orders import ExecutionReported, Fill, OrderAccepted, OrderAmended, OrderEnded, OrderStatus
from messages.trades import Side

ORDERS_REMEMBERED = 10_000
ENDS = {
    "canceled": OrderStatus.CANCELLED,
    "cancelled": OrderStatus.CANCELLED,
    "expired": OrderStatus.EXPIRED,
}
MOVES = ("amended", "restated")


@attrs.define(kw_only=True)
class Known:
    """What has been told of one order."""

    order_id: OrderId
    """Ours, or the exchange's own where it has none of ours."""
    is_ours: bool = False
    is_owner_known: bool = False
    """Whether it has been told in full: only then does the lack of a client id mean that it has none."""
    pair: Pair | None = None
    side: Side | None = None
    is_margin: bool = False
    volume_base: Decimal | None = None
    trigger_quote: Decimal | None = None
    filled_base: Decimal = ZERO
    is_told: bool = False
    """Whether it has been said that Kraken took it."""
    is_alerted: bool = False
    """Whether a person has been told that it is somebody else's."""


@attrs.frozen
class Heard:
    """What one message has told."""

    events: tuple[Event, ...] = ()
    unclear: tuple[Mapping[str, Any], ...] = ()
    """Rows about orders of which too little has been told: `explain` them when more is known."""
    has_gap: bool = False
    """Whether messages before this one are missing."""


class Executions:
    """The orders and trades of one account, as they are pushed."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._sequence: int | None = None
        self._elsewhere: set[int] = set()
        """Numbers after ours that messages of other channels bear."""
        self._are_numbered_together = True
        """Whether no number has been told twice so far, here and elsewhere."""

    def take_pairs(self, pairs: Pairs) -> None:
        """Go on with pairs that have been told anew."""
        self._pairs = pairs

    def begin(self) -> None:
        """Start counting anew: a new subscription has numbers of its own."""
        self._sequence = None
        self._elsewhere.clear()
        self._are_numbered_together = True

    def note(self, row: OrderRow, pair: Pair | None) -> None:
        """Take in what REST has told of an order."""
        order = row.order
        known = self._entry(order.external_id)
        known.order_id, known.is_ours, known.pair = order.order_id, row.is_ours, pair
        known.is_owner_known = True
        known.volume_base, known.trigger_quote = order.volume_base, order.trigger_price_quote
        known.filled_base = max(known.filled_base, order.filled_base)
        if order.terms is not None:
            known.side, known.is_margin = order.terms.side, order.terms.leverage > 1

    def note_placed(self, external_id: str, order_id: OrderId, pair: Pair, side: Side, *, is_margin: bool) -> None:
        """Take in what we have placed ourselves."""
        known = self._entry(external_id)
        known.order_id, known.is_ours, known.pair, known.side = order_id, True, pair, side
        known.is_owner_known = known.is_told = True
        known.is_margin = is_margin

    def note_moved(self, external_id: str, volume_base: Decimal, trigger_quote: Decimal | None) -> None:
        """Take in where an order rests now."""
        known = self._entry(external_id)
        known.volume_base = volume_base
        known.trigger_quote = known.trigger_quote if trigger_quote is None else trigger_quote

    def known(self, external_id: str) -> Known | None:
        """Return what has been told of an order."""
        return self._known.get(external_id)

    def _entry(self, external_id: str) -> Known:
        known = self._known.get(external_id)
        if known is None:
            known = Known(order_id=OrderId(external_id))
            self._known[external_id] = known
            if len(self._known) > ORDERS_REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(external_id)
        return known

    # Messages -------------------------------------------------------------------------------------

    def hear(self, message: Mapping[str, Any]) -> Heard:
        """Return what a message of the channel tells. Raises KeyError, ValueError and the like for nonsense."""
        has_gap = self._is_after_gap(message.get("sequence"))
        is_snapshot = message.get("type") == "snapshot"
        return attrs.evolve(self._hear_rows(message.get("data") or (), is_snapshot=is_snapshot), has_gap=has_gap)

    def explain(self, rows: Iterable[Mapping[str, Any]]) -> Heard:
        """Return what rows tell that were unclear before."""
        return self._hear_rows(rows, is_snapshot=False)

    def _hear_rows(self, rows: Iterable[Mapping[str, Any]], *, is_snapshot: bool) -> Heard:
        events: list[Event] = []
        unclear: list[Mapping[str, Any]] = []
        for row in rows:
            told = self._hear_row(row, is_snapshot=is_snapshot)
            if told is None:
                unclear.append(row)
            else:
                events += told
        return Heard(tuple(events), tuple(unclear))

    def _is_after_gap(self, sequence: Any) -> bool:
        if not isinstance(sequence, int):
            return False
        last, self._sequence = self._sequence, sequence if self._sequence is None else max(self._sequence, sequence)
        self._are_numbered_together = self._are_numbered_together and sequence not in self._elsewhere
        between = {number for number in self._elsewhere if last is not None and last < number < sequence}
        self._elsewhere = {number for number in self._elsewhere if number > sequence}
        told = len(between) if self._are_numbered_together else 0
        return last is not None and sequence > last + 1 + told

    def hear_elsewhere(self, sequence: Any) -> None:
        """Take in the number of a message of another channel: where all are numbered together, it is no gap of ours."""
        if not isinstance(sequence, int) or not self._are_numbered_together:
            return
        if self._sequence is not None and sequence <= self._sequence:
            self._are_numbered_together = False
        else:
            self._elsewhere.add(sequence)

    def _hear_row(self, row: Mapping[str, Any], *, is_snapshot: bool) -> list[Event] | None:
        """Return the events in a row, None if too little is known of its order."""
        known = self._learn(row)
        kind = row.get("exec_type")
        external_id = ExternalOrderId(str(row["order_id"]))
        if kind == "trade":
            fill = self._fill(known, external_id, row)
            return None if fill is None else [ExecutionReported(fill=fill)]
        if is_snapshot or kind is None:
            return []
        if not known.is_owner_known:
            return None
        if kind == "new":
            return self._new(known, external_id, row)
        if not known.is_ours:
            return []
        if kind in ENDS:
            # Its beginning may have been lost, and an end does not say which order of Kraken's it was.
            beginning = [] if known.is_told else [_accepted(known, external_id, row)]
            return [*beginning, _ended(known, kind, row)]
        if kind in MOVES:
            return _moved(known, row)
        return []

    def _learn(self, row: Mapping[str, Any]) -> Known:
        """Add what a row says to what is known of its order."""
        known = self._entry(str(row["order_id"]))
        mine = our_id(row.get("cl_ord_id"))
        if mine is not None:
            known.order_id, known.is_ours = mine, True
        is_told_in_full = row.get("exec_type") != "trade" and "symbol" in row and "order_qty" in row
        known.is_owner_known = known.is_owner_known or mine is not None or is_told_in_full
        known.pair = self._pairs.named(row.get("symbol")) or known.pair
        known.side = Side(row["side"]) if "side" in row else known.side
        known.is_margin = known.is_margin or row.get("margin") is True or row.get("margin_borrow") is True
        known.volume_base = number(row["order_qty"]) if "order_qty" in row else known.volume_base
        trigger = row.get("triggers") or {}
        if "price" in trigger and trigger.get("price_type", "static") == "static":
            known.trigger_quote = number(trigger["price"])
        known.filled_base = max(known.filled_base, number(row.get("cum_qty")))
        return known

    # Rows -----------------------------------------------------------------------------------------

    def _new(self, known: Known, external_id: ExternalOrderId, row: Mapping[str, Any]) -> list[Event]:
        if known.is_ours:
            return [_accepted(known, external_id, row)]
        if known.is_alerted:
            return []
        known.is_alerted = True
        where = "an unknown pair" if known.pair is None else known.pair.symbol
        return [ExchangeAlert(kind="external_order", text=f"{external_id} in {where} was not placed by this engine")]

    def _fill(self, known: Known, external_id: ExternalOrderId, row: Mapping[str, Any]) -> Fill | None:
        if known.pair is None or known.side is None or not known.is_owner_known:
            return None
        if row.get("fees") is None:
            return None  # What is not told is not free: the trades of REST tell it.
        price_quote = number(row["last_price"])
        return Fill(
            trade_id=TradeId(str(row["exec_id"])),
            order_id=known.order_id,
            external_order_id=external_id,
            symbol=known.pair.symbol,
            side=known.side,
            price_quote=price_quote,
            volume_base=number(row["last_qty"]),
            fee_quote=_fee_quote(known.pair, row["fees"], price_quote),
            is_maker=row.get("liquidity_ind") == "m",
            is_liquidation=row.get("liquidated") is True,
            at_us=moment_us(row["timestamp"]),
            is_margin=known.is_margin,
        )


def _fee_quote(pair: Pair, fees: Any, price_quote: Decimal) -> Decimal:
    """Return the fees in the quote currency; what was taken in the base currency is worth the trade's own price."""
    total_quote = ZERO
    for fee in fees:
        quantity = number(fee.get("qty"))
        total_quote += quantity * price_quote if is_base(pair, str(fee.get("asset"))) else quantity
    return total_quote


def _ended(known: Known, kind: str, row: Mapping[str, Any]) -> OrderEnded:
    return OrderEnded(
        order_id=known.order_id,
        status=ENDS[kind],
        reason=str(row.get("reason") or row.get("cancel_reason") or kind),
        at_us=moment_us(row["timestamp"]),
        filled_base=number(row["cum_qty"]) if "cum_qty" in row else None,
    )


def _accepted(known: Known, external_id: ExternalOrderId, row: Mapping[str, Any]) -> OrderAccepted:
    known.is_told = True
    return OrderAccepted(order_id=known.order_id, external_id=external_id, at_us=moment_us(row["timestamp"]))


def _moved(known: Known, row: Mapping[str, Any]) -> list[Event] | None:
    if known.volume_base is None:
        return None
    return [
        OrderAmended(
            order_id=known.order_id,
            volume_base=known.volume_base,
            trigger_price_quote=known.trigger_quote,
            at_us=moment_us(row["timestamp"]),
        )
    ]

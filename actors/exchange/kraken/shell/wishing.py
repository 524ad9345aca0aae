"""Wishing: orders placed, moved and taken off, each wish sent once.

Only what proves that nothing was done is answered by a no. Everything else is unknown: the engine looks the order up.
Read in order: _place_steps(), _amend_steps(), _cancel_steps().
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from actors.exchange.kraken import terms
from actors.exchange.kraken.errors import Verdict
from actors.exchange.kraken.pairs import Pair
from actors.exchange.kraken.shell.asking import Asking
from actors.exchange.kraken.shell.calling import SEND_WITHIN_US, Ask, Reply, Steps, Wait
from actors.runtime.clock import MICROSECONDS
from messages.base import ExternalOrderId, OrderId
from messages.orders import (
    AmendOrder,
    AmendRefused,
    CancelOrder,
    CancelRefused,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderIntent,
    OrderRefused,
    OrderRole,
    OrderStatus,
    OutcomeUnknown,
    PlaceOrder,
)
from messages.permits import CallPriority

ADD_ORDER = "/0/private/AddOrder"
AMEND_ORDER = "/0/private/AmendOrder"
CANCEL_ORDER = "/0/private/CancelOrder"
PROVES_NOTHING_DONE = (Verdict.REFUSED, Verdict.THROTTLED, Verdict.MAINTENANCE, Verdict.FATAL)
MAY_SUCCEED_LATER = (Verdict.THROTTLED, Verdict.MAINTENANCE)


class Wishing(Asking):
    """What changes orders."""

    # Place ----------------------------------------------------------------------------------------

    def _place_steps(self, wish: PlaceOrder) -> Steps:
        intent = wish.intent
        pair = self._pairs.of(intent.symbol)
        if pair is None:
            self._refuse(intent, Reply(reason=f"Kraken lists no pair {intent.symbol}"), is_final=True)
            return
        ask = Ask(
            path=ADD_ORDER,
            params=terms.add_order(intent, pair, self._to_exchange_us(wish.deadline_us)),
            points_milli=0,
            priority=CallPriority.OPEN if intent.role is OrderRole.ENTRY else CallPriority.PROTECT,
            deadline_us=wish.deadline_us,
            symbol=intent.symbol,
            is_wish=True,
        )
        reply = yield ask
        while (again_us := self._again_at_us(reply)) is not None and again_us + SEND_WITHIN_US < wish.deadline_us:
            yield Wait(again_us)
            reply = yield ask
        self._answer_place(intent, pair, reply)

    def _again_at_us(self, reply: Reply) -> int | None:
        """Return when the same wish may be made again, None if it must not: only where nothing can have been done."""
        meaning = reply.meaning
        if meaning is None or meaning.verdict is not Verdict.THROTTLED:
            return None
        return self.now_us + max(1, meaning.pause_s) * MICROSECONDS

    def _answer_place(self, intent: OrderIntent, pair: Pair, reply: Reply) -> None:
        meaning = reply.meaning
        external_id = _txid_of(reply.result)
        if external_id is not None:
            self._executions.note_placed(external_id, intent.id, pair, intent.side, is_margin=intent.leverage > 1)
            self._executions.note_moved(external_id, intent.volume_base, intent.trigger_price_quote)
            self._note_external(intent.id, external_id)
            self.emit(OrderAccepted(order_id=intent.id, external_id=external_id, at_us=self.now_us), intent.proposal_id)
        elif meaning is not None and meaning.verdict in PROVES_NOTHING_DONE:
            if meaning.is_off_grid:
                self._refresh_pairs()
            self._refuse(intent, reply, is_final=meaning.verdict not in MAY_SUCCEED_LATER)
        else:
            reason = reply.reason or "accepted without an id"
            self.emit(OutcomeUnknown(order_id=intent.id, reason=reason), intent.proposal_id)

    def _refuse(self, intent: OrderIntent, reply: Reply, *, is_final: bool) -> None:
        meaning = reply.meaning
        lacks_position = meaning is not None and meaning.lacks_position
        if lacks_position:
            self._trades_asked_us = None  # Somebody else has closed it: the trade that says so is missing here.
        self.emit(
            OrderRefused(
                order_id=intent.id,
                reason=reply.reason,
                may_retry=not is_final,
                lacks_position=lacks_position,
                is_too_small=meaning is not None and meaning.is_too_small,
            ),
            intent.proposal_id,
        )

    # Amend ----------------------------------------------------------------------------------------

    def _amend_steps(self, wish: AmendOrder) -> Steps:
        """Move an order in place. What rests already as it is wanted needs no call."""
        known = self._executions.known(wish.external_id)
        volume_base = None if known is None else known.volume_base
        trigger_quote = None if known is None else known.trigger_quote
        params = terms.amend_order(wish, volume_base, trigger_quote, self._to_exchange_us(wish.deadline_us))
        if "order_qty" in params or "trigger_price" in params:
            reply = yield Ask(
                path=AMEND_ORDER,
                params=params,
                points_milli=0,  # The permit has paid for it.
                priority=CallPriority.PROTECT,
                deadline_us=wish.deadline_us,
                symbol=wish.symbol,
                is_wish=True,
            )
            if reply.meaning is not None:
                if reply.meaning.is_off_grid:
                    self._refresh_pairs()
                self.emit(AmendRefused(order_id=wish.order_id, reason=reply.reason), wish.proposal_id)
                return
        self._executions.note_moved(wish.external_id, wish.volume_base, wish.trigger_price_quote)
        self.emit(
            OrderAmended(
                order_id=wish.order_id,
                volume_base=wish.volume_base,
                trigger_price_quote=wish.trigger_price_quote or trigger_quote,
                at_us=self.now_us,
            ),
            wish.proposal_id,
        )

    # Cancel ---------------------------------------------------------------------------------------

    def _cancel_steps(self, wish: CancelOrder) -> Steps:
        """Take an order off. That it is off, and how far it had filled, is told by the line, or else asked for."""
        reply = yield Ask(
            path=CANCEL_ORDER,
            params=terms.cancel_order(wish),
            points_milli=0,
            priority=CallPriority.CANCEL,
            symbol=wish.symbol,
            is_wish=True,
        )
        if reply.meaning is not None or not _count_of(reply.result):
            reason = reply.reason or "nothing was cancelled"
            self.emit(CancelRefused(order_id=wish.order_id, reason=reason), wish.proposal_id)
        elif not self._is_line_live():
            yield from self._quietly(self._tell_end(wish.order_id, wish.external_id, wish.proposal_id))

    def _tell_end(self, order_id: OrderId, external_id: ExternalOrderId, proposal_id: Any) -> Any:
        """Ask how an order has ended; one that is still told as open will be told by the next poll."""
        for row in (yield from self._orders([external_id])):
            if row.order.status in (OrderStatus.CANCELLED, OrderStatus.EXPIRED):
                ended = OrderEnded(
                    order_id=order_id,
                    status=row.order.status,
                    reason=row.order.reason or "User requested",
                    at_us=self.now_us,
                    filled_base=row.filled_base,
                )
                self.emit(ended, proposal_id)

    # For the layers above -------------------------------------------------------------------------

    @abstractmethod
    def _is_line_live(self) -> bool:
        """Say whether what happens is told by itself at present."""

    @abstractmethod
    def _refresh_pairs(self) -> None:
        """Ask anew what the exchange demands of orders."""

    @abstractmethod
    def _to_exchange_us(self, at_us: int) -> int:
        """Return an instant of ours on the exchange's clock."""


def _txid_of(result: Any) -> ExternalOrderId | None:
    """Return the id that Kraken gave: AddOrder tells a list of one."""
    told = result.get("txid") if isinstance(result, dict) else None
    if isinstance(told, list):
        told = told[0] if told else None
    return ExternalOrderId(told) if isinstance(told, str) and told else None


def _count_of(result: Any) -> int:
    return int(result.get("count") or 0) if isinstance(result, dict) else 0

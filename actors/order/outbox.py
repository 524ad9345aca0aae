"""What the world hears about orders: the public events, as they go into the outbox with the state they tell of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from actors.order.comparison import Difference
from messages.base import ProposalId, Symbol
from messages.bus import EventPriority, PublicEvent, Topic
from messages.orders import Order, OrderRole, OrderStatus
from messages.trades import RequestRow, TradeProposal

ENDINGS = {
    OrderStatus.CANCELLED: "order_cancelled",
    OrderStatus.EXPIRED: "order_expired",
    OrderStatus.ERROR: "order_failed",
}
QUIET = (EventPriority.NORMAL, EventPriority.HIGH)


def order_placed(order: Order) -> PublicEvent:
    """The exchange has taken the order."""
    return _order_event("order_placed", order, EventPriority.NORMAL)


def order_adopted(order: Order) -> PublicEvent:
    """The order is ours, and the journal had forgotten it."""
    return _order_event("order_adopted", order, EventPriority.HIGH)


def order_filled(order: Order) -> PublicEvent:
    """Nothing of the order is left, by the exchange's word alone: its last fill said that a part was."""
    return _order_event("order_filled", order, EventPriority.NORMAL)


def order_ended(order: Order) -> PublicEvent:
    """The order is over without being filled wholly. Losing a protective order is no small thing."""
    failed = order.status is OrderStatus.ERROR
    protects = order.intent.role is OrderRole.STOP
    priority = EventPriority.URGENT if failed and protects else QUIET[failed]
    return _order_event(ENDINGS[order.status], order, priority)


def proposal_rejected(proposal: TradeProposal, codes: tuple[str, ...], reasons: tuple[str, ...]) -> PublicEvent:
    """The trade does not happen, and why."""
    return PublicEvent(
        topic=Topic.RISK_ALERTS,
        kind="trade_rejected",
        priority=EventPriority.NORMAL,
        proposal_id=proposal.id,
        at_us=proposal.at_us,
        details=(("symbol", proposal.symbol), ("codes", ",".join(codes)), ("reasons", "; ".join(reasons))),
    )


def alert(kind: str, proposal_id: ProposalId | None, now_us: int, **details: str) -> PublicEvent:
    """Something a person should look at now."""
    return PublicEvent(
        topic=Topic.RISK_ALERTS,
        kind=kind,
        priority=EventPriority.URGENT,
        proposal_id=proposal_id,
        at_us=now_us,
        details=tuple(details.items()),
    )


def account_differs(difference: Difference, now_us: int) -> PublicEvent:
    """Account and books differ, and nothing explains it: nothing is opened in the symbol."""
    return alert(
        "account_differs",
        None,
        now_us,
        symbol=difference.symbol,
        ours=_plain(difference.ours_base),
        theirs=_plain(difference.theirs_base),
        difference=_plain(difference.gap_base),
        reason=difference.text,
    )


def account_agrees(symbol: Symbol, now_us: int) -> PublicEvent:
    """Nothing differs any more in the symbol."""
    return _system_event("account_agrees", EventPriority.HIGH, now_us, ("symbol", symbol))


def account_compared(differences: Sequence[str], now_us: int) -> PublicEvent:
    """Somebody wanted to know what differs; what has differed for a moment only is among it."""
    found = "; ".join(differences) or "nothing differs"
    return _system_event("account_compared", EventPriority.NORMAL, now_us, ("found", found))


def external_holding(symbol: Symbol, volume_base: Decimal, now_us: int) -> PublicEvent:
    """Somebody else holds this on margin: it is written down, and left alone."""
    return alert("external_holding", None, now_us, symbol=symbol, volume=_plain(volume_base))


def _system_event(kind: str, priority: EventPriority, now_us: int, *details: tuple[str, str]) -> PublicEvent:
    return PublicEvent(
        topic=Topic.SYSTEM_EVENTS,
        kind=kind,
        priority=priority,
        proposal_id=None,
        at_us=now_us,
        details=details,
    )


def _order_event(kind: str, order: Order, priority: EventPriority) -> PublicEvent:
    intent = order.intent
    return PublicEvent(
        topic=Topic.EXECUTION_EVENTS,
        kind=kind,
        priority=priority,
        proposal_id=intent.proposal_id,
        at_us=order.updated_at_us,
        details=(
            ("order_id", intent.id),
            ("external_id", order.external_id or ""),
            ("symbol", intent.symbol),
            ("side", intent.side.value),
            ("role", intent.role.value),
            ("type", intent.order_type.value),
            ("volume", _plain(order.volume_base)),
            ("filled", _plain(order.filled_base)),
            ("price", _plain(intent.limit_price_quote or order.trigger_price_quote)),
            ("reason", order.reason),
        ),
    )


def _plain(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


def request_refused(row: RequestRow) -> PublicEvent:
    """A request could not be read, or has nothing to act on."""
    return PublicEvent(
        topic=Topic.RISK_ALERTS,
        kind="request_rejected",
        priority=EventPriority.NORMAL,
        proposal_id=row.id,
        at_us=row.at_us,
        details=(("kind", row.kind), ("codes", ",".join(row.codes)), ("reasons", "; ".join(row.reasons))),
    )


def as_json_text(text: str) -> str:
    """Return any text as a JSON string: the body of a request that is no proposal."""
    return json.dumps(text)

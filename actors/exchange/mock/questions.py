"""What the exchange answers when it is asked about orders and trades; with a horizon, as it would have answered then.

A horizon is the instant up to which the books are seen; None is until now.
"""

from __future__ import annotations

from actors.exchange.mock.faults import Faults
from actors.exchange.mock.history import History, number_of, trade_id_of
from messages.base import OrderId
from messages.orders import LookUpOrder, OrderFound, OrderNotFound, OrdersPolled, PollOrders


def answer(
    question: LookUpOrder | PollOrders, history: History, faults: Faults, now_us: int
) -> OrderFound | OrderNotFound | OrdersPolled:
    """Answer a question as far back as the plan wants the records to lag."""
    if not faults.poll_lag_us:
        return _seen(question, history, now_us, None)
    seen = _seen(question, history, now_us, now_us - faults.poll_lag_us)
    if seen != _seen(question, history, now_us, None):
        faults.struck["poll_lag_us"] += 1
    return seen


def _seen(
    question: LookUpOrder | PollOrders, history: History, now_us: int, horizon_us: int | None
) -> OrderFound | OrderNotFound | OrdersPolled:
    if isinstance(question, LookUpOrder):
        return _look_up(question.order_id, history, now_us, horizon_us)
    return _poll(question, history, horizon_us)


def _look_up(order_id: OrderId, history: History, now_us: int, horizon_us: int | None) -> OrderFound | OrderNotFound:
    order = history.find(order_id)
    view = None if order is None else history.view(order, horizon_us)
    if view is None:
        return OrderNotFound(order_id=order_id, as_of_us=now_us)
    return OrderFound(order=view, fills=history.fills_of(order_id, horizon_us))


def _poll(question: PollOrders, history: History, horizon_us: int | None) -> OrdersPolled:
    orders = (history.find(order_id) for order_id in question.order_ids)
    views = (history.view(order, horizon_us) for order in orders if order is not None)
    after = history.trade_count if question.after_trade is None else number_of(question.after_trade)
    fills, cursor = history.fills_after(after, horizon_us)
    if question.after_trade is None and question.since_us is not None:
        cursor = history.seen_until(horizon_us)
        fills = history.fills_since(question.since_us, horizon_us)
    elif question.after_trade is None:
        cursor = history.seen_until(horizon_us)
        fills = tuple(fill for asked in question.order_ids for fill in history.fills_of(asked, horizon_us))
    return OrdersPolled(
        orders=tuple(view for view in views if view is not None), fills=fills, cursor=trade_id_of(cursor)
    )

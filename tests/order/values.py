"""Values for the tests of the order room: each with defaults, so that a test says only what matters to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs

from actors.order.book import Phase, Tracked, Trade
from actors.order.lifecycle import new_order
from messages.base import Currency, ExternalOrderId, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.market import Instrument
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import Position, PositionSide, PositionStatus
from messages.trades import OrderType, Side, TradeProposal

BTC = Symbol("BTC/USDT")
ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT


def an_instrument(**changes: Any) -> Instrument:
    fields: dict[str, Any] = {
        "symbol": BTC, "base": Currency("BTC"), "quote": Currency("USDT"), "price_tick_quote": Decimal("0.1"),
        "lot_step_base": Decimal("0.00000001"), "volume_min_base": Decimal("0.00005"),
        "notional_min_quote": Decimal("0.5"), "leverage_max": 5, "fee_maker_pct": Decimal("0.16"),
        "fee_taker_pct": Decimal("0.26"),
    }  # fmt: skip
    return Instrument(**{**fields, **changes})


def a_proposal(**changes: Any) -> TradeProposal:
    fields: dict[str, Any] = {
        "id": ProposalId("p-1"), "at_us": 1_000, "symbol": BTC, "side": Side.BUY, "size_usd": Decimal(500),
        "order_type": OrderType.MARKET, "stop_loss_quote": Decimal(98_000), "take_profit_quote": Decimal(104_000),
        "leverage": 2,
    }  # fmt: skip
    return TradeProposal(**{**fields, **changes})


def an_intent(**changes: Any) -> OrderIntent:
    fields: dict[str, Any] = {
        "id": OrderId("o-1"), "proposal_id": ProposalId("p-1"), "position_id": PositionId("pos-1"), "symbol": BTC,
        "side": Side.BUY, "role": ENTRY, "order_type": OrderType.LIMIT, "volume_base": Decimal(1),
        "limit_price_quote": Decimal(100_000), "trigger_price_quote": None,
        "reference_price_quote": Decimal(100_000), "leverage": 2, "reduce_only": False,
        "time_in_force": TimeInForce.GTC, "expires_at_us": None, "attempt": 1, "created_at_us": 10,
    }  # fmt: skip
    return OrderIntent(**{**fields, **changes})


def an_order(status: OrderStatus = OrderStatus.OPEN, **changes: Any) -> Order:
    order_fields = {field.name for field in attrs.fields(Order)} - {"intent"}
    of_order = {name: value for name, value in changes.items() if name in order_fields}
    of_intent = {name: value for name, value in changes.items() if name not in of_order}
    for shared in ("volume_base", "trigger_price_quote"):
        if shared in of_order:
            of_intent.setdefault(shared, of_order[shared])
    return attrs.evolve(new_order(an_intent(**of_intent)), status=status, **of_order)


def a_fill(number: int = 1, **changes: Any) -> Fill:
    fields: dict[str, Any] = {
        "trade_id": TradeId(f"T{number}"), "order_id": OrderId("o-1"), "external_order_id": ExternalOrderId("O1"),
        "symbol": BTC, "side": Side.BUY, "price_quote": Decimal(100_000), "volume_base": Decimal("0.1"),
        "fee_quote": Decimal(26), "is_maker": False, "is_liquidation": False, "at_us": 100 + number,
    }  # fmt: skip
    return Fill(**{**fields, **changes})


def a_position(**changes: Any) -> Position:
    fields: dict[str, Any] = {
        "id": PositionId("pos-1"), "proposal_id": ProposalId("p-1"), "symbol": BTC, "side": PositionSide.LONG,
        "leverage": 2, "entry_order_id": OrderId("o-1"), "status": PositionStatus.OPEN, "entry_base": Decimal(1),
        "entry_cost_quote": Decimal(100_000), "stop_loss_quote": Decimal(98_000),
        "take_profit_quote": Decimal(104_000), "opened_at_us": 1,
    }  # fmt: skip
    return Position(**{**fields, **changes})


def a_trade(**changes: Any) -> Trade:
    fields: dict[str, Any] = {
        "proposal": a_proposal(), "position_id": PositionId("pos-1"), "position": a_position(),
        "last_price_quote": Decimal(100_000),
    }  # fmt: skip
    return Trade(**{**fields, **changes})


def a_leg(trade: Trade, role: OrderRole, **changes: Any) -> Tracked:
    """Put an order of this role into the trade: as large as the position, at its level, resting."""
    position = trade.position or a_position()
    is_long = position.side is PositionSide.LONG
    out, into = (Side.SELL, Side.BUY) if is_long else (Side.BUY, Side.SELL)
    levels = {STOP: position.stop_loss_quote, TARGET: position.take_profit_quote}
    tracked_fields = {field.name for field in attrs.fields(Tracked)}
    of_tracked = {name: changes.pop(name) for name in tuple(changes) if name in tracked_fields}
    fields: dict[str, Any] = {
        "id": OrderId(f"{role.value}-1"), "role": role, "side": into if role is ENTRY else out,
        "volume_base": position.volume_base, "trigger_price_quote": levels.get(role),
        "external_id": ExternalOrderId(f"X-{role.value}"),
    }  # fmt: skip
    order = an_order(**{**fields, **changes})
    tracked = Tracked(order=order, trade=trade, **{"phase": Phase.RESTING, **of_tracked})
    trade.legs[role] = tracked
    return tracked

"""Fills, orders and positions with as little said as a test has to say."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

from messages.base import Currency, ExternalOrderId, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.market import Instrument, PriceMoved
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import ApplyFill, Position, PositionSide, PositionStatus
from messages.trades import OrderType, Side

BTC = Symbol("BTC/USDT")
XRP_BTC = Symbol("XRP/BTC")
_trade_ids = count(1)
D = Decimal


def an_instrument(symbol: Symbol = BTC, tick: str = "0.1") -> Instrument:
    base, _slash, quote = symbol.partition("/")
    return Instrument(
        symbol=symbol,
        base=Currency(base),
        quote=Currency(quote),
        price_tick_quote=D(tick),
        lot_step_base=D("0.00000001"),
        volume_min_base=D("0.0001"),
        notional_min_quote=D("0.5"),
        leverage_max=5,
        fee_maker_pct=D("0.16"),
        fee_taker_pct=D("0.26"),
    )


def a_fill(
    side: Side,
    volume: str | Decimal,
    price: str | Decimal,
    *,
    fee: str | Decimal = "0",
    at_us: int = 0,
    trade_id: str | None = None,
    order_id: str = "entry",
    is_liquidation: bool = False,
    symbol: Symbol = BTC,
) -> Fill:
    return Fill(
        trade_id=TradeId(trade_id or f"T{next(_trade_ids)}"),
        order_id=OrderId(order_id),
        external_order_id=ExternalOrderId(f"X-{order_id}"),
        symbol=symbol,
        side=side,
        price_quote=D(price),
        volume_base=D(volume),
        fee_quote=D(fee),
        is_maker=False,
        is_liquidation=is_liquidation,
        at_us=at_us,
    )


def an_order(
    role: OrderRole,
    fill: Fill,
    *,
    position_id: str = "p1",
    leverage: int = 1,
    status: OrderStatus = OrderStatus.FILLED,
    filled: Decimal | None = None,
) -> Order:
    """The order as it is after `fill`."""
    intent = OrderIntent(
        id=fill.order_id,
        proposal_id=ProposalId(f"trade-{position_id}"),
        position_id=PositionId(position_id),
        symbol=fill.symbol,
        side=fill.side,
        role=role,
        order_type=OrderType.MARKET,
        volume_base=fill.volume_base,
        limit_price_quote=None,
        trigger_price_quote=None,
        reference_price_quote=fill.price_quote,
        leverage=leverage,
        reduce_only=role is not OrderRole.ENTRY,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=1,
        created_at_us=0,
    )
    return Order(
        intent=intent,
        status=status,
        volume_base=fill.volume_base,
        trigger_price_quote=None,
        filled_base=fill.volume_base if filled is None else filled,
        updated_at_us=fill.at_us,
    )


def applied(
    fill: Fill,
    role: OrderRole = OrderRole.ENTRY,
    *,
    position_id: str = "p1",
    stop: str | None = None,
    target: str | None = None,
    trailing: bool = False,
    leverage: int = 1,
    status: OrderStatus = OrderStatus.FILLED,
    filled: Decimal | None = None,
) -> ApplyFill:
    return ApplyFill(
        fill=fill,
        order=an_order(role, fill, position_id=position_id, leverage=leverage, status=status, filled=filled),
        stop_loss_quote=None if stop is None else D(stop),
        take_profit_quote=None if target is None else D(target),
        trailing=trailing,
    )


def a_position(
    position_id: str = "p1",
    *,
    side: PositionSide = PositionSide.LONG,
    entry: str | Decimal = "100",
    volume: str | Decimal = "1",
    exit_volume: str | Decimal = "0",
    exit_price: str | Decimal = "0",
    fees: str | Decimal = "0",
    leverage: int = 1,
    stop: str | Decimal | None = None,
    target: str | Decimal | None = None,
    trailing: bool = False,
    watermark: str | Decimal | None = None,
    status: PositionStatus = PositionStatus.OPEN,
    opened_at_us: int = 0,
    symbol: Symbol = BTC,
) -> Position:
    return Position(
        id=PositionId(position_id),
        proposal_id=ProposalId(f"trade-{position_id}"),
        symbol=symbol,
        side=side,
        leverage=leverage,
        entry_order_id=OrderId("entry"),
        status=status,
        entry_base=D(volume),
        entry_cost_quote=D(volume) * D(entry),
        exit_base=D(exit_volume),
        exit_cost_quote=D(exit_volume) * D(exit_price),
        fees_quote=D(fees),
        stop_loss_quote=None if stop is None else D(stop),
        take_profit_quote=None if target is None else D(target),
        trailing=trailing,
        watermark_quote=None if watermark is None else D(watermark),
        opened_at_us=opened_at_us,
    )


def a_price(last: str | Decimal, low: str | Decimal | None = None, high: str | Decimal | None = None,
            symbol: Symbol = BTC) -> PriceMoved:  # fmt: skip
    return PriceMoved(
        symbol=symbol,
        last_quote=D(last),
        low_quote=D(last if low is None else low),
        high_quote=D(last if high is None else high),
        at_us=0,
        sequence=1,
    )

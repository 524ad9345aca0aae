"""What is asked of the exchange: the intent of an entry, and of whatever protects or closes its position."""

from __future__ import annotations

from decimal import Decimal

import attrs

from actors.order.book import Trade
from actors.order.protection import Place, exit_side
from actors.order.sizing import entry_limit_quote, entry_volume_base, slippage_limit_quote
from config.settings import OrderSettings
from messages.base import ExternalOrderId, OrderId, TradeId
from messages.exchange import Holding
from messages.market import Instrument
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.trades import OrderType, Side

MICROSECONDS = 1_000_000
EXTERNAL_LEVERAGE = 2
"""What others borrowed with is not told for a net position; what closes it needs some leverage, and any will do."""
WITH_LIMIT = (OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT)


def entry_intent(
    trade: Trade,
    reference_price_quote: Decimal,
    *,
    attempt: int,
    order_id: OrderId,
    now_us: int,
    instrument: Instrument,
    settings: OrderSettings,
) -> OrderIntent:
    """Return the sized entry: a resting limit, or for a market order a limit that fills now within the slippage."""
    proposal = trade.proposal
    if proposal.order_type is OrderType.LIMIT and proposal.entry_price_quote is not None:
        limit = entry_limit_quote(proposal.side, proposal.entry_price_quote, instrument)
        reference_price_quote = limit
        time_in_force = TimeInForce(settings.default_time_in_force)
    else:
        limit = slippage_limit_quote(proposal.side, reference_price_quote, settings.slippage_pct, instrument)
        time_in_force = TimeInForce.IOC
    ends_by_itself = time_in_force is TimeInForce.GTD
    return OrderIntent(
        id=order_id,
        proposal_id=proposal.id,
        position_id=trade.position_id,
        symbol=proposal.symbol,
        side=proposal.side,
        role=OrderRole.ENTRY,
        order_type=OrderType.LIMIT,
        volume_base=entry_volume_base(proposal, reference_price_quote, settings.fee_pct, instrument),
        limit_price_quote=limit,
        trigger_price_quote=None,
        reference_price_quote=reference_price_quote,
        leverage=proposal.leverage,
        reduce_only=False,
        time_in_force=time_in_force,
        expires_at_us=now_us + settings.expiry_s * MICROSECONDS if ends_by_itself else None,
        attempt=attempt,
        created_at_us=now_us,
    )


def exit_intent(
    trade: Trade, step: Place, *, order_id: OrderId, now_us: int, instrument: Instrument, settings: OrderSettings
) -> OrderIntent:
    """Return the order that protects or closes the trade's position: on margin always reduce-only."""
    position = trade.position
    if position is None:
        raise ValueError(f"trade {trade.id} has no position to exit")
    side = exit_side(position)
    order_type = _exit_type(step.role, settings)
    trigger = step.trigger_price_quote
    limit = None
    if trigger is not None and order_type in WITH_LIMIT:
        limit = slippage_limit_quote(side, trigger, settings.trigger_limit_pct, instrument)
    earlier = trade.legs.get(step.role)
    return OrderIntent(
        id=order_id,
        proposal_id=trade.id,
        position_id=trade.position_id,
        symbol=position.symbol,
        side=side,
        role=step.role,
        order_type=order_type,
        volume_base=step.volume_base,
        limit_price_quote=limit,
        trigger_price_quote=trigger,
        reference_price_quote=trigger or trade.last_price_quote,
        leverage=position.leverage,
        reduce_only=position.leverage > 1,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=earlier.order.intent.attempt + 1 if earlier is not None else 1,
        created_at_us=now_us,
    )


def foreign_exit(trade: Trade, fill: Fill, *, order_id: OrderId, now_us: int) -> Order:
    """Return, for our books, the order that somebody else closed the trade's position with: filled, and not ours."""
    proposal = trade.proposal  # Its position may be under way: an entry and its end may be told in one breath.
    intent = OrderIntent(
        id=order_id,
        proposal_id=trade.id,
        position_id=trade.position_id,
        symbol=proposal.symbol,
        side=fill.side,
        role=OrderRole.EXIT,
        order_type=OrderType.MARKET,
        volume_base=fill.volume_base,
        limit_price_quote=None,
        trigger_price_quote=None,
        reference_price_quote=fill.price_quote,
        leverage=proposal.leverage,
        reduce_only=proposal.leverage > 1,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=0,
        created_at_us=now_us,
    )
    return Order(
        intent=intent,
        status=OrderStatus.FILLED,
        volume_base=fill.volume_base,
        trigger_price_quote=None,
        filled_base=fill.volume_base,
        filled_cost_quote=fill.volume_base * fill.price_quote,
        fees_quote=fill.fee_quote,
        external_id=fill.external_order_id,
        opened_at_us=fill.at_us,
        first_fill_at_us=fill.at_us,
        updated_at_us=fill.at_us,
        ended_at_us=fill.at_us,
        reason="liquidated by the exchange" if fill.is_liquidation else "closed outside the engine",
    )


def foreign_holding(
    volume_base: Decimal, holding: Holding, instrument: Instrument, *, order_id: OrderId, now_us: int
) -> Fill:
    """Return, for our books, the execution that would have led to what somebody else holds: at the average price."""
    average_quote = holding.cost_quote / abs(holding.volume_base)
    tick_quote = instrument.price_tick_quote
    return Fill(
        trade_id=TradeId(f"held-{order_id}"),
        order_id=order_id,
        external_order_id=ExternalOrderId(f"held-{order_id}"),
        symbol=holding.symbol,
        side=Side.BUY if volume_base > 0 else Side.SELL,
        price_quote=(average_quote / tick_quote).to_integral_value() * tick_quote,
        volume_base=abs(volume_base),
        fee_quote=Decimal(0),
        is_maker=False,
        is_liquidation=False,
        at_us=now_us,
        is_margin=True,
    )


def foreign_entry(trade: Trade, fill: Fill, *, now_us: int) -> Order:
    """Return, for our books, the order that somebody else opened with what we take over: filled, and not ours."""
    order = foreign_exit(trade, fill, order_id=fill.order_id, now_us=now_us)
    intent = attrs.evolve(order.intent, role=OrderRole.ENTRY, reduce_only=False)
    return attrs.evolve(order, intent=intent, reason="opened outside the engine, and taken over")


def _exit_type(role: OrderRole, settings: OrderSettings) -> OrderType:
    """Protection is of the configured types; getting out is a market order: it comes first."""
    if role is OrderRole.STOP:
        return OrderType(settings.stop_order_type)
    return OrderType(settings.target_order_type) if role is OrderRole.TARGET else OrderType.MARKET

"""What the exchange does by itself, and what other people do: trades that no order of ours asked for."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from actors.exchange.mock.acts import OrderedByHand, TradedByHand
from actors.exchange.mock.admission import why_bad_volume
from actors.exchange.mock.book_order import BookOrder
from actors.exchange.mock.history import external_id_of
from actors.exchange.mock.levels import Market
from actors.exchange.mock.matching import Matcher
from actors.exchange.mock.pricing import fee_of, known, slipped
from actors.exchange.mock.refusals import LIQUIDATED
from messages.base import Event, ExternalOrderId, OrderId, Symbol
from messages.exchange import ExchangeAlert
from messages.orders import Fill, OrderStatus, TimeInForce
from messages.trades import Side

HAND_LEVERAGE = 2
"""What somebody who trades on margin by hand borrows with."""
ZERO, BPS = Decimal(0), 10_000


def check_margin(
    matcher: Matcher, market: Market, low_quote: Decimal, high_quote: Decimal, level_pct: Decimal, now_us: int
) -> None:
    """Close everything on margin if this tick has brought the margin level down to `level_pct`."""
    symbol = market.instrument.symbol
    price_quote = matcher.account.breaking_price(symbol, low_quote, high_quote, level_pct)
    if price_quote is not None:
        _liquidate(matcher, symbol, price_quote, level_pct, now_us)


def liquidate(matcher: Matcher, level_pct: Decimal, now_us: int) -> Sequence[Event]:
    """Close everything on margin at the last prices; nothing happens where nothing is open."""
    said = matcher.listen()
    for symbol in list(matcher.account.positions)[:1]:
        _liquidate(matcher, symbol, known(matcher.markets[symbol].last_quote), level_pct, now_us)
    return said


def _liquidate(matcher: Matcher, broken: Symbol, price_quote: Decimal, level_pct: Decimal, now_us: int) -> None:
    """Close every margin position, oldest lot first: `broken` at the price that broke it, others at their last.

    A lot is one fill, in the name of the order that opened it, under an external order id that nobody sent.
    """
    lots = [lot for position in matcher.account.positions.values() for lot in position.lots]
    symbols = sorted(matcher.account.positions)
    external_ids = {symbol: _foreign_order(matcher) for symbol in symbols}
    for lot in sorted(lots, key=lambda lot: lot.number):
        at_quote = price_quote if lot.symbol == broken else known(matcher.markets[lot.symbol].last_quote)
        _close_part(
            matcher,
            lot.symbol,
            lot.volume_base,
            at_quote,
            lot.order_id,
            external_ids[lot.symbol],
            now_us,
            is_liquidation=True,
        )
    for order in list(matcher.history.open.values()):
        if order.reduce_only and order.symbol in symbols:
            matcher.end(order, OrderStatus.CANCELLED, LIQUIDATED, now_us)
    text = f"margin level at or below {level_pct} %: closed {', '.join(symbols)}"
    matcher.said.append(ExchangeAlert(kind="liquidation", text=text))


def _close_part(
    matcher: Matcher,
    symbol: Symbol,
    volume_base: Decimal,
    price_quote: Decimal,
    order_id: OrderId,
    external_id: ExternalOrderId,
    now_us: int,
    *,
    is_liquidation: bool,
) -> None:
    """Close so much of a position by an order that is not ours."""
    market = matcher.markets[symbol]
    side = Side.SELL if matcher.account.positions[symbol].side is Side.BUY else Side.BUY
    paid_quote = slipped(side, price_quote, matcher.slippage_pct, market.instrument.price_tick_quote)
    fee_quote = fee_of(market.instrument, volume_base * paid_quote, is_maker=False)
    matcher.account.reduce(symbol, volume_base, paid_quote, fee_quote)
    matcher.tell(
        Fill(
            trade_id=matcher.history.next_trade_id(),
            order_id=order_id,
            external_order_id=external_id,
            symbol=symbol,
            side=side,
            price_quote=paid_quote,
            volume_base=volume_base,
            fee_quote=fee_quote,
            is_maker=False,
            is_liquidation=is_liquidation,
            at_us=now_us,
            is_margin=True,
        )
    )


def _foreign_order(matcher: Matcher) -> ExternalOrderId:
    """Return the id of an order that somebody else has sent."""
    matcher.history.order_count += 1
    return external_id_of(matcher.history.order_count)


def close_by_hand(matcher: Matcher, symbol: Symbol, now_us: int) -> Sequence[Event]:
    """Close a margin position from outside, as its owner might in the exchange's own application.

    The order has no client id of ours: its fill carries the exchange's id in both places.
    """
    said = matcher.listen()
    position = matcher.account.positions.get(symbol)
    if position is None:
        return said
    external_id = _foreign_order(matcher)
    last_quote = known(matcher.markets[symbol].last_quote)
    _close_part(
        matcher,
        symbol,
        abs(position.volume_base),
        last_quote,
        OrderId(external_id),
        external_id,
        now_us,
        is_liquidation=False,
    )
    said.append(ExchangeAlert(kind="external_order", text=f"{external_id} closed the position in {symbol}"))
    return said


def trade_by_hand(matcher: Matcher, act: TradedByHand, now_us: int) -> Sequence[Event]:
    """Trade from outside at the last price, all at once: whoever does it is another client of the same account.

    On margin it reduces an opposite position, as far as that goes, and opens or increases one otherwise. Nothing
    happens if the exchange would refuse it. As with `close_by_hand` the exchange's id stands in both places.
    """
    said = matcher.listen()
    market = matcher.markets.get(act.symbol)
    if market is None or market.last_quote is None:
        return said
    instrument, account = market.instrument, matcher.account
    order = _hand_order(matcher, act, now_us)
    price_quote = slipped(act.side, market.last_quote, matcher.slippage_pct, instrument.price_tick_quote)
    fee_quote = fee_of(instrument, order.volume_base * price_quote, is_maker=False)
    if (
        order.leverage > max(1, instrument.leverage_max)
        or why_bad_volume(act.volume_base, price_quote, instrument)
        or account.why_not(order, order.volume_base, price_quote, fee_quote)
    ):
        return said
    _foreign_order(matcher)
    account.book(order, order.volume_base, price_quote, fee_quote)
    matcher.tell(
        Fill(
            trade_id=matcher.history.next_trade_id(),
            order_id=order.order_id,
            external_order_id=order.external_id,
            symbol=act.symbol,
            side=act.side,
            price_quote=price_quote,
            volume_base=order.volume_base,
            fee_quote=fee_quote,
            is_maker=False,
            is_liquidation=False,
            at_us=now_us,
            is_margin=act.on_margin,
        )
    )
    where = "on margin" if act.on_margin else "on spot"
    text = f"{order.external_id} traded by hand: {act.side.value} {order.volume_base:f} {act.symbol} {where}"
    said.append(ExchangeAlert(kind="external_order", text=text))
    return said


def _hand_order(matcher: Matcher, act: TradedByHand, now_us: int) -> BookOrder:
    """Return the order behind a trade by hand. It never rests, so no history keeps it."""
    sequence = matcher.history.order_count + 1
    closable_base = matcher.account.closable_base(act.symbol, act.side) if act.on_margin else ZERO
    return BookOrder.of_others(
        external_id_of(sequence),
        act.symbol,
        act.side,
        min(act.volume_base, closable_base) if closable_base else act.volume_base,
        now_us,
        sequence=sequence,
        leverage=HAND_LEVERAGE if act.on_margin else 1,
        reduce_only=closable_base > 0,
        time_in_force=TimeInForce.IOC,
    )


def order_by_hand(matcher: Matcher, act: OrderedByHand, now_us: int) -> Sequence[Event]:
    """Leave an order to buy on spot: it rests, holds its cost back, and fills as any other. No id of ours is on it."""
    said = matcher.listen()
    market = matcher.markets.get(act.symbol)
    if market is None or market.last_quote is None:
        return said
    tick_quote = market.instrument.price_tick_quote
    limit_quote = market.last_quote * (BPS - act.below_bps) / BPS // tick_quote * tick_quote
    fee_quote = fee_of(market.instrument, act.volume_base * limit_quote, is_maker=False)
    sequence = matcher.history.order_count + 1
    order = BookOrder.of_others(
        external_id_of(sequence),
        act.symbol,
        Side.BUY,
        act.volume_base,
        now_us,
        sequence=sequence,
        limit_price_quote=limit_quote,
    )
    is_refused = limit_quote <= 0 or why_bad_volume(act.volume_base, limit_quote, market.instrument)
    if is_refused or matcher.account.why_not(order, act.volume_base, limit_quote, fee_quote):
        return said
    _foreign_order(matcher)
    matcher.history.add_order(order)
    matcher.history.changed(order)
    text = f"{order.external_id} was left by hand: buy {act.volume_base:f} {act.symbol} at {limit_quote:f}"
    said.append(ExchangeAlert(kind="external_order", text=text))
    matcher.begin(order, market, now_us)
    return said

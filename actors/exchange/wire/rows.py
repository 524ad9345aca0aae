"""Orders, trades and positions as REST tells them: amounts as text, instants as numbers with a fraction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.exchange.mock.book_order import TRIGGERED_TYPES
from actors.exchange.wire import ids
from actors.exchange.wire.names import Names, Pair
from actors.exchange.wire.numbers import decimals_of, padded, plain, seconds
from actors.exchange.wire.registry import LotNote, OrderNote, Registry
from actors.exchange.wire.wishes import described
from messages.orders import Fill
from messages.trades import OrderType, Side

ZERO = Decimal(0)
MONEY_DECIMALS = 5
BORROWING = {Side.BUY: "0.0250% per 4 hours", Side.SELL: "0.0100% per 4 hours"}
ROLLOVER_US = 4 * 3600 * 1_000_000


def money(value: Decimal) -> str:
    """Return an amount of a quote currency."""
    return padded(value, MONEY_DECIMALS)


class Rows:
    """Puts what the registry knows into rows."""

    def __init__(self, names: Names, registry: Registry) -> None:
        self._names = names
        self._registry = registry

    # Orders ---------------------------------------------------------------------------------------

    def order(self, note: OrderNote, until_us: int, *, with_trades: bool) -> dict[str, Any]:
        """Return an order as it was at that instant."""
        order = note.order
        pair = self._names.pairs[order.symbol]
        fills = note.fills_until(until_us)
        volume_base = sum((fill.volume_base for fill in fills), ZERO)
        cost_quote = sum((fill.volume_base * fill.price_quote for fill in fills), ZERO)
        is_over = note.is_over_at(until_us)
        terms = note.terms_at(until_us)
        row: dict[str, Any] = {
            "refid": None,
            "userref": note.userref,
            "status": note.status_at(until_us),
            "opentm": seconds(order.opened_at_us),
            "starttm": 0,
            "expiretm": 0 if order.expires_at_us is None else seconds(order.expires_at_us),
            "descr": self._description(note, pair, until_us),
            "vol": _volume(terms.volume_base, pair),
            "vol_exec": _volume(volume_base, pair),
            "cost": money(cost_quote),
            "fee": money(sum((fill.fee_quote for fill in fills), ZERO)),
            "price": _average(cost_quote, volume_base, pair),
            "stopprice": self._stop_price(note, pair, until_us),
            "limitprice": money(ZERO),
            "misc": self._misc(note, until_us),
            "oflags": ",".join(note.oflags),
        }
        if note.cl_ord_id is not None:
            row["cl_ord_id"] = note.cl_ord_id
        if order.order_type in TRIGGERED_TYPES:
            row["trigger"] = note.trigger
        if order.is_margin:
            row["margin"] = True
        if order.reduce_only:
            row["reduce_only"] = True
        if is_over:
            row |= {"closetm": seconds(order.ended_at_us or 0), "reason": order.reason or None}
        if with_trades and fills:
            row["trades"] = [ids.written(fill.trade_id) for fill in fills]
        return row

    def _description(self, note: OrderNote, pair: Pair, until_us: int) -> dict[str, Any]:
        order, terms = note.order, note.terms_at(until_us)
        decimals = decimals_of(pair.instrument.price_tick_quote)
        limit_quote, trigger_quote = terms.limit_price_quote, terms.trigger_price_quote
        first = limit_quote if order.order_type is OrderType.LIMIT else trigger_quote
        second = None if order.order_type is OrderType.LIMIT else limit_quote
        return {
            "pair": pair.altname,
            "type": order.side.value,
            "ordertype": order.order_type.value,
            "price": "0" if first is None else padded(first, decimals),
            "price2": "0" if second is None else padded(second, decimals),
            "leverage": f"{order.leverage}:1" if order.is_margin else "none",
            "order": described(
                pair, order.side, order.order_type, terms.volume_base, limit_quote, trigger_quote, order.leverage
            ),
            "close": "",
        }

    def _stop_price(self, note: OrderNote, pair: Pair, until_us: int) -> str:
        """Return the trigger once it was reached; before, it stands in the description alone."""
        if note.fired_at_us is None or note.fired_at_us > until_us:
            return padded(ZERO, MONEY_DECIMALS + 1)
        return padded(note.order.trigger_price_quote or ZERO, decimals_of(pair.instrument.price_tick_quote))

    def _misc(self, note: OrderNote, until_us: int) -> str:
        words = []
        if note.fired_at_us is not None and note.fired_at_us <= until_us:
            words.append("stopped" if note.order.order_type.value.startswith("stop") else "touched")
        if note.is_liquidation:
            words.append("liquidated")
        if note.is_amended:
            words.append("amended")
        return ",".join(words)

    # Trades ---------------------------------------------------------------------------------------

    def trade(self, fill: Fill) -> dict[str, Any]:
        """Return a trade; one that opened a position tells what became of it."""
        pair = self._names.pairs[fill.symbol]
        note = self._registry.order(fill.external_order_id)
        order_type = OrderType.MARKET if note is None else note.order.order_type
        leverage = note.order.leverage if note is not None else 1
        cost_quote = fill.volume_base * fill.price_quote
        row: dict[str, Any] = {
            "ordertxid": ids.written(fill.external_order_id),
            "postxid": ids.written(fill.trade_id),
            "pair": pair.id,
            "aclass": "forex",
            "time": seconds(fill.at_us),
            "type": fill.side.value,
            "ordertype": order_type.value,
            "price": padded(fill.price_quote, decimals_of(pair.instrument.price_tick_quote)),
            "cost": money(cost_quote),
            "fee": money(fill.fee_quote),
            "vol": _volume(fill.volume_base, pair),
            "margin": money(_margin(cost_quote, leverage)) if fill.is_margin else money(ZERO),
            "leverage": str(leverage) if fill.is_margin else "0",
            "misc": "liquidated" if fill.is_liquidation else "",
            "trade_id": self._registry.number_of(fill),
            "maker": fill.is_maker,
        }
        lot = self._registry.lot_of_trade.get(fill.trade_id)
        if lot is not None:
            row["posstatus"] = "open" if lot.lot.volume_base else "closed"
        elif fill.is_margin:
            row["misc"] = ",".join(word for word in ("closing", row["misc"]) if word)
        return row

    # Positions ------------------------------------------------------------------------------------

    def position(self, note: LotNote, last_quote: Decimal | None) -> dict[str, Any]:
        """Return one lot of a position; with a price, what it is worth."""
        lot, fill = note.lot, note.fill
        pair = self._names.pairs[lot.symbol]
        order = self._registry.order(fill.external_order_id)
        opened_base = lot.opened_base or fill.volume_base
        cost_quote = opened_base * lot.price_quote
        row: dict[str, Any] = {
            "ordertxid": ids.written(fill.external_order_id),
            "posstatus": "open",
            "pair": pair.id,
            "time": seconds(fill.at_us),
            "type": lot.side.value,
            "ordertype": "market" if order is None else order.order.order_type.value,
            "cost": money(cost_quote),
            "fee": money(fill.fee_quote),
            "vol": _volume(opened_base, pair),
            "vol_closed": _volume(opened_base - lot.volume_base, pair),
            "margin": money(_margin(cost_quote, lot.leverage)),
            "terms": BORROWING[lot.side],
            "rollovertm": plain(seconds(fill.at_us + ROLLOVER_US).quantize(Decimal(1))),
            "misc": "",
            "oflags": "",
        }
        if last_quote is not None:
            sign = 1 if lot.side is Side.BUY else -1
            row["value"] = money(lot.volume_base * last_quote)
            row["net"] = _signed(lot.volume_base * (last_quote - lot.price_quote) * sign)
        return row

    def merged_positions(self, last_quotes: dict[str, Decimal | None]) -> list[dict[str, Any]]:
        """Return one row for each pair and side, as the consolidation by market does."""
        rows: list[dict[str, Any]] = []
        groups: dict[tuple[str, Side], list[LotNote]] = {}
        for note in self._registry.lots.values():
            if note.lot.volume_base:
                groups.setdefault((note.lot.symbol, note.lot.side), []).append(note)
        for (symbol, side), notes in groups.items():
            pair = self._names.pairs[notes[0].lot.symbol]
            opened_base = [note.lot.opened_base or note.fill.volume_base for note in notes]
            costs_quote = [base * note.lot.price_quote for base, note in zip(opened_base, notes, strict=True)]
            margins = [_margin(cost, note.lot.leverage) for cost, note in zip(costs_quote, notes, strict=True)]
            left_base = sum((note.lot.volume_base for note in notes), ZERO)
            row = {
                "pair": pair.id,
                "positions": str(len(notes)),
                "type": side.value,
                "leverage": plain(_ratio(sum(costs_quote, ZERO), sum(margins, ZERO))),
                "cost": money(sum(costs_quote, ZERO)),
                "fee": money(sum((note.fill.fee_quote for note in notes), ZERO)),
                "vol": _volume(sum(opened_base, ZERO), pair),
                "vol_closed": _volume(sum(opened_base, ZERO) - left_base, pair),
                "margin": money(sum(margins, ZERO)),
            }
            last_quote = last_quotes.get(symbol)
            if last_quote is not None:
                open_quote = sum((note.lot.volume_base * note.lot.price_quote for note in notes), ZERO)
                sign = 1 if side is Side.BUY else -1
                row["value"] = money(left_base * last_quote)
                row["net"] = _signed((left_base * last_quote - open_quote) * sign)
            rows.append(row)
        return rows


def _volume(volume_base: Decimal, pair: Pair) -> str:
    return padded(volume_base, decimals_of(pair.instrument.lot_step_base))


def _average(cost_quote: Decimal, volume_base: Decimal, pair: Pair) -> str:
    """Return the average price, rounded to the pair's decimals as Kraken does; the cost is exact."""
    if not volume_base:
        return money(ZERO)
    step = Decimal(1).scaleb(-decimals_of(pair.instrument.price_tick_quote))
    return plain((cost_quote / volume_base).quantize(step))


def _signed(profit_quote: Decimal) -> str:
    """Return a profit with its sign; nothing is a plus."""
    return f"{'-' if profit_quote < 0 else '+'}{money(abs(profit_quote))}"


def _margin(cost_quote: Decimal, leverage: int) -> Decimal:
    return (cost_quote / leverage).quantize(Decimal(1).scaleb(-MONEY_DECIMALS))


def _ratio(cost_quote: Decimal, margin_quote: Decimal) -> Decimal:
    return (cost_quote / margin_quote).quantize(Decimal("0.01")) if margin_quote else Decimal(1)

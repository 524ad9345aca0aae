"""What anybody may ask: time, status, currencies, pairs, prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.exchange.mock.refusals import UNKNOWN_PAIR
from actors.exchange.wire.exchange import WireExchange
from actors.exchange.wire.names import Pair, asset_altname, asset_id
from actors.exchange.wire.numbers import decimals_of, padded, plain, rfc3339, seconds
from actors.exchange.wire.refusals import UNKNOWN_ASSET, RefusedError

Parameters = Mapping[str, Any]
SECOND_US = 1_000_000
COST_DECIMALS = {"USD": 5, "USDT": 5, "EUR": 5}
COST_DECIMALS_OTHERS = 10
MARGIN_CALL, MARGIN_STOP = 80, 40


def time(exchange: WireExchange, _parameters: Parameters) -> dict[str, Any]:
    """Serve Time."""
    now_us = exchange.now_us()
    return {"unixtime": now_us // SECOND_US, "rfc1123": rfc3339(now_us)}


def system_status(exchange: WireExchange, _parameters: Parameters) -> dict[str, Any]:
    """Serve SystemStatus."""
    return {"status": exchange.status, "timestamp": rfc3339(exchange.now_us())[:19] + "Z"}


def assets(exchange: WireExchange, parameters: Parameters) -> dict[str, Any]:
    """Serve Assets."""
    wanted = _words(parameters, "asset")
    currencies = [exchange.names.currency(word) for word in wanted] if wanted else exchange.names.currencies
    if None in currencies:
        raise RefusedError(UNKNOWN_ASSET)
    return {
        asset_id(one): {
            "aclass": "currency",
            "altname": asset_altname(one),
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for one in currencies
        if one is not None
    }


def asset_pairs(exchange: WireExchange, parameters: Parameters) -> dict[str, Any]:
    """Serve AssetPairs."""
    return {pair.id: _asset_pair(pair, exchange.status) for pair in pairs_in(exchange, parameters)}


def _asset_pair(pair: Pair, status: str) -> dict[str, Any]:
    instrument = pair.instrument
    levels = list(range(2, instrument.leverage_max + 1))
    return {
        "altname": pair.altname,
        "wsname": pair.wsname,
        "aclass_base": "currency",
        "base": asset_id(instrument.base),
        "aclass_quote": "currency",
        "quote": asset_id(instrument.quote),
        "lot": "unit",
        "cost_decimals": COST_DECIMALS.get(instrument.quote, COST_DECIMALS_OTHERS),
        "pair_decimals": decimals_of(instrument.price_tick_quote),
        "lot_decimals": decimals_of(instrument.lot_step_base),
        "lot_multiplier": 1,
        "leverage_buy": levels,
        "leverage_sell": levels,
        "fees": [[0, instrument.fee_taker_pct]],
        "fees_maker": [[0, instrument.fee_maker_pct]],
        "fee_volume_currency": "ZUSD",
        "margin_call": MARGIN_CALL,
        "margin_stop": MARGIN_STOP,
        "ordermin": plain(instrument.volume_min_base),
        "costmin": plain(instrument.notional_min_quote),
        "tick_size": plain(instrument.price_tick_quote),
        "status": status if status in ("online", "cancel_only", "post_only") else "online",
    }


def ticker(exchange: WireExchange, parameters: Parameters) -> dict[str, Any]:
    """Serve Ticker: the books have no spread, so bid and ask are the last price."""
    rows: dict[str, Any] = {}
    for pair in pairs_in(exchange, parameters):
        last_quote = exchange.last_quote(pair)
        if last_quote is None:
            continue
        price = padded(last_quote, 5)
        rows[pair.id] = {
            "a": [price, "1", "1.000"],
            "b": [price, "1", "1.000"],
            "c": [price, "0.00100000"],
            "v": ["0.00000000", "0.00000000"],
            "p": [price, price],
            "t": [0, 0],
            "l": [price, price],
            "h": [price, price],
            "o": price,
        }
    return rows


def trades(exchange: WireExchange, parameters: Parameters) -> dict[str, Any]:
    """Serve Trades: what this account has traded is all there is."""
    [pair, *_others] = pairs_in(exchange, parameters)
    rows = [
        [
            padded(fill.price_quote, 5),
            padded(fill.volume_base, 8),
            seconds(fill.at_us),
            fill.side.value[0],
            "m",
            "",
            exchange.registry.number_of(fill),
        ]
        for fill in exchange.registry.trades
        if fill.symbol == pair.symbol
    ]
    return {pair.id: rows, "last": str(exchange.now_us() * 1000)}


def pairs_in(exchange: WireExchange, parameters: Parameters) -> list[Pair]:
    """Return the pairs that are asked about, all without a word. Raises RefusedError."""
    names = _words(parameters, "pair")
    if not names:
        return list(exchange.names.pairs.values())
    found = [exchange.names.pair(name) for name in names]
    if None in found:
        raise RefusedError(UNKNOWN_PAIR)
    return [pair for pair in found if pair is not None]


def _words(parameters: Parameters, name: str) -> list[str]:
    return [word.strip() for word in str(parameters.get(name) or "").split(",") if word.strip()]


PUBLIC: Mapping[str, Callable[[WireExchange, Parameters], Any]] = {
    "Time": time,
    "SystemStatus": system_status,
    "Assets": assets,
    "AssetPairs": asset_pairs,
    "Ticker": ticker,
    "Trades": trades,
}

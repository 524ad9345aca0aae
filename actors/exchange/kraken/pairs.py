"""Kraken's pairs: what it calls them in each place, and what it demands of orders in them.

Kraken has three names for a pair: its id (`XXBTZUSD`) in trades and positions, the altname (`XBTUSD`) in orders, and
`XBT/USD` in the listing; the websocket and we say `BTC/USD`. None can be made from another: they are read from
AssetPairs. Two assets have another name there than anywhere else (RENAMED).
What a listing leaves out of a pair is taken from our own file: it is no reason not to trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.kraken.notation import number
from messages.base import Currency, Symbol
from messages.market import Instrument

RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
THEIRS = {ours: theirs for theirs, ours in RENAMED.items()}
SAME_MONEY = (".F",)
"""What Kraken adds to the name of an asset that earns something meanwhile and is spent all the same."""
ONE = Decimal(1)
LEVERAGE_MAX = 10


class PairError(Exception):
    """What Kraken tells of a pair cannot be used. The text says of which, and why."""


@attrs.frozen(kw_only=True)
class Pair:
    """One pair, by all its names."""

    symbol: Symbol
    id: str
    altname: str
    base_id: str
    quote_id: str
    status: str
    leverages: tuple[int, ...]
    """Levels that both a buy and a sell may have; none where there is no margin."""
    instrument: Instrument


class Pairs:
    """The pairs that we trade, found by whatever name Kraken uses. Immutable."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self.all = tuple(pairs)
        self._by_symbol = {pair.symbol: pair for pair in self.all}
        self._by_name = {name: pair for pair in self.all for name in (pair.symbol, pair.id, pair.altname)}
        self._currencies = {
            name: currency
            for pair in self.all
            for id_, currency in ((pair.base_id, pair.instrument.base), (pair.quote_id, pair.instrument.quote))
            for name in (id_, currency, THEIRS.get(currency, currency))
        }

    def of(self, symbol: Symbol) -> Pair | None:
        """Return the pair that we call so."""
        return self._by_symbol.get(symbol)

    def named(self, name: Any) -> Pair | None:
        """Return the pair that Kraken calls so, somewhere; None if it is none of ours."""
        return self._by_name.get(name)

    def currency(self, asset: str) -> Currency | None:
        """Return what we call an asset; None if no pair of ours has it."""
        for suffix in SAME_MONEY:
            asset = asset.removesuffix(suffix)
        return self._currencies.get(asset)

    def instruments(self) -> dict[Symbol, Instrument]:
        """Return what is demanded of orders, by pair."""
        return {pair.symbol: pair.instrument for pair in self.all}


def read_pairs(told: Mapping[str, Any], wanted: Mapping[Symbol, Instrument]) -> Pairs:
    """Return the wanted pairs as AssetPairs tells them; `wanted` says how far we ourselves go with leverage.

    A pair that Kraken does not list is left out. Raises PairError if none is left, or one lacks what an order needs.
    """
    found: dict[Symbol, Pair] = {}
    for id_, row in told.items():
        symbol = _symbol_of(row) if row.get("wsname") else _symbol_by_altname(str(row.get("altname")), wanted)
        if symbol in wanted:
            found[symbol] = _read_pair(id_, row, symbol, wanted[symbol])
    if not found:
        raise PairError(f"Kraken lists none of {', '.join(wanted)}; see to `instruments` in execution.yaml")
    return Pairs(found[symbol] for symbol in wanted if symbol in found)


def _symbol_of(row: Mapping[str, Any]) -> Symbol:
    base, _slash, quote = str(row.get("wsname") or "").partition("/")
    return Symbol(f"{RENAMED.get(base, base)}/{RENAMED.get(quote, quote)}")


def _symbol_by_altname(altname: str, wanted: Iterable[Symbol]) -> Symbol:
    """Return the wanted symbol that an altname is: the names of both assets, Kraken's or ours, in a row."""
    for symbol in wanted:
        base, _slash, quote = symbol.partition("/")
        if altname in {b + q for b in (base, THEIRS.get(base, base)) for q in (quote, THEIRS.get(quote, quote))}:
            return symbol
    return Symbol("")


def _read_pair(id_: str, row: Mapping[str, Any], symbol: Symbol, wanted: Instrument) -> Pair:
    leverages = sorted({int(level) for level in row.get("leverage_buy", ())} & set(_levels(row, "leverage_sell")))
    try:
        instrument = Instrument(
            symbol=symbol,
            base=wanted.base,
            quote=wanted.quote,
            price_tick_quote=number(row.get("tick_size")) or _step(row, "pair_decimals", wanted.price_tick_quote),
            lot_step_base=_step(row, "lot_decimals", wanted.lot_step_base),
            volume_min_base=number(row["ordermin"]) if "ordermin" in row else wanted.volume_min_base,
            notional_min_quote=number(row["costmin"]) if "costmin" in row else wanted.notional_min_quote,
            leverage_max=min(max(leverages, default=1), wanted.leverage_max, LEVERAGE_MAX),
            fee_maker_pct=_first_fee_pct(row, "fees_maker", wanted.fee_maker_pct),
            fee_taker_pct=_first_fee_pct(row, "fees", wanted.fee_taker_pct),
        )
        return Pair(
            symbol=symbol,
            id=id_,
            altname=row.get("altname", id_),
            base_id=row.get("base", wanted.base),
            quote_id=row.get("quote", wanted.quote),
            status=row.get("status", "online"),
            leverages=tuple(leverages),
            instrument=instrument,
        )
    except (KeyError, ValueError, ArithmeticError, TypeError) as error:
        raise PairError(f"what Kraken tells of {symbol} cannot be used: {type(error).__name__} {error}") from error


def _step(row: Mapping[str, Any], name: str, otherwise: Decimal) -> Decimal:
    """Return the smallest step that so many decimals allow."""
    return ONE.scaleb(-int(row[name])) if name in row else otherwise


def _levels(row: Mapping[str, Any], name: str) -> list[int]:
    return [int(level) for level in row.get(name, ())]


def _first_fee_pct(row: Mapping[str, Any], name: str, otherwise_pct: Decimal) -> Decimal:
    """Return the fee of those who trade little: the highest of the schedule."""
    schedule = row.get(name) or ()
    return number(schedule[0][1]) if schedule else otherwise_pct


def with_fees(pairs: Pairs, told: Mapping[str, Any]) -> Pairs:
    """Return the pairs with the fees that TradeVolume tells: what this account really pays."""
    taker, maker = told.get("fees") or {}, told.get("fees_maker") or {}
    return Pairs(_with_fee(pair, _fee_row(taker, pair), _fee_row(maker, pair)) for pair in pairs.all)


def _fee_row(rows: Mapping[str, Any], pair: Pair) -> Mapping[str, Any]:
    return next((rows[name] for name in (pair.id, pair.altname, pair.symbol) if name in rows), {})


def _with_fee(pair: Pair, taker: Mapping[str, Any], maker: Mapping[str, Any]) -> Pair:
    taker_pct = number(taker["fee"]) if "fee" in taker else pair.instrument.fee_taker_pct
    maker_pct = number(maker["fee"]) if "fee" in maker else min(taker_pct, pair.instrument.fee_maker_pct)
    return attrs.evolve(
        pair, instrument=attrs.evolve(pair.instrument, fee_taker_pct=taker_pct, fee_maker_pct=maker_pct)
    )

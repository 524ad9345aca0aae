"""What Kraken calls currencies and pairs: one thing, up to four names.

REST names a pair by id (XXBTZUSD), altname (XBTUSD) and wsname (XBT/USD); the websocket and we say BTC/USD.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from messages.base import Currency, Symbol
from messages.market import Instrument

OLD_IDS = {
    "BTC": "XXBT",
    "ETH": "XETH",
    "XRP": "XXRP",
    "LTC": "XLTC",
    "XLM": "XXLM",
    "XMR": "XXMR",
    "ZEC": "XZEC",
    "ETC": "XETC",
    "DOGE": "XXDG",
    "USD": "ZUSD",
    "EUR": "ZEUR",
    "GBP": "ZGBP",
    "CAD": "ZCAD",
    "JPY": "ZJPY",
    "AUD": "ZAUD",
}
"""Currencies that were there from the beginning carry a letter in front: X for coins, Z for money."""


def asset_id(currency: Currency) -> str:
    """Return the id of a currency in REST."""
    return OLD_IDS.get(currency, currency)


def asset_altname(currency: Currency) -> str:
    """Return the short name of a currency in REST."""
    old = OLD_IDS.get(currency)
    return currency if old is None else old[1:]


@attrs.frozen(kw_only=True)
class Pair:
    """An instrument under all its names."""

    instrument: Instrument
    id: str
    altname: str
    wsname: str

    @property
    def symbol(self) -> Symbol:
        """The name on the websocket, and ours."""
        return self.instrument.symbol


def pair_of(instrument: Instrument) -> Pair:
    """Return the names of an instrument."""
    base, quote = instrument.base, instrument.quote
    altname = asset_altname(base) + asset_altname(quote)
    is_old = base in OLD_IDS and quote in OLD_IDS
    return Pair(
        instrument=instrument,
        id=asset_id(base) + asset_id(quote) if is_old else altname,
        altname=altname,
        wsname=f"{asset_altname(base)}/{asset_altname(quote)}",
    )


class Names:
    """Finds pairs and currencies by whichever name somebody uses."""

    def __init__(self, instruments: Mapping[Symbol, Instrument]) -> None:
        self.pairs = {symbol: pair_of(instrument) for symbol, instrument in instruments.items()}
        self._by_name: dict[str, Pair] = {}
        for pair in self.pairs.values():
            for name in (pair.symbol.replace("/", ""), pair.symbol, pair.wsname, pair.altname, pair.id):
                self._by_name[name] = pair
        self.currencies = sorted({one for each in instruments.values() for one in (each.base, each.quote)})
        self._currencies = {name: one for one in self.currencies for name in (one, asset_altname(one), asset_id(one))}

    def pair(self, name: str) -> Pair | None:
        """Return the pair of this name."""
        return self._by_name.get(name)

    def currency(self, name: str) -> Currency | None:
        """Return the currency of this name."""
        return self._currencies.get(name)

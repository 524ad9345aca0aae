"""When the soak is over: the exchange's books and ours, side by side. Each function yields what does not agree.

The exchange's books also hold what others did. Of that ours must hold what has closed a position of ours, and no more;
how much that was is reckoned here from the exchange's trades alone.

Read in order: agreement(), protection(), equity(), then what they call.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from actors.exchange.kraken.notation import our_id
from persistence.comparison import Ours

ZERO = Decimal(0)
OWN_MONEY = ("USD", "USDT")


def agreement(books: Any, ours: Ours, initial: Mapping[str, str]) -> list[str]:
    """Return every difference, once everything is over."""
    return [
        *_orders(books, ours),
        *_trades(books, ours),
        *_money(books, ours, initial),
        *_results(ours),
        *_left_open(books, ours),
    ]


def protection(books: Any, ours: Ours) -> list[str]:
    """Return which positions are bare and which orders are orphaned, while positions are open."""
    owners = {order.id: order for order in ours.orders}
    resting: defaultdict[str, Decimal] = defaultdict(Decimal)
    orphans = []
    open_positions = {position.id for position in ours.held}
    for order in _of_ours(books):
        known = owners.get(str(our_id(order["cl_ord_id"])))
        if order["status"] != "open" or (known is not None and known.role == "entry"):
            continue
        if known is None or known.position_id not in open_positions:
            orphans.append(f"order {order['txid']} is orphaned: its position is not open")
        elif known.role == "stop":
            resting[known.position_id] += Decimal(order["vol"]) - Decimal(order["vol_exec"])
    bare = [
        f"position {one.id} is bare: {one.volume} {one.symbol} held, stops for {resting[one.id]}"
        for one in ours.held
        if one.wants_stop and resting[one.id] != one.volume
    ]
    return [*bare, *orphans]


def _of_ours(books: Any) -> Iterator[Any]:
    return (order for order in books["orders"] if order["cl_ord_id"] is not None)


def _orders(books: Any, ours: Ours) -> Iterator[str]:
    """No intent has two orders; each order there is known here by both ids, has filled as far, and is over or not."""
    known = {order.id: order for order in ours.orders}
    seen = Counter(our_id(order["cl_ord_id"]) for order in _of_ours(books))
    yield from (f"intent {id_} has {count} orders" for id_, count in seen.items() if count > 1)
    for order in _of_ours(books):
        mine = known.get(str(our_id(order["cl_ord_id"])))
        if mine is None:
            yield f"order {order['txid']} is not in our books"
        elif mine.external_id != order["txid"]:
            yield f"order {mine.id} is {order['txid']} there, and {mine.external_id} here"
        elif mine.filled_volume != Decimal(order["vol_exec"]):
            yield f"order {mine.id} has filled {order['vol_exec']} there, and {mine.filled_volume} here"
        elif mine.is_over is (order["status"] == "open"):
            yield f"order {mine.id} is {order['status']} there, and {'over' if mine.is_over else 'open'} here"
    there = {order["txid"] for order in books["orders"]}
    strangers = (order for order in ours.orders if order.external_id is not None and order.external_id not in there)
    yield from (f"order {order.id} is {order.external_id} here, which is not there" for order in strangers)


def _trades(books: Any, ours: Ours) -> Iterator[str]:
    """Every trade of ours is booked once, with volume and fee; of others' what has closed something of ours."""
    booked = {trade.trade_id: trade for trade in ours.trades}
    shares, contested = shares_of_ours(books), contested_sales(books)
    yield from (f"trade {id_} is booked, and never happened" for id_ in booked.keys() - shares.keys())
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for trade in books["trades"]:
        id_, mine = trade["txid"], booked.get(trade["txid"])
        volume = ZERO if mine is None else mine.volume
        if id_ in contested and volume <= Decimal(trade["vol"]):
            sums[trade["symbol"]] += volume - shares[id_]
        elif volume != shares[id_]:
            yield f"trade {id_} in {trade['symbol']}: {volume} is booked, and {shares[id_]} of {trade['vol']} was ours"
        if mine is not None and volume == Decimal(trade["vol"]) and mine.fee != Decimal(trade["fee"]):
            yield f"trade {id_} cost {trade['fee']} there, and {mine.fee} here"
    yield from (f"{too_much} {symbol} too much is booked as sold" for symbol, too_much in sums.items() if too_much)


def contested_sales(books: Any) -> set[str]:
    """Return the sales of cash spot in pairs where somebody else sold some too.

    Two may sell the same coins before either is heard of. Whose sale closed what is a matter of who was heard first;
    that all of it was closed once is not.
    """
    orders = {order["txid"]: order for order in books["orders"]}
    sales = [one for one in books["trades"] if one["side"] == "sell" and orders[one["ordertxid"]]["leverage"] == 1]
    pairs = {one["symbol"] for one in sales if orders[one["ordertxid"]]["cl_ord_id"] is None}
    return {one["txid"] for one in sales if one["symbol"] in pairs}


def shares_of_ours(books: Any) -> dict[str, Decimal]:
    """Return how much of each trade there belongs into our books: all of our own, and what others closed of ours."""
    orders = {order["txid"]: order for order in books["orders"]}
    contested = contested_sales(books)
    held: defaultdict[tuple[str, bool], Decimal] = defaultdict(Decimal)
    shares = {}
    for trade in books["trades"]:
        order, volume = orders[trade["ordertxid"]], Decimal(trade["vol"])
        place = trade["symbol"], order["leverage"] > 1
        way = 1 if trade["side"] == "buy" else -1
        if order["cl_ord_id"] is None or trade["txid"] in contested:
            volume = min(volume, max(ZERO, -way * held[place]))
        held[place] += way * volume
        shares[trade["txid"]] = volume
    return shares


def held_by_us(books: Any, symbol: str) -> Decimal:
    """Return how much cash spot of a pair our own trades have bought, and nobody has sold since."""
    shares, orders = shares_of_ours(books), {order["txid"]: order for order in books["orders"]}
    trades = (one for one in books["trades"] if one["symbol"] == symbol and orders[one["ordertxid"]]["leverage"] == 1)
    return sum((shares[one["txid"]] * (1 if one["side"] == "buy" else -1) for one in trades), ZERO)


def _money(books: Any, ours: Ours, initial: Mapping[str, str]) -> Iterator[str]:
    """What the account has gained is what our fills say, and what others did, moved or paid."""
    expected: defaultdict[str, Decimal] = defaultdict(Decimal)
    for currency, amount in (*initial.items(), *books["moved"].items()):
        expected[currency] += Decimal(amount)
    own = ((flow.symbol, flow.base, flow.quote) for flow in ours.flows)
    for symbol, base_moved, quote_moved in (*own, *_by_others(books, ours)):
        base, _slash, quote = symbol.partition("/")
        expected[base] += base_moved
        expected[quote] += quote_moved
    for currency in sorted(expected.keys() | books["balances"].keys()):
        there = Decimal(books["balances"].get(currency, 0))
        if there != expected[currency]:
            yield f"{currency}: {there} there, {expected[currency]} by our books"


def _by_others(books: Any, ours: Ours) -> Iterator[tuple[str, Decimal, Decimal]]:
    """Yield what is left of each trade when our part is taken away: pair, coins and money moved."""
    booked = {trade.trade_id: trade for trade in ours.trades}
    for trade in books["trades"]:
        mine = booked.get(trade["txid"])
        volume = Decimal(trade["vol"]) - (ZERO if mine is None else mine.volume)
        fee = Decimal(trade["fee"]) - (ZERO if mine is None else mine.fee)
        way = 1 if trade["side"] == "buy" else -1
        yield trade["symbol"], way * volume, -way * volume * Decimal(trade["price"]) - fee


def _results(ours: Ours) -> Iterator[str]:
    """What the positions say that they have gained is what their fills have moved, and no coin is left."""
    for flow in ours.flows:
        net = ours.results.get(flow.symbol, ZERO)
        if flow.base or net != flow.quote:
            yield f"{flow.symbol}: positions gained {net}, fills {flow.quote} and {flow.base} of the coin"


def equity(books: Any, ours: Ours, initial: Mapping[str, str], report: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    """Return equity there and here, when no coins and no positions are left.

    The engine reports what its positions have gained; what others moved and traded is added to that.
    """
    began = [Decimal(initial.get(currency, 0)) for currency in OWN_MONEY]
    moved = [Decimal(books["moved"].get(currency, 0)) for currency in OWN_MONEY]
    others = [quote for _symbol, _base, quote in _by_others(books, ours)]
    gained = Decimal(report["equity_end"]) - Decimal(report["equity_start"])
    return Decimal(books["equity"]), sum([*began, *moved, *others, gained], ZERO)


def _left_open(books: Any, ours: Ours) -> Iterator[str]:
    """Nothing of ours is left open."""
    yield from (f"order {order['txid']} is open" for order in _of_ours(books) if order["status"] == "open")
    yield from (f"a position in {symbol} is open there" for symbol in books["positions"])
    yield from (f"position {one.id} is open here" for one in ours.held)

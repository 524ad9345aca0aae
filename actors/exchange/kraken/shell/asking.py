"""Asking: what became of orders, which trades happened, what the account holds.

Calls are dear: Kraken lets a small account ask once in three seconds. So a poll is one call, OpenOrders; an order that
is not in it any more is asked for by name, and trades are asked for when an order has filled further than the trades
that we know, and from time to time, because others trade on the account too.
Read in order: _poll_steps(), _look_up_steps(), _account_steps(), trades, orders.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Mapping, Sequence
from decimal import InvalidOperation
from typing import Any, TypeVar

from loguru import logger

from actors.exchange.kraken.errors import Verdict
from actors.exchange.kraken.executions import Executions
from actors.exchange.kraken.links import Links
from actors.exchange.kraken.pairs import Pairs
from actors.exchange.kraken.records import OrderRow, balances_of, fill_of, holdings_of, order_of, rows_of
from actors.exchange.kraken.shell.calling import Ask, Calling, Reply, Steps, Wait
from actors.exchange.kraken.trade_log import TradeLog
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from config.settings import KrakenSettings
from messages.base import NO_TRADE, ExternalOrderId, OrderId
from messages.exchange import AccountReported, ExchangeAlert
from messages.orders import (
    ExchangeOrder,
    ExecutionReported,
    Fill,
    LookUpOrder,
    OrderFound,
    OrderNotFound,
    OrdersPolled,
    OrderStatus,
    PollOrders,
)

OPEN_ORDERS = "/0/private/OpenOrders"
CLOSED_ORDERS = "/0/private/ClosedOrders"
QUERY_ORDERS = "/0/private/QueryOrders"
TRADES_HISTORY = "/0/private/TradesHistory"
BALANCE = "/0/private/Balance"
OPEN_POSITIONS = "/0/private/OpenPositions"
TRADE_BALANCE = "/0/private/TradeBalance"
HISTORY_POINTS_MILLI = 4_000
"""The documentation says 2, a support page 4."""
PAGE = 50
"""Rows in one answer of ClosedOrders and TradesHistory, and ids in one QueryOrders."""
PAGES_MAX = 200
OVERLAP_US = 120 * MICROSECONDS
"""Trades are asked for anew from so long before the last time on: REST may lag behind by a minute."""
BEFORE_US = 60 * MICROSECONDS
"""An order is looked for from so long before it was sent on: clocks differ."""
MARGIN_CALL_PCT = 80

EXTERNAL_IDS_MAX = 10_000
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, InvalidOperation)
"""What reading raises when something is not as Kraken documents it."""

T = TypeVar("T")
Asked = Generator[Ask | Wait, Reply, T]


class Failed(Exception):  # noqa: N818 - Not an error: the exchange has not answered.
    """A question was not answered, so what it was for is not known. Whoever asked will ask again."""


class Asking(Calling):
    """What is asked, and what is learnt from it."""

    def __init__(self, ports: Ports, *, settings: KrakenSettings, links: Links, pairs: Pairs) -> None:
        super().__init__(ports, settings=settings, links=links)
        self._pairs = pairs
        self._executions = Executions(pairs)
        self._trades = TradeLog()
        self._external_ids: dict[OrderId, ExternalOrderId] = {}
        self._trades_from_us = self.now_us
        """Trades since then may be unknown; older ones have been told."""
        self._trades_known_us = self.now_us
        """Trades from then on have been asked for once: no search has to go through all of them again."""
        self._trades_asked_us: int | None = None
        """When trades were last asked for; None before the first time, and when some are known to be missing."""
        self._poll: PollOrders | None = None
        """The poll under way."""
        self._next_poll: PollOrders | None = None
        self._is_account_asked = False
        self._is_margin_low = False
        """Whether the margin level was below the threshold the last time: a person has been told."""
        self._look_ups: dict[OrderId, LookUpOrder] = {}
        """Those that the next search is for."""
        self._is_looking_up = False

    def _quietly(self, steps: Asked[None]) -> Steps:
        """Run steps that end without a word when a question is not answered.

        An answer that cannot be read is as none, and a person is told of it.
        """
        try:
            yield from steps
        except Failed as failure:
            logger.debug("not answered: {}", failure)
        except UNREADABLE as error:
            text = f"an answer was not understood ({type(error).__name__}: {error})"
            self.emit(ExchangeAlert(kind="answer_unreadable", text=text))

    def _ask(self, path: str, points_milli: int = 1_000, **params: str) -> Asked[Any]:
        """Ask, and return the result. Raises Failed."""
        reply = yield Ask(path=path, params=params, points_milli=points_milli)
        if reply.meaning is not None:
            raise Failed(f"{path}: {reply.reason}")
        return reply.result

    # Polls ----------------------------------------------------------------------------------------

    def _start_poll(self, query: PollOrders) -> None:
        """Answer a poll; while one is under way, the newest of those that come waits."""
        if self._poll is None:
            self._poll = query
            self._begin(self._poll_and_go_on(query), query.proposal_id)
        else:
            self._next_poll = query

    def _poll_and_go_on(self, query: PollOrders) -> Steps:
        yield from self._quietly(self._poll_steps(query))
        waiting, self._poll, self._next_poll = self._next_poll, None, None
        if waiting is not None:
            self._start_poll(waiting)

    def _poll_steps(self, query: PollOrders) -> Asked[None]:
        if query.since_us is not None and self._trades_asked_us is None:
            self._trades_from_us = min(self._trades_from_us, query.since_us)
        told = yield from self._open_orders()
        states = {row.order.order_id: row.order for row in told}
        gone = [self._external_ids[id_] for id_ in query.order_ids if id_ not in states and id_ in self._external_ids]
        for row in (yield from self._orders(gone)):
            states[row.order.order_id] = row.order
        asked = [states[id_] for id_ in query.order_ids if id_ in states]
        fills: Sequence[Fill] = ()
        if self._must_ask_for_trades(asked):
            fills = yield from self._new_trades()
        self.emit(OrdersPolled(orders=tuple(asked), fills=tuple(fills), cursor=self._trades.newest))

    def _must_ask_for_trades(self, orders: Iterable[ExchangeOrder]) -> bool:
        asked_us = self._trades_asked_us
        if asked_us is None or self.now_us - asked_us >= self._settings.reconcile_s * MICROSECONDS:
            return True
        return any(order.filled_base > self._trades.filled_base(order.external_id) for order in orders)

    # Looking up -----------------------------------------------------------------------------------

    def _start_look_up(self, query: LookUpOrder) -> None:
        """Look for an order of ours, together with the others that are looked for at the same instant."""
        self._look_ups[query.order_id] = query
        if not self._is_looking_up:
            self._is_looking_up = True
            self._begin(self._look_up_and_go_on(), NO_TRADE)

    def _look_up_and_go_on(self) -> Steps:
        while self._look_ups:
            yield Wait(self.now_us)
            wanted, self._look_ups = self._look_ups, {}
            yield from self._quietly(self._look_up_steps(wanted))
        self._is_looking_up = False

    def _look_up_steps(self, wanted: Mapping[OrderId, LookUpOrder]) -> Asked[None]:
        """Look everywhere. That an order is nowhere is told as of the instant the search began."""
        began_us = self.now_us
        found = yield from self._search(wanted)
        if any(row.filled_base > self._trades.filled_base(row.order.external_id) for row in found.values()):
            opened_us = min(row.opened_at_us for row in found.values() if row.filled_base)
            self._trades_from_us = min(self._trades_from_us, opened_us - BEFORE_US)
            yield from self._tell_trades(besides=found.keys())
        for order_id, query in wanted.items():
            row = found.get(order_id)
            if row is None:
                self.emit(OrderNotFound(order_id=order_id, as_of_us=began_us), query.proposal_id)
            else:
                fills = self._trades.of_order(row.order.external_id)
                self.emit(OrderFound(order=row.order, fills=fills), query.proposal_id)

    def _search(self, wanted: Mapping[OrderId, LookUpOrder]) -> Asked[dict[OrderId, OrderRow]]:
        """Return those that are found: by Kraken's id where it is known, else among open, closed, and traded ones."""
        found: dict[OrderId, OrderRow] = {}
        for query in wanted.values():
            if query.external_id is not None:
                self._note_external(query.order_id, query.external_id, is_newer=False)
        _take(found, wanted, (yield from self._by_name(wanted)))
        if len(found) < len(wanted):
            _take(found, wanted, (yield from self._open_orders()))
        if len(found) < len(wanted):
            since_us = min(query.sent_at_us for id_, query in wanted.items() if id_ not in found) - BEFORE_US
            _take(found, wanted, (yield from self._closed_orders(since_us)))
            # A trade names its order, and an order its client id: the last place where one may be found.
            nameless = wanted.keys() - found.keys() - self._external_ids.keys()
            if nameless:
                if since_us < self._trades_known_us:
                    self._trades_from_us = min(self._trades_from_us, since_us)
                yield from self._tell_trades(besides=nameless)
                _take(found, wanted, (yield from self._by_name(nameless)))
        return found

    def _by_name(self, order_ids: Iterable[OrderId]) -> Asked[list[OrderRow]]:
        names = [self._external_ids[id_] for id_ in order_ids if id_ in self._external_ids]
        return (yield from self._orders(names))

    # The account ----------------------------------------------------------------------------------

    def _start_account(self) -> None:
        if not self._is_account_asked:
            self._is_account_asked = True
            self._begin(self._account_and_go_on(), NO_TRADE)

    def _account_and_go_on(self) -> Steps:
        yield from self._quietly(self._account_steps())
        self._is_account_asked = False

    def _account_steps(self) -> Asked[None]:
        balances = balances_of((yield from self._ask(BALANCE)), self._pairs)
        holdings = holdings_of(rows_of((yield from self._ask(OPEN_POSITIONS))), self._pairs)
        orders = yield from self._open_orders()
        if holdings:
            margin = yield Ask(path=TRADE_BALANCE)
            if margin.meaning is None:
                self._warn_of_margin(margin.result or {})
        else:
            self._is_margin_low = False
        self.emit(
            AccountReported(
                balances=tuple(sorted(balances.items())),
                holdings=holdings,
                open_orders=tuple(row.order for row in orders),
                at_us=self.now_us,
            )
        )

    def _warn_of_margin(self, told: Mapping[str, Any]) -> None:
        """Tell a person each time the level falls below the threshold, and not while it stays there."""
        level = told.get("ml")
        was_low = self._is_margin_low
        self._is_margin_low = level not in (None, "") and int(str(level).partition(".")[0]) < MARGIN_CALL_PCT
        if self._is_margin_low and not was_low:
            self.emit(ExchangeAlert(kind="margin_call", text=f"the margin level is {level} %: Kraken may liquidate"))

    # Trades ---------------------------------------------------------------------------------------

    def _tell_trades(self, besides: Container[OrderId] = ()) -> Asked[None]:
        """Ask for the trades since the last time, and tell those that nobody has told, some orders' apart."""
        for fill in (yield from self._new_trades()):
            if fill.order_id not in besides:
                self.emit(ExecutionReported(fill=fill))

    def _new_trades(self) -> Asked[list[Fill]]:
        """Return the trades that are not known yet, oldest first."""
        asked_us, from_us = self.now_us, self._trades_from_us
        rows = yield from self._trade_rows(from_us)
        yield from self._learn_orders(str(row["ordertxid"]) for row in rows.values())
        fills = [fill_of(trade_id, row, self._pairs, _Names(self._executions)) for trade_id, row in rows.items()]
        known = [fill for fill in fills if fill is not None and self._is_whose_known(fill)]
        self._trades_asked_us = asked_us
        self._trades_known_us = min(self._trades_known_us, from_us)
        self._trades_from_us = asked_us - OVERLAP_US
        new = [fill for fill in known if self._trades.add(fill)]
        return sorted(new, key=lambda fill: (fill.at_us, fill.trade_id))

    def _is_whose_known(self, fill: Fill) -> bool:
        """Say whether it is known whose trade it is: REST may tell a trade before its order, and ours is no stranger's.

        What is not known after the lag of the records is somebody else's.
        """
        return self._is_owner_known(fill.external_order_id) or fill.at_us < self.now_us - OVERLAP_US // 2

    def _trade_rows(self, since_us: int) -> Asked[dict[str, Mapping[str, Any]]]:
        """Return the rows of TradesHistory from an instant on that are not known yet."""
        rows: dict[str, Mapping[str, Any]] = {}
        seen: set[str] = set()
        for page in range(PAGES_MAX):
            result = yield from self._ask(
                TRADES_HISTORY,
                HISTORY_POINTS_MILLI,
                type="all",
                start=str(max(0, since_us // MICROSECONDS - 1)),
                ofs=str(page * PAGE),
                consolidate_taker="false",
            )
            told = result.get("trades") or {}
            is_same_again = seen >= told.keys()  # An exchange that knows no pages tells all of it each time.
            seen |= told.keys()
            rows.update({str(id_): row for id_, row in told.items() if id_ not in self._trades})
            if len(told) < PAGE or is_same_again:
                return rows
        raise Failed(f"more than {PAGES_MAX * PAGE} trades since the last time")

    # Orders ---------------------------------------------------------------------------------------

    def _open_orders(self) -> Asked[list[OrderRow]]:
        result = yield from self._ask(OPEN_ORDERS)
        rows = self._take_rows(result.get("open") or {})
        self._tell_strangers(rows)
        return rows

    def _closed_orders(self, since_us: int) -> Asked[list[OrderRow]]:
        """Return the orders opened since an instant that are over."""
        found: list[OrderRow] = []
        seen: set[str] = set()
        for page in range(PAGES_MAX):
            result = yield from self._ask(
                CLOSED_ORDERS,
                HISTORY_POINTS_MILLI,
                start=str(max(0, since_us // MICROSECONDS)),
                closetime="open",
                ofs=str(page * PAGE),
            )
            told = result.get("closed") or {}
            is_same_again = seen >= told.keys()  # An exchange that knows no pages tells all of it each time.
            seen |= told.keys()
            found += self._take_rows(told)
            if len(told) < PAGE or is_same_again:
                return found
        raise Failed(f"more than {PAGES_MAX * PAGE} orders since the time of the one that is looked for")

    def _orders(self, external_ids: Sequence[ExternalOrderId]) -> Asked[list[OrderRow]]:
        """Return these orders, open or over; those that Kraken does not tell are left out."""
        found: list[OrderRow] = []
        for start in range(0, len(external_ids), PAGE):
            found += yield from self._orders_at_once(external_ids[start : start + PAGE])
        return found

    def _orders_at_once(self, external_ids: Sequence[ExternalOrderId]) -> Asked[list[OrderRow]]:
        """Return orders by one call. One that Kraken does not know spoils it for all: then each is asked for alone."""
        params = {"txid": ",".join(external_ids), "trades": "true"}
        reply = yield Ask(path=QUERY_ORDERS, params=params)
        if reply.meaning is None:
            return self._take_rows(reply.result)
        if reply.meaning.verdict is not Verdict.REFUSED:
            raise Failed(f"{QUERY_ORDERS}: {reply.reason}")
        found: list[OrderRow] = []
        for external_id in external_ids if len(external_ids) > 1 else ():
            found += yield from self._orders_at_once([external_id])
        return found

    def _learn_orders(self, external_ids: Iterable[str]) -> Asked[None]:
        """Find out whose the orders are of which nothing is known."""
        unknown = [ExternalOrderId(id_) for id_ in dict.fromkeys(external_ids) if not self._is_owner_known(id_)]
        if unknown:
            yield from self._orders(unknown)

    def _is_owner_known(self, external_id: str) -> bool:
        known = self._executions.known(external_id)
        return known is not None and known.is_owner_known

    def _take_rows(self, told: Mapping[str, Any]) -> list[OrderRow]:
        """Return the orders in an answer, and remember whose they are."""
        rows = [order_of(external_id, row, self._pairs) for external_id, row in told.items()]
        known = [row for row in rows if row is not None]
        for row in known:
            self._executions.note(row, self._pairs.of(row.order.symbol))
            if row.is_ours:
                self._note_external(row.order.order_id, row.order.external_id, is_newer=_is_newer(row))
        return known

    def _note_external(self, order_id: OrderId, external_id: ExternalOrderId, *, is_newer: bool = True) -> None:
        if is_newer or order_id not in self._external_ids:
            self._external_ids[order_id] = external_id
            if len(self._external_ids) > EXTERNAL_IDS_MAX:
                del self._external_ids[next(iter(self._external_ids))]

    def _tell_strangers(self, rows: Iterable[OrderRow]) -> None:
        """Tell a person, once, of each open order that is not ours."""
        for order in (row.order for row in rows if not row.is_ours):
            known = self._executions.known(order.external_id)
            if known is not None and not known.is_alerted:
                known.is_alerted = True
                text = f"{order.external_id} in {order.symbol} was not placed by this engine"
                self.emit(ExchangeAlert(kind="external_order", text=text))


class _Names(Mapping[str, OrderId]):
    """Which of our ids an order has, read off what has been told of it."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def __getitem__(self, external_id: str) -> OrderId:
        known = self._executions.known(external_id)
        if known is None:
            raise KeyError(external_id)
        return known.order_id

    def __iter__(self) -> Any:
        raise TypeError("what has been told of orders is looked up, not listed")

    def __len__(self) -> int:
        raise TypeError("what has been told of orders is looked up, not counted")


def _is_newer(row: OrderRow) -> bool:
    """Kraken may know two orders of one client id, one of them over: the open one is meant."""
    return row.order.status in (OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED)


def _take(found: dict[OrderId, OrderRow], wanted: Container[OrderId], rows: Iterable[OrderRow]) -> None:
    """Add what was wanted; of two orders of one id the open one, or else the later."""
    for row in sorted(rows, key=lambda row: (_is_newer(row), row.opened_at_us)):
        if row.order.order_id in wanted:
            found[row.order.order_id] = row

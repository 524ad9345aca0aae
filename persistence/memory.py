"""The journal in memory: the same promises as PostgreSQL's, as long as the object lives.

Simulations and benchmarks use it. It may be handed to a second engine after the first was killed: load() then tells
what was committed, as the database would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Context, Decimal
from typing import assert_never, get_args

from messages.base import Currency, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.bus import NumberedEvent, PublicEvent
from messages.journal import (
    MarginExit,
    RecordAlert,
    RecordFill,
    RecordIntent,
    RecordOrder,
    RecordPosition,
    RecordRequest,
    RecordRiskState,
    RecordSnapshots,
    RecordStanding,
    RecordUnit,
    RecoveredState,
    Snapshot,
    Standing,
)
from messages.orders import Fill, Order, OrderRole
from messages.positions import Position, PositionSide
from messages.risk import RiskState
from messages.trades import RequestRow
from persistence.protocol import (
    FILLS_REMEMBERED,
    LATE_S,
    MARGIN_EXITS_REMEMBERED,
    ORDERS_REMEMBERED,
    REQUESTS_REMEMBERED,
    margin_since_us,
)
from persistence.rows import target_as_json

UNITS = frozenset(get_args(RecordUnit))
EXACT = Context(prec=1_000)
"""Sums as NUMERIC makes them: without rounding."""


class MemoryJournal:
    """Keeps the frozen values themselves, so a commit costs a few dictionary updates."""

    def __init__(self) -> None:
        self.orders: dict[OrderId, Order] = {}
        self.positions: dict[PositionId, Position] = {}
        self.fills: dict[TradeId, Fill] = {}
        self.requests: dict[ProposalId, RequestRow] = {}
        self.events: list[NumberedEvent] = []
        self.snapshots: list[Snapshot] = []
        self.risk = RiskState()
        self.standings: dict[Symbol, Standing] = {}
        self.initial_balances: dict[Currency, Decimal] | None = None
        self.opened_at_us: int | None = None
        self._is_new = False
        self.commits = 0
        self.rows_written = 0
        self.note: Callable[[RecordUnit], None] | None = None
        """Told each unit just before it is kept: for whoever checks."""

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Keep all units or none, and return their events, numbered."""
        for unit in units:
            if type(unit) not in UNITS:
                raise TypeError(f"{type(unit).__name__} is nothing to be recorded")
        first = len(self.events)
        for unit in units:
            if self.note is not None:
                self.note(unit)
            self._keep(unit)
        self.commits += 1
        return tuple(self.events[first:])

    def _keep(self, unit: RecordUnit) -> None:
        match unit:
            case RecordFill():
                self.fills.setdefault(unit.fill.trade_id, unit.fill)
                self._keep_order(unit.order)
                self.positions[unit.position.id] = unit.position
                self.rows_written += 2
            case RecordOrder():
                self._keep_order(unit.order)
            case RecordIntent():
                self._keep_request(unit.request)
                self._keep_order(unit.order)
            case RecordPosition():
                self._keep_request(unit.request)
                self.positions[unit.position.id] = unit.position
                self.rows_written += 1
            case RecordRequest():
                self._keep_request(unit.request)
            case RecordRiskState():
                self.risk = unit.state
                self.rows_written += 1
            case RecordStanding():
                self.standings[unit.standing.symbol] = unit.standing
                self.rows_written += 1
            case RecordSnapshots():
                self._keep_snapshots(unit.snapshots)
                return
            case RecordAlert():
                pass
            case _:
                assert_never(unit)
        self._keep_events(unit.events)

    def _keep_order(self, order: Order) -> None:
        order_id = order.intent.id
        self.orders[order_id] = order
        self.rows_written += 2

    def _keep_request(self, request: RequestRow | None) -> None:
        if request is None:
            return
        self.requests.setdefault(request.id, request)
        self.rows_written += 1

    def _keep_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Photographs replace those of the same instants and later, from before a restart."""
        kept = self.snapshots
        while snapshots and kept and kept[-1].at_us >= snapshots[0].at_us:
            kept.pop()
        kept.extend(snapshots)
        self.rows_written += sum(1 + len(snapshot.marks) for snapshot in snapshots)

    def _keep_events(self, events: Sequence[PublicEvent]) -> None:
        for sequence, event in enumerate(events, len(self.events) + 1):
            self.events.append(NumberedEvent(sequence=sequence, event=event))
        self.rows_written += len(events)

    def copy(self) -> MemoryJournal:
        """Return a journal with what this one knows now: a backup."""
        other = MemoryJournal()
        for name, value in vars(self).items():
            setattr(other, name, value.copy() if isinstance(value, dict | list) else value)
        return other

    # Reading --------------------------------------------------------------------------------------

    async def load(self) -> RecoveredState:
        """Return what a start needs of the past."""
        wanted = {order.id: order for order in self._live_or_just_over()}
        of_those = {order.intent.position_id for order in wanted.values()}
        positions = [one for one in self.positions.values() if not one.is_over or one.id in of_those]
        orders = self._orders_of({position.id for position in positions}, wanted)
        return RecoveredState(
            orders=orders,
            positions=tuple(sorted(positions, key=lambda position: (position.opened_at_us, position.id))),
            booked=self._booked({order.id for order in orders}),
            last_fill_at_us=max((fill.at_us for fill in self.fills.values()), default=None),
            unbooked=tuple(self._unbooked(orders)),
            margin_exits=self._margin_exits(orders),
            opened_at_us=self.opened_at_us,
            is_new=self._is_new,
            order_ids=self._newest_order_ids(),
            requests=tuple(self.requests)[-REQUESTS_REMEMBERED:],
            approved=self._approved({order.intent.proposal_id for order in orders}),
            taken=self._taken({order.intent.proposal_id for order in orders}),
            risk=self.risk,
            standings=tuple(standing for _symbol, standing in sorted(self.standings.items())),
            realised_by_quote=self.realised_by_quote(),
            initial_balances=tuple(sorted((self.initial_balances or {}).items())),
        )

    async def open_account(
        self, balances: Mapping[Currency, Decimal], at_us: int | None = None
    ) -> Mapping[Currency, Decimal]:
        """Remember with what and when the account began; on a later start return the balances remembered then."""
        self._is_new = self.initial_balances is None
        if self.initial_balances is None:
            self.initial_balances = dict(balances)
        if self.opened_at_us is None:
            self.opened_at_us = at_us
        return dict(self.initial_balances)

    async def known_requests(self, ids: Iterable[ProposalId]) -> frozenset[ProposalId]:
        """Return which of these requests were handed in before, however long ago."""
        return frozenset(id_ for id_ in ids if id_ in self.requests)

    def _live_or_just_over(self) -> Iterable[Order]:
        ends_us = [order.ended_at_us for order in self.orders.values() if order.ended_at_us is not None]
        since_us = max(ends_us, default=0) - LATE_S * 1_000_000
        for order in self.orders.values():
            if not order.is_over or (order.ended_at_us is not None and order.ended_at_us >= since_us):
                yield order

    def _orders_of(self, position_ids: set[PositionId], more: Mapping[OrderId, Order]) -> tuple[Order, ...]:
        of_positions = {order.id: order for order in self.orders.values() if order.intent.position_id in position_ids}
        wanted = {**more, **of_positions}.values()
        return tuple(sorted(wanted, key=lambda order: (order.intent.created_at_us, order.id)))

    def _booked(self, order_ids: set[OrderId]) -> tuple[tuple[TradeId, Decimal], ...]:
        booked: dict[str, Decimal] = {}
        first: dict[str, Fill] = {}
        wanted: set[str] = set()
        for fill in self.fills.values():
            trade = fill.trade_id.partition("#")[0]
            booked[trade] = booked.get(trade, Decimal(0)) + fill.volume_base
            first.setdefault(trade, fill)
            if fill.order_id in order_ids:
                wanted.add(trade)
        in_order = sorted(booked, key=lambda trade: (first[trade].at_us, trade))
        older, newest = in_order[:-FILLS_REMEMBERED], in_order[-FILLS_REMEMBERED:]
        kept = [*(trade for trade in older if trade in wanted), *newest]
        return tuple((TradeId(trade), booked[trade]) for trade in kept)

    def _margin_exits(self, orders: Sequence[Order]) -> tuple[MarginExit, ...]:
        since_us = margin_since_us(orders)
        if since_us is None:
            return ()
        exits = [
            MarginExit(
                symbol=fill.symbol,
                side=fill.side,
                volume_base=fill.volume_base,
                at_us=fill.at_us,
                entered_at_us=self.positions[intent.position_id].opened_at_us,
            )
            for fill in sorted(self.fills.values(), key=lambda fill: (fill.at_us, fill.trade_id))
            for intent in (self.orders[fill.order_id].intent,)
            if fill.at_us >= since_us and intent.role is not OrderRole.ENTRY and intent.leverage > 1
        ]
        return tuple(exits[-MARGIN_EXITS_REMEMBERED:])

    def _newest_order_ids(self) -> tuple[OrderId, ...]:
        newest = sorted(self.orders.values(), key=lambda order: (order.intent.created_at_us, order.id))
        return tuple(order.id for order in newest[-ORDERS_REMEMBERED:])

    def _unbooked(self, orders: Sequence[Order]) -> Iterable[tuple[OrderId, Decimal]]:
        booked: dict[str, Decimal] = {}
        for fill in self.fills.values():
            booked[fill.external_order_id] = booked.get(fill.external_order_id, Decimal(0)) + fill.volume_base
        for order in orders:
            left_base = order.filled_base - booked.get(order.external_id or "", Decimal(0))
            if left_base > 0:
                yield order.id, left_base

    def _approved(self, proposal_ids: set[ProposalId]) -> tuple[RequestRow, ...]:
        return tuple(
            request
            for request in self.requests.values()
            if request.verdict == "approved" and request.id in proposal_ids
        )

    def _taken(self, proposal_ids: set[ProposalId]) -> tuple[RequestRow, ...]:
        targets = {target_as_json(proposal_id) for proposal_id in proposal_ids}
        return tuple(
            request
            for request in self.requests.values()
            if request.verdict == "taken" and target_of(request) in targets
        )

    def realised_by_quote(self) -> tuple[tuple[str, Decimal], ...]:
        """Return the net P&L of all positions that are over, by quote currency."""
        sums: dict[str, Decimal] = {}
        for position in self.positions.values():
            if position.is_over:
                quote = position.symbol.partition("/")[2]
                sums[quote] = EXACT.add(sums.get(quote, Decimal(0)), net_pnl(position))
        return tuple(sorted(sums.items()))


def target_of(request: RequestRow) -> str | None:
    """Return which trade a request is about, as a JSON string; None if it is about none."""
    if request.kind == "protect":
        return target_as_json(json.loads(request.body)["target"])
    return request.body if request.kind in ("cancel", "close") else None


def net_pnl(position: Position) -> Decimal:
    """Return what the position has brought, net of fees."""
    gross = EXACT.subtract(position.exit_cost_quote, position.entry_cost_quote)
    if position.side is PositionSide.SHORT:
        gross = EXACT.minus(gross)
    return EXACT.subtract(gross, position.fees_quote)

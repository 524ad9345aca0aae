"""What one group of units writes: rows by table, ready to be sent, and the statement that takes them.

Several states of the same thing in one group become one row of its table, the last; its history gets every one.
The whole group is ONE statement, so that it is one transaction and one round trip: each table is a WITH clause that
inserts an array of the table's own row type. A group that has nothing for a table leaves its clause out, so there
are some dozens of statements at most; the connection keeps them prepared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import assert_never

import attrs

from messages.bus import NumberedEvent, PublicEvent
from messages.journal import (
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
    Snapshot,
)
from messages.orders import Order
from messages.trades import RequestRow
from persistence.rows import (
    EVENT_COLUMNS,
    FILL_COLUMNS,
    ORDER_COLUMNS,
    ORDER_COLUMNS_THAT_CHANGE,
    POSITION_COLUMNS,
    POSITION_COLUMNS_THAT_CHANGE,
    REQUEST_COLUMNS,
    RISK_COLUMNS,
    STANDING_COLUMNS,
    STATUS_LOG_COLUMNS,
    Row,
    event_row,
    fill_row,
    order_row,
    position_row,
    request_row,
    risk_row,
    standing_row,
    status_log_row,
)


@attrs.frozen
class _Target:
    """A table that groups are written to."""

    table: str
    columns: tuple[str, ...]
    on_conflict: str = ""
    derived: Mapping[str, str] = attrs.field(factory=dict)
    """Columns that follow from the row `r`. They are worked out here and not declared as generated in the table,
    because the server prepares such declarations anew at each insert: a fifth of the time of a fill."""

    def clause(self, parameter: int) -> str:
        """Return the WITH clause that inserts the rows of this parameter, if the gate is open."""
        columns = ", ".join([*self.columns, *self.derived])
        values = ", ".join([*[f"r.{column}" for column in self.columns], *self.derived.values()])
        return (
            f"{self.table}_written AS (INSERT INTO {self.table} ({columns}) "  # noqa: S608 - Our own names.
            f"SELECT {values} FROM gate, unnest(${parameter}::{self.table}[]) AS r {self.on_conflict})"
        )


def _upsert(key: str, changing: Iterable[str]) -> str:
    changes = ", ".join(f"{column} = excluded.{column}" for column in changing)
    return f"ON CONFLICT ({key}) DO UPDATE SET {changes}"


ORDER_DERIVED = {"is_over": "r.status IN ('FILLED', 'CANCELLED', 'EXPIRED', 'ERROR')"}
POSITION_IS_OVER = "r.status IN ('CLOSED', 'LIQUIDATED')"
GROSS_PNL = "CASE r.side WHEN 'LONG' THEN r.exit_cost - r.entry_cost ELSE r.entry_cost - r.exit_cost END"
# A zero with 18 places makes NUMERIC divide to at least 18 places before it is rounded.
QUOTIENT = "round(({} + 0.000000000000000000) / nullif({}, 0), 18)"
POSITION_DERIVED = {
    "size": QUOTIENT.format("r.entry_volume", "r.leverage"),
    "entry_price": QUOTIENT.format("r.entry_cost", "r.entry_volume"),
    "exit_price": QUOTIENT.format("r.exit_cost", "r.exit_volume"),
    "volume": "r.entry_volume - r.exit_volume",
    "gross_pnl": f"CASE WHEN {POSITION_IS_OVER} THEN {GROSS_PNL} END",
    "realized_pnl": f"CASE WHEN {POSITION_IS_OVER} THEN {GROSS_PNL} - r.fees END",
    "is_over": POSITION_IS_OVER,
}

TARGETS = (
    # The first verdict on a request stands, and an execution counts once: whatever is told again changes nothing.
    _Target("trade_requests", REQUEST_COLUMNS, "ON CONFLICT DO NOTHING"),
    _Target(
        "orders", ORDER_COLUMNS, _upsert("account, id", [*ORDER_COLUMNS_THAT_CHANGE, *ORDER_DERIVED]), ORDER_DERIVED
    ),
    _Target("order_status_log", STATUS_LOG_COLUMNS),
    _Target("fills", FILL_COLUMNS, "ON CONFLICT DO NOTHING"),
    _Target(
        "positions",
        POSITION_COLUMNS,
        _upsert("account, id", [*POSITION_COLUMNS_THAT_CHANGE, *POSITION_DERIVED]),
        POSITION_DERIVED,
    ),
    _Target("risk_state", RISK_COLUMNS, _upsert("account", RISK_COLUMNS[1:])),
    _Target("standings", STANDING_COLUMNS, _upsert("account, symbol", STANDING_COLUMNS[2:])),
    _Target("execution_events", EVENT_COLUMNS),
)

GATE = (
    "WITH gate AS (UPDATE accounts SET group_no = $2::bigint, event_no = $3::bigint "
    "WHERE account = $1 AND group_no = $2::bigint - 1 RETURNING 1)"
)
"""Opens once for each group: if it has been committed already, nothing is written again."""
ANSWER = " SELECT count(*) FROM gate"


@cache
def statement(tables: tuple[int, ...]) -> str:
    """Return the statement that writes to these TARGETS; it answers how often the gate opened."""
    clauses = [TARGETS[index].clause(4 + place) for place, index in enumerate(tables)]
    return ", ".join([GATE, *clauses]) + ANSWER


@attrs.define
class Group:
    """Units on their way into the database, with the numbers that they get there."""

    units: tuple[RecordUnit, ...]
    number: int
    """Its place among the account's groups: the mark by which a repeated commit is known."""
    events: tuple[NumberedEvent, ...]
    last_event: int
    """The last place given in the outbox when this group is in."""
    rows: tuple[Sequence[Row], ...]
    """The rows for each of TARGETS."""
    snapshots: tuple[Snapshot, ...]

    @property
    def row_count(self) -> int:
        """How many rows it hands over, photographs included."""
        photographs = sum(1 + len(snapshot.marks) for snapshot in self.snapshots)
        return sum(map(len, self.rows)) + photographs

    @property
    def event_instants_us(self) -> list[int]:
        """When its events happened."""
        return [numbered.event.at_us for numbered in self.events]

    @property
    def snapshot_instants_us(self) -> list[int]:
        """When its photographs were taken."""
        return [snapshot.at_us for snapshot in self.snapshots]

    def is_made_of(self, units: Sequence[RecordUnit]) -> bool:
        """Whether these are its units, handed in again."""
        return len(units) == len(self.units) and all(
            mine is theirs or mine == theirs for mine, theirs in zip(self.units, units, strict=True)
        )


class _Rows:
    """Rows in the making. Dictionaries keep the last state of a thing, lists keep all."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.requests: list[Row] = []
        self.orders: dict[str, Order] = {}
        self.status_log: list[Row] = []
        self.fills: list[Row] = []
        self.positions: dict[str, Row] = {}
        self.risk: list[Row] = []
        self.standings: dict[str, Row] = {}
        self.events: list[PublicEvent] = []
        self.snapshots: list[Snapshot] = []

    def add(self, unit: RecordUnit) -> None:
        """Take up what one unit says, in the order in which it is said."""
        match unit:
            case RecordFill():
                self.fills.append(fill_row(self.account, unit.fill))
                self._add_order(unit.order)
                self.positions[unit.position.id] = position_row(self.account, unit.position)
            case RecordOrder():
                self._add_order(unit.order)
            case RecordIntent():
                self._add_request(unit.request)
                self._add_order(unit.order)
            case RecordPosition():
                self._add_request(unit.request)
                self.positions[unit.position.id] = position_row(self.account, unit.position)
            case RecordRequest():
                self._add_request(unit.request)
            case RecordRiskState():
                self.risk = [risk_row(self.account, unit.state)]
            case RecordStanding():
                self.standings[unit.standing.symbol] = standing_row(self.account, unit.standing)
            case RecordSnapshots():
                self._add_snapshots(unit.snapshots)
                return
            case RecordAlert():
                pass
            case _:
                assert_never(unit)
        self.events.extend(unit.events)

    def _add_request(self, request: RequestRow | None) -> None:
        if request is not None:
            self.requests.append(request_row(self.account, request))

    def _add_order(self, order: Order) -> None:
        self.orders[order.intent.id] = order
        self.status_log.append(status_log_row(self.account, order))

    def _add_snapshots(self, snapshots: Sequence[Snapshot]) -> None:
        """Take up photographs; they replace those of the same instants and later."""
        if snapshots:
            first_us = snapshots[0].at_us
            self.snapshots = [kept for kept in self.snapshots if kept.at_us < first_us]
            self.snapshots.extend(snapshots)

    def by_target(self, events: Iterable[NumberedEvent]) -> tuple[Sequence[Row], ...]:
        """Return the rows for each of TARGETS."""
        return (
            self.requests,
            [order_row(self.account, order) for order in self.orders.values()],
            self.status_log,
            self.fills,
            list(self.positions.values()),
            self.risk,
            list(self.standings.values()),
            [event_row(self.account, event) for event in events],
        )


def make_group(account: str, units: Sequence[RecordUnit], *, number: int, events_before: int) -> Group:
    """Return the group of these units; its events are numbered behind `events_before`."""
    rows = _Rows(account)
    for unit in units:
        rows.add(unit)
    events = tuple(
        NumberedEvent(sequence=sequence, event=event) for sequence, event in enumerate(rows.events, events_before + 1)
    )
    return Group(
        units=tuple(units),
        number=number,
        events=events,
        last_event=events_before + len(events),
        rows=rows.by_target(events),
        snapshots=tuple(rows.snapshots),
    )

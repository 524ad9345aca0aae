"""How messages become rows and rows become messages again, exactly.

Each table that the journal writes has its WRITTEN columns and a function that makes the row. A row is a tuple in
the order of the table's own columns: whole tables of rows travel as one parameter, an array of the table's row type.
Columns that the database fills in are None in the row, and are not among those written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii

from asyncpg import Record

from messages.base import Currency, ExternalOrderId, OrderId, PositionId, ProposalId, Symbol
from messages.bus import NumberedEvent
from messages.journal import Snapshot, Standing
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import CloseReason, Position, PositionSide, PositionStatus
from messages.risk import RiskState, TradingState
from messages.trades import OrderType, RequestRow, Side

Row = tuple[object, ...]

ORDER_COLUMNS = (
    *("account", "id", "proposal_id", "position_id", "symbol", "side", "role", "order_type", "intended_volume"),
    *("limit_price", "intended_trigger_price", "reference_price", "leverage", "reduce_only", "time_in_force"),
    *("expires_at", "attempt", "created_at"),
    *("status", "volume", "trigger_price", "filled_volume", "filled_cost", "fees", "external_id", "opened_at"),
    *("first_fill_at", "updated_at", "ended_at", "retries", "reason"),
)
ORDER_COLUMNS_THAT_CHANGE = ORDER_COLUMNS[ORDER_COLUMNS.index("status") :]
"""The rest is the intent."""
STATUS_LOG_COLUMNS = ("account", "order_id", "external_id", "status", "timestamp", "details")
FILL_COLUMNS = (
    *("account", "trade_id", "order_id", "external_order_id", "symbol", "side", "price", "volume", "fee"),
    *("fee_currency", "is_maker", "is_liquidation", "at"),
)
POSITION_COLUMNS = (
    *("account", "id", "symbol", "side", "leverage", "status", "order_id", "stop_loss", "take_profit", "opened_at"),
    *("closed_at", "notes", "proposal_id", "entry_volume", "entry_cost", "exit_volume", "exit_cost", "fees"),
    *("is_trailing", "watermark", "stop_is_trailing", "protected_at", "close_reason"),
)
POSITION_COLUMNS_THAT_CHANGE = POSITION_COLUMNS[2:]
REQUEST_COLUMNS = ("account", "id", "kind", "at", "symbol", "body", "verdict", "codes", "reasons")
EVENT_COLUMNS = ("account", "sequence", "topic", "kind", "priority", "proposal_id", "at", "details")
RISK_COLUMNS = (
    *("account", "trading_state", "halt_reason", "losses_in_a_row", "wins_in_a_row", "cooldown_until"),
    *("cooldown_reason", "realised_usd", "updated_at"),
)
STANDING_COLUMNS = ("account", "symbol", "external_volume", "is_stale", "differs")
POSITION_SNAPSHOT_COLUMNS = (
    *("account", "timestamp", "position_id", "symbol", "current_price", "unrealized_pnl", "unrealized_pnl_pct"),
)
EQUITY_SNAPSHOT_COLUMNS = ("account", "timestamp", "equity", "realized_pnl", "unrealized_pnl", "exposure")


# Text ---------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return text that PostgreSQL can keep: NUL and lone surrogates are no characters to it.

    Such text comes from outside (a proposal that could not be read) and must not stop the journal.
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def as_json(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and texts as a JSON object."""
    quoted = encode_basestring_ascii
    return "{" + ",".join([f"{quoted(plain(name))}:{quoted(plain(text))}" for name, text in pairs]) + "}"


def balances_as_json(balances: Mapping[Currency, Decimal]) -> str:
    """Return balances as a JSON object of strings."""
    return json.dumps({currency: str(amount) for currency, amount in balances.items()})


def balances_from_json(text: str) -> dict[str, Decimal]:
    """Return what `balances_as_json` wrote."""
    return {currency: Decimal(amount) for currency, amount in json.loads(text).items()}


def quote_currency(symbol: str) -> str:
    """Return the part of a symbol behind the slash."""
    return symbol.partition("/")[2]


# Orders -------------------------------------------------------------------------------------------


def order_row(account: str, order: Order) -> Row:
    """Return the order's row in `orders`."""
    intent = order.intent
    return (
        account,
        intent.id,
        intent.proposal_id,
        intent.position_id,
        intent.symbol,
        intent.side.value,
        intent.role.value,
        intent.order_type.value,
        intent.volume_base,
        intent.limit_price_quote,
        intent.trigger_price_quote,
        intent.reference_price_quote,
        intent.leverage,
        intent.reduce_only,
        intent.time_in_force.value,
        intent.expires_at_us,
        intent.attempt,
        intent.created_at_us,
        order.status.value,
        order.volume_base,
        order.trigger_price_quote,
        order.filled_base,
        order.filled_cost_quote,
        order.fees_quote,
        order.external_id,
        order.opened_at_us,
        order.first_fill_at_us,
        order.updated_at_us,
        order.ended_at_us,
        order.retries,
        plain(order.reason),
        None,  # is_over
    )


def order_from_row(row: Record) -> Order:
    """Return the order that `order_row` took apart."""
    external_id = row["external_id"]
    return Order(
        intent=_intent_from_row(row),
        status=OrderStatus(row["status"]),
        volume_base=row["volume"],
        trigger_price_quote=row["trigger_price"],
        filled_base=row["filled_volume"],
        filled_cost_quote=row["filled_cost"],
        fees_quote=row["fees"],
        external_id=None if external_id is None else ExternalOrderId(external_id),
        opened_at_us=row["opened_at"],
        first_fill_at_us=row["first_fill_at"],
        updated_at_us=row["updated_at"],
        ended_at_us=row["ended_at"],
        retries=row["retries"],
        reason=row["reason"],
    )


def _intent_from_row(row: Record) -> OrderIntent:
    return OrderIntent(
        id=OrderId(str(row["id"])),
        proposal_id=ProposalId(str(row["proposal_id"])),
        position_id=PositionId(str(row["position_id"])),
        symbol=Symbol(row["symbol"]),
        side=Side(row["side"]),
        role=OrderRole(row["role"]),
        order_type=OrderType(row["order_type"]),
        volume_base=row["intended_volume"],
        limit_price_quote=row["limit_price"],
        trigger_price_quote=row["intended_trigger_price"],
        reference_price_quote=row["reference_price"],
        leverage=row["leverage"],
        reduce_only=row["reduce_only"],
        time_in_force=TimeInForce(row["time_in_force"]),
        expires_at_us=row["expires_at"],
        attempt=row["attempt"],
        created_at_us=row["created_at"],
    )


def status_log_row(account: str, order: Order) -> Row:
    """Return the order's next row in `order_status_log`: what of it may have changed."""
    trigger = order.trigger_price_quote
    trigger_text = "null" if trigger is None else f'"{trigger}"'
    reason = encode_basestring_ascii(plain(order.reason))
    details = (
        f'{{"volume":"{order.volume_base}","trigger_price":{trigger_text},"filled_volume":"{order.filled_base}",'
        f'"filled_cost":"{order.filled_cost_quote}","fees":"{order.fees_quote}","retries":{order.retries},'
        f'"reason":{reason}}}'
    )
    return (account, order.intent.id, order.external_id, order.status.value, order.updated_at_us, details, None)


def fill_row(account: str, fill: Fill) -> Row:
    """Return the fill's row in `fills`."""
    return (
        account,
        fill.trade_id,
        fill.order_id,
        fill.external_order_id,
        fill.symbol,
        fill.side.value,
        fill.price_quote,
        fill.volume_base,
        fill.fee_quote,
        quote_currency(fill.symbol),
        fill.is_maker,
        fill.is_liquidation,
        fill.at_us,
    )


# Positions ----------------------------------------------------------------------------------------


def position_row(account: str, position: Position) -> Row:
    """Return the position's row in `positions`."""
    reason = position.close_reason
    return (
        account,
        position.id,
        position.symbol,
        position.side.value,
        None,  # size
        None,  # entry_price
        position.leverage,
        position.status.value,
        position.entry_order_id,
        position.stop_loss_quote,
        position.take_profit_quote,
        position.opened_at_us,
        position.closed_at_us,
        None,  # exit_price
        None,  # realized_pnl
        plain(position.notes),
        position.proposal_id,
        None,  # volume
        position.entry_base,
        position.entry_cost_quote,
        position.exit_base,
        position.exit_cost_quote,
        None,  # gross_pnl
        position.fees_quote,
        position.trailing,
        position.watermark_quote,
        position.stop_is_trailing,
        position.protected_at_us,
        None if reason is None else reason.value,
        None,  # is_over
    )


def position_from_row(row: Record) -> Position:
    """Return the position that `position_row` took apart."""
    reason = row["close_reason"]
    return Position(
        id=PositionId(str(row["id"])),
        proposal_id=ProposalId(str(row["proposal_id"])),
        symbol=Symbol(row["symbol"]),
        side=PositionSide(row["side"]),
        leverage=row["leverage"],
        entry_order_id=OrderId(str(row["order_id"])),
        status=PositionStatus(row["status"]),
        entry_base=row["entry_volume"],
        entry_cost_quote=row["entry_cost"],
        exit_base=row["exit_volume"],
        exit_cost_quote=row["exit_cost"],
        fees_quote=row["fees"],
        stop_loss_quote=row["stop_loss"],
        take_profit_quote=row["take_profit"],
        trailing=row["is_trailing"],
        watermark_quote=row["watermark"],
        stop_is_trailing=row["stop_is_trailing"],
        opened_at_us=row["opened_at"],
        protected_at_us=row["protected_at"],
        closed_at_us=row["closed_at"],
        close_reason=None if reason is None else CloseReason(reason),
        notes=row["notes"],
    )


# Requests, events, risk ---------------------------------------------------------------------------


def request_row(account: str, request: RequestRow) -> Row:
    """Return the request's row in `trade_requests`."""
    return (
        account,
        request.id,
        plain(request.kind),
        request.at_us,
        plain(request.symbol),
        plain(request.body),
        request.verdict,
        request.codes,
        [plain(reason) for reason in request.reasons],
        None,  # number
    )


def target_as_json(proposal_id: ProposalId) -> str:
    """Return the body of a cancel or a close: the trade it is about, as a JSON string."""
    return f'"{proposal_id}"'


def request_from_row(row: Record) -> RequestRow:
    """Return the request that `request_row` took apart."""
    return RequestRow(
        id=ProposalId(str(row["id"])),
        kind=row["kind"],
        at_us=row["at"],
        symbol=row["symbol"],
        body=row["body"],
        verdict=row["verdict"],
        codes=tuple(row["codes"]),
        reasons=tuple(row["reasons"]),
    )


def event_row(account: str, numbered: NumberedEvent) -> Row:
    """Return the event's row in `execution_events`."""
    event = numbered.event
    return (
        account,
        numbered.sequence,
        event.topic.value,
        event.kind,
        event.priority,
        event.proposal_id,
        event.at_us,
        as_json(event.details),
    )


def risk_row(account: str, state: RiskState) -> Row:
    """Return the row in `risk_state`."""
    return (
        account,
        state.trading_state.value,
        plain(state.halt_reason),
        state.losses_in_a_row,
        state.wins_in_a_row,
        state.cooldown_until_us,
        plain(state.cooldown_reason),
        state.realised_usd,
        state.updated_at_us,
    )


def risk_from_row(row: Record) -> RiskState:
    """Return the state that `risk_row` took apart."""
    return RiskState(
        trading_state=TradingState(row["trading_state"]),
        halt_reason=row["halt_reason"],
        losses_in_a_row=row["losses_in_a_row"],
        wins_in_a_row=row["wins_in_a_row"],
        cooldown_until_us=row["cooldown_until"],
        cooldown_reason=row["cooldown_reason"],
        realised_usd=row["realised_usd"],
        updated_at_us=row["updated_at"],
    )


def standing_row(account: str, standing: Standing) -> Row:
    """Return the row in `standings`."""
    return (account, standing.symbol, standing.external_base, standing.is_stale, plain(standing.differs))


def standing_from_row(row: Record) -> Standing:
    """Return the standing that `standing_row` took apart."""
    return Standing(
        symbol=Symbol(row["symbol"]),
        external_base=row["external_volume"],
        is_stale=row["is_stale"],
        differs=row["differs"],
    )


# Photographs --------------------------------------------------------------------------------------


def equity_snapshot_row(account: str, snapshot: Snapshot) -> Row:
    """Return the row in `equity_snapshots`."""
    return (
        account,
        snapshot.at_us,
        snapshot.equity_usd,
        snapshot.realised_usd,
        snapshot.unrealised_usd,
        snapshot.exposure_usd,
    )


def position_snapshot_rows(account: str, snapshot: Snapshot) -> list[Row]:
    """Return the rows in `position_snapshots`."""
    return [
        (
            account,
            snapshot.at_us,
            mark.position_id,
            mark.symbol,
            mark.price_quote,
            mark.unrealised_quote,
            mark.unrealised_pct,
        )
        for mark in snapshot.marks
    ]

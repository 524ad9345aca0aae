"""Whatever a message can hold comes back from PostgreSQL as it went in, to the last digit and microsecond."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messages.base import ExternalOrderId, TradeId
from messages.journal import RecordFill, RecordOrder, RecordRequest, RecordRiskState, RecordUnit, RecoveredState
from messages.orders import Fill, Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import CloseReason, Position, PositionSide, PositionStatus
from messages.risk import RiskState, TradingState
from messages.trades import OrderType, Side
from persistence.database import Database
from persistence.journal import PostgresJournal
from tests.persistence.samples import BTC, T0, a_fill, a_position, a_request, an_order, uid

MONEY = st.decimals(allow_nan=False, allow_infinity=False) | st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places),
    st.integers(-(10**27), 10**27),
    st.integers(0, 30),
)
LONG_MONEY = st.builds(
    lambda whole, part: Decimal(f"{whole}.{part}"), st.integers(-(10**40), 10**40), st.integers(0, 10**60)
)
AMOUNTS = MONEY | LONG_MONEY
INSTANTS = st.integers(0, 4_000_000_000_000_000)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
MAYBE = AMOUNTS | st.none()
LEVERAGE = st.integers(1, 10)
UUIDS = st.uuids().map(str)

INTENTS = st.builds(
    OrderIntent,
    id=UUIDS,
    proposal_id=UUIDS,
    position_id=UUIDS,
    symbol=st.just(BTC),
    side=st.sampled_from(Side),
    role=st.sampled_from(OrderRole),
    order_type=st.sampled_from(OrderType),
    volume_base=AMOUNTS,
    limit_price_quote=MAYBE,
    trigger_price_quote=MAYBE,
    reference_price_quote=AMOUNTS,
    leverage=LEVERAGE,
    reduce_only=st.booleans(),
    time_in_force=st.sampled_from(TimeInForce),
    expires_at_us=INSTANTS | st.none(),
    attempt=st.integers(0, 100),
    created_at_us=INSTANTS,
)
ORDERS = st.builds(
    Order,
    intent=INTENTS,
    status=st.sampled_from([OrderStatus.PENDING, OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED]),
    volume_base=AMOUNTS,
    trigger_price_quote=MAYBE,
    filled_base=AMOUNTS,
    filled_cost_quote=AMOUNTS,
    fees_quote=AMOUNTS,
    external_id=WORDS.map(ExternalOrderId) | st.none(),
    opened_at_us=INSTANTS | st.none(),
    first_fill_at_us=INSTANTS | st.none(),
    updated_at_us=INSTANTS,
    ended_at_us=INSTANTS | st.none(),
    retries=st.integers(0, 100),
    reason=WORDS,
)
POSITIONS = st.builds(
    Position,
    id=UUIDS,
    proposal_id=UUIDS,
    symbol=st.just(BTC),
    side=st.sampled_from(PositionSide),
    leverage=LEVERAGE,
    entry_order_id=UUIDS,
    status=st.sampled_from([PositionStatus.OPEN, PositionStatus.CLOSING]),
    entry_base=AMOUNTS,
    entry_cost_quote=AMOUNTS,
    exit_base=AMOUNTS,
    exit_cost_quote=AMOUNTS,
    fees_quote=AMOUNTS,
    stop_loss_quote=MAYBE,
    take_profit_quote=MAYBE,
    trailing=st.booleans(),
    watermark_quote=MAYBE,
    stop_is_trailing=st.booleans(),
    opened_at_us=INSTANTS,
    protected_at_us=INSTANTS | st.none(),
    closed_at_us=INSTANTS | st.none(),
    close_reason=st.sampled_from(CloseReason) | st.none(),
    notes=WORDS,
)
RISKS = st.builds(
    RiskState,
    trading_state=st.sampled_from(TradingState),
    halt_reason=WORDS,
    losses_in_a_row=st.integers(0, 1000),
    wins_in_a_row=st.integers(0, 1000),
    cooldown_until_us=INSTANTS,
    cooldown_reason=WORDS,
    realised_usd=AMOUNTS,
    updated_at_us=INSTANTS,
)
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def kept(database: Database, *units: RecordUnit) -> RecoveredState:
    """Return what a fresh account's journal tells after these units."""

    async def story() -> RecoveredState:
        journal = PostgresJournal(database.connect, f"round-trip-{uuid.uuid4()}")
        await journal.commit(units)
        state = await journal.load()
        await journal.close()
        return state

    return asyncio.run(story())


@RELAXED
@given(order=ORDERS, position=POSITIONS, risk=RISKS, price=AMOUNTS)
def test_every_field_comes_back(
    database: Database, order: Order, position: Position, risk: RiskState, price: Decimal
) -> None:
    fill = attrs.evolve(a_fill(), order_id=order.id, price_quote=price)
    state = kept(database, RecordFill(fill=fill, order=order, position=position), RecordRiskState(state=risk))
    assert state.orders == (order,)
    assert state.positions == (position,)
    assert state.risk == risk
    assert state.fill_ids == (fill.trade_id,)


def test_every_field_of_a_fill_is_kept(database: Database, account: str) -> None:
    fill = Fill(
        trade_id=TradeId("T-ü"),
        order_id=an_order().id,
        external_order_id=ExternalOrderId("X-o1"),
        symbol=BTC,
        side=Side.SELL,
        price_quote=Decimal("64200.5500"),
        volume_base=Decimal("0.00000001"),
        fee_quote=Decimal("0.000000000000000000000000000001"),
        is_maker=False,
        is_liquidation=True,
        at_us=T0,
    )

    async def story() -> None:
        journal = PostgresJournal(database.connect, account)
        await journal.commit([RecordFill(fill=fill, order=an_order(), position=a_position())])
        await journal.close()
        connection = await database.connect()
        row = await connection.fetchrow("SELECT * FROM fills WHERE account = $1", account)
        await connection.close()
        assert row is not None
        assert tuple(row) == (
            *(account, fill.trade_id, uuid.UUID(fill.order_id), fill.external_order_id, fill.symbol, "sell"),
            *(fill.price_quote, fill.volume_base, fill.fee_quote, "USDT", False, True, T0),
        )
        assert str(row["price"]) == "64200.5500"

    asyncio.run(story())


def test_text_that_postgresql_cannot_keep_does_not_stop_the_journal(database: Database) -> None:
    odd = attrs.evolve(a_request("odd"), symbol="\0\ud800/ü", body='{"raw":"\\u0000 \\ud800"}', reasons=("\0",))
    state = kept(
        database,
        RecordRequest(request=odd),
        RecordFill(
            fill=a_fill(), order=attrs.evolve(an_order(trade="odd"), reason="a\0b\udfff"), position=a_position()
        ),
    )
    assert state.orders[0].reason == "a\N{REPLACEMENT CHARACTER}b?"
    assert state.approved[0].symbol == "\N{REPLACEMENT CHARACTER}?/ü"
    assert state.approved[0].body == odd.body


def test_figures_that_follow_from_the_sums_are_filled_in(database: Database, account: str) -> None:
    async def story() -> None:
        journal = PostgresJournal(database.connect, account)
        position = attrs.evolve(
            a_position(status=PositionStatus.CLOSED), entry_base=Decimal("0.03"), exit_base=Decimal("0.03"), leverage=7
        )
        await journal.commit(
            [
                RecordFill(fill=a_fill(), order=an_order(), position=position),
                RecordFill(fill=a_fill("f2"), order=an_order(), position=a_position("t2")),
            ]
        )
        await journal.close()
        connection = await database.connect()
        row = await connection.fetchrow("SELECT * FROM positions WHERE account = $1 AND is_over", account)
        assert row is not None
        assert row["size"] == Decimal("0.004285714285714286")
        assert row["entry_price"] == Decimal("85600.733333333333333333")
        assert row["exit_price"] == Decimal(90000)
        assert row["volume"] == 0
        assert row["gross_pnl"] == Decimal("131.978")
        assert row["realized_pnl"] == Decimal("131.978") - Decimal("6.67685720")
        living = await connection.fetchrow("SELECT * FROM positions WHERE account = $1 AND NOT is_over", account)
        assert living is not None
        assert (living["realized_pnl"], living["gross_pnl"], living["volume"]) == (None, None, Decimal("0.03"))
        await connection.close()

    asyncio.run(story())


def test_every_state_of_an_order_is_in_its_log(database: Database, account: str) -> None:
    async def story() -> None:
        journal = PostgresJournal(database.connect, account)
        states = [an_order(status=status) for status in (OrderStatus.PENDING, OrderStatus.OPEN, OrderStatus.FILLED)]
        await journal.commit([RecordOrder(order=order) for order in states])
        await journal.close()
        connection = await database.connect()
        rows = await connection.fetch(
            "SELECT *, details ->> 'reason' AS reason, (details ->> 'filled_cost')::numeric AS cost"
            " FROM order_status_log WHERE account = $1 AND order_id = $2 ORDER BY id",
            account,
            uid("o1"),
        )
        await connection.close()
        assert [row["status"] for row in rows] == ["PENDING", "OPEN", "FILLED"]
        assert {row["external_id"] for row in rows} == {"X-o1"}
        assert {row["timestamp"] for row in rows} == {T0 + 3}
        assert {row["reason"] for row in rows} == {states[0].reason}
        assert {row["cost"] for row in rows} == {Decimal("2568.0220")}

    asyncio.run(story())

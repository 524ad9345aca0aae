"""Messages in words, as they stand in the log."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from actors.runtime.wording import message_as_text, number_as_text
from messages.base import ExternalOrderId, Message, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.lifecycle import EngineReady, OrdersReconciled
from messages.orders import (
    ExecutionReported,
    Fill,
    OrderAccepted,
    OrderEnded,
    OrderIntent,
    OrderRefused,
    OrderRole,
    OrderStatus,
    PlaceOrder,
    TimeInForce,
)
from messages.permits import CallKind, PermitExpired
from messages.trades import ExecuteTrade, OrderType, Side, TradeProposal, TradeRejected

ORDER = OrderId("1a2b3c4d-0000-4000-8000-000000000001")
INTENT = OrderIntent(
    id=ORDER,
    proposal_id=ProposalId("9f000000-0000-4000-8000-000000000002"),
    position_id=PositionId("7e000000-0000-4000-8000-000000000003"),
    symbol=Symbol("BTC/USDT"),
    side=Side.BUY,
    role=OrderRole.ENTRY,
    order_type=OrderType.LIMIT,
    volume_base=Decimal("0.00470000"),
    limit_price_quote=Decimal("105400.0"),
    trigger_price_quote=None,
    reference_price_quote=Decimal(105_400),
    leverage=2,
    reduce_only=False,
    time_in_force=TimeInForce.GTD,
    expires_at_us=None,
    attempt=1,
    created_at_us=0,
)
TRADE = TradeProposal(
    id=ProposalId("9f000000-0000-4000-8000-000000000002"),
    at_us=0,
    symbol=Symbol("BTC/USDT"),
    side=Side.SELL,
    size_usd=Decimal("500.00"),
    order_type=OrderType.MARKET,
    stop_loss_quote=Decimal(106_000),
)
FILL = Fill(
    trade_id=TradeId("T01"),
    order_id=ORDER,
    external_order_id=ExternalOrderId("O1"),
    symbol=Symbol("BTC/USDT"),
    side=Side.BUY,
    price_quote=Decimal("105400.10"),
    volume_base=Decimal("1E-8"),
    fee_quote=Decimal("0.10"),
    is_maker=False,
    is_liquidation=False,
    at_us=1_735_689_600_000_000,
)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            OrderAccepted(order_id=ORDER, external_id=ExternalOrderId("O01"), at_us=1_735_689_600_500_000),
            "OrderAccepted order=1a2b3c4d-0000 external=O01 at=2025-01-01T00:00:00.500000Z",
        ),
        (
            PlaceOrder(intent=INTENT, deadline_us=1_735_689_610_000_000),
            (
                "PlaceOrder order=1a2b3c4d-0000 role=entry side=buy volume=0.0047 symbol=BTC/USDT order_type=limit "
                "limit_price=105400 leverage=2 deadline=2025-01-01T00:00:10Z"
            ),
        ),
        (
            ExecutionReported(fill=FILL),
            (
                "ExecutionReported order=1a2b3c4d-0000 trade=T01 side=buy volume=0.00000001 symbol=BTC/USDT "
                "price=105400.1 fee=0.1 at=2025-01-01T00:00:00Z"
            ),
        ),
        (
            ExecuteTrade(proposal=TRADE),
            "ExecuteTrade side=sell size_usd=500 symbol=BTC/USDT order_type=market stop_loss=106000 leverage=1",
        ),
        (
            TradeRejected(proposal=TRADE, codes=("A", "B"), reasons=("too much", "too late")),
            (
                "TradeRejected side=sell size_usd=500 symbol=BTC/USDT order_type=market stop_loss=106000 leverage=1 "
                'codes="A; B" reasons="too much; too late"'
            ),
        ),
        (
            OrderRefused(order_id=ORDER, reason='EOrder: "no"\n2025 ERROR forged', may_retry=False),
            r'OrderRefused order=1a2b3c4d-0000 reason="EOrder: \"no\"\n2025 ERROR forged"',
        ),
        (
            OrderEnded(order_id=ORDER, status=OrderStatus.EXPIRED, reason="", at_us=-1),
            "OrderEnded order=1a2b3c4d-0000 status=EXPIRED at=-1",
        ),
        (PermitExpired(kind=CallKind.LOOK_UP, order_id=None), "PermitExpired kind=look_up"),
        (OrdersReconciled(orders=0, repaired=0), "OrdersReconciled orders=0 repaired=0"),
        (EngineReady(), "EngineReady"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "",
)
def test_a_message_reads_as_one_line(message: Message, words: str) -> None:
    assert message_as_text(message) == words


def test_a_long_text_is_cut_and_nothing_breaks_the_line() -> None:
    message = OrderRefused(order_id=ORDER, reason="\ud800\r\x1b[31m" + "x" * 999, may_retry=True)

    line = message_as_text(message)

    assert line.isprintable()
    assert len(line) < 400
    assert line.endswith("may_retry")


def test_tuples_of_values_are_counted() -> None:
    @attrs.frozen(kw_only=True)
    class Many(Message):
        fills: tuple[Fill, ...]

    assert message_as_text(Many(fills=(FILL, FILL))) == "Many fills=2"


@pytest.mark.parametrize(
    ("number", "text"),
    [("0", "0"), ("0.00", "0"), ("100", "100"), ("1E+3", "1000"), ("1.50", "1.5"), ("-0.10", "-0.1"), ("NaN", "NaN")],
)
def test_numbers_end_at_their_last_digit(number: str, text: str) -> None:
    assert number_as_text(Decimal(number)) == text

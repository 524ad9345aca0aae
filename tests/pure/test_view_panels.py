"""The live view as a picture: what is shown, in which size, and that nothing jumps."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from io import StringIO
from typing import Any

import attrs
import pytest
from rich.console import Console

from actors.order.actor import OrderSummary
from actors.position.portfolio import Valuation
from actors.position.view import BookSummary, mark
from actors.risk.actor import RiskSummary
from actors.runtime.statistics import ActorReport
from config.loader import load_settings
from config.settings import TradingMode
from messages.base import Currency, OrderId, PositionId, ProposalId, Symbol
from messages.bus import EventPriority, NumberedEvent, PublicEvent, Topic
from messages.orders import Order, OrderIntent, OrderRole, OrderStatus, TimeInForce
from messages.positions import Position, PositionSide, PositionStatus
from messages.risk import RiskState, TradingState
from messages.trades import OrderType, Side
from scripts.view.events import News, fees_in, folded
from scripts.view.lines import Column, Size, fitted, row
from scripts.view.panels import (
    NONE,
    TIMES,
    Progress,
    Sight,
    age_text,
    draw,
    duration_text,
    plan_for,
    price_text,
    signed,
    volume_text,
    worth_of_quotes,
)

BTC = Symbol("BTC/USDT")
XRP = Symbol("XRP/BTC")
NOW_US = 1_735_693_200_000_000  # 1 January 2025, 01:00 UTC.
MINUTE_US = 60_000_000
INSTRUMENTS = load_settings().execution.instruments
LONG = Position(
    id=PositionId("p-1"),
    proposal_id=ProposalId("t-1"),
    symbol=BTC,
    side=PositionSide.LONG,
    leverage=2,
    entry_order_id=OrderId("o-1"),
    status=PositionStatus.OPEN,
    entry_base=Decimal("0.01"),
    entry_cost_quote=Decimal(1000),
    fees_quote=Decimal(2),
    stop_loss_quote=Decimal(99_000),
    take_profit_quote=Decimal(103_000),
    opened_at_us=NOW_US - 5 * MINUTE_US,
    protected_at_us=NOW_US - 5 * MINUTE_US,
)
STOP = Order(
    intent=OrderIntent(
        id=OrderId("o-2"),
        proposal_id=ProposalId("t-1"),
        position_id=PositionId("p-1"),
        symbol=BTC,
        side=Side.SELL,
        role=OrderRole.STOP,
        order_type=OrderType.STOP_LOSS,
        volume_base=Decimal("0.01"),
        limit_price_quote=None,
        trigger_price_quote=Decimal(99_000),
        reference_price_quote=Decimal(99_000),
        leverage=2,
        reduce_only=True,
        time_in_force=TimeInForce.GTC,
        expires_at_us=None,
        attempt=1,
        created_at_us=NOW_US - 4 * MINUTE_US,
    ),
    status=OrderStatus.PARTIALLY_FILLED,
    volume_base=Decimal("0.01"),
    trigger_price_quote=Decimal(99_000),
    filled_base=Decimal("0.004"),
    updated_at_us=NOW_US,
)
ACTOR = ActorReport(
    role="order",
    handled=1_234,
    mailbox_depth=3,
    mailbox_depth_max=17,
    handling_p50_ns=2_100,
    handling_p99_ns=48_000,
    handling_max_ns=90_000,
    last_error="",
)


def a_book(*positions: Position, price: str = "101000", realised: str = "-20.5") -> BookSummary:
    held = sum((position.volume_base for position in positions), Decimal(0)) * Decimal(price)
    gain = sum(
        (position.volume_base * Decimal(price) - position.entry_cost_quote for position in positions), Decimal(0)
    )
    return BookSummary(
        at_us=NOW_US,
        positions=positions,
        marks=tuple(mark(position, Decimal(price)) for position in positions),
        totals=Valuation(
            realised_usd=Decimal(realised),
            unrealised_usd=gain - sum((position.fees_quote for position in positions), Decimal(0)),
            exposure_usd=held,
            exposure_by_symbol_usd=((BTC, held),),
        ),
        closed=0,
        trailing=0,
    )


def a_sight(**changes: Any) -> Sight:
    sight = Sight(
        mode=TradingMode.PAPER,
        account="main",
        speed=10,
        now_us=NOW_US,
        zone=UTC,
        phase="ready",
        instruments=INSTRUMENTS,
        equity_start_usd=Decimal(100_000),
        fees_usd=Decimal("12.345"),
        fees_unvalued=(),
        slots_max=5,
        book=a_book(LONG),
        orders=OrderSummary(live=(STOP,), over=0, trades=1, is_ready=True, differing={}, alerted=frozenset()),
        risk=RiskSummary(state=RiskState(), equity_usd=Decimal(100_000), exposure_usd=Decimal(1_000), slots_taken=1),
        news=(News(at_us=NOW_US, symbol=BTC, text="long opened at 100,000", style="bold"),),
        news_lost=0,
        actors=(ACTOR,) * 10,
        progress=Progress(
            begins_at_us=NOW_US - 30 * MINUTE_US,
            ends_at_us=NOW_US + 30 * MINUTE_US,
            ticks=5_400,
            ticks_per_s=30,
            wall_left_s=180,
        ),
        trouble="",
        warnings=0,
    )
    return attrs.evolve(sight, **changes)


def lines_of(sight: Sight, width: int = 100, height: int = 31) -> list[str]:
    stream = StringIO()
    console = Console(file=stream, width=width, height=height + 1, color_system=None)
    console.print(draw(sight, Size(width=width, height=height)), end="")
    return stream.getvalue().splitlines()


def the_line(lines: list[str], word: str) -> str:
    return next(line for line in lines if word in line)


def an_event(sequence: int, kind: str, **details: str) -> NumberedEvent:
    event = PublicEvent(
        topic=Topic.EXECUTION_EVENTS,
        kind=kind,
        priority=EventPriority.NORMAL,
        proposal_id=None,
        at_us=NOW_US,
        details=tuple(details.items()),
    )
    return NumberedEvent(sequence=sequence, event=event)


SIZES = ((20, 4), (40, 8), (60, 14), (80, 23), (97, 31), (98, 30), (100, 31), (120, 40), (160, 49), (300, 90))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_is_as_large_as_the_terminal_whatever_it_shows(width: int, height: int) -> None:
    many = tuple(attrs.evolve(LONG, id=PositionId(f"p-{number}")) for number in range(30))
    full = a_sight(
        book=a_book(*many),
        orders=OrderSummary(live=(STOP,) * 60, over=0, trades=30, is_ready=True, differing={}, alerted=frozenset()),
        news=(News(at_us=NOW_US, symbol=BTC, text="word " * 100, style="", times=99),) * 64,
        trouble="an error\nof several lines " * 30,
    )
    empty = a_sight(
        book=a_book(),
        orders=OrderSummary(live=(), over=0, trades=0, is_ready=True, differing={}, alerted=frozenset()),
        news=(),
    )

    for sight in (full, empty):
        lines = lines_of(sight, width, height)
        assert len(lines) == height
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_headings_stand_where_they_stand_when_positions_come_and_go(width: int, height: int) -> None:
    def places(sight: Sight) -> list[int]:
        titles = ("Positions", "Orders", "Events", "Actors")
        return [number for number, line in enumerate(lines_of(sight, width, height)) if any(t in line for t in titles)]

    assert places(a_sight()) == places(a_sight(book=a_book(LONG, attrs.evolve(LONG, id=PositionId("p-2"))), news=()))


@pytest.mark.parametrize(("width", "height"), [(80, 23), (100, 31), (160, 49)])
def test_usual_terminals_show_every_part(width: int, height: int) -> None:
    text = "\n".join(lines_of(a_sight(), width, height))

    for part in ("PAPER", "ACTIVE", "ready", "equity usd", "Positions", "Orders", "Events", "Actors", "50 %", "30/s"):
        assert part in text


def test_the_head_says_whose_money_what_time_and_how_it_goes() -> None:
    lines = lines_of(a_sight())

    assert " ".join(lines[0].split()) == f"PAPER main 1 Jan 2025 01:00:00 UTC {TIMES} 10 ● ACTIVE engine ready"
    # Realised -20.50, unrealised 0.01 x (101,000 - 100,000) less 2.00 of fees.
    assert " ".join(lines[2].split()) == "99,987.50 -12.50 -0.01 % -20.50 +8.00 12.34 1,010.00"


def test_money_ends_under_its_title() -> None:
    lines = lines_of(a_sight())

    for title, figure in (("equity usd", "99,987.50"), ("unrealised", "+8.00"), ("exposure", "1,010.00")):
        assert lines[1].index(title) + len(title) == lines[2].index(figure) + len(figure)


def test_a_position_is_one_line_with_its_profit_after_fees() -> None:
    line = the_line(lines_of(a_sight(), 160, 49), " 2x ")

    assert " ".join(line.split()) == (
        "BTC/USDT long 2x 0.01000000 100,000.0 101,000.0 99,000.0 ● 103,000.0 +8.00 +1.6 5m00s"
    )


@pytest.mark.parametrize(
    ("changes", "alerted", "sign"),
    [
        ({}, frozenset(), "●"),
        ({"protected_at_us": None}, frozenset(), "○"),
        ({"stop_is_trailing": True}, frozenset(), "↗"),
        ({"protected_at_us": None}, frozenset({LONG.id}), "▲"),
    ],
)
def test_a_stop_shows_whether_it_rests_on_the_exchange(
    changes: dict[str, Any], alerted: frozenset[PositionId], sign: str
) -> None:
    orders = OrderSummary(live=(), over=0, trades=1, is_ready=True, differing={}, alerted=alerted)
    lines = lines_of(a_sight(book=a_book(attrs.evolve(LONG, **changes)), orders=orders))

    assert f"99,000.0 {sign}" in the_line(lines, "long")


def test_a_position_without_a_price_claims_no_profit() -> None:
    book = attrs.evolve(a_book(LONG), marks=(mark(LONG, None),))

    assert the_line(lines_of(a_sight(book=book), 160, 49), " 2x ").split()[5::4] == [NONE, NONE]


def test_an_order_is_one_line() -> None:
    line = the_line(lines_of(a_sight(), 120, 40), "stop-loss")

    assert " ".join(line.split()) == "stop stop-loss BTC/USDT sell 0.01000000 0.00400000 99,000.0 partial 4m00s"


def test_entries_stand_first_and_what_has_no_room_is_counted() -> None:
    entry = attrs.evolve(STOP, intent=attrs.evolve(STOP.intent, role=OrderRole.ENTRY, order_type=OrderType.LIMIT))
    orders = OrderSummary(
        live=(*(STOP,) * 9, entry), over=0, trades=1, is_ready=True, differing={}, alerted=frozenset()
    )
    lines = lines_of(a_sight(orders=orders))
    first = lines.index(the_line(lines, "Orders")) + 2

    assert lines[first].split()[0] == "entry"
    assert lines[first + 4].split() == ["…", "and", "6", "more"]


def test_a_halt_and_a_cooldown_give_their_reasons() -> None:
    halted = RiskState(trading_state=TradingState.HALTED, halt_reason="lost too much (by anna)")
    paused = RiskState(cooldown_until_us=NOW_US + 3 * MINUTE_US)
    risk = a_sight().risk

    assert "● HALTED   lost too much (by anna)" in lines_of(a_sight(risk=attrs.evolve(risk, state=halted)))[0]
    assert "● ACTIVE   cools down for 3m00s" in lines_of(a_sight(risk=attrs.evolve(risk, state=paused)))[0]


def test_prices_without_an_end_have_no_bar() -> None:
    progress = attrs.evolve(a_sight().progress, ends_at_us=None, wall_left_s=None)
    line = lines_of(a_sight(progress=progress))[3]

    assert "━" not in line
    assert "5,400 ticks" in line


@pytest.mark.parametrize(("minutes", "share"), [(-1, 0.0), (0, 0.0), (15, 0.25), (60, 1.0), (99, 1.0)])
def test_progress_stays_between_nothing_and_all(minutes: int, share: float) -> None:
    progress = Progress(begins_at_us=0, ends_at_us=60 * MINUTE_US, ticks=0, ticks_per_s=0, wall_left_s=None)

    assert progress.share(minutes * MINUTE_US) == share


def test_an_error_stands_in_the_last_line() -> None:
    assert "▲ actor journal failed" in lines_of(a_sight(trouble="actor journal failed"))[-1]
    assert "7 warnings" in lines_of(a_sight(warnings=7))[-1]


def test_the_smallest_terminal_still_says_what_the_account_is_worth() -> None:
    assert "99,987.50" in "\n".join(lines_of(a_sight(), 20, 4))


def test_no_part_gets_more_lines_than_there_are() -> None:
    for width in (20, 80, 98, 200):
        for height in range(3, 120):
            plan = plan_for(Size(width=width, height=height))
            below = max(plan.events, plan.actors) if plan.is_side_by_side else plan.events + plan.actors
            assert 3 + plan.progress + plan.positions + plan.orders + below + plan.footer <= height


def test_columns_go_by_their_number_and_the_others_keep_their_places() -> None:
    columns = (Column(title="a", width=4), Column(title="b", width=4, goes=2), Column(title="c", width=4, goes=1))
    cells = (("x", ""), ("y", ""), ("z", ""))

    assert [column.title for column in fitted(columns, 14).columns] == ["a", "b", "c"]
    assert [column.title for column in fitted(columns, 13).columns] == ["a", "c"]
    assert "".join(text for text, _style in row(cells, fitted(columns, 4))) == "x   "


def test_the_same_news_and_rejections_in_a_row_are_one_line_that_counts() -> None:
    rejected = [an_event(n, "trade_rejected", symbol=s, codes="IN_COOLDOWN") for n, s in enumerate((BTC, XRP, BTC))]
    news = folded((), [*rejected, an_event(9, "order_placed", symbol=BTC, role="stop", price="99000.0")], 10)

    assert [(line.text, line.times) for line in news] == [("rejected: in cooldown", 3), ("stop placed at 99,000", 1)]


def test_news_is_kept_in_the_order_of_the_outbox_and_no_more_than_wanted() -> None:
    events = [an_event(n, "order_placed", symbol=BTC, role="stop", price=str(n)) for n in (3, 1, 2)]

    assert [line.text for line in folded((), events, 2)] == ["stop placed at 2", "stop placed at 3"]


@pytest.mark.parametrize(
    ("kind", "details", "words"),
    [
        (
            "order_filled",
            {"role": "entry", "volume": "452.9600901", "price": "2.2019600"},
            "entry filled 452.96 at 2.20196",
        ),
        (
            "order_failed",
            {"role": "entry", "reason": "EOrder:Insufficient margin"},
            "entry failed: Insufficient margin",
        ),
        (
            "position_closed",
            {"side": "LONG", "net_pnl": "-6.9077", "reason": "stop_loss"},
            "closed -6.91 USDT: stop loss",
        ),
        (
            "position_closed",
            {"side": "LONG", "net_pnl": "0.0000123", "reason": "manual"},
            "closed +0.0000123 USDT: manual",
        ),
        ("stop_moved", {"stop_loss_before": "2.10", "stop_loss": "2.20"}, "stop moved 2.1 → 2.2"),
        ("position_unprotected", {"order_id": "o-1", "reason": "refused"}, "position unprotected: refused"),
    ],
)
def test_an_event_in_a_few_words(kind: str, details: dict[str, str], words: str) -> None:
    assert folded((), [an_event(1, kind, symbol=BTC, **details)], 1)[0].text == words


def test_fees_are_read_from_fills_alone_by_currency() -> None:
    events = [
        an_event(1, "order_filled", symbol=BTC, fee="1.5"),
        an_event(2, "order_partially_filled", symbol=XRP, fee="0.0001"),
        an_event(3, "order_filled", symbol=BTC, fee="0.5"),
        an_event(4, "position_opened", symbol=BTC, fees="2.0"),
    ]

    assert fees_in(events) == {Currency("USDT"): Decimal(2), Currency("BTC"): Decimal("0.0001")}


def test_what_a_quote_currency_is_worth_is_read_from_the_book_itself() -> None:
    position = attrs.evolve(LONG, symbol=XRP, entry_base=Decimal(100), entry_cost_quote=Decimal("0.002"))
    book = a_book(position, price="0.00002")
    totals = attrs.evolve(book.totals, exposure_by_symbol_usd=((XRP, Decimal(200)),))

    assert worth_of_quotes(attrs.evolve(book, totals=totals)) == {XRP: Decimal(100_000)}


def test_figures() -> None:
    assert [signed(Decimal(text)) for text in ("12.345", "-0.001", "-1234.5")] == ["+12.34", "0.00", "-1,234.50"]
    assert [price_text(Decimal("2.19"), INSTRUMENTS[Symbol(s)]) for s in ("XRP/USDT", "BTC/USDT")] == ["2.19000", "2.2"]
    assert [volume_text(Decimal(text), 10) for text in ("0.01", "1138.0752", "98765432")] == [
        "0.01000000", "1,138.0752", "98,765,432"
    ]  # fmt: skip
    assert [age_text(s * 1_000_000) for s in (-1, 59, 60, 3_600, 172_800)] == ["0s", "59s", "1m00s", "1h00m", "2d00h"]
    assert [duration_text(ns) for ns in (0, 2_150, 48_000, 3_500_000)] == ["0.0µs", "2.1µs", "48µs", "3ms"]

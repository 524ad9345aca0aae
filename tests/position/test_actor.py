"""The actor: what it says to what it hears."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.position.actor import FILLS_REMEMBERED, MOVES_PER_TURN
from actors.position.ledger import UnknownPositionError
from config.settings import PositionSettings, TrailingSettings
from messages.base import PositionId, ProposalId, Symbol, TradeId
from messages.bus import EventPriority, Topic
from messages.journal import JournalLoaded, RecordFill, RecordPosition, RecordRequest, RecoveredState
from messages.orders import OrderRole, OrderStatus
from messages.positions import (
    BeginClosing,
    BookReported,
    ClosePosition,
    CloseReason,
    ConfirmProtection,
    GetBook,
    Level,
    LevelReached,
    MoveStop,
    PositionChanged,
    PositionSide,
    PositionStatus,
)
from messages.trades import RequestRow, Side

from .stage import Stage, on_stage
from .values import BTC, XRP_BTC, a_fill, a_position, a_price, applied

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
P1 = PositionId("p1")
SECOND = 1_000_000
HOLDING = 172_800 * SECOND
TRAILING = PositionSettings(trailing=TrailingSettings(move_every_s=15))


def test_a_fill_is_recorded_with_order_and_position_and_then_told() -> None:
    def play(stage: Stage) -> None:
        command = applied(a_fill(BUY, "1", "100", fee="0.26"), stop="95", status=OrderStatus.PARTIALLY_FILLED)
        stage.says(a_price("101"), command)

        recorded, changed = stage.heard
        assert isinstance(recorded, RecordFill)
        assert isinstance(changed, PositionChanged)
        assert (recorded.fill, recorded.order) == (command.fill, command.order)
        assert recorded.position == changed.position == stage.book.positions[0]
        assert changed.last_price_quote == 101
        assert [(event.topic, event.kind) for event in recorded.events] == [
            (Topic.EXECUTION_EVENTS, "order_partially_filled"),
            (Topic.PORTFOLIO_UPDATES, "position_opened"),
        ]
        assert dict(recorded.events[1].details)["net_pnl"] == "-0.26"
        assert {said.proposal_id for said in stage.probe.heard} == {"trade-p1"}

    on_stage(play)


def test_a_whole_life_is_told_as_events() -> None:
    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(BUY, "1", "100")),
            applied(a_fill(BUY, "1", "102")),
            applied(a_fill(SELL, "2", "110", fee="1", order_id="exit"), OrderRole.TARGET),
        )
        told = [record.events[1] for record in stage.all_of(RecordFill)]
        assert [event.kind for event in told] == ["position_opened", "position_changed", "position_closed"]
        details = dict(told[-1].details)
        assert (details["net_pnl"], details["gross_pnl"], details["reason"]) == ("17", "18", "take_profit")
        assert (details["entry_price"], details["exit_price"]) == ("101", "110")
        assert stage.book.closed == 1
        assert stage.book.totals.realised_usd == 17

    on_stage(play)


def test_a_liquidation_is_urgent() -> None:
    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(SELL, "1", "100")),
            applied(a_fill(BUY, "1", "150", is_liquidation=True), OrderRole.EXIT),
        )
        event = stage.all_of(RecordFill)[-1].events[1]
        assert (event.kind, event.priority) == ("position_liquidated", EventPriority.URGENT)
        assert stage.all_of(PositionChanged)[-1].position.status is PositionStatus.LIQUIDATED

    on_stage(play)


def test_a_trade_id_counts_once() -> None:
    def play(stage: Stage) -> None:
        command = applied(a_fill(BUY, "1", "100", trade_id="T"))
        stage.says(command, command)
        assert len(stage.heard) == 2
        assert stage.book.positions[0].entry_base == 1

    on_stage(play)


def test_trade_ids_are_remembered_across_a_start_but_not_for_ever() -> None:
    def play(stage: Stage) -> None:
        known = tuple((TradeId(str(number)), Decimal(1)) for number in range(FILLS_REMEMBERED + 1))
        stage.says(JournalLoaded(state=RecoveredState(booked=known)))
        stage.says(applied(a_fill(BUY, "1", "100", trade_id=str(FILLS_REMEMBERED))))
        assert stage.heard == []
        stage.says(applied(a_fill(BUY, "1", "100", trade_id="0")))
        assert len(stage.all_of(RecordFill)) == 1

    on_stage(play)


def test_a_level_is_said_once_and_names_the_price_that_reached_it() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95", target="120"))
        stage.forget()
        stage.says(a_price("99"), a_price("97", low="94.5"), a_price("94"))
        assert stage.heard == [
            LevelReached(position_id=P1, level=Level.STOP, level_price_quote=D(95), price_quote=D("94.5"))
        ]
        assert stage.probe.heard[0].proposal_id == "trade-p1"

    on_stage(play)


def test_other_symbols_reach_nothing() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95"))
        stage.forget()
        stage.says(a_price("1", symbol=XRP_BTC))
        assert stage.heard == []

    on_stage(play)


def test_closing_stops_the_watch_and_keeps_its_first_reason() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95", target="120"))
        stage.forget()
        stage.says(
            BeginClosing(position_id=P1, reason=CloseReason.BREAKER),
            BeginClosing(position_id=P1, reason=CloseReason.MANUAL),
            a_price("90"),
            MoveStop(position_id=P1, stop_loss_quote=D(96), take_profit_quote=None, trailing=None),
        )
        record, changed = stage.heard
        assert isinstance(record, RecordPosition)
        assert isinstance(changed, PositionChanged)
        assert record.position.status is PositionStatus.CLOSING
        assert [event.kind for event in record.events] == ["position_changed"]
        stage.says(applied(a_fill(SELL, "1", "89"), OrderRole.EXIT))
        assert stage.all_of(RecordFill)[-1].position.close_reason is CloseReason.BREAKER

    on_stage(play)


def test_what_is_over_or_unknown_changes_no_more() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100")), applied(a_fill(SELL, "1", "100"), OrderRole.EXIT))
        stage.forget()
        for name in (P1, PositionId("nobody")):
            stage.says(
                BeginClosing(position_id=name, reason=CloseReason.MANUAL),
                ConfirmProtection(position_id=name, at_us=1),
                MoveStop(position_id=name, stop_loss_quote=D(1), take_profit_quote=None, trailing=None),
            )
        stage.passes(HOLDING * 2)
        assert stage.heard == []

    on_stage(play)


def test_protection_is_confirmed_once() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95"))
        stage.forget()
        stage.says(ConfirmProtection(position_id=P1, at_us=7), ConfirmProtection(position_id=P1, at_us=9))
        (record,) = stage.heard
        assert isinstance(record, RecordPosition)
        assert record.position.protected_at_us == 7

    on_stage(play)


def test_levels_are_moved_and_armed_again() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95"), a_price("94"))
        stage.forget()
        stage.says(MoveStop(position_id=P1, stop_loss_quote=None, take_profit_quote=D(130), trailing=None))
        record, _changed = stage.heard
        assert isinstance(record, RecordPosition)
        assert [event.kind for event in record.events] == ["stop_moved"]
        assert (record.position.stop_loss_quote, record.position.take_profit_quote) == (D(95), D(130))
        stage.forget()
        stage.says(a_price("93"))
        assert [reached.level for reached in stage.all_of(LevelReached)] == [Level.STOP]

    on_stage(play)


def test_a_trailing_stop_is_moved_at_once_and_then_every_so_often() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="95", trailing=True))
        stage.forget()
        stage.says(a_price("102"))
        stage.passes(0)
        record, changed = stage.heard
        assert isinstance(record, RecordPosition)
        assert (record.position.stop_loss_quote, record.position.watermark_quote) == (D("100.4"), D(102))
        assert record.position.stop_is_trailing
        assert [event.kind for event in record.events] == ["stop_moved"]
        assert isinstance(changed, PositionChanged)
        stage.forget()

        stage.says(a_price("103"), a_price("104"))
        stage.passes(15 * SECOND - 1)
        assert stage.heard == []
        stage.passes(15 * SECOND)
        assert [record.position.stop_loss_quote for record in stage.all_of(RecordPosition)] == [D("102.4")]
        stage.forget()
        stage.passes(60 * SECOND)
        assert stage.heard == []

    on_stage(play, TRAILING)


def test_between_two_moves_the_trailing_level_is_watched_here() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(SELL, "1", "100"), stop="105", trailing=True), a_price("98"))
        stage.passes(0)
        stage.says(a_price("96"))
        stage.forget()
        stage.says(a_price("97.5"))
        assert stage.heard == [
            LevelReached(position_id=P1, level=Level.TRAILING, level_price_quote=D("97.5"), price_quote=D("97.5"))
        ]
        stage.forget()
        stage.says(applied(a_fill(BUY, "1", "97.6"), OrderRole.STOP))
        assert stage.all_of(RecordFill)[0].position.close_reason is CloseReason.TRAILING_STOP

    on_stage(play, TRAILING)


def test_activation_is_kept_even_where_the_own_stop_is_tighter() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), stop="100", trailing=True), a_price("101"))
        stage.forget()
        stage.passes(0)
        record, _changed = stage.heard
        assert isinstance(record, RecordPosition)
        assert (record.position.stop_loss_quote, record.position.watermark_quote) == (D(100), D(101))
        assert record.events == ()
        assert not record.position.stop_is_trailing

    on_stage(play, TRAILING)


def test_many_stops_are_moved_in_turns() -> None:
    def play(stage: Stage) -> None:
        count = MOVES_PER_TURN + 7
        positions = tuple(
            a_position(f"p{number}", stop="90", trailing=True, watermark="102") for number in range(count)
        )
        stage.says(JournalLoaded(state=RecoveredState(positions=positions)), a_price("103"))
        stage.timers.fire_next()
        stage._dispatcher.drain()
        assert len(stage.all_of(RecordPosition)) == MOVES_PER_TURN
        stage.says(a_price("104"))
        stage.passes(0)
        assert len(stage.all_of(RecordPosition)) == count
        stops = [record.position.stop_loss_quote for record in stage.all_of(RecordPosition)]
        assert (stops[0], stops[-1]) == (D("101.4"), D("102.4"))

        stage.forget()
        stage.passes(15 * SECOND)
        assert len(stage.all_of(RecordPosition)) == MOVES_PER_TURN
        assert {position.stop_loss_quote for position in stage.book.positions} == {D("102.4")}
        assert len(stage.timers) == 1

    on_stage(play, TRAILING)


def test_what_is_held_for_too_long_is_to_be_closed() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), position_id="old"))
        stage.passes(SECOND)
        stage.says(applied(a_fill(BUY, "1", "100", at_us=SECOND), position_id="gone"))
        stage.says(applied(a_fill(BUY, "1", "100", at_us=SECOND), position_id="young"))
        stage.says(applied(a_fill(SELL, "1", "100"), OrderRole.EXIT, position_id="gone"))
        stage.forget()
        assert len(stage.timers) == 1
        assert len(stage.actor._deadlines) == 2

        stage.passes(HOLDING)
        assert stage.heard == [ClosePosition(position_id=PositionId("old"), reason=CloseReason.HOLDING_LIMIT)]
        stage.passes(HOLDING + SECOND)
        assert [close.position_id for close in stage.all_of(ClosePosition)] == ["old", "young"]
        assert stage.probe.heard[-1].proposal_id == "trade-young"
        stage.passes(HOLDING * 3)
        assert len(stage.heard) == 2

    on_stage(play)


def test_after_a_start_everything_is_watched_again() -> None:
    def play(stage: Stage) -> None:
        stage.clock.advance_to(HOLDING)
        positions = (
            a_position("held", stop="95", target="130", opened_at_us=HOLDING - SECOND),
            a_position("trails", stop="98", trailing=True, watermark="102", opened_at_us=HOLDING),
            a_position("waits", trailing=True, opened_at_us=HOLDING),
            a_position("leaves", stop="99.9", status=PositionStatus.CLOSING, opened_at_us=0),
            a_position("old", opened_at_us=0),
        )
        stage.says(JournalLoaded(state=RecoveredState(positions=positions, realised_by_quote=(("USDT", D(12)),))))
        stage.passes(HOLDING)
        assert stage.heard == [ClosePosition(position_id=PositionId("old"), reason=CloseReason.HOLDING_LIMIT)]
        stage.forget()
        stage.says(a_price("101"), a_price("100.4"), a_price("95"))
        reached = [(message.position_id, message.level) for message in stage.all_of(LevelReached)]
        assert reached == [
            ("trails", Level.TRAILING),
            ("trails", Level.STOP),
            ("held", Level.STOP),
            ("waits", Level.TRAILING),
        ]
        assert stage.book.totals.realised_usd == 12

    on_stage(play)


def test_a_reopened_position_is_watched_again() -> None:
    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(BUY, "1", "100"), stop="95"),
            applied(a_fill(SELL, "1", "95"), OrderRole.STOP),
            applied(a_fill(BUY, "0.5", "96")),
        )
        stage.passes(HOLDING)
        assert [message.position_id for message in stage.all_of(ClosePosition)] == ["p1"]
        assert stage.all_of(RecordFill)[-1].events[1].kind == "position_opened"
        stage.says(a_price("94"))
        assert len(stage.all_of(LevelReached)) == 1
        assert stage.book.totals.realised_usd == 0
        assert stage.book.totals.unrealised_usd == -5 + D("0.5") * (94 - 96)

    on_stage(play)


def test_the_book_is_reported_with_what_is_known() -> None:
    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(BUY, "2", "100", fee="0.5"), leverage=2),
            applied(a_fill(SELL, "1", "100", fee="0.1"), position_id="p2"),
            applied(a_fill(BUY, "1", "90", fee="0.1"), OrderRole.EXIT, position_id="p2"),
            applied(a_fill(BUY, "1000", "0.00001", symbol=XRP_BTC), position_id="p3"),
            a_price("110"),
            GetBook(at_us=5),
        )
        (report,) = stage.all_of(BookReported)
        assert report.at_us == 5
        assert [(mark.position_id, mark.price_quote, mark.unrealised_quote) for mark in report.marks] == [
            ("p1", D(110), D(20)),
            ("p3", None, D(0)),
        ]
        assert report.marks[0].unrealised_pct == 20
        assert (report.realised_usd, report.unrealised_usd, report.exposure_usd) == (D("9.8"), D("19.5"), D(220))

        stage.says(a_price("0.00002", symbol=XRP_BTC))
        assert stage.book.totals.unrealised_usd == D("19.5") + D("0.01") * 110
        assert stage.book.totals.exposure_by_symbol_usd == ((BTC, D(220)), (XRP_BTC, D("2.2")))

    on_stage(play)


@pytest.mark.parametrize("side", PositionSide)
def test_partial_exits_keep_equity_whole(side: PositionSide) -> None:
    """What was earned is the same before and after the last part has left."""
    into, out = (BUY, SELL) if side is PositionSide.LONG else (SELL, BUY)

    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(into, "2", "100", fee="0.2")),
            applied(a_fill(out, "1", "105", fee="0.1"), OrderRole.EXIT),
            a_price("108"),
        )
        before = stage.book.totals
        stage.says(applied(a_fill(out, "1", "108"), OrderRole.EXIT))
        assert before.unrealised_usd == stage.book.totals.realised_usd
        assert stage.book.totals.unrealised_usd == stage.book.totals.exposure_usd == 0

    on_stage(play)


def test_an_exit_that_nobody_knows_stops_the_engine() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(SELL, "1", "100"), OrderRole.STOP, position_id="stranger"))
        assert [type(failure) for failure in stage.failures] == [UnknownPositionError]

    on_stage(play)


def test_a_position_in_a_pair_that_is_not_configured_stops_the_engine() -> None:
    def play(stage: Stage) -> None:
        stage.says(JournalLoaded(state=RecoveredState(positions=(a_position(symbol=Symbol("DOGE/USDT")),))))
        assert [str(failure) for failure in stage.failures] == [
            "there is a position in DOGE/USDT, which is not among the configured instruments"
        ]

    on_stage(play)


def test_positions_trail_unasked_where_configured() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100")))
        assert stage.book.positions[0].trailing
        stage.says(a_price("101"))
        assert stage.book.trailing == 1

    on_stage(play, PositionSettings(trailing=TrailingSettings(enabled=True)))


def test_a_stop_set_by_hand_is_followed_up_by_trailing() -> None:
    def play(stage: Stage) -> None:
        stage.says(applied(a_fill(BUY, "1", "100"), trailing=True), a_price("102"))
        stage.passes(0)
        stage.says(MoveStop(position_id=P1, stop_loss_quote=D(90), take_profit_quote=None, trailing=None))
        loosened = stage.book.positions[0]
        assert (loosened.stop_loss_quote, loosened.stop_is_trailing) == (D(90), False)
        stage.passes(15 * SECOND)
        assert stage.book.positions[0].stop_loss_quote == D("100.4")

    on_stage(play, TRAILING)


def test_levels_that_come_too_late_are_answered() -> None:
    """Whoever asked for them is told that they do not stand."""
    asked = RequestRow(id=ProposalId("r1"), kind="protect", at_us=0, symbol="", body="{}", verdict="taken")

    def play(stage: Stage) -> None:
        stage.says(
            applied(a_fill(BUY, "1", "100")),
            BeginClosing(position_id=P1, reason=CloseReason.MANUAL),
            MoveStop(position_id=P1, stop_loss_quote=D(90), take_profit_quote=None, trailing=None, request=asked),
            MoveStop(position_id=P1, stop_loss_quote=D(80), take_profit_quote=None, trailing=None),
        )
        (refused,) = stage.all_of(RecordRequest)
        assert (refused.request.id, refused.request.verdict) == ("r1", "rejected")
        assert refused.request.codes == ("NOTHING_TO_DO",)
        assert [event.kind for event in refused.events] == ["request_rejected"]
        assert stage.book.positions[0].stop_loss_quote is None

    on_stage(play)

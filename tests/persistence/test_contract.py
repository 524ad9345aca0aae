"""What both journals promise. Each test is told once and holds for memory and for PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal

import attrs
import pytest

from messages.base import Currency, ProposalId, Symbol
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
    Standing,
)
from messages.orders import OrderRole, OrderStatus
from messages.positions import PositionSide, PositionStatus
from messages.risk import RiskState, TradingState
from messages.trades import RequestRow, Side
from persistence.protocol import Journal, JournalUnavailableError
from tests.persistence.conftest import Shelf
from tests.persistence.samples import (
    SECOND,
    T0,
    a_fill,
    a_filled,
    a_position,
    a_request,
    a_snapshot,
    an_event,
    an_order,
    closed,
    uid,
)


def on(shelf: Shelf, story: Callable[[Journal], Awaitable[None]]) -> RecoveredState:
    """Tell the story to a journal; return what the next engine finds."""

    async def whole() -> RecoveredState:
        await story(await shelf.journal())
        state = await (await shelf.journal()).load()
        await shelf.put_down()
        return state

    return asyncio.run(whole())


def test_an_empty_journal_remembers_nothing(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        assert await journal.load() == RecoveredState()
        assert await journal.commit([]) == ()

    assert on(shelf, story) == RecoveredState()


def test_a_fill_comes_back_with_its_order_and_position(shelf: Shelf) -> None:
    unit = RecordFill(fill=a_fill(), order=an_order(), position=a_position(), events=(an_event(),))

    async def story(journal: Journal) -> None:
        await journal.commit([RecordIntent(order=an_order(), request=a_request())])
        await journal.commit([unit])

    state = on(shelf, story)
    assert state.orders == (unit.order,)
    assert state.positions == (unit.position,)
    assert state.fill_ids == ("f1",)
    assert state.approved == (a_request(),)
    assert state.requests == (uid("t1"),)


def test_the_last_of_several_states_in_one_group_counts(shelf: Shelf) -> None:
    later = attrs.evolve(an_order(), filled_base=Decimal("0.05"), retries=7)
    moved = attrs.evolve(a_position(), stop_loss_quote=Decimal(1))

    async def story(journal: Journal) -> None:
        await journal.commit(
            [
                RecordFill(fill=a_fill(), order=an_order(), position=a_position()),
                RecordFill(fill=a_fill("f2"), order=later, position=moved),
                RecordFill(fill=a_fill("f2"), order=later, position=moved),
                RecordRiskState(state=RiskState(losses_in_a_row=1)),
                RecordRiskState(state=RiskState(losses_in_a_row=2)),
            ]
        )

    state = on(shelf, story)
    assert state.orders == (later,)
    assert state.positions == (moved,)
    assert state.fill_ids == ("f1", "f2")
    assert state.risk == RiskState(losses_in_a_row=2)


def test_what_is_over_is_left_behind_and_its_profit_is_kept(shelf: Shelf) -> None:
    short = attrs.evolve(
        closed(a_position("t2")), side=PositionSide.SHORT, status=PositionStatus.LIQUIDATED, symbol=Symbol("XRP/BTC")
    )

    async def story(journal: Journal) -> None:
        await journal.commit(
            [
                RecordFill(
                    fill=a_fill(),
                    order=attrs.evolve(an_order(status=OrderStatus.FILLED), ended_at_us=T0 - 300 * SECOND),
                    position=a_position(status=PositionStatus.CLOSED),
                ),
                RecordFill(
                    fill=a_fill("f2", order="o2"),
                    order=an_order("o2", OrderStatus.CANCELLED, trade="t2"),
                    position=short,
                ),
            ]
        )

    state = on(shelf, story)
    assert [order.id for order in state.orders] == [uid("o2")], "what has ended last may still be told of"
    assert state.positions == (short,)
    assert state.living == frozenset()
    assert state.fill_ids == ("f1", "f2"), "told once more, they are no news"
    assert set(state.order_ids) == {uid("o1"), uid("o2")}, "and their orders are not forgotten"
    gain = Decimal(2700) - Decimal("2568.0220")
    fee = Decimal("6.67685720")
    assert state.realised_by_quote == (("BTC", -gain - fee), ("USDT", gain - fee))


def test_orders_of_a_living_position_come_back_though_they_are_over(shelf: Shelf) -> None:
    entry = an_order("entry", OrderStatus.FILLED)
    stop = an_order("stop", OrderStatus.OPEN, role=OrderRole.STOP)
    other = attrs.evolve(an_order("other", OrderStatus.FILLED, trade="t2"), ended_at_us=T0 - 300 * SECOND)
    waiting = an_order("waiting", OrderStatus.PENDING, trade="t3")

    async def story(journal: Journal) -> None:
        await journal.commit([RecordRequest(request=a_request("t3")), RecordIntent(order=waiting)])
        await journal.commit([RecordOrder(order=order) for order in (other, stop, entry)])
        await journal.commit([RecordPosition(position=a_position())])

    state = on(shelf, story)
    assert set(state.orders) == {entry, stop, waiting}
    assert [order.id for order in state.orders] == sorted(order.id for order in state.orders)  # Created together.
    assert [request.id for request in state.approved] == [uid("t3")]


def test_orders_that_ended_a_moment_before_the_newest_end_come_back(shelf: Shelf) -> None:
    """With what they were for: a fill of theirs may be told late."""
    ends = {"newest": 0, "just": -300 * SECOND, "earlier": -300 * SECOND - 1}
    orders = {
        name: attrs.evolve(an_order(name, OrderStatus.CANCELLED, trade=name), ended_at_us=T0 + ended_us)
        for name, ended_us in ends.items()
    }

    async def story(journal: Journal) -> None:
        for name, order in orders.items():
            await journal.commit([RecordIntent(order=order, request=a_request(name))])
            await journal.commit([RecordPosition(position=a_position(name, PositionStatus.CLOSED))])

    state = on(shelf, story)
    assert set(state.orders) == {orders["newest"], orders["just"]}
    assert {position.proposal_id for position in state.positions} == {uid("newest"), uid("just")}
    assert {request.id for request in state.approved} == {uid("newest"), uid("just")}
    assert state.living == frozenset()


def test_only_approved_requests_of_living_orders_come_back(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit([RecordRequest(request=a_request("t1", verdict="rejected", code="LOW_RR"))])
        await journal.commit([RecordRequest(request=a_request("t2"))])
        await journal.commit([RecordIntent(order=an_order())])

    state = on(shelf, story)
    assert state.approved == ()
    assert state.requests == (uid("t1"), uid("t2"))


def test_the_first_verdict_on_a_request_stands(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit([RecordIntent(order=an_order(), request=a_request())])
        await journal.commit([RecordRequest(request=a_request(verdict="rejected", code="LATE"))])
        assert await journal.known_requests([ProposalId(uid("t1")), ProposalId(uid("t2"))]) == {uid("t1")}

    assert on(shelf, story).approved == (a_request(),)


def test_events_are_numbered_without_a_gap_across_groups_and_engines(shelf: Shelf) -> None:
    async def story() -> None:
        journal = await shelf.journal()
        first = await journal.commit([RecordAlert(events=(an_event("a"), an_event("b"))), a_filled(1)])
        assert [(numbered.sequence, numbered.event.kind) for numbered in first] == [
            (1, "a"),
            (2, "b"),
            (3, "order_filled"),
        ]
        journal = await shelf.journal()
        assert [numbered.sequence for numbered in await journal.commit([a_filled(2)])] == [4]
        await shelf.put_down()

    asyncio.run(story())


def test_an_account_remembers_when_it_began(shelf: Shelf) -> None:
    async def story() -> None:
        journal = await shelf.journal()
        await journal.open_account({Currency("USDT"): Decimal(1)}, T0)
        state = await journal.load()
        assert (state.opened_at_us, state.is_new) == (T0, True)
        journal = await shelf.journal()
        await journal.open_account({Currency("USDT"): Decimal(1)}, T0 + 5)
        state = await journal.load()
        assert (state.opened_at_us, state.is_new) == (T0, False)
        await shelf.put_down()

    asyncio.run(story())


def test_the_balances_of_the_first_start_are_kept(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        first = {Currency("USDT"): Decimal("50000.00"), Currency("BTC"): Decimal("0.1")}
        assert await journal.open_account(first) == first
        assert await journal.open_account({Currency("USDT"): Decimal(1)}) == first

    assert on(shelf, story).initial_balances == (("BTC", Decimal("0.1")), ("USDT", Decimal(50000)))


def test_risk_comes_back_whole(shelf: Shelf) -> None:
    risk = RiskState(
        trading_state=TradingState.HALTED,
        halt_reason="by hand",
        losses_in_a_row=3,
        wins_in_a_row=0,
        cooldown_until_us=T0,
        cooldown_reason="three losses",
        realised_usd=Decimal("-12.3456789012345678901234567890"),
        updated_at_us=T0 + 1,
    )

    async def story(journal: Journal) -> None:
        await journal.commit([RecordRiskState(state=risk, events=(an_event("halted"),))])

    assert on(shelf, story).risk == risk


def test_how_account_and_books_stand_comes_back(shelf: Shelf) -> None:
    """The last word of each symbol, whether in the same group or a later one."""
    btc, xrp = Symbol("BTC/USDT"), Symbol("XRP/USDT")
    unknown = Standing(symbol=btc, is_stale=True)
    differing = Standing(symbol=btc, external_base=Decimal("-0.100000000000000000"), differs="0.1 less")
    held = Standing(symbol=xrp, external_base=Decimal(7))

    async def story(journal: Journal) -> None:
        await journal.commit([RecordStanding(standing=differing), RecordStanding(standing=unknown)])
        assert (await journal.load()).standings == (unknown,)
        await journal.commit([RecordStanding(standing=held, events=(an_event("told"),))])
        await journal.commit([RecordStanding(standing=differing)])

    assert on(shelf, story).standings == (differing, held)


def test_rows_written_depend_on_the_units_alone(shelf: Shelf) -> None:
    async def story() -> None:
        journal = await shelf.journal()
        before = journal.rows_written  # type: ignore[attr-defined]
        await journal.commit([a_filled(1), a_filled(2)])
        await journal.commit([RecordSnapshots(snapshots=(a_snapshot(T0), a_snapshot(T0 + 1)))])
        assert journal.rows_written - before == 2 * 5 + 2 * 3  # type: ignore[attr-defined]
        assert journal.commits == 2  # type: ignore[attr-defined]
        await shelf.put_down()

    asyncio.run(story())


# The account's executions --------------------------------------------------------------------------


def test_a_start_knows_when_the_newest_trade_happened(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        position = a_position("t0", PositionStatus.CLOSED)
        for number in (2, 1):
            fill = attrs.evolve(a_fill(f"f{number}"), at_us=T0 + number)
            await journal.commit([RecordFill(fill=fill, order=an_order(status=OrderStatus.FILLED), position=position)])

    state = on(shelf, story)
    assert state.last_fill_at_us == T0 + 2
    assert state.fill_ids == ("f1", "f2")


def test_what_an_order_counts_and_no_fill_accounts_for_comes_back(shelf: Shelf) -> None:
    ahead = attrs.evolve(an_order("ahead", OrderStatus.FILLED, role=OrderRole.EXIT), filled_base=Decimal("0.1"))
    own, others = attrs.evolve(a_fill("f1", order="ahead"), volume_base=Decimal("0.03")), a_fill("f1#1", order="ahead")
    booked_elsewhere = attrs.evolve(others, order_id=an_order("other").id, volume_base=Decimal("0.02"))

    async def story(journal: Journal) -> None:
        await journal.commit([RecordFill(fill=own, order=ahead, position=a_position())])
        await journal.commit([RecordFill(fill=booked_elsewhere, order=an_order("other"), position=a_position())])

    assert dict(on(shelf, story).unbooked)[ahead.id] == Decimal("0.05")


def test_of_a_trade_that_is_booked_in_parts_their_sum_comes_back(shelf: Shelf) -> None:
    parts = (("f1", "0.03"), ("f1#0.03", "0.01"), ("f2", "0.02"))

    async def story(journal: Journal) -> None:
        for trade_id, volume in parts:
            fill = attrs.evolve(a_fill(trade_id), volume_base=Decimal(volume))
            await journal.commit([RecordFill(fill=fill, order=an_order(), position=a_position())])

    assert on(shelf, story).booked == (("f1", Decimal("0.04")), ("f2", Decimal("0.02")))


def test_exits_on_margin_since_the_oldest_order_that_matters_come_back(shelf: Shelf) -> None:
    """Also those of positions that are over: what is told late may have been before them."""

    async def leaves(journal: Journal, trade: str, number: int, *, leverage: int = 3, part: str = "") -> None:
        order = an_order(f"exit of {trade}", OrderStatus.FILLED, trade=trade, role=OrderRole.EXIT)
        fill = attrs.evolve(a_fill(f"f{number}{part}"), order_id=order.id, side=Side.SELL, at_us=T0 + number)
        order = attrs.evolve(order, intent=attrs.evolve(order.intent, leverage=leverage))
        position = attrs.evolve(a_position(trade, PositionStatus.CLOSED), opened_at_us=T0 - 1, leverage=leverage)
        await journal.commit([RecordFill(fill=fill, order=order, position=position)])

    async def story(journal: Journal) -> None:
        await leaves(journal, "of long ago", -1)
        await leaves(journal, "with own funds", 3, leverage=1)
        await leaves(journal, "later", 5)
        await leaves(journal, "sooner", 4, part="#0.01")
        await journal.commit([RecordFill(fill=a_fill("entry"), order=an_order(), position=a_position())])

    assert on(shelf, story).margin_exits == tuple(
        MarginExit(
            symbol=Symbol("BTC/USDT"),
            side=Side.SELL,
            volume_base=Decimal("0.04"),
            at_us=T0 + number,
            entered_at_us=T0 - 1,
        )
        for number in (4, 5)
    )


# Cut off in the middle ------------------------------------------------------------------------------


def test_a_commit_whose_answer_is_lost_goes_in_once(failing_shelf: Shelf) -> None:
    units: list[RecordUnit] = [a_filled(1), RecordAlert(events=(an_event("alert"),))]

    async def story() -> None:
        journal = await failing_shelf.journal()
        await journal.commit([a_filled(7)])
        failing_shelf.lose_the_next_answer()
        with pytest.raises(JournalUnavailableError):
            await journal.commit(units)
        again = await journal.commit([a_filled(1), RecordAlert(events=(an_event("alert"),))])
        assert [(event.sequence, event.event.kind) for event in again] == [(2, "order_filled"), (3, "alert")]
        assert [event.sequence for event in await journal.commit([a_filled(3)])] == [4]
        await failing_shelf.put_down()

    asyncio.run(story())


def test_other_units_are_refused_until_an_unanswered_commit_is_known(failing_shelf: Shelf) -> None:
    async def story() -> None:
        journal = await failing_shelf.journal()
        failing_shelf.lose_the_next_answer()
        with pytest.raises(JournalUnavailableError):
            await journal.commit([a_filled(1)])
        with pytest.raises(RuntimeError, match="come first, unchanged"):
            await journal.commit([a_filled(2)])
        await failing_shelf.put_down()

    asyncio.run(story())


@pytest.mark.parametrize("turns", range(12))
def test_a_commit_that_dies_with_its_engine_is_kept_whole_or_not_at_all(failing_shelf: Shelf, turns: int) -> None:
    units = [a_filled(number) for number in range(1, 4)]

    async def story() -> None:
        journal = await failing_shelf.journal()
        await journal.commit([a_filled(7)])
        commit = asyncio.ensure_future(journal.commit(units))
        for _ in range(turns):
            await asyncio.sleep(0)
        commit.cancel()
        await asyncio.gather(commit, return_exceptions=True)
        after = await failing_shelf.journal()
        state = await after.load()
        assert len(state.fill_ids) in (1, 4)
        numbered = await after.commit([RecordAlert(events=(an_event("alert"),))])
        assert numbered[0].sequence == len(state.fill_ids) + 1
        await failing_shelf.put_down()

    asyncio.run(story())


def test_what_was_taken_of_a_trade_that_lives_comes_back_in_its_order(shelf: Shelf) -> None:
    """Cancels, closes and changed levels; those of others, and what was refused, do not."""

    def about(name: str, kind: str, target: str, verdict: str = "taken") -> RequestRow:
        as_text = json.dumps(uid(target))
        body = json.dumps({"target": uid(target), "stop_loss": "63000"}) if kind == "protect" else as_text
        return attrs.evolve(a_request(name, verdict=verdict, kind=kind), body=body)

    taken = [about("r1", "protect", "t1"), about("r2", "cancel", "t1"), about("r4", "protect", "t1")]
    kept_with_levels = taken[2]

    async def story(journal: Journal) -> None:
        await journal.commit(
            [
                RecordIntent(order=an_order(), request=a_request()),
                RecordRequest(request=attrs.evolve(a_request("r0", kind="unreadable"), body='"\\u0000 {"')),
                *(RecordRequest(request=row) for row in taken[:2]),
                RecordRequest(request=about("r3", "protect", "t1", verdict="rejected")),
                RecordPosition(position=a_position(), request=kept_with_levels),
                RecordRequest(request=about("r5", "protect", "t2")),
                RecordRequest(request=about("r6", "close", "t2")),
            ]
        )
        await journal.commit([RecordPosition(position=a_position(), request=kept_with_levels)])

    state = on(shelf, story)
    assert state.taken == tuple(taken)
    assert state.positions == (a_position(),)


def test_only_the_newest_ten_thousand_requests_are_taken_into_memory(shelf: Shelf) -> None:
    async def story(journal: Journal) -> None:
        await journal.commit([RecordRequest(request=a_request(f"r{number}")) for number in range(10_003)])

    state = on(shelf, story)
    assert len(state.requests) == 10_000
    assert state.requests[0] == uid("r3")
    assert state.requests[-1] == uid("r10002")

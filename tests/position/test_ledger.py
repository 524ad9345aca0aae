"""Fills alone open, grow, shrink and close a position."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.position.ledger import REMAINDER, REOPENED, ImpossibleFillError, UnknownPositionError, book
from actors.position.profit import realised
from messages.orders import OrderRole
from messages.positions import CloseReason, Position, PositionSide, PositionStatus
from messages.trades import Side

from .values import a_fill, a_position, applied

D = Decimal
BUY, SELL = Side.BUY, Side.SELL
SOME_FILLS = st.lists(
    st.tuples(
        st.decimals("0.0001", "10", places=4), st.decimals("1", "90000", places=1), st.decimals("0", "5", places=5)
    ),
    min_size=1,
    max_size=8,
)


def test_the_first_entry_fill_opens_with_its_levels() -> None:
    fill = a_fill(SELL, "2", "100", fee="0.5", at_us=7)
    position = book(None, applied(fill, stop="110", target="80", trailing=True, leverage=3), trails=False)

    assert position.side is PositionSide.SHORT
    assert (position.entry_base, position.entry_cost_quote, position.fees_quote) == (D(2), D(200), D("0.5"))
    assert (position.stop_loss_quote, position.take_profit_quote, position.trailing) == (D(110), D(80), True)
    assert (position.status, position.opened_at_us, position.leverage) == (PositionStatus.OPEN, 7, 3)
    assert position.notes == ""


def test_positions_trail_by_default_where_the_settings_say_so() -> None:
    assert book(None, applied(a_fill(BUY, "1", "100")), trails=True).trailing


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        (OrderRole.STOP, CloseReason.STOP_LOSS),
        (OrderRole.TARGET, CloseReason.TAKE_PROFIT),
        (OrderRole.EXIT, CloseReason.MANUAL),
    ],
)
def test_the_order_that_fills_says_why_it_closed(role: OrderRole, reason: CloseReason) -> None:
    over = book(a_position(), applied(a_fill(SELL, "1", "90", at_us=5), role), trails=False)
    assert (over.status, over.close_reason, over.closed_at_us) == (PositionStatus.CLOSED, reason, 5)


def test_a_stop_moved_by_trailing_closes_as_a_trailing_stop() -> None:
    position = attrs.evolve(a_position(), stop_is_trailing=True)
    over = book(position, applied(a_fill(SELL, "1", "90"), OrderRole.STOP), trails=False)
    assert over.close_reason is CloseReason.TRAILING_STOP


def test_an_exit_closes_for_the_reason_it_began_with_unless_a_stop_was_quicker() -> None:
    closing = attrs.evolve(a_position(), status=PositionStatus.CLOSING, close_reason=CloseReason.HOLDING_LIMIT)
    by_exit = book(closing, applied(a_fill(SELL, "1", "90"), OrderRole.EXIT), trails=False)
    by_stop = book(closing, applied(a_fill(SELL, "1", "90"), OrderRole.STOP), trails=False)
    assert by_exit.close_reason is CloseReason.HOLDING_LIMIT
    assert by_stop.close_reason is CloseReason.STOP_LOSS


def test_a_liquidation_is_an_exit_whatever_order_it_hangs_on() -> None:
    fill = a_fill(SELL, "1", "50", is_liquidation=True)
    over = book(a_position(), applied(fill, OrderRole.ENTRY), trails=False)
    assert (over.status, over.close_reason) == (PositionStatus.LIQUIDATED, CloseReason.LIQUIDATED)


def test_a_part_of_an_exit_leaves_it_open() -> None:
    half = book(a_position(), applied(a_fill(SELL, "0.5", "90"), OrderRole.STOP), trails=False)
    assert (half.status, half.volume_base, half.close_reason) == (PositionStatus.OPEN, D("0.5"), None)


def test_a_late_entry_fill_opens_what_was_over() -> None:
    over = book(a_position(stop="95"), applied(a_fill(SELL, "1", "90"), OrderRole.STOP), trails=False)
    again = book(over, applied(a_fill(BUY, "0.5", "101")), trails=False)

    assert (again.status, again.volume_base) == (PositionStatus.OPEN, D("0.5"))
    assert (again.closed_at_us, again.close_reason, again.protected_at_us) == (None, None, None)
    assert again.stop_loss_quote == 95
    assert again.notes == REOPENED


def test_an_entry_during_an_exit_grows_what_has_to_leave() -> None:
    closing = attrs.evolve(a_position(), status=PositionStatus.CLOSING, close_reason=CloseReason.MANUAL)
    grown = book(closing, applied(a_fill(BUY, "1", "100")), trails=False)
    assert (grown.status, grown.volume_base) == (PositionStatus.CLOSING, D(2))


def test_a_late_entry_fill_of_a_forgotten_position_opens_a_fresh_one() -> None:
    fill = a_fill(BUY, "0.5", "100")
    fresh = book(None, applied(fill, filled=D("1.5")), trails=False)
    assert (fresh.entry_base, fresh.notes) == (D("0.5"), REMAINDER)


def test_an_exit_of_nobody_is_an_error() -> None:
    with pytest.raises(UnknownPositionError, match="p1"):
        book(None, applied(a_fill(SELL, "1", "100"), OrderRole.STOP), trails=False)


def test_more_cannot_leave_than_is_held() -> None:
    with pytest.raises(ImpossibleFillError, match="which holds 1"):
        book(a_position(), applied(a_fill(SELL, "1.0001", "100"), OrderRole.EXIT), trails=False)


@pytest.mark.parametrize(("side", "role"), [(SELL, OrderRole.ENTRY), (BUY, OrderRole.STOP)])
def test_a_fill_of_the_wrong_side_is_an_error(side: Side, role: OrderRole) -> None:
    with pytest.raises(ImpossibleFillError):
        book(a_position(), applied(a_fill(side, "1", "100"), role), trails=False)


@settings(deadline=None)
@given(SOME_FILLS, SOME_FILLS, st.sampled_from(Side))
def test_profit_is_the_cash_flow_to_the_last_digit(
    entries: list[tuple[Decimal, Decimal, Decimal]], exits: list[tuple[Decimal, Decimal, Decimal]], side: Side
) -> None:
    """However it came and went, what a closed position earned is what the account has more."""
    cash = D(0)
    position: Position | None = None
    for volume, price, fee in entries:
        position = book(position, applied(a_fill(side, volume, price, fee=fee)), trails=False)
        cash += (-1 if side is BUY else 1) * volume * price - fee
    assert position is not None
    for number, (volume, price, fee) in enumerate(exits, start=1):
        taken = position.volume_base if number == len(exits) else min(volume, position.volume_base / 2)
        position = book(position, applied(a_fill(side.opposite, taken, price, fee=fee), OrderRole.EXIT), trails=False)
        cash += (1 if side is BUY else -1) * taken * price - fee

    assert position.is_over
    assert position.volume_base == 0
    assert realised(position) == cash


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([OrderRole.ENTRY, OrderRole.STOP, OrderRole.EXIT]), st.integers(1, 9), st.booleans()),
        max_size=20,
    )
)
def test_never_does_more_leave_than_came(fills: list[tuple[OrderRole, int, bool]]) -> None:
    """Whatever is told: it is booked within what is held, or refused and nothing changes."""
    position: Position | None = None
    for role, volume, is_liquidation in fills:
        is_entry = role is OrderRole.ENTRY and not is_liquidation
        held = D(0) if position is None else position.volume_base
        fill = a_fill(BUY if is_entry else SELL, D(volume), "100", is_liquidation=is_liquidation)
        if not is_entry and volume > held:
            with pytest.raises((ImpossibleFillError, UnknownPositionError)):
                book(position, applied(fill, role), trails=False)
            continue
        position = book(position, applied(fill, role), trails=False)
        assert position.volume_base == held + (volume if is_entry else -volume)
        assert position.is_over is (position.volume_base == 0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_any_split_of_a_fill_gives_the_same_position(entry: list[int], leave: list[int]) -> None:
    entry_base, exit_base = D(sum(entry)), min(D(sum(leave)), D(sum(entry)))
    whole = book(None, applied(a_fill(BUY, entry_base, "33.3", fee=entry_base / 10)), trails=False)
    whole = book(whole, applied(a_fill(SELL, exit_base, "44.4", fee=exit_base / 10), OrderRole.STOP), trails=False)

    split: Position | None = None
    for part in entry:
        split = book(split, applied(a_fill(BUY, D(part), "33.3", fee=D(part) / 10)), trails=False)
    left = exit_base
    for part in leave:
        taken = min(D(part), left)
        if taken and split is not None:
            split = book(split, applied(a_fill(SELL, taken, "44.4", fee=taken / 10), OrderRole.STOP), trails=False)
            left -= taken

    assert split == whole

"""plan(): what is missing, and nothing when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order.book import Phase, Trade
from actors.order.protection import Amend, CloseNow, Place, Step, Withdraw, covers, exit_side, is_passed, plan
from messages.orders import OrderRole, OrderStatus
from messages.positions import CloseReason, PositionSide, PositionStatus
from messages.trades import Side
from tests.order.values import ENTRY, EXIT, STOP, TARGET, a_leg, a_position, a_trade, an_instrument

SHORT: dict[str, Any] = {
    "side": PositionSide.SHORT,
    "stop_loss_quote": Decimal(102_000),
    "take_profit_quote": Decimal(96_000),
}


def said(steps: tuple[Step, ...]) -> list[tuple[Any, ...]]:
    """Return the steps as plain values."""
    out: list[tuple[Any, ...]] = []
    for step in steps:
        match step:
            case Place():
                out.append(("place", step.role, step.volume_base, step.trigger_price_quote))
            case Amend():
                out.append(("amend", step.tracked.order.intent.role, step.volume_base, step.trigger_price_quote))
            case Withdraw():
                out.append(("withdraw", step.tracked.order.intent.role))
            case CloseNow():
                out.append(("close", step.reason))
    return out


def planned(trade: Trade, *, is_alone: bool = True) -> list[tuple[Any, ...]]:
    return said(plan(trade, an_instrument(), is_alone=is_alone))


def protected(**position: Any) -> Trade:
    trade = a_trade(position=a_position(**position))
    a_leg(trade, STOP)
    a_leg(trade, TARGET)
    return trade


def with_leg(role: OrderRole, trade: Trade | None = None, **changes: Any) -> Trade:
    trade = trade or protected()
    a_leg(trade, role, **changes)
    return trade


def closing(**changes: Any) -> Trade:
    """Return a trade on its way out, which the position knows."""
    position = changes.pop("position", None) or a_position()
    closing_position = attrs.evolve(position, status=PositionStatus.CLOSING)
    return a_trade(closing=CloseReason.MANUAL, position=closing_position, **changes)


PLACE_STOP = ("place", STOP, Decimal(1), Decimal(98_000))
PLACE_TARGET = ("place", TARGET, Decimal(1), Decimal(104_000))
OVER: dict[str, Any] = {"phase": Phase.OVER, "status": OrderStatus.CANCELLED}

SITUATIONS: dict[str, tuple[Callable[[], Trade], list[tuple[Any, ...]]]] = {
    "no position yet": (lambda: a_trade(position=None), []),
    "bare": (a_trade, [PLACE_STOP, PLACE_TARGET]),
    "bare short": (
        lambda: a_trade(position=a_position(**SHORT)),
        [("place", STOP, 1, Decimal(102_000)), ("place", TARGET, 1, Decimal(96_000))],
    ),
    "protected": (protected, []),
    "protected short": (lambda: protected(**SHORT), []),
    "no stop wanted": (lambda: a_trade(position=a_position(stop_loss_quote=None)), [PLACE_TARGET]),
    "no levels wanted": (lambda: a_trade(position=a_position(stop_loss_quote=None, take_profit_quote=None)), []),
    "a stop nobody wants": (
        lambda: with_leg(STOP, a_trade(position=a_position(stop_loss_quote=None, take_profit_quote=None))),
        [("withdraw", STOP)],
    ),
    "bare on spot": (lambda: a_trade(position=a_position(leverage=1)), [PLACE_STOP]),
    "a target resting on spot": (lambda: protected(leverage=1), [("withdraw", TARGET)]),
    "the target is watched locally": (lambda: a_trade(is_target_local=True), [PLACE_STOP]),
    "a stop on its way": (lambda: with_leg(STOP, phase=Phase.SENT), []),
    "a stop of unknown outcome": (lambda: with_leg(STOP, phase=Phase.SETTLING), []),
    "a stop being recorded": (lambda: with_leg(STOP, phase=Phase.RECORDING), []),
    "a stop that ended": (lambda: with_leg(STOP, **OVER), [PLACE_STOP]),
    "a stop that waits for its retry": (lambda: _evolve(with_leg(STOP, **OVER), waiting={STOP}), []),
    "a stop that is too small": (
        lambda: with_leg(STOP, volume_base=Decimal("0.4")), [("amend", STOP, Decimal(1), Decimal(98_000))],
    ),
    "a stop that is too large": (
        lambda: with_leg(STOP, volume_base=Decimal("1.4")), [("amend", STOP, Decimal(1), Decimal(98_000))],
    ),
    "a stop at another level": (
        lambda: with_leg(STOP, trigger_price_quote=Decimal(97_000)), [("amend", STOP, Decimal(1), Decimal(98_000))],
    ),
    "an amend under way": (lambda: with_leg(STOP, volume_base=Decimal("0.4"), is_amend_asked=True), []),
    "a stop being withdrawn": (lambda: with_leg(STOP, volume_base=Decimal("0.4"), is_withdrawn=True), []),
    "a stop filled in part": (
        lambda: _evolve(
            with_leg(STOP, filled_base=Decimal("0.3"), status=OrderStatus.PARTIALLY_FILLED),
            position=a_position(exit_base=Decimal("0.3")), legs_target=Decimal("0.7"),
        ),
        [],
    ),
    "the price is through the stop": (
        lambda: a_trade(last_price_quote=Decimal(98_000)), [("close", CloseReason.STOP_LOSS), PLACE_TARGET],
    ),
    "the price is through the trailing stop": (
        lambda: a_trade(last_price_quote=Decimal(97_000), position=a_position(stop_is_trailing=True)),
        [("close", CloseReason.TRAILING_STOP), PLACE_TARGET],
    ),
    "the price is through the target": (
        lambda: a_trade(last_price_quote=Decimal(104_000)), [PLACE_STOP, ("close", CloseReason.TAKE_PROFIT)],
    ),
    "no price has been heard": (lambda: a_trade(last_price_quote=Decimal(0)), [PLACE_STOP, PLACE_TARGET]),
    "the new level is passed already": (
        lambda: _evolve(with_leg(STOP, trigger_price_quote=Decimal(97_000)), last_price_quote=Decimal(97_500)),
        [("close", CloseReason.STOP_LOSS)],
    ),
    "a stop that is firing is left alone": (lambda: _evolve(protected(), last_price_quote=Decimal(97_500)), []),
    "the first protection waits": (lambda: a_trade(is_delayed=True), []),
    "too little to be worth an order": (
        lambda: a_trade(
            position=a_position(entry_base=Decimal("0.0001"), stop_loss_quote=Decimal(4_000)),
            last_price_quote=Decimal(4_500),
        ),
        [],
    ),
    "closing beside a stop of unknown outcome": (
        lambda: with_leg(STOP, closing(), phase=Phase.SETTLING),
        [("withdraw", STOP), ("place", EXIT, Decimal(1), None)],
    ),
    "dust": (lambda: a_trade(position=a_position(entry_base=Decimal("0.00004999"))), []),
    "over, with both exits resting": (
        lambda: protected(status=PositionStatus.CLOSED, exit_base=Decimal(1)),
        [("withdraw", STOP), ("withdraw", TARGET)],
    ),
    "over, with an entry resting": (
        lambda: with_leg(ENTRY, a_trade(position=a_position(status=PositionStatus.CLOSED, exit_base=Decimal(1)))),
        [("withdraw", ENTRY)],
    ),
    "liquidated": (
        lambda: protected(status=PositionStatus.LIQUIDATED, exit_base=Decimal(1)),
        [("withdraw", STOP), ("withdraw", TARGET)],
    ),
    "closing, with protection in the way": (
        lambda: _evolve(protected(), closing=CloseReason.MANUAL), [("withdraw", STOP), ("withdraw", TARGET)],
    ),
    "closing, the way is being cleared": (
        lambda: _evolve(with_leg(STOP, with_leg(TARGET, **OVER), is_withdrawn=True), closing=CloseReason.MANUAL), [],
    ),
    "closing, and it is not recorded yet": (lambda: a_trade(closing=CloseReason.MANUAL), []),
    "closing, the way is clear": (
        closing, [("place", EXIT, Decimal(1), None)],
    ),
    "closing, with the entry still filling": (
        lambda: with_leg(ENTRY, closing()),
        [("withdraw", ENTRY), ("place", EXIT, Decimal(1), None)],
    ),
    "closing, an exit is live": (lambda: with_leg(EXIT, closing()), []),
    "closing, the exit waits for its retry": (lambda: closing(waiting={EXIT}), []),
    "closing dust": (
        lambda: closing(position=a_position(entry_base=Decimal("0.00004"))), [],
    ),
    "closing on spot beside a stop of unknown outcome": (
        lambda: with_leg(
            STOP, closing(position=a_position(leverage=1)), phase=Phase.SETTLING
        ),
        [("withdraw", STOP)],
    ),
}  # fmt: skip


def _evolve(trade: Trade, legs_target: Decimal | None = None, **changes: Any) -> Trade:
    after = attrs.evolve(trade, **changes)
    if legs_target is not None:
        a_leg(after, TARGET, volume_base=legs_target)
    return after


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_missing_is_named(name: str) -> None:
    make, expected = SITUATIONS[name]
    assert planned(make()) == expected


def test_reduce_only_guards_the_sum_so_a_stop_of_unknown_outcome_is_waited_for_beside_another_trade() -> None:
    trade = with_leg(STOP, closing(), phase=Phase.SETTLING)
    assert planned(trade, is_alone=False) == [("withdraw", STOP)]


# Taking the steps ------------------------------------------------------------------------------------------


def takes(trade: Trade, steps: tuple[Step, ...]) -> None:
    """A world in which every wish comes true at once."""
    for step in steps:
        match step:
            case Place():
                a_leg(trade, step.role, volume_base=step.volume_base, trigger_price_quote=step.trigger_price_quote)
            case Amend():
                leg = step.tracked
                leg.order = attrs.evolve(
                    leg.order, volume_base=step.volume_base, trigger_price_quote=step.trigger_price_quote
                )
            case Withdraw():
                step.tracked.is_withdrawn = True
                step.tracked.phase = Phase.OVER
            case CloseNow():
                trade.closing = step.reason
    if trade.closing is not None and trade.position is not None and not trade.position.is_over:
        trade.position = attrs.evolve(trade.position, status=PositionStatus.CLOSING)


PHASES = st.sampled_from(list(Phase))
VOLUMES = st.decimals("0.00000001", "2", places=8)
PRICES = st.decimals(90_000, 110_000, places=2)


@st.composite
def trades(draw: st.DrawFn) -> Trade:
    is_long = draw(st.booleans())
    entry = draw(VOLUMES)
    exit_base = draw(st.sampled_from([Decimal(0), entry / 2, entry]))
    position = a_position(
        side=PositionSide.LONG if is_long else PositionSide.SHORT,
        leverage=draw(st.integers(1 if is_long else 2, 5)),
        entry_base=entry,
        exit_base=exit_base,
        status=PositionStatus.CLOSED if exit_base == entry else PositionStatus.OPEN,
        stop_loss_quote=draw(st.none() | PRICES),
        take_profit_quote=draw(st.none() | PRICES),
    )
    trade = a_trade(
        position=position,
        last_price_quote=draw(st.just(Decimal(0)) | PRICES),
        closing=draw(st.sampled_from([None, CloseReason.MANUAL])),
        is_target_local=draw(st.booleans()),
        waiting=draw(st.sets(st.sampled_from([STOP, TARGET, EXIT]), max_size=2)),
    )
    for role in draw(st.sets(st.sampled_from(list(OrderRole)))):
        a_leg(
            trade, role, volume_base=draw(VOLUMES), trigger_price_quote=draw(PRICES), phase=draw(PHASES),
            is_withdrawn=draw(st.booleans()), is_amend_asked=draw(st.booleans()),
        )  # fmt: skip
    return trade


@given(trade=trades())
def test_a_trade_that_has_what_it_needs_is_left_alone(trade: Trade) -> None:
    for _round in range(4):
        steps = plan(trade, an_instrument(), is_alone=True)
        if not steps:
            break
        takes(trade, steps)
    assert plan(trade, an_instrument(), is_alone=True) == ()
    assert plan(trade, an_instrument(), is_alone=True) == (), "asking changes nothing"


@given(trade=trades())
def test_no_plan_sells_more_than_is_held_or_doubles_an_order(trade: Trade) -> None:
    position = trade.position
    assert position is not None
    for step in plan(trade, an_instrument(), is_alone=True):
        match step:
            case Place():
                assert step.volume_base == position.volume_base > 0
                assert trade.live(step.role) is None
                assert step.role not in trade.waiting
                assert not position.is_over
                assert (step.role is EXIT) == (trade.closing is not None)
                assert step.role is not TARGET or position.leverage > 1
            case Amend():
                assert step.tracked.phase is Phase.RESTING
                assert step.volume_base == step.tracked.order.filled_base + position.volume_base
                assert trade.closing is None
            case Withdraw():
                assert step.tracked.is_live
                assert not step.tracked.is_withdrawn
            case CloseNow():
                assert trade.closing is None


# Its parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("position", "role", "price", "expected"),
    [
        (a_position(), STOP, "98000", True),
        (a_position(), STOP, "98000.1", False),
        (a_position(), TARGET, "98000", True),
        (a_position(), TARGET, "97999.9", False),
        (a_position(**SHORT), STOP, "98000", True),
        (a_position(**SHORT), STOP, "97999.9", False),
        (a_position(**SHORT), TARGET, "98000", True),
        (a_position(**SHORT), TARGET, "98000.1", False),
        (a_position(), STOP, "0", False),
    ],
)
def test_a_level_is_passed_when_the_price_is_at_it(
    position: Any, role: OrderRole, price: str, *, expected: bool
) -> None:
    assert is_passed(position, role, Decimal(98_000), Decimal(price)) is expected


def test_exits_go_the_other_way() -> None:
    assert exit_side(a_position()) is Side.SELL
    assert exit_side(a_position(**SHORT)) is Side.BUY


def test_only_a_resting_order_whose_trigger_is_reached_covers_a_level() -> None:
    assert covers(protected(), STOP, Decimal(98_000))
    assert not covers(protected(), STOP, Decimal("98000.1"))
    assert covers(protected(), TARGET, Decimal(104_000))
    assert not covers(with_leg(STOP, phase=Phase.SETTLING), STOP, Decimal(97_000))
    assert not covers(with_leg(STOP, is_withdrawn=True), STOP, Decimal(97_000))
    assert not covers(with_leg(STOP, **OVER), STOP, Decimal(97_000))
    assert not covers(a_trade(), STOP, Decimal(97_000))
    assert not covers(a_trade(position=None), STOP, Decimal(97_000))

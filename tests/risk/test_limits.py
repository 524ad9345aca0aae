"""Each rule exactly at its limit, and one step to either side."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.risk.funds import OwnFunds
from actors.risk.limits import RULES, judge, notional_usd, reduced
from actors.risk.reservations import Reservation, Reservations
from messages.base import Currency, ProposalId, Symbol
from messages.positions import PositionStatus
from messages.risk import RiskState, TradingState
from messages.trades import Side
from tests.order.values import a_proposal
from tests.position.values import a_position
from tests.risk.values import BTC, NOW_US, a_claim, a_review, circumstances, taken, the_settings

XRP, XRP_BTC = Symbol("XRP/USDT"), Symbol("XRP/BTC")


def codes(review: Any = None, **around: Any) -> list[str]:
    return [finding.code for finding in judge(review or a_review(), circumstances(**around))]


def test_nothing_speaks_against_a_modest_trade() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (TradingState.ACTIVE, []),
        (TradingState.REDUCING, ["TRADING_REDUCING"]),
        (TradingState.HALTED, ["TRADING_HALTED"]),
    ],
)
def test_the_trading_state(state: TradingState, expected: list[str]) -> None:
    assert codes(state=RiskState(trading_state=state, halt_reason="enough")) == expected


@pytest.mark.parametrize(("left_us", "expected"), [(1, ["IN_COOLDOWN"]), (0, []), (-1, [])])
def test_a_cooldown_is_over_at_its_instant(left_us: int, expected: list[str]) -> None:
    assert codes(state=RiskState(cooldown_until_us=NOW_US + left_us, cooldown_reason="a loss")) == expected


def test_the_other_way_round_is_refused_and_the_same_way_is_not() -> None:
    assert codes(reservations=taken((BTC, Side.SELL, 1))) == ["OPPOSITE_POSITION"]
    assert codes(reservations=taken((BTC, Side.BUY, 1))) == []
    assert codes(reservations=taken((XRP, Side.SELL, 1))) == [], "another pair"
    assert codes(a_review(side=Side.SELL), reservations=taken((BTC, Side.BUY, 1))) == ["OPPOSITE_POSITION"]


def test_what_an_open_trade_holds_pays_for_nothing_else() -> None:
    """XRP/BTC is paid with bitcoin, on margin its fees and losses are; BTC/USDT outright holds it."""
    paying, holding = taken((XRP_BTC, Side.BUY, 1)), Reservations()
    holding.take(
        Reservation(
            trade_id=ProposalId("holds"),
            symbol=BTC,
            side=Side.BUY,
            exposure_usd=Decimal(1),
            claim=a_claim(BTC, leverage=1),
        )
    )

    assert codes(claim=a_claim(XRP_BTC, leverage=1), reservations=holding) == ["FUNDS_IN_USE"]
    assert codes(claim=a_claim(XRP_BTC, leverage=2), reservations=holding) == ["FUNDS_IN_USE"]
    assert codes(claim=a_claim(BTC, leverage=1), reservations=paying) == ["FUNDS_IN_USE"], "whichever comes first"
    assert codes(claim=a_claim(BTC, leverage=2), reservations=paying) == [], "on margin it holds nothing"
    assert codes(claim=a_claim(BTC, leverage=1), reservations=holding) == [], "one more of the same"
    assert codes(claim=a_claim(XRP, leverage=1), reservations=holding) == [], "dollars pay for it"


def test_coins_of_a_trade_that_was_over_a_moment_ago_pay_for_nothing_either() -> None:
    """A fill of it may still be told."""
    assert codes(claim=a_claim(XRP_BTC, leverage=1), late=(a_claim(BTC, leverage=1),)) == ["FUNDS_IN_USE"]
    assert codes(claim=a_claim(BTC, leverage=1), late=(a_claim(XRP_BTC, leverage=2),)) == ["FUNDS_IN_USE"]
    assert codes(claim=a_claim(BTC, leverage=2), late=(a_claim(XRP_BTC, leverage=2),)) == []
    assert codes(claim=a_claim(XRP, leverage=1), late=(a_claim(XRP_BTC, leverage=1), a_claim(BTC, leverage=1))) == []


@pytest.mark.parametrize(("result", "expected"), [("-0.3", ["FUNDS_OWED"]), ("-0.2", []), ("0.1", [])])
def test_what_was_lost_beyond_what_there_was_is_not_filled_with_what_is_bought(
    result: str, expected: list[str]
) -> None:
    funds = OwnFunds()
    funds.begin([("BTC", Decimal("0.2"))], [("BTC", Decimal(result))], [])

    assert codes(claim=a_claim(BTC, leverage=1), own_funds=funds) == expected
    assert codes(claim=a_claim(BTC, leverage=2), own_funds=funds) == [], "on margin nothing of it is held"


def test_a_result_counts_once_and_one_that_changes_counts_with_its_change() -> None:
    funds, btc = OwnFunds(), Currency("BTC")
    over = a_position(status=PositionStatus.CLOSED, exit_volume="1", exit_price="70")
    before = a_position("earlier", status=PositionStatus.CLOSED, exit_volume="1", exit_price="60")
    funds.begin([], [("BTC", Decimal(-40))], [(before, btc)])
    assert funds.owed(btc) == 40

    funds.count(before, btc)
    assert funds.owed(btc) == 40, "it is among what was realised"
    funds.count(over, btc)
    funds.count(over, btc)
    assert funds.owed(btc) == 70
    funds.count(attrs.evolve(over, exit_cost_quote=Decimal(200)), btc)
    assert funds.owed(btc) == 0


def test_fees_of_a_remainder_on_margin_that_stays_open_are_owed() -> None:
    """Too small to be closed, it is never over; its fee came out of a balance that held nothing."""
    dust = attrs.evolve(a_position(leverage=2), fees_quote=Decimal("0.001"))
    told, recovered, btc = OwnFunds(), OwnFunds(), Currency("BTC")
    told.count(dust, btc)
    told.count(dust, btc)
    recovered.begin([], [], [(dust, btc)])

    assert told.owed(btc) == recovered.owed(btc) == Decimal("0.001")
    assert codes(claim=a_claim(BTC, leverage=1), own_funds=told) == ["FUNDS_OWED"]


@pytest.mark.parametrize(
    ("held", "expected"), [(1, []), (2, ["POSITION_LIMIT_SYMBOL"]), (3, ["POSITION_LIMIT_SYMBOL"])]
)
def test_the_last_slot_of_a_symbol(held: int, expected: list[str]) -> None:
    around = taken(*[(BTC, Side.BUY, 1)] * held, (XRP, Side.BUY, 1))
    assert codes(reservations=around, settings=the_settings(positions_per_symbol_max=2)) == expected


@pytest.mark.parametrize(("held", "expected"), [(4, []), (5, ["POSITION_LIMIT_TOTAL"]), (6, ["POSITION_LIMIT_TOTAL"])])
def test_the_last_slot_of_all(held: int, expected: list[str]) -> None:
    assert codes(reservations=taken(*[(XRP, Side.BUY, 1)] * held)) == expected


@pytest.mark.parametrize(("earlier", "expected"), [(6_999, []), (7_000, []), (7_001, ["EXPOSURE_LIMIT"])])
def test_exposure_up_to_the_limit_and_not_a_dollar_more(earlier: int, expected: list[str]) -> None:
    """80 % of 10,000 is 8,000; this trade takes 500 x 2."""
    assert codes(reservations=taken((XRP, Side.BUY, earlier))) == expected


def test_exposure_in_another_currency_is_counted_at_its_worth() -> None:
    review = a_review(quote_usd=Decimal(100_000), size_usd=Decimal("0.04"))
    assert notional_usd(review) == 8_000
    assert codes(review) == []
    assert codes(a_review(quote_usd=Decimal("100000.1"), size_usd=Decimal("0.04"))) == ["EXPOSURE_LIMIT"]


def test_what_nobody_can_value_is_refused() -> None:
    assert codes(a_review(quote_usd=None)) == ["NO_RATE"]


@pytest.mark.parametrize("equity", ["0", "-1"])
def test_without_equity_nothing_is_opened(equity: str) -> None:
    assert codes(equity_usd=Decimal(equity)) == ["EXPOSURE_LIMIT"]


def test_everything_that_speaks_against_it_is_said_in_the_order_of_the_rules() -> None:
    state = RiskState(trading_state=TradingState.HALTED, cooldown_until_us=NOW_US + 1)
    found = codes(state=state, reservations=taken(*[(BTC, Side.SELL, 9_000)] * 5))
    assert found == [
        "TRADING_HALTED", "IN_COOLDOWN", "OPPOSITE_POSITION", "POSITION_LIMIT_SYMBOL", "POSITION_LIMIT_TOTAL",
        "EXPOSURE_LIMIT",
    ]  # fmt: skip
    said_elsewhere = {"short_on_margin", "funds_in_use", "funds_owed"}
    assert len(RULES) == len(found) + len(said_elsewhere), "of those a long on margin cannot break any"


def test_a_short_without_leverage_is_a_sale_of_coins_we_own() -> None:
    assert codes(a_review(side=Side.SELL, leverage=1)) == ["SHORT_NEEDS_LEVERAGE"]
    assert codes(a_review(side=Side.SELL, leverage=2)) == []


def test_every_finding_carries_its_numbers() -> None:
    finding = judge(a_review(), circumstances(reservations=taken((XRP, Side.BUY, 7_001))))[0]
    assert "8001.00" in finding.text
    assert "8000.00" in finding.text


@given(
    size=st.decimals("0.01", 10**9, places=2),
    leverage=st.integers(1, 10),
    most=st.integers(1, 10),
    side=st.sampled_from(Side),
)
def test_what_is_reduced_is_never_larger_or_more_leveraged(size: Decimal, leverage: int, most: int, side: Side) -> None:
    proposal = a_proposal(size_usd=size, leverage=leverage, side=side)
    after, changes = reduced(proposal, the_settings(leverage_max=most))
    assert after.leverage == min(leverage, most)
    assert after.size_usd <= proposal.size_usd
    assert after.size_usd * after.leverage <= proposal.size_usd * proposal.leverage
    assert bool(changes) == (after != proposal)
    assert (after.id, after.side, after.stop_loss_quote) == (proposal.id, proposal.side, proposal.stop_loss_quote)

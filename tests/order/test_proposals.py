"""What a proposal must be before anyone has an opinion of it, and how it is kept."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.order.proposals import (
    MAGNITUDE_MAX,
    from_row,
    level_problems,
    price_problems,
    problems,
    request_row,
    reserved_usd,
)
from messages.base import ProposalId, Symbol
from messages.trades import OrderType, Regime, Side, TradeProposal
from tests.order.values import BTC, a_proposal, an_instrument

KNOWN = {BTC: an_instrument()}


def codes_of(**changes: Any) -> list[str]:
    return [code for code, _text in problems(a_proposal(**changes), KNOWN)]


def test_a_good_proposal_has_no_problem() -> None:
    assert codes_of() == []
    assert codes_of(order_type=OrderType.LIMIT, entry_price_quote=Decimal(99_000)) == []
    assert codes_of(side=Side.SELL, leverage=2) == []
    assert codes_of(stop_loss_quote=None, take_profit_quote=None) == []


BAD = ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "1e400", "0", "-0", "-1", "1000000000000000.1"]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["size_usd", "entry_price_quote", "stop_loss_quote", "take_profit_quote"])
def test_amounts_that_are_no_amounts(name: str, value: str) -> None:
    found = problems(
        a_proposal(order_type=OrderType.LIMIT, **{"entry_price_quote": Decimal(1), name: Decimal(value)}), KNOWN
    )
    assert [code for code, _text in found] == ["BAD_VALUE"]
    assert name.removesuffix("_quote") in found[0][1]


@pytest.mark.parametrize("value", ["0.00000001", "1e15"])
def test_the_smallest_and_the_largest_amount(value: str) -> None:
    assert codes_of(size_usd=Decimal(value)) == []
    assert Decimal("1e15") == MAGNITUDE_MAX


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-0.01", "1.01"])
def test_confidence_is_a_share(value: str) -> None:
    assert codes_of(confidence=Decimal(value)) == ["BAD_VALUE"]


@pytest.mark.parametrize("value", ["0", "1", "0.5"])
def test_confidence_at_its_ends(value: str) -> None:
    assert codes_of(confidence=Decimal(value)) == []


def test_an_unknown_symbol_is_named_with_those_that_are_known() -> None:
    found = problems(a_proposal(symbol=Symbol("DOGE/USDT")), KNOWN)
    assert found[0][0] == "UNKNOWN_SYMBOL"
    assert "BTC/USDT" in found[0][1]


@pytest.mark.parametrize("order_type", [kind for kind in OrderType if kind not in (OrderType.MARKET, OrderType.LIMIT)])
def test_only_market_and_limit_can_enter(order_type: OrderType) -> None:
    assert codes_of(order_type=order_type) == ["BAD_VALUE"]


def test_a_limit_order_needs_its_price() -> None:
    assert codes_of(order_type=OrderType.LIMIT) == ["BAD_VALUE"]


@pytest.mark.parametrize(
    ("leverage", "codes"), [(-1, ["BAD_VALUE"]), (0, ["BAD_VALUE"]), (1, []), (5, []), (6, ["BAD_VALUE"])]
)
def test_leverage_is_within_what_the_pair_allows(leverage: int, codes: list[str]) -> None:
    assert codes_of(leverage=leverage) == codes


def test_a_short_is_borrowed() -> None:
    assert codes_of(side=Side.SELL, leverage=1) == ["SHORT_NEEDS_LEVERAGE"]


def test_every_problem_is_told_at_once() -> None:
    found = codes_of(symbol=Symbol("?"), size_usd=Decimal(-1), side=Side.SELL, leverage=1, confidence=Decimal(2))
    assert found == ["UNKNOWN_SYMBOL", "BAD_VALUE", "SHORT_NEEDS_LEVERAGE", "BAD_VALUE"]


# Levels ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop", "target", "codes"),
    [
        (Side.BUY, "99.9", "100.1", []),
        (Side.BUY, "100", "100.1", ["STOP_WRONG_SIDE"]),
        (Side.BUY, "99.9", "100", ["TARGET_WRONG_SIDE"]),
        (Side.BUY, "101", "99", ["STOP_WRONG_SIDE", "TARGET_WRONG_SIDE"]),
        (Side.SELL, "100.1", "99.9", []),
        (Side.SELL, "100", "99.9", ["STOP_WRONG_SIDE"]),
        (Side.SELL, "100.1", "100", ["TARGET_WRONG_SIDE"]),
        (Side.SELL, "99", "101", ["STOP_WRONG_SIDE", "TARGET_WRONG_SIDE"]),
        (Side.BUY, None, None, []),
    ],
)
def test_levels_lie_on_their_side(side: Side, stop: str | None, target: str | None, codes: list[str]) -> None:
    levels = [None if level is None else Decimal(level) for level in (stop, target)]
    assert [code for code, _text in level_problems(side, Decimal(100), *levels)] == codes


def test_levels_are_measured_from_where_it_would_enter() -> None:
    limit = a_proposal(order_type=OrderType.LIMIT, entry_price_quote=Decimal(97_000))
    assert [code for code, _text in price_problems(limit, Decimal(100_000))] == ["STOP_WRONG_SIDE"]
    market = a_proposal(entry_price_quote=Decimal(97_000))
    assert price_problems(market, Decimal(100_000)) == ()
    assert [code for code, _text in price_problems(market, Decimal(97_000))] == ["STOP_WRONG_SIDE"]


# How it is kept -------------------------------------------------------------------------------------------

AMOUNTS = st.decimals("0.00000001", "1e15", places=8)
MAYBE = st.none() | AMOUNTS
PROPOSALS = st.builds(
    TradeProposal,
    id=st.uuids().map(lambda id_: ProposalId(str(id_))),
    at_us=st.integers(0, 2**60),
    symbol=st.sampled_from([BTC, Symbol("XRP/BTC")]),
    side=st.sampled_from(Side),
    size_usd=AMOUNTS,
    order_type=st.sampled_from(OrderType),
    entry_price_quote=MAYBE,
    stop_loss_quote=MAYBE,
    take_profit_quote=MAYBE,
    leverage=st.integers(1, 10),
    confidence=st.none() | st.decimals(0, 1, places=4),
    trailing=st.booleans(),
    regime=st.sampled_from(Regime),
)


@given(proposal=PROPOSALS, exposure=AMOUNTS)
def test_what_is_kept_is_read_back_to_the_digit(proposal: TradeProposal, exposure: Decimal) -> None:
    row = request_row(proposal, "approved", exposure_usd=exposure)
    assert from_row(row) == proposal
    assert str(from_row(row).size_usd) == str(proposal.size_usd)
    assert str(reserved_usd(row)) == str(exposure)
    assert not any(isinstance(value, float) for value in json.loads(row.body).values())


def test_even_nonsense_is_kept_as_it_came() -> None:
    row = request_row(a_proposal(size_usd=Decimal("sNaN")), "rejected", ("BAD_VALUE",), ("because",))
    assert json.loads(row.body)["size_usd"] == "sNaN"
    assert (row.kind, row.verdict, row.codes, row.reasons) == ("trade", "rejected", ("BAD_VALUE",), ("because",))
    assert reserved_usd(row) == 0

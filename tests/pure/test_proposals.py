"""A line becomes the message it asks for, or a rejection that says why; no line stops the reader."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.trades import (
    CancelTrade,
    CloseTrade,
    ExecuteTrade,
    OrderType,
    Regime,
    RejectRequest,
    Side,
    TradeProposal,
)
from scripts.proposals import RAW_MAX, ProposalFileError, TimedRequest, read_requests, request_of

AT = 1_762_795_433
ID = "0B6F2B9C-6E0F-4C56-9A55-0A6B1F0D2C3E"
OTHER = "11111111-2222-4333-8444-555555555555"
SMALLEST = {"at": AT, "symbol": "BTC/USDT", "side": "buy", "size_usd": "500"}


def asked(**changes: Any) -> TimedRequest:
    fields = {name: value for name, value in {**SMALLEST, **changes}.items() if value != "left out"}
    return request_of(json.dumps(fields), 1, 77)


def proposal(**changes: Any) -> TradeProposal:
    message = asked(**changes).message
    assert isinstance(message, ExecuteTrade), message
    return message.proposal


def rejection(request: TimedRequest) -> RejectRequest:
    assert isinstance(request.message, RejectRequest), request.message
    return request.message


def test_the_smallest_trade_is_a_market_order_without_leverage() -> None:
    trade = proposal()

    assert trade.at_us == AT * 1_000_000
    assert (trade.symbol, trade.side, trade.size_usd) == ("BTC/USDT", Side.BUY, Decimal(500))
    assert (trade.order_type, trade.entry_price_quote, trade.leverage) == (OrderType.MARKET, None, 1)
    assert (trade.trailing, trade.regime, trade.confidence) == (False, Regime.UNKNOWN, None)


def test_every_field_arrives() -> None:
    trade = proposal(
        id=ID, side="sell", entry_price="105400.5", stop_loss=105_900, take_profit="104000", leverage=2,
        confidence=0.8, trailing=True, regime="ranging",
    )  # fmt: skip

    assert trade.id == ID.lower()
    assert (trade.side, trade.order_type) == (Side.SELL, OrderType.LIMIT)
    assert trade.entry_price_quote == Decimal("105400.5")
    assert (trade.stop_loss_quote, trade.take_profit_quote) == (Decimal(105_900), Decimal(104_000))
    assert (trade.leverage, trade.confidence) == (2, Decimal("0.8"))
    assert (trade.trailing, trade.regime) == (True, Regime.RANGING)


def test_numbers_are_read_digit_by_digit() -> None:
    request = request_of('{"at":1.0000005,"symbol":"A/B","side":"buy","size_usd":0.1000000000000000055511151}', 1, 0)

    assert isinstance(request.message, ExecuteTrade)
    assert str(request.message.proposal.size_usd) == "0.1000000000000000055511151"
    assert request.at_us == 1_000_000  # Half a microsecond goes to the even one.


def test_null_is_left_out() -> None:
    assert proposal(id=None, entry_price=None, leverage=None, trailing=None, regime=None) == proposal(
        id=None, entry_price=None, leverage=None, trailing=None, regime=None
    )
    assert proposal(entry_price=None).order_type is OrderType.MARKET


@pytest.mark.parametrize(
    ("price", "wanted", "got"),
    [("1", "market", OrderType.MARKET), ("1", "limit", OrderType.LIMIT), (None, "limit", OrderType.LIMIT)],
)
def test_a_given_order_type_stands(price: str | None, wanted: str, got: OrderType) -> None:
    assert proposal(entry_price=price, order_type=wanted).order_type is got


def test_cancel_and_close_name_their_target_and_have_ids_of_their_own() -> None:
    cancel = request_of(json.dumps({"at": AT, "cancel": ID}), 3, 0).message
    close = request_of(json.dumps({"at": AT, "close": ID}), 4, 0).message

    assert isinstance(cancel, CancelTrade)
    assert isinstance(close, CloseTrade)
    assert cancel.target_id == close.target_id == ID.lower()
    assert len({cancel.request_id, close.request_id, cancel.target_id}) == 3


def test_a_line_without_id_gets_the_same_one_every_time_and_another_on_another_line() -> None:
    text = json.dumps(SMALLEST)

    first, again, below = (request_of(text, line, 0).message for line in (1, 1, 2))

    assert first == again != below
    assert isinstance(first, ExecuteTrade)
    assert str(UUID(first.proposal.id)) == first.proposal.id


@pytest.mark.parametrize("size", ["-500", "0", -1])
def test_what_only_makes_no_sense_is_passed_on(size: Any) -> None:
    """A size below zero can be read; that it is refused is the order actor's rule."""
    assert proposal(size_usd=size, symbol="NO/SUCH", leverage=99).size_usd == Decimal(size)


@pytest.mark.parametrize(
    "text", ["nonsense", "", "[1]", "5", '"x"', "null", "{", '{"at": 1,}', "NaN", "{'at': 1}", "[" * 100_000]
)
def test_what_is_no_json_object_is_unreadable(text: str) -> None:
    message = rejection(request_of(text, 9, 77))

    assert message.code == "UNREADABLE"
    assert message.reason.startswith("line 9: not ")
    assert message.raw == text[:RAW_MAX]


@pytest.mark.parametrize("name", ["symbol", "side", "size_usd", "at"])
@pytest.mark.parametrize("value", ["left out", None])
def test_a_missing_field_is_named(name: str, value: Any) -> None:
    message = rejection(asked(**{name: value}))

    assert message.code == "MISSING_FIELD"
    assert f"{name} is missing" in message.reason


def test_an_unknown_field_is_named() -> None:
    message = rejection(asked(stoploss="1"))

    assert message.code == "UNKNOWN_FIELD"
    assert "'stoploss'" in message.reason
    assert rejection(request_of(json.dumps({"at": AT, "cancel": ID, "close": ID}), 1, 0)).code == "UNKNOWN_FIELD"


@pytest.mark.parametrize("name", ["size_usd", "entry_price", "stop_loss", "take_profit", "confidence", "leverage"])
@pytest.mark.parametrize(
    "value",
    ["NaN", "sNaN", "Infinity", "-inf", "1e400", "1e-400", "1e99999999999999999999", "1_000", "5 0", "x", "", "\u0665",
     "9" * 65, float("nan"), float("inf"), 10**30, True, False, [1], {"a": 1}],
)  # fmt: skip
def test_a_number_that_is_none_or_absurd_is_refused(name: str, value: Any) -> None:
    message = rejection(asked(**{name: value}))

    assert message.code == "BAD_VALUE"
    assert f"{name} is " in message.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", "long"), ("side", "BUY"), ("side", 1), ("side", True),
        ("symbol", 5), ("symbol", "A\nB"), ("symbol", "A\0B"), ("symbol", "\ud800"), ("symbol", "X" * 65),
        ("order_type", "stop-loss"), ("order_type", "fast"), ("regime", "sunny"), ("trailing", 1),
        ("trailing", "true"), ("leverage", 2.5), ("leverage", "two"), ("id", "7"), ("id", 7), ("id", "\ud800"),
        ("id", ""),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: Any) -> None:
    message = rejection(asked(**{name: value}))

    assert message.code == "BAD_VALUE"
    assert message.reason.startswith(f"line 1: {name} is ")
    message.reason.encode()


def test_a_field_that_stands_twice_is_refused() -> None:
    text = '{"at":1,"symbol":"BTC/USDT","side":"buy","side":"sell","size_usd":"1"}'

    assert "'side' stands twice" in rejection(request_of(text, 1, 0)).reason


@pytest.mark.parametrize("at", ["left out", None, "soon", -1, 1e20, "NaN", True, "1e-999999999999999999999", [1]])
def test_without_a_usable_time_the_rejection_is_due_with_the_line_before(at: Any) -> None:
    request = asked(at=at)

    assert request.at_us == 77
    rejection(request)


def test_a_rejection_keeps_the_given_id_where_it_can_be_read() -> None:
    assert rejection(asked(id=ID, size_usd="NaN")).request_id == ID.lower()
    assert rejection(asked(id=ID, at=None)).request_id == ID.lower()
    assert UUID(rejection(asked(id="no", size_usd="NaN")).request_id).version == 5


def test_the_raw_line_can_be_stored() -> None:
    raw = rejection(request_of("\0\ud800" + "x" * 5000, 1, 0)).raw

    assert "\0" not in raw
    assert len(raw.encode()) < 2 * RAW_MAX


def test_a_file_is_read_to_its_end_whatever_its_lines_are(tmp_path: Path) -> None:
    path = tmp_path / "proposals.jsonl"
    good = json.dumps(SMALLEST).encode()
    path.write_bytes(b"\xef\xbb\xbf" + good + b"\r\n\n  \n\xff\xfe\n" + b"[" * 200_000 + b"\nnonsense\n" + good)

    requests = list(read_requests(path))

    assert [request.line for request in requests] == [1, 4, 5, 6, 7]
    assert [type(request.message) for request in requests] == [
        ExecuteTrade,
        RejectRequest,
        RejectRequest,
        RejectRequest,
        ExecuteTrade,
    ]
    assert {request.at_us for request in requests} == {AT * 1_000_000}


def test_a_file_that_cannot_be_read_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProposalFileError, match=r"none\.jsonl: cannot be read: No such file"):
        read_requests(tmp_path / "none.jsonl")
    with pytest.raises(ProposalFileError, match="cannot be read"):
        read_requests(tmp_path)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["at", "id", "symbol", "side", "size_usd", "leverage", "cancel", "close", "trailing", "stop_loss"]
)


@given(st.dictionaries(FIELDS, JSON_VALUES) | st.just(SMALLEST))
def test_any_object_becomes_a_message(fields: dict[str, Any]) -> None:
    request = request_of(json.dumps(fields), 1, 5)

    assert isinstance(request.message, ExecuteTrade | CancelTrade | CloseTrade | RejectRequest)


@given(st.text(st.characters(exclude_characters="\n"), max_size=200))
def test_any_text_becomes_a_message(text: str) -> None:
    request_of(text, 1, 5)


def test_the_same_file_gives_the_same_requests(tmp_path: Path) -> None:
    path = tmp_path / "proposals.jsonl"
    path.write_text("\n".join([json.dumps(SMALLEST), "x", json.dumps({"at": AT + 1, "close": OTHER})]))

    assert list(read_requests(path)) == list(read_requests(path))

"""From a file of proposals to messages: one JSON object a line, and no line can stop the run.

A line is a trade (`symbol`, `side`, `size_usd`, ...), `{"at": ..., "cancel": id}` or `{"at": ..., "close": id}`.
Here a line is judged as text: is it JSON, are the fields there, of the right kind, and numbers that are numbers?
Whether the trade makes sense is for the actors. What cannot be read becomes a RejectRequest that says why.
Pure but for `read_requests`, which opens the file. Read in order: TimedRequest, read_requests(), request_of().
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from uuid import UUID, uuid5

import attrs

from messages.base import ProposalId, Symbol
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

Request = ExecuteTrade | CancelTrade | CloseTrade | RejectRequest

UNREADABLE = "UNREADABLE"
"""Not JSON, not an object, or neither a trade nor a cancel nor a close."""
MISSING_FIELD = "MISSING_FIELD"
UNKNOWN_FIELD = "UNKNOWN_FIELD"
BAD_VALUE = "BAD_VALUE"
"""A field of the wrong kind, or a number that is none or absurd."""

NAMESPACE = UUID("5f0c1d0e-6a5e-4b0e-9c55-2f5f1f6d7a11")
"""Of the ids that lines without one get: the same line at the same place has the same id in every run."""
NUMBER_MAX = Decimal("1e18")
NUMBER_MIN = Decimal("1e-18")
INSTANT_MAX_S = Decimal(32_503_680_000)
"""The year 3000."""
MICROSECOND_S = Decimal("0.000001")
LINE_MAX = 65_536
"""Characters of one line; more is no proposal."""
RAW_MAX = 1_000
"""Characters of a rejected line that are kept."""
NUMBER_TEXT_MAX = 64
TRADE_FIELDS = frozenset({
    "at", "id", "symbol", "side", "size_usd", "entry_price", "stop_loss", "take_profit", "order_type",
    "leverage", "confidence", "trailing", "regime",
})  # fmt: skip
REQUIRED = ("symbol", "side", "size_usd")
ENTRY_TYPES = (OrderType.MARKET, OrderType.LIMIT)

T = TypeVar("T")
Chosen = TypeVar("Chosen", bound=Enum)


class ProposalFileError(Exception):
    """The file itself cannot be read. The text names it and says why."""


@attrs.frozen(kw_only=True)
class TimedRequest:
    """A message for the OrderActor and when it is due on the prices' clock."""

    at_us: int
    line: int
    message: Request

    @property
    def request_id(self) -> ProposalId:
        """The id by which the engine knows the request, so that it is executed once."""
        return self.message.proposal.id if isinstance(self.message, ExecuteTrade) else self.message.request_id


class _RefusedError(Exception):
    """A line cannot be read; carries the code and what is wrong with which field."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def read_requests(path: Path) -> Iterator[TimedRequest]:
    """Return the requests of a file in the order of its lines; they need not be in the order of time.

    A line without a usable `at` is due when the line before it was. Raises ProposalFileError, for a file that
    cannot be opened at once.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ProposalFileError(f"{path}: cannot be read: {error.strerror}; name a file of JSON lines") from error
    return _requests(path)


def _requests(path: Path) -> Iterator[TimedRequest]:
    at_us = 0
    # Bytes that are no text become marks: the line is rejected, the next one counts.
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="\n") as file:
        for number, text in enumerate(_whole_lines(iter(lambda: file.readline(LINE_MAX), "")), start=1):
            if text.strip():
                request = request_of(text.strip(), number, at_us)
                at_us = request.at_us
                yield request


def _whole_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield lines; of one that is longer than LINE_MAX only its beginning, which is no JSON."""
    goes_on = False
    for piece in pieces:
        if not goes_on:
            yield piece
        goes_on = not piece.endswith("\n")


def request_of(text: str, line: int, previous_us: int) -> TimedRequest:
    """Return what one line asks for, or the RejectRequest that says why it cannot be understood."""
    at_us = previous_us
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # Half a surrogate pair is no text anywhere.
    own_id = ProposalId(str(uuid5(NAMESPACE, f"{line}:{text}")))
    try:
        fields = _fields(text)
        own_id = _id(fields["id"], "id") if fields.get("id") is not None else own_id
        at_us = _at_us(fields)
        message = _message(fields, own_id, at_us)
    except _RefusedError as refused:
        reason = f"line {line}: {refused.reason}"
        message = RejectRequest(request_id=own_id, code=refused.code, reason=reason, raw=_storable(text))
    return TimedRequest(at_us=at_us, line=line, message=message)


def _storable(text: str) -> str:
    """Return the beginning of a line as text that a database takes: without NUL."""
    return text[:RAW_MAX].replace("\0", "\\x00")


# The line as an object ---------------------------------------------------------------------------------


def _fields(text: str) -> dict[str, Any]:
    try:
        # Constants (NaN, Infinity) stay words, numbers stay their text: nothing is rounded, nothing overflows.
        value = json.loads(
            text, parse_float=_Number, parse_int=_Number, parse_constant=_Number, object_pairs_hook=_pairs
        )
    except (ValueError, RecursionError) as error:
        raise _RefusedError(UNREADABLE, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _RefusedError(UNREADABLE, "not a JSON object")
    return value


class _Number(str):
    """A number's text, as opposed to a string's."""

    __slots__ = ()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise _RefusedError(BAD_VALUE, f"{_shown(name)} stands twice")
        fields[name] = value
    return fields


def _message(fields: Mapping[str, Any], own_id: ProposalId, at_us: int) -> Request:
    if "cancel" in fields:
        return CancelTrade(request_id=own_id, target_id=_target(fields, "cancel"))
    if "close" in fields:
        return CloseTrade(request_id=own_id, target_id=_target(fields, "close"))
    return ExecuteTrade(proposal=_proposal(fields, own_id, at_us))


def _target(fields: Mapping[str, Any], verb: str) -> ProposalId:
    _only(fields, frozenset({"at", "id", verb}))
    return _id(fields[verb], verb)


def _proposal(fields: Mapping[str, Any], own_id: ProposalId, at_us: int) -> TradeProposal:
    _only(fields, TRADE_FIELDS)
    for name in REQUIRED:
        if fields.get(name) is None:
            raise _RefusedError(MISSING_FIELD, f"{name} is missing")
    entry_price = _optional(fields, "entry_price", _money)
    usual = OrderType.MARKET if entry_price is None else OrderType.LIMIT
    return TradeProposal(
        id=own_id,
        at_us=at_us,
        symbol=Symbol(_text(fields["symbol"], "symbol")),
        side=_one_of(fields["side"], "side", Side),
        size_usd=_money(fields["size_usd"], "size_usd"),
        order_type=_optional(fields, "order_type", _order_type) or usual,
        entry_price_quote=entry_price,
        stop_loss_quote=_optional(fields, "stop_loss", _money),
        take_profit_quote=_optional(fields, "take_profit", _money),
        leverage=_optional_or(fields, "leverage", _whole, 1),
        confidence=_optional(fields, "confidence", _money),
        trailing=_optional_or(fields, "trailing", _truth, False),  # noqa: FBT003 - a JSON value.
        regime=_optional_or(fields, "regime", _regime, Regime.UNKNOWN),
    )


def _only(fields: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in fields:
        if name not in known:
            raise _RefusedError(UNKNOWN_FIELD, f"unknown field {_shown(name)}; known: {', '.join(sorted(known))}")


# One field -----------------------------------------------------------------------------------------------


def _optional(fields: Mapping[str, Any], name: str, read: Callable[[Any, str], T]) -> T | None:
    """Return the field, None when it is left out or null."""
    value = fields.get(name)
    return None if value is None else read(value, name)


def _optional_or(fields: Mapping[str, Any], name: str, read: Callable[[Any, str], T], usual: T) -> T:
    value = _optional(fields, name, read)
    return usual if value is None else value


def _money(value: Any, name: str) -> Decimal:
    """Read a number or its text. Zero and below pass: whether they make sense is the order actor's to say."""
    number = _decimal(value, name)
    if number and not NUMBER_MIN <= abs(number) <= NUMBER_MAX:
        raise _RefusedError(BAD_VALUE, f"{name} is {_shown(value)}; its size must be between 1e-18 and 1e18")
    return number


def _decimal(value: Any, name: str) -> Decimal:
    if not isinstance(value, str) or len(value) > NUMBER_TEXT_MAX or not value.isascii():
        _refuse(value, name, "a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or "_" in value:
        _refuse(value, name, "a finite number")
    return number


def _whole(value: Any, name: str) -> int:
    number = _money(value, name)
    if number != number.to_integral_value():
        _refuse(value, name, "a whole number")
    return int(number)


def _at_us(fields: Mapping[str, Any]) -> int:
    """Read `at`: unix seconds, with a fraction if wanted."""
    if fields.get("at") is None:
        raise _RefusedError(MISSING_FIELD, "at is missing; give the unix time in seconds")
    seconds = _decimal(fields["at"], "at")
    if not 0 <= seconds <= INSTANT_MAX_S:
        _refuse(fields["at"], "at", "a unix time in seconds")
    return int(seconds.quantize(MICROSECOND_S, ROUND_HALF_EVEN).scaleb(6))


def _id(value: Any, name: str) -> ProposalId:
    try:
        return ProposalId(str(UUID(_text(value, name))))
    except ValueError:
        _refuse(value, name, "a UUID")


def _order_type(value: Any, name: str) -> OrderType:
    order_type = _one_of(value, name, OrderType)
    if order_type not in ENTRY_TYPES:
        _refuse(value, name, "market or limit")
    return order_type


def _regime(value: Any, name: str) -> Regime:
    return _one_of(value, name, Regime)


def _one_of(value: Any, name: str, kind: type[Chosen]) -> Chosen:
    try:
        return kind(_text(value, name))
    except ValueError:
        _refuse(value, name, " or ".join(str(member.value) for member in kind))


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        _refuse(value, name, "true or false")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or isinstance(value, _Number) or len(value) > NUMBER_TEXT_MAX:
        _refuse(value, name, "a short text")
    if not value.isprintable():
        _refuse(value, name, "plain text")
    return value


def _refuse(value: Any, name: str, wanted: str) -> NoReturn:
    raise _RefusedError(BAD_VALUE, f"{name} is {_shown(value)}; it must be {wanted}")


def _shown(value: Any) -> str:
    """Return a value for people: short, on one line, a number without quotation marks."""
    shown = str(value) if isinstance(value, _Number) else ascii(value)
    return shown if len(shown) <= NUMBER_TEXT_MAX else f"{shown[:NUMBER_TEXT_MAX]}..."

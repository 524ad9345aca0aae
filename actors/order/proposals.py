"""Is this proposal a trade at all? Checks that need no opinion: those are risk's.

Read in order: problems(), price_problems(), then how a request is written down and read back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from messages.base import ProposalId, Symbol
from messages.market import Instrument
from messages.trades import ChangeProtection, OrderType, Regime, RequestRow, Side, TradeProposal

Problem = tuple[str, str]
"""A code and a sentence with the numbers."""

ZERO = Decimal(0)
MAGNITUDE_MAX = Decimal(1_000_000_000_000_000)
ENTRY_TYPES = (OrderType.MARKET, OrderType.LIMIT)


def problems(proposal: TradeProposal, instruments: Mapping[Symbol, Instrument]) -> tuple[Problem, ...]:
    """Return what is wrong with the proposal by itself."""
    found: list[Problem] = []
    instrument = instruments.get(proposal.symbol)
    if instrument is None:
        known = ", ".join(sorted(instruments))
        found.append(("UNKNOWN_SYMBOL", f"symbol {proposal.symbol} is not configured; known: {known}"))
    found += amount_problems(_amounts(proposal))
    limit = proposal.entry_price_quote
    if instrument and limit is not None and limit.is_finite() and 0 < limit < instrument.price_tick_quote:
        found.append(("BAD_VALUE", f"entry_price {limit} is below one tick of {instrument.price_tick_quote}"))
    if proposal.order_type not in ENTRY_TYPES:
        found.append(("BAD_VALUE", f"order_type {proposal.order_type.value} cannot enter; use market or limit"))
    if (proposal.order_type is OrderType.LIMIT) and proposal.entry_price_quote is None:
        found.append(("BAD_VALUE", "a limit order needs entry_price"))
    if proposal.leverage < 1 or (instrument and proposal.leverage > instrument.leverage_max):
        highest = instrument.leverage_max if instrument else "?"
        found.append(("BAD_VALUE", f"leverage is {proposal.leverage}; it must be from 1 to {highest}"))
    if proposal.side is Side.SELL and proposal.leverage == 1:
        found.append(("SHORT_NEEDS_LEVERAGE", "a short is borrowed: it needs leverage of at least 2"))
    confidence = proposal.confidence
    if confidence is not None and not (confidence.is_finite() and 0 <= confidence <= 1):
        found.append(("BAD_VALUE", f"confidence is {confidence}; it must be from 0 to 1"))
    return tuple(found)


def amount_problems(amounts: Iterable[tuple[str, Decimal]]) -> list[Problem]:
    """Return which of the named amounts is no amount of money or no price."""
    return [
        ("BAD_VALUE", f"{name} is {value}; it must be above 0 and at most {MAGNITUDE_MAX:,f}")
        for name, value in amounts
        if not value.is_finite() or value <= 0 or value > MAGNITUDE_MAX
    ]


def _amounts(proposal: TradeProposal) -> list[tuple[str, Decimal]]:
    optional = (
        ("entry_price", proposal.entry_price_quote),
        ("stop_loss", proposal.stop_loss_quote),
        ("take_profit", proposal.take_profit_quote),
    )
    return [("size_usd", proposal.size_usd), *((name, value) for name, value in optional if value is not None)]


def price_problems(proposal: TradeProposal, last_price_quote: Decimal) -> tuple[Problem, ...]:
    """Return what is wrong with its levels, seen from where it would enter."""
    entry = proposal.entry_price_quote if proposal.order_type is OrderType.LIMIT else None
    return level_problems(
        proposal.side, entry or last_price_quote, proposal.stop_loss_quote, proposal.take_profit_quote
    )


def level_problems(
    side: Side, price_quote: Decimal, stop_loss_quote: Decimal | None, take_profit_quote: Decimal | None
) -> tuple[Problem, ...]:
    """Return which level is on the wrong side of `price_quote` for a position entered by `side`."""
    found: list[Problem] = []
    sign = 1 if side is Side.BUY else -1
    below, above = ("below", "above") if side is Side.BUY else ("above", "below")
    if stop_loss_quote is not None and (price_quote - stop_loss_quote) * sign <= 0:
        found.append(
            ("STOP_WRONG_SIDE", f"stop_loss {stop_loss_quote} must be {below} {price_quote} for a {side.value}")
        )
    if take_profit_quote is not None and (take_profit_quote - price_quote) * sign <= 0:
        found.append(
            ("TARGET_WRONG_SIDE", f"take_profit {take_profit_quote} must be {above} {price_quote} for a {side.value}")
        )
    return tuple(found)


# Changed levels ---------------------------------------------------------------------------------------


def changed(proposal: TradeProposal, change: ChangeProtection) -> TradeProposal:
    """Return the proposal with the levels of `change`; None leaves a level as it is."""
    stop, target, trailing = change.stop_loss_quote, change.take_profit_quote, change.trailing
    return attrs.evolve(
        proposal,
        stop_loss_quote=proposal.stop_loss_quote if stop is None else stop,
        take_profit_quote=proposal.take_profit_quote if target is None else target,
        trailing=proposal.trailing if trailing is None else trailing,
    )


def change_problems(change: ChangeProtection) -> tuple[Problem, ...]:
    """Return what is wrong with changed levels by themselves."""
    named = (("stop_loss", change.stop_loss_quote), ("take_profit", change.take_profit_quote))
    return tuple(amount_problems([(name, value) for name, value in named if value is not None]))


def change_row(
    change: ChangeProtection,
    at_us: int,
    verdict: str,
    codes: tuple[str, ...] = (),
    reasons: tuple[str, ...] = (),
    *,
    stop_before_quote: Decimal | None = None,
) -> RequestRow:
    """Return the row that keeps changed levels with what became of them, and the stop as it was before."""
    body = {
        "target": change.target_id,
        "stop_loss": _text(change.stop_loss_quote),
        "take_profit": _text(change.take_profit_quote),
        "trailing": change.trailing,
        "stop_before": _text(stop_before_quote),
    }
    return RequestRow(
        id=change.request_id,
        kind="protect",
        at_us=at_us,
        symbol="",
        body=json.dumps(body),
        verdict=verdict,
        codes=codes,
        reasons=reasons,
    )


def stops_in_row(row: RequestRow) -> tuple[Decimal, ...]:
    """Return the stops that `change_row` wrote down: as it was before, and as it was to be."""
    body: dict[str, Any] = json.loads(row.body)
    levels = (_decimal(body.get(name)) for name in ("stop_before", "stop_loss"))
    return tuple(level for level in levels if level is not None)


def change_from_row(row: RequestRow) -> ChangeProtection:
    """Return the change that `change_row` wrote down."""
    body: dict[str, Any] = json.loads(row.body)
    return ChangeProtection(
        request_id=row.id,
        target_id=ProposalId(body["target"]),
        stop_loss_quote=_decimal(body["stop_loss"]),
        take_profit_quote=_decimal(body["take_profit"]),
        trailing=body["trailing"],
    )


# How a request is kept --------------------------------------------------------------------------------


def request_row(
    proposal: TradeProposal,
    verdict: str,
    codes: tuple[str, ...] = (),
    reasons: tuple[str, ...] = (),
    exposure_usd: Decimal = ZERO,
) -> RequestRow:
    """Return the row that keeps a proposal with what became of it."""
    return RequestRow(
        id=proposal.id,
        kind="trade",
        at_us=proposal.at_us,
        symbol=proposal.symbol,
        body=as_json(proposal, exposure_usd),
        verdict=verdict,
        codes=codes,
        reasons=reasons,
    )


def as_json(proposal: TradeProposal, exposure_usd: Decimal = ZERO) -> str:
    """Return the proposal as JSON, money as strings."""
    return json.dumps(
        {
            "at_us": proposal.at_us,
            "symbol": proposal.symbol,
            "side": proposal.side.value,
            "size_usd": str(proposal.size_usd),
            "order_type": proposal.order_type.value,
            "entry_price": _text(proposal.entry_price_quote),
            "stop_loss": _text(proposal.stop_loss_quote),
            "take_profit": _text(proposal.take_profit_quote),
            "leverage": proposal.leverage,
            "confidence": _text(proposal.confidence),
            "trailing": proposal.trailing,
            "regime": proposal.regime.value,
            "exposure_usd": str(exposure_usd),
        }
    )


def from_row(row: RequestRow) -> TradeProposal:
    """Return the proposal that `request_row` wrote down."""
    body: dict[str, Any] = json.loads(row.body)
    return TradeProposal(
        id=ProposalId(row.id),
        at_us=body["at_us"],
        symbol=Symbol(body["symbol"]),
        side=Side(body["side"]),
        size_usd=Decimal(body["size_usd"]),
        order_type=OrderType(body["order_type"]),
        entry_price_quote=_decimal(body["entry_price"]),
        stop_loss_quote=_decimal(body["stop_loss"]),
        take_profit_quote=_decimal(body["take_profit"]),
        leverage=body["leverage"],
        confidence=_decimal(body["confidence"]),
        trailing=body["trailing"],
        regime=Regime(body["regime"]),
    )


def reserved_usd(row: RequestRow) -> Decimal:
    """Return what risk reserved for the trade of this row, in account money."""
    return Decimal(json.loads(row.body)["exposure_usd"])


def _text(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)

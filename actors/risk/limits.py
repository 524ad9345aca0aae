"""The rules at review, as data and as functions. Each finds something wrong, or nothing.

Rule: RULES is the whole list, in order; a new rule is a function and a line in it.
Read in order: Finding, Circumstances, the rules, RULES, judge().
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs

from actors.risk.funds import Claim, OwnFunds
from actors.risk.reservations import Reservations
from config.settings import RiskSettings
from messages.risk import RiskState, TradingState
from messages.trades import ReviewTrade, Side, TradeProposal

ONE_HUNDRED = Decimal(100)


@attrs.frozen
class Finding:
    """Why a trade may not happen: a code, and a sentence with the numbers."""

    code: str
    text: str


@attrs.frozen(kw_only=True)
class Circumstances:
    """Everything a rule may look at besides the trade."""

    state: RiskState
    reservations: Reservations
    claim: Claim
    """The trade's own, on the balances of the account."""
    late: tuple[Claim, ...]
    """Of trades that were over a moment ago: a fill of theirs may still be told."""
    own_funds: OwnFunds
    equity_usd: Decimal
    settings: RiskSettings
    now_us: int


Rule = Callable[[ReviewTrade, Circumstances], Finding | None]


def trading_state(_review: ReviewTrade, now: Circumstances) -> Finding | None:
    """HALTED opens nothing, REDUCING only what shrinks exposure, and a proposal never does."""
    state = now.state
    if state.trading_state is TradingState.ACTIVE:
        return None
    code = "TRADING_HALTED" if state.trading_state is TradingState.HALTED else "TRADING_REDUCING"
    return Finding(code, f"trading is {state.trading_state.value}: {state.halt_reason}")


def cooldown(_review: ReviewTrade, now: Circumstances) -> Finding | None:
    """After results, openings pause."""
    left_us = now.state.cooldown_until_us - now.now_us
    if left_us <= 0:
        return None
    return Finding("IN_COOLDOWN", f"{left_us // 1_000_000} s left of the cooldown after {now.state.cooldown_reason}")


def short_on_margin(review: ReviewTrade, _now: Circumstances) -> Finding | None:
    """A short is borrowed. Without leverage left it would sell coins that we own for something else."""
    if review.proposal.side is Side.BUY or review.proposal.leverage > 1:
        return None
    return Finding("SHORT_NEEDS_LEVERAGE", "a short needs leverage of at least 2, and 1 is left")


def opposite_position(review: ReviewTrade, now: Circumstances) -> Finding | None:
    """The exchange nets margin positions of a pair: the opposite is refused, not silently netted."""
    proposal = review.proposal
    if not now.reservations.count(proposal.symbol, proposal.side.opposite):
        return None
    return Finding("OPPOSITE_POSITION", f"{proposal.symbol} has an open trade the other way")


def funds_in_use(_review: ReviewTrade, now: Circumstances) -> Finding | None:
    """The coins of one position never pay for another trade: they must be there when their stop is reached.

    Nobody tells how much of a balance is free at the instant of a fill, and an entry may fill at any time. So a trade
    that is paid with what another one holds is refused, whichever of them comes first.
    """
    claim = now.claim
    if now.reservations.holding(claim.spends) or any(late.holds == claim.spends for late in now.late):
        return Finding("FUNDS_IN_USE", f"it would be paid with {claim.spends} that an open trade holds")
    is_spent = now.reservations.spending(claim.holds) if claim.holds is not None else 0
    if is_spent or any(late.spends == claim.holds for late in now.late):
        return Finding("FUNDS_IN_USE", f"an open trade is paid with the {claim.holds} that this one would hold")
    return None


def funds_owed(_review: ReviewTrade, now: Circumstances) -> Finding | None:
    """Where trades have lost more of a currency than there was, what is bought of it fills the hole first."""
    holds = now.claim.holds
    owed = Decimal(0) if holds is None else now.own_funds.owed(holds)
    if not owed:
        return None
    return Finding("FUNDS_OWED", f"trades have lost {owed:f} {holds} more than the account had: it would be missing")


def positions_per_symbol(review: ReviewTrade, now: Circumstances) -> Finding | None:
    """So many trades of one symbol at once, long or short."""
    taken, most = now.reservations.count(review.proposal.symbol), now.settings.limits.positions_per_symbol_max
    if taken < most:
        return None
    return Finding("POSITION_LIMIT_SYMBOL", f"{review.proposal.symbol} has {taken} of {most} trades")


def positions_total(_review: ReviewTrade, now: Circumstances) -> Finding | None:
    """So many trades at once."""
    taken, most = len(now.reservations), now.settings.limits.positions_total_max
    if taken < most:
        return None
    return Finding("POSITION_LIMIT_TOTAL", f"{taken} of {most} trades are open")


def exposure(review: ReviewTrade, now: Circumstances) -> Finding | None:
    """Notional of all trades, this one included, as a share of equity."""
    if review.quote_usd is None:
        return Finding("NO_RATE", f"what {review.proposal.symbol} is quoted in has no price in account money")
    total_usd = now.reservations.exposure_usd + notional_usd(review)
    most_usd = now.equity_usd * now.settings.limits.exposure_max_pct / ONE_HUNDRED
    if total_usd <= most_usd:
        return None
    return Finding("EXPOSURE_LIMIT", f"exposure would be {total_usd:.2f} of at most {most_usd:.2f}")


RULES: tuple[Rule, ...] = (
    trading_state,
    cooldown,
    short_on_margin,
    opposite_position,
    funds_in_use,
    funds_owed,
    positions_per_symbol,
    positions_total,
    exposure,
)


def notional_usd(review: ReviewTrade) -> Decimal:
    """Return own funds x leverage in account money."""
    rate = review.quote_usd if review.quote_usd is not None else Decimal(0)
    return review.proposal.size_usd * review.proposal.leverage * rate


def judge(review: ReviewTrade, now: Circumstances) -> tuple[Finding, ...]:
    """Return everything that speaks against the trade; nothing means yes."""
    findings = (rule(review, now) for rule in RULES)
    return tuple(finding for finding in findings if finding is not None)


def reduced(proposal: TradeProposal, settings: RiskSettings) -> tuple[TradeProposal, tuple[str, ...]]:
    """Return the proposal within the leverage limit, and what was changed. Never larger, never more leveraged."""
    most = settings.limits.leverage_max
    if proposal.leverage <= most:
        return proposal, ()
    change = f"LEVERAGE_REDUCED: {proposal.leverage} to {most}"
    return attrs.evolve(proposal, leverage=most), (change,)

"""Values for the tests of the risk room."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from actors.risk.funds import Claim, OwnFunds
from actors.risk.limits import Circumstances
from actors.risk.reservations import Reservation, Reservations
from config.settings import CooldownSettings, LimitSettings, RiskSettings
from messages.base import Currency, ProposalId, Symbol
from messages.risk import RiskState
from messages.trades import ReviewTrade, Side
from tests.order.values import BTC, a_proposal

NOW_US = 1_000_000_000


def a_review(quote_usd: Decimal | None = Decimal(1), **changes: Any) -> ReviewTrade:
    return ReviewTrade(
        proposal=a_proposal(**changes), price_quote=Decimal(100_000), price_at_us=NOW_US, quote_usd=quote_usd
    )


def the_settings(**limits: Any) -> RiskSettings:
    return RiskSettings(limits=LimitSettings(**limits), cooldowns=CooldownSettings())


def taken(*trades: tuple[Symbol, Side, int]) -> Reservations:
    reservations = Reservations()
    for number, (symbol, side, exposure) in enumerate(trades):
        reservations.take(
            Reservation(
                trade_id=ProposalId(f"earlier-{number}"),
                symbol=symbol,
                side=side,
                exposure_usd=Decimal(exposure),
                claim=a_claim(symbol),
            )
        )
    return reservations


def a_claim(symbol: Symbol, *, leverage: int = 2) -> Claim:
    base, _slash, quote = symbol.partition("/")
    return Claim(spends=Currency(quote), holds=Currency(base) if leverage == 1 else None)


def circumstances(**changes: Any) -> Circumstances:
    fields: dict[str, Any] = {
        "state": RiskState(), "reservations": Reservations(), "equity_usd": Decimal(10_000),
        "settings": the_settings(), "now_us": NOW_US, "claim": a_claim(BTC), "own_funds": OwnFunds(), "late": (),
    }  # fmt: skip
    return Circumstances(**{**fields, **changes})


__all__ = ["BTC", "NOW_US", "a_claim", "a_review", "circumstances", "taken", "the_settings"]

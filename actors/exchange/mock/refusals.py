"""What the exchange says when it says no, in Kraken's own words, and which "no" may be tried again."""

from __future__ import annotations

from typing import Final

UNKNOWN_PAIR: Final = "EQuery:Unknown asset pair"
ORDER_MINIMUM: Final = "EOrder:Order minimum not met"
COST_MINIMUM: Final = "EOrder:Cost minimum not met"
TICK_SIZE: Final = "EOrder:Tick size check failed"
BAD_VOLUME: Final = "EGeneral:Invalid arguments:volume"
BAD_PRICE: Final = "EGeneral:Invalid arguments:price"
BAD_LIMIT: Final = "EOrder:Invalid limit price"
BAD_LEVERAGE: Final = "EGeneral:Invalid arguments:leverage"
BAD_EXPIRY: Final = "EGeneral:Invalid arguments:expiretm"
BAD_REDUCE_ONLY: Final = "EGeneral:Invalid arguments:reduce_only"
ID_NOT_UNIQUE: Final = "EGeneral:Invalid arguments:cl_ord_id not unique"
INSUFFICIENT_FUNDS: Final = "EOrder:Insufficient funds"
INSUFFICIENT_MARGIN: Final = "EOrder:Insufficient margin"
OPPOSING_POSITION: Final = "EOrder:Cannot open opposing position"
NO_POSITION: Final = "EOrder:Reduce only:No position exists"
POSITION_IS_CLOSED: Final = "EOrder:Reduce only:Position is closed"
UNKNOWN_ORDER: Final = "EOrder:Unknown order"
DEADLINE_ELAPSED: Final = "EService:Deadline elapsed"
UNAVAILABLE: Final = "EService:Unavailable"

POST_ONLY: Final = "Post only order"
USER_REQUESTED: Final = "User requested"
IMMEDIATE_OR_CANCEL: Final = "Immediate or cancel"
EXPIRED: Final = "Order expired"
BELOW_FILLED: Final = "Volume amended to what had filled"
LIQUIDATED: Final = "Position liquidated"

_PASSING: Final = (
    "EService:",
    "EAPI:Rate limit exceeded",
    "EOrder:Rate limit exceeded",
    "EOrder:Orders limit exceeded",
    "EGeneral:Temporary lockout",
    "EGeneral:Too many requests",
)
"""Beginnings of refusals that blame the moment, not the order."""


def may_retry(reason: str) -> bool:
    """Say whether the same wish may succeed later: throttles, maintenance and the like."""
    return reason.startswith(_PASSING)

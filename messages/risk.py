"""Trading state and what the risk engine remembers."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import ClassVar

import attrs

from messages.base import Command, Event


class TradingState(Enum):
    """What may be opened: anything, only what shrinks exposure, nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


@attrs.frozen(kw_only=True)
class RiskState:
    """What risk remembers across a restart. Reservations are not here: they follow from orders and positions."""

    trading_state: TradingState = TradingState.ACTIVE
    halt_reason: str = ""
    losses_in_a_row: int = 0
    wins_in_a_row: int = 0
    cooldown_until_us: int = 0
    cooldown_reason: str = ""
    realised_usd: Decimal = Decimal(0)
    updated_at_us: int = 0


@attrs.frozen(kw_only=True)
class SetTradingState(Command):
    """Halt, reduce or resume; the reason and the person are kept."""

    state: TradingState
    reason: str
    operator: str

    log_level: ClassVar[str | None] = "WARNING"


@attrs.frozen(kw_only=True)
class TradingStateChanged(Event):
    """What may be opened has changed."""

    state: TradingState
    reason: str

    log_level: ClassVar[str | None] = "WARNING"

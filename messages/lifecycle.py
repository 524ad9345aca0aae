"""Start, stop and failure of the engine and its actors."""

from __future__ import annotations

from typing import ClassVar

import attrs

from messages.base import Command, Event


@attrs.frozen(kw_only=True)
class StartEngine(Command):
    """Load the journal, reconcile, and only then take proposals."""


@attrs.frozen(kw_only=True)
class OrdersReconciled(Event):
    """Every order that the journal knew has been compared with the exchange."""

    orders: int
    repaired: int

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class EngineReady(Event):
    """Proposals are taken from now on."""

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class DrainEngine(Command):
    """Take nothing new, let what is in flight settle, commit, and say EngineDrained."""


@attrs.frozen(kw_only=True)
class StopOpening(Event):
    """No new trade from now on; what protects and closes goes on."""


@attrs.frozen(kw_only=True)
class EngineDrained(Event):
    """Nothing is in flight and everything is committed."""

    log_level: ClassVar[str | None] = "INFO"


@attrs.frozen(kw_only=True)
class ExchangeRefusesUs(Event):
    """The exchange will refuse every call until a person has changed the key, its rights or the account."""

    reason: str

    log_level: ClassVar[str | None] = "ERROR"


@attrs.frozen(kw_only=True)
class ActorFailed(Event):
    """An actor hit what it did not expect and has stopped."""

    role: str
    reason: str

    log_level: ClassVar[str | None] = "ERROR"

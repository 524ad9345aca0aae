"""What has to be known before anything is believed: the answers that a start waits for, and what was said meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from messages.base import Message, OrderId, Symbol, TradeId
from messages.orders import ExecutionReported, Fill, OrderFound, OrdersPolled


@attrs.define(kw_only=True)
class Unknown:
    """An order with an id of ours that nobody here knows."""

    symbol: Symbol
    at_us: int
    """When it was placed, or traded first as far as we have heard."""


@attrs.define(kw_only=True)
class Survey:
    """The questions that are out. Over when there are none left."""

    began_at_us: int = 0
    answered_at_us: int = 0
    """When the exchange last answered one."""
    is_loaded: bool = False
    """Whether the journal has told what it knows."""
    owes_account: bool = True
    owes_poll: bool = True
    known: set[OrderId] = attrs.field(factory=set)
    """Orders of the journal that are being looked up."""
    unknown: dict[OrderId, Unknown] = attrs.field(factory=dict)
    """Orders that it has forgotten, and that are being looked up."""
    asked_at_us: dict[OrderId, int] = attrs.field(factory=dict)
    """When each look-up left."""
    found: dict[OrderId, OrderFound] = attrs.field(factory=dict)
    """What the exchange says of the forgotten ones."""
    put_off: list[Message] = attrs.field(factory=list)
    """What was said meanwhile, in order."""
    is_told: bool = False
    """Whether a person knows that it takes too long."""

    @property
    def is_over(self) -> bool:
        """Whether every question is answered."""
        return self.is_loaded and not (self.owes_account or self.owes_poll or self.known or self.unknown)

    def fills(self) -> Iterable[Fill]:
        """Return every execution that has been told, once."""
        told: dict[TradeId, Fill] = {}
        for message in self.put_off:
            match message:
                case OrdersPolled() | OrderFound():
                    told |= {fill.trade_id: fill for fill in message.fills}
                case ExecutionReported():
                    told[message.fill.trade_id] = message.fill
                case _:
                    pass
        return told.values()

    def in_order(self) -> Iterable[Message]:
        """Return what was said, as it is to be believed: trades as they happened, then states, then the rest."""
        polls = [message for message in self.put_off if isinstance(message, OrdersPolled)]
        others = [message for message in self.put_off if not isinstance(message, OrdersPolled)]
        return (*polls, *self.found.values(), *others)

"""What every message has: an id, its cause, and the trade that it belongs to.

Read in order: Message, stamp(), Command, Event, Query.
"""

from __future__ import annotations

from typing import ClassVar, NewType, Self

AccountName = NewType("AccountName", str)
"""Which account's rows: one engine owns one account."""
Symbol = NewType("Symbol", str)
"""A pair as people write it: base, slash, quote ("BTC/USDT")."""
Currency = NewType("Currency", str)
ProposalId = NewType("ProposalId", str)
"""The trade: a proposal's UUID, canonical lower-case text. The correlation id of all that follows from it."""
NO_TRADE = ProposalId("")
"""Said where a message belongs to no trade although its cause does."""
OrderId = NewType("OrderId", str)
"""Our UUID of one intent; the exchange knows it as `cl_ord_id`."""
PositionId = NewType("PositionId", str)
ExternalOrderId = NewType("ExternalOrderId", str)
"""The exchange's own id of an order."""
TradeId = NewType("TradeId", str)
"""The exchange's id of one execution: the only safe key of a fill."""

UNSTAMPED = 0
"""The id of a message that nobody has sent yet."""


class Message:
    """The root of every message. Subclasses are frozen attrs values.

    `id`, `caused_by` and `proposal_id` are not fields: they say when and why a message was said, not what,
    so they take no part in equality and a test compares what was said alone.
    """

    __slots__ = ("__weakref__", "caused_by", "id", "proposal_id")

    log_level: ClassVar[str | None] = None
    """The level of the one log line this message is worth as it passes; None for no line."""
    conflates: ClassVar[bool] = False
    """Whether unread messages of this type with the same key are merged into one while they queue."""

    id: int
    caused_by: int
    proposal_id: ProposalId | None

    def conflation_key(self) -> str:
        """Return what makes two queued messages of this type one."""
        raise TypeError(f"{type(self).__name__} is not conflated")

    def merged_with(self, later: Self) -> Self:
        """Return one message that says what this one and `later` say."""
        raise TypeError(f"{type(self).__name__} is not conflated: {later!r} stands for itself")


# The slots' own setters: a frozen class has no other way in, and these are the shortest.
_set_id = Message.__dict__["id"].__set__
_set_caused_by = Message.__dict__["caused_by"].__set__
_set_proposal_id = Message.__dict__["proposal_id"].__set__


def stamp(message: Message, id_: int, caused_by: int, proposal_id: ProposalId | None) -> None:
    """Mark a message as said: once, by the switchboard, before anyone reads it."""
    _set_id(message, id_)
    _set_caused_by(message, caused_by)
    _set_proposal_id(message, proposal_id)


class Command(Message):
    """A wish, verb first. Exactly one actor hears it."""

    __slots__ = ()


class Event(Message):
    """A fact, worded as something that has happened. Any number of actors hear it."""

    __slots__ = ()


class Query(Message):
    """A question that changes nothing. One actor hears it and an event answers it."""

    __slots__ = ()

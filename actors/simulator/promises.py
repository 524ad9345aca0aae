"""What was asked for and what was promised, held against what is sent, kept and resting on the exchange.

A trader's fears, one check each: levels that nobody asked for, more on sale than is held, a wish that was taken and
forgotten, an alarm that nobody heard. None of them shares arithmetic with the engine.
Read in order: Promises, what is noted, the checks of what leaves, then unkept() and the other looks at a quiet engine.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from actors.audit import PROTECTIVE, may_be_dust
from actors.exchange.mock.books import Books
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from actors.risk.actor import RiskSummary
from actors.runtime.simulation.pace import SECOND_US
from config.settings import Settings
from messages.base import Message, OrderId, PositionId, ProposalId, Symbol
from messages.journal import JournalLoaded
from messages.lifecycle import StartEngine
from messages.market import Instrument
from messages.orders import AmendOrder, OrderIntent, OrderRefused, OrderRole, PlaceOrder
from messages.positions import Position, PositionChanged, PositionSide, PositionStatus
from messages.trades import ChangeProtection, ExecuteTrade, Side, TradeApproved, TradeEnded
from persistence.memory import MemoryJournal

if TYPE_CHECKING:
    from actors.simulator.stage import Stage

ZERO, ONE_HUNDRED = Decimal(0), Decimal(100)
LATE_US = 60 * SECOND_US
"""What is due may be so late: timers oversleep, and a permit has to be waited for."""


Holding = tuple[Symbol, bool, Side]
"""What was bought or sold, on margin or outright."""


class Judge(Protocol):
    """What this module asks of the watch."""

    books: Books | None

    @property
    def held(self) -> Mapping[PositionId, Decimal]:
        """What fills have left of each position."""
        ...

    @property
    def alive(self) -> Mapping[ProposalId, Symbol]:
        """The trades that hold a slot."""
        ...

    def breaks(self, invariant: str, text: str) -> None:
        """Note that an invariant is broken."""
        ...


@attrs.frozen
class Levels:
    """Every stop and target that was ever named."""

    stops: set[Decimal | None] = attrs.field(factory=set)
    targets: set[Decimal | None] = attrs.field(factory=set)

    def note(self, stop_quote: Decimal | None, target_quote: Decimal | None) -> None:
        """Keep both."""
        self.stops.add(stop_quote)
        self.targets.add(target_quote)

    def of(self, role: OrderRole) -> Iterable[Decimal]:
        """Return the levels that an order of this role may stand for."""
        found = self.stops if role is OrderRole.STOP else self.targets
        return (level for level in found if level is not None)


class Promises:
    """Remembers what was asked for. It outlives the engine, as strategies do."""

    def __init__(self, judge: Judge, settings: Settings, kept: MemoryJournal) -> None:
        self._judge = judge
        self._settings = settings
        self._instruments: Mapping[Symbol, Instrument] = settings.execution.instruments
        self._kept = kept
        self._asked: defaultdict[ProposalId, Levels] = defaultdict(Levels)
        self._changes: dict[ProposalId, ChangeProtection] = {}
        """What was asked to be changed, by the request's id."""
        self._told: defaultdict[PositionId, Levels] = defaultdict(Levels)
        self._sent: dict[OrderId, OrderIntent] = {}
        self._handed_in: dict[ProposalId, None] = {}
        """To the engine that runs now."""
        self._without_target: set[PositionId] = set()
        """Positions whose target the exchange does not take, by its word to the engine that runs now."""
        self._reserved: dict[ProposalId, Decimal] = {}
        self._ended: set[ProposalId] = set()
        self._was_revived = False
        """Whether the engine that runs now has reserved anew for a trade that it had released."""
        self.checks: Mapping[type[Message], Callable[[Any], None]] = {
            StartEngine: self._starting,
            JournalLoaded: self._recovering,
            ExecuteTrade: self._taking,
            TradeApproved: self._approving,
            TradeEnded: self._ending,
            ChangeProtection: self._asking,
            PositionChanged: self._telling,
            OrderRefused: self._refusing,
            PlaceOrder: self._placing,
            AmendOrder: self._amending,
        }

    # What is noted --------------------------------------------------------------------------------

    def _starting(self, _message: StartEngine) -> None:
        """Whoever handed something in to an engine that died has to ask again."""
        self._handed_in.clear()
        self._without_target.clear()

    def _recovering(self, _message: JournalLoaded) -> None:
        kept = self._kept
        self._ended = {order.intent.proposal_id for order in kept.orders.values()}  # A late fill may revive them.
        self._ended -= {order.intent.proposal_id for order in kept.orders.values() if not order.is_over}
        self._ended -= {position.proposal_id for position in kept.positions.values() if not position.is_over}
        self._was_revived = False
        for position in self._kept.positions.values():
            self._told[position.id].note(position.stop_loss_quote, position.take_profit_quote)

    def _taking(self, message: ExecuteTrade) -> None:
        self._handed_in[message.proposal.id] = None

    def _approving(self, message: TradeApproved) -> None:
        proposal = message.proposal
        if proposal.id in self._kept.requests:
            self._judge.breaks("I2", f"trade {proposal.id} is approved although it has been answered before")
        self._asked[proposal.id].note(proposal.stop_loss_quote, proposal.take_profit_quote)
        self._reserved[proposal.id] = message.exposure_usd

    def _ending(self, message: TradeEnded) -> None:
        """What risk gives back cannot be filled any more."""
        self._ended.add(message.trade_id)
        resting = () if self._judge.books is None else self._judge.books.history.open.values()
        for order in resting:
            intent = self._sent.get(order.order_id)
            if intent is not None and intent.role is OrderRole.ENTRY and intent.proposal_id == message.trade_id:
                self._judge.breaks("I7", f"trade {message.trade_id} is released although entry {intent.id} still rests")

    def _asking(self, message: ChangeProtection) -> None:
        self._asked[message.target_id].note(message.stop_loss_quote, message.take_profit_quote)
        self._changes[message.request_id] = message

    def _telling(self, message: PositionChanged) -> None:
        position = message.position
        if not position.is_over and position.proposal_id in self._ended:
            self._was_revived = True
        self._told[position.id].note(position.stop_loss_quote, position.take_profit_quote)

    def _refusing(self, message: OrderRefused) -> None:
        intent = self._sent.get(message.order_id)
        if intent is not None and intent.role is OrderRole.TARGET and not message.may_retry:
            self._without_target.add(intent.position_id)

    # What leaves ----------------------------------------------------------------------------------

    def _placing(self, message: PlaceOrder) -> None:
        intent = message.intent
        self._sent[intent.id] = intent
        if intent.role is OrderRole.ENTRY:
            self._affords(intent)
            return
        self._stands_for_a_level(intent, intent.trigger_price_quote)
        self._note_trigger(intent, intent.trigger_price_quote)
        if intent.leverage == 1:
            self._sells_once(intent)

    def _affords(self, intent: OrderIntent) -> None:
        """With its fee an entry costs no more than was approved."""
        proposal_usd = self._reserved.get(intent.proposal_id)
        request = self._kept.requests.get(intent.proposal_id)
        if proposal_usd is None or request is None:
            return
        body = json.loads(request.body)
        funds_quote = Decimal(body["size_usd"]) * body["leverage"]
        cost_quote = intent.volume_base * intent.reference_price_quote
        if cost_quote * (ONE_HUNDRED + self._settings.execution.orders.fee_pct) > funds_quote * ONE_HUNDRED:
            self._judge.breaks("I7", f"entry {intent.id} and its fee cost more than the {funds_quote} approved")

    def _stands_for_a_level(self, intent: OrderIntent, trigger_quote: Decimal | None) -> None:
        """A trigger is a level that the position has had, on the tick that is reached no later."""
        if trigger_quote is None:
            return
        tick_quote = self._instruments[intent.symbol].price_tick_quote
        levels = self._told[intent.position_id].of(intent.role)
        if not any(stands_for(intent, trigger_quote, level, tick_quote) for level in levels):
            text = f"{intent.role.value} {intent.id} at {trigger_quote} is no level of position {intent.position_id}"
            self._judge.breaks("I8", text)

    def _note_trigger(self, intent: OrderIntent, trigger_quote: Decimal | None) -> None:
        """What a start finds on the exchange of a forgotten trade is all that is left of its levels."""
        levels = self._asked[intent.proposal_id]
        (levels.stops if intent.role is OrderRole.STOP else levels.targets).add(trigger_quote)

    def _sells_once(self, intent: OrderIntent) -> None:
        """On cash spot nobody but us keeps two orders from selling the same coins.

        What left while the journal was away is known to no later engine, until the exchange tells of it.
        """
        books = self._judge.books
        if books is None:
            return
        resting = [
            order.volume_base - order.filled_base
            for order in books.history.open.values()
            if order.order_id != intent.id
            and order.order_id in self._kept.orders
            and self._is_other_exit(order.order_id, intent.position_id)
        ]
        held_base = self._judge.held.get(intent.position_id, ZERO)
        if sum(resting, intent.volume_base) > held_base:
            text = f"{intent.role.value} {intent.id} goes beside another order that sells what {intent.position_id} has"
            self._judge.breaks("I5", text)

    def _is_other_exit(self, order_id: OrderId, position_id: PositionId) -> bool:
        other = self._sent.get(order_id)
        return other is not None and other.role is not OrderRole.ENTRY and other.position_id == position_id

    def _amending(self, message: AmendOrder) -> None:
        """An order that is made larger takes no more than is held; where it only moves, it is no worse than before."""
        intent = self._sent.get(message.order_id)
        order = None if self._judge.books is None else self._judge.books.history.find_open(message.order_id)
        if intent is None or order is None:
            return
        self._stands_for_a_level(intent, message.trigger_price_quote)
        self._note_trigger(intent, message.trigger_price_quote)
        held_base = self._judge.held.get(intent.position_id, ZERO)
        left_base = message.volume_base - order.filled_base
        if left_base > held_base and message.volume_base > order.volume_base:
            text = f"{intent.role.value} {intent.id} is moved to {left_base} of a position that holds {held_base}"
            self._judge.breaks("I5", text)

    # What is kept ---------------------------------------------------------------------------------

    def kept(self, position: Position) -> None:
        """A position's levels are those that its strategy has named, unless trailing has moved its stop."""
        asked = self._asked[position.proposal_id]
        if position.proposal_id not in self._reserved:
            return  # Taken up by a start that found nothing of the trade but its orders: nobody has asked for it.
        if not position.stop_is_trailing and position.stop_loss_quote not in asked.stops:
            self._judge.breaks("I4", f"nobody asked for the stop of {position.id} at {position.stop_loss_quote}")
        if position.take_profit_quote not in asked.targets:
            self._judge.breaks("I4", f"nobody asked for the target of {position.id} at {position.take_profit_quote}")

    # Looks at the engine --------------------------------------------------------------------------

    def may_have_target(self, position: Position) -> bool:
        """Say whether somebody has asked for this trade, and the exchange has not turned its target down."""
        return position.proposal_id in self._reserved and position.id not in self._without_target

    def forgotten_changes(self, target_id: ProposalId) -> Iterable[ChangeProtection]:
        """Yield the changes of a trade's levels that the journal does not know: the exchange may have heard them."""
        for change in self._changes.values():
            if change.target_id == target_id and change.request_id not in self._kept.requests:
                yield change

    def unkept(self, stage: Stage) -> Iterable[str]:
        """Yield what was asked for or promised and is still to be done, with the invariant it belongs to if any."""
        for id_ in self._handed_in:
            if id_ not in self._kept.requests:
                yield f"proposal {id_} was handed in and is never answered"
        orders: OrderSummary = stage.machine.actors["order"].describe()  # type: ignore[assignment]
        book: BookSummary = stage.machine.actors["position"].describe()  # type: ignore[assignment]
        yield from self._held_on(book, stage)
        yield from self._resting_on(orders, stage)
        yield from self._taken_by_others(book, stage)
        yield from self._misplaced({position.id: position for position in book.positions}, orders, stage)

    def _held_on(self, book: BookSummary, stage: Stage) -> Iterable[str]:
        """A position ends when its strategy has said so, or when its time is over."""
        closed, limit_s = self._taken("close"), self._settings.execution.positions.holding_max_s
        for position in book.positions:
            if position.status is not PositionStatus.OPEN or self._is_dust(position):
                continue
            if position.proposal_id in closed:
                yield f"I9: the close of {position.proposal_id} was taken, and position {position.id} stays open"
            if self._is_overdue(position.opened_at_us, limit_s, stage):
                yield f"position {position.id} is held for longer than it may be"

    def _resting_on(self, orders: OrderSummary, stage: Stage) -> Iterable[str]:
        """So does an entry."""
        withdrawn = self._taken("close") | self._taken("cancel")
        for order in orders.live:
            if order.intent.role is not OrderRole.ENTRY:
                continue
            if order.intent.proposal_id in withdrawn:
                yield f"I9: the entry of {order.intent.proposal_id} was cancelled, and order {order.id} stays"
            if self._is_overdue(order.intent.created_at_us, self._settings.execution.orders.expiry_s, stage):
                yield f"entry {order.id} rests for longer than it may"

    def _taken_by_others(self, book: BookSummary, stage: Stage) -> Iterable[str]:
        """We hold no more than the exchange's trades have left of it, one after the other, whoever's they are."""
        left: defaultdict[Holding, Decimal] = defaultdict(Decimal)
        for fill in stage.books_of_exchange.books.history.trades():
            order = self._kept.orders.get(fill.order_id)
            if order is not None and order.intent.role is OrderRole.ENTRY and not fill.is_liquidation:
                left[fill.symbol, fill.is_margin, fill.side] += fill.volume_base
            else:
                closed = fill.symbol, fill.is_margin, fill.side.opposite
                left[closed] = max(ZERO, left[closed] - fill.volume_base)
        held: defaultdict[Holding, Decimal] = defaultdict(Decimal)
        for position in book.positions:
            side = Side.BUY if position.side is PositionSide.LONG else Side.SELL
            held[position.symbol, position.leverage > 1, side] += position.volume_base
        for holding, held_base in held.items():
            if held_base > left[holding]:
                symbol, _is_margin, side = holding
                yield f"I6: of {symbol} we hold {held_base} ({side.value}), trades have left {left[holding]} of it"

    def _misplaced(self, held: Mapping[PositionId, Position], orders: OrderSummary, stage: Stage) -> Iterable[str]:
        """What rests on the exchange stands where the position has its level."""
        for order in orders.live:
            intent = order.intent
            position = held.get(intent.position_id)
            resting = stage.books_of_exchange.books.history.find_open(order.id)
            if resting is None or position is None or intent.role not in PROTECTIVE:
                continue
            if position.status is not PositionStatus.OPEN or self._is_dust(position):
                continue
            is_stop = intent.role is OrderRole.STOP
            level = position.stop_loss_quote if is_stop else position.take_profit_quote
            tick_quote = self._instruments[intent.symbol].price_tick_quote
            trigger = resting.trigger_price_quote
            if level is None or trigger is None or not stands_for(intent, trigger, level, tick_quote):
                yield f"I4: {intent.role.value} {order.id} rests at {trigger}, its position's level is {level}"

    def exposure_differs(self, risk: RiskSummary) -> str:
        """Say how far risk's exposure is from what was approved of the trades alive; nothing when it is right.

        A trade that a late fill brought back has been reserved for anew, and for what nobody was told.
        """
        alive = self._judge.alive
        expected_usd = sum((self._reserved.get(id_, ZERO) for id_ in alive), ZERO)
        if risk.exposure_usd == expected_usd or (alive and self._was_revived):
            return ""
        return f"risk counts an exposure of {risk.exposure_usd}, approved and alive are {expected_usd}"

    def _taken(self, kind: str) -> set[ProposalId]:
        rows = self._kept.requests.values()
        return {json.loads(row.body) for row in rows if row.kind == kind and row.verdict == "taken"}

    def _is_dust(self, position: Position) -> bool:
        return may_be_dust(position, position.volume_base, self._instruments[position.symbol])

    @staticmethod
    def _is_overdue(since_us: int, limit_s: int, stage: Stage) -> bool:
        return stage.clock.now_us() > since_us + limit_s * SECOND_US + LATE_US


def stands_for(intent: OrderIntent, trigger_quote: Decimal, level_quote: Decimal, tick_quote: Decimal) -> bool:
    """Say whether the trigger is the level on the next tick, on the side that the price comes to first."""
    is_above = (intent.role is OrderRole.STOP) is (intent.side is Side.SELL)
    beyond_quote = trigger_quote - level_quote if is_above else level_quote - trigger_quote
    return 0 <= beyond_quote < tick_quote

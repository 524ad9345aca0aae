"""The desk: what OrderActor remembers, and what every layer above it does with it.

The layers stand on each other, and each calls only those below: desk, sending, guarding, booking, settling, adopting,
surveying, reconciling, requests, and `actor.py` on top. What the lower ones need of the upper ones is declared here,
abstract.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal

import attrs

from actors.order import outbox
from actors.order.book import OrderBook, Phase, Taking, Tracked, Trade
from actors.order.lifecycle import Happening, advance, apply_fill, completed, happening_of
from actors.order.protection import is_too_little
from actors.order.timers import LookAgain, PollDue
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.recovering import RecoveringActor
from config.settings import OrderSettings
from messages.base import NO_TRADE, ExternalOrderId, OrderId, ProposalId, Symbol, TradeId
from messages.bus import PublicEvent
from messages.journal import (
    RecordAlert,
    RecordOrder,
)
from messages.lifecycle import OrdersReconciled
from messages.market import Instrument
from messages.orders import Fill, Order, OrderStatus
from messages.permits import CallKind, CallPriority, RequestPermit
from messages.trades import (
    ChangeProtection,
    ExecuteTrade,
    TradeProposal,
)

REQUESTS_REMEMBERED = 10_000
"""The newest request ids in memory; older ones are known to the database alone."""
TAKINGS_REMEMBERED = 1_000
UNCLAIMED_MAX = 1_000
LEFTOVERS_MAX = 1_000
ZERO = Decimal(0)
FOREVER_US = 365 * 86_400 * MICROSECONDS


class OrderDesk(RecoveringActor):
    """The lowest layer: the state, and small things that everybody does."""

    def __init__(self, ports: Ports, *, settings: OrderSettings, instruments: Mapping[Symbol, Instrument]) -> None:
        super().__init__(ports)
        self._settings = settings
        self._instruments = instruments
        self._book = OrderBook(settings.history_max)
        self._requests: OrderedDict[ProposalId, None] = OrderedDict()
        self._in_review: dict[ProposalId, TradeProposal] = {}
        self._withdrawn_in_review: set[ProposalId] = set()
        self._held: deque[ExecuteTrade] = deque()
        self._settling: dict[Symbol, int] = {}
        self._is_ready = False
        self._is_stopping = False
        self._is_stalled = False
        self._known_ids: set[OrderId] | None = set()
        """The orders of the journal, and those recorded since the start; None once no forgotten one can turn up."""
        self._is_surveying = True
        """Whether it is being found out which orders are ours: until then nothing is acted on."""
        self._to_reconcile: set[OrderId] = set()
        self._reconciled = 0
        self._repaired = 0
        self._is_poll_set = False
        """A timer will ask for a poll."""
        self._is_poll_asked = False
        """A poll waits for its permit."""
        self._poll_cursor: TradeId | None = None
        self._poll_since_us: int | None = None
        self._known_until_us = 0
        """When the newest trade happened that the journal knew: what others did before it has been reported."""
        self._owes_poll = False
        """Whether the start waits for the trades since the last one that the journal knows."""
        self._polled_at_us = 0
        """When the last poll left."""
        self._polls_until_us = 0
        """Until then the records of the exchange may lack what happened before the start."""
        self._booked: OrderedDict[TradeId, Decimal] = OrderedDict()
        """How much is booked of the newest trades, ours and others'."""
        self._takings: deque[Taking] = deque(maxlen=TAKINGS_REMEMBERED)
        self._unclaimed: deque[tuple[Fill, int]] = deque(maxlen=UNCLAIMED_MAX)
        """What others traded and may have closed of ours, with when: an entry that is live may have filled before."""
        self._leftovers: deque[tuple[Fill, int]] = deque(maxlen=LEFTOVERS_MAX)
        """What was traded on margin and has closed nothing of ours."""
        self._repricing: set[ProposalId] = set()
        self.happened: Counter[tuple[OrderStatus, Happening]] = Counter()
        """How often each thing has happened to orders of each status since the start."""
        self._changes: dict[ProposalId, deque[ChangeProtection]] = {}

    def _of(self, proposal: TradeProposal) -> Instrument:
        return self._instruments[proposal.symbol]

    def _remember(self, request_id: ProposalId) -> None:
        self._requests[request_id] = None
        if len(self._requests) > REQUESTS_REMEMBERED:
            self._requests.popitem(last=False)

    def _ask_permit(self, tracked: Tracked, kind: CallKind, priority: CallPriority, wait_us: int = FOREVER_US) -> None:
        self.emit(
            RequestPermit(
                kind=kind,
                priority=priority,
                order_id=tracked.order.id,
                symbol=tracked.order.intent.symbol,
                touched_at_us=tracked.touched_at_us,
                open_orders=self._book.live_besides(tracked),
                deadline_us=self.now_us + wait_us,
            ),
            tracked.order.intent.proposal_id,
        )

    def _advance(
        self,
        order: Order,
        happening: Happening,
        at_us: int,
        *,
        reason: str = "",
        external_id: ExternalOrderId | None = None,
    ) -> Order:
        """Return the order after this has happened to it."""
        self.happened[order.status, happening] += 1
        return advance(order, happening, at_us, reason=reason, external_id=external_id)

    def _filled(self, order: Order, fill: Fill, asked_base: Decimal = ZERO) -> Order:
        """Return the order with the fill in it."""
        self.happened[order.status, happening_of(order, fill, asked_base)] += 1
        return apply_fill(order, fill, asked_base)

    def _completed(self, order: Order) -> Order:
        """Return the order as wholly filled."""
        self.happened[order.status, Happening.FILLED_WHOLLY] += 1
        return completed(order, self.now_us)

    def _look_up(self, tracked: Tracked) -> None:
        """Ask what the exchange knows of it; one question at a time waits for its permit."""
        if tracked.is_look_up_asked:
            return
        tracked.is_look_up_asked = True
        self._ask_permit(tracked, CallKind.LOOK_UP, CallPriority.QUERY)

    def _record(self, tracked: Tracked, *events: PublicEvent) -> None:
        """Keep the order's state; while fills of its trade are on their way to the journal, it waits for them."""
        record = RecordOrder(order=tracked.order, events=events)
        if tracked.trade.is_in_step:
            self.emit(record, tracked.trade.id)
        else:
            tracked.trade.unrecorded.append(record)

    def _record_waiting(self, trade: Trade) -> None:
        if trade.unrecorded and trade.is_in_step:
            records, trade.unrecorded = trade.unrecorded, []
            for record in records:
                tracked = self._book.find(record.order.id)  # Fills that came since are recorded by now.
                self.emit(record if tracked is None else attrs.evolve(record, order=tracked.order), trade.id)

    def _look_later(self, tracked: Tracked) -> None:
        """Look it up again after the configured wait, however many reasons there are meanwhile."""
        if tracked.is_look_up_set:
            return
        tracked.is_look_up_set = True
        wait_us = self._settings.look_up_every_s * MICROSECONDS
        self.after(wait_us, LookAgain(order_id=tracked.order.id), tracked.order.intent.proposal_id)

    def _enter_settling(self, tracked: Tracked) -> None:
        """Nobody knows its outcome: until that is settled, nothing is sized on its symbol."""
        tracked.phase = Phase.SETTLING
        symbol = tracked.order.intent.symbol
        self._settling[symbol] = self._settling.get(symbol, 0) + 1

    def _leave_settling(self, tracked: Tracked) -> None:
        if tracked.phase is not Phase.SETTLING:
            return
        symbol = tracked.order.intent.symbol
        tracked.phase = Phase.SENT
        self._settling[symbol] -= 1
        if not self._settling[symbol]:
            del self._settling[symbol]
            self._release_held()

    def _note_reconciled(self, order_id: OrderId | None) -> None:
        """Say so once every order of the journal has been asked about, or has ended meanwhile."""
        if order_id is not None:
            if order_id not in self._to_reconcile:
                return
            self._to_reconcile.discard(order_id)
            self._reconciled += 1
        is_under_way = self._to_reconcile or self._owes_poll or self._is_surveying
        if not is_under_way and not self._is_ready:
            self.emit(OrdersReconciled(orders=self._reconciled, repaired=self._repaired))
            self._set_poll()

    def _is_dust(self, trade: Trade) -> bool:
        """Say whether what the trade holds is too small for any order."""
        held_base = trade.held_base
        return bool(held_base) and is_too_little(trade, held_base, self._of(trade.proposal))

    def _alert(self, kind: str, trade: Trade, reason: str) -> None:
        event = outbox.alert(kind, trade.id, self.now_us, symbol=trade.proposal.symbol, reason=reason)
        self.emit(RecordAlert(events=(event,)), trade.id)

    def _set_poll(self) -> None:
        if not (self._is_poll_set or self._is_poll_asked) and self._wants_poll():
            self._is_poll_set = True
            self.after(self._settings.poll_s * MICROSECONDS, PollDue(), NO_TRADE)

    def _wants_poll(self) -> bool:
        """Say whether there is something to ask about: a trade that lives, or a start whose records may lag behind."""
        return bool(self._book.trades) or self._owes_poll or self._polled_at_us < self._polls_until_us

    @abstractmethod
    def _align(self, trade: Trade) -> None:
        """Take every step between the trade as it is and as it should be."""

    @abstractmethod
    def _over(
        self, tracked: Tracked, happening: Happening, reason: str, *, may_retry: bool = True, at_us: int | None = None
    ) -> None:
        """End an order other than by its last fill."""

    @abstractmethod
    def _retire(self, tracked: Tracked) -> None:
        """Let go of an order whose status is terminal."""

    @abstractmethod
    def _release_held(self) -> None:
        """Take the proposals that waited."""

"""MockExchangeActor: Kraken's stand-in. It hears what Kraken hears and says what Kraken says.

Everything it tells is saved first. What a message or tick changed waits for the store, and so does what is to be
told of it; while one save is under way the following changes gather and go as the next one. Without a store it
tells at once and forgets everything when it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from actors.exchange.mock import questions
from actors.exchange.mock.acts import Act, CancelledByHand, ClosedByHand, FundsMoved, OrderedByHand, TradedByHand
from actors.exchange.mock.books import NOTHING, Books
from actors.exchange.mock.faults import Faults
from actors.exchange.mock.refusals import UNAVAILABLE, may_retry
from actors.exchange.mock.store import BookChanges, BookStore, Document, Progress
from actors.exchange.mock.telling import Channel, Saying, Telling, amend_unknown, cancel_unknown, unknown
from actors.runtime.ports import Ports
from actors.runtime.statistics import ActorReport
from actors.runtime.typed_actor import Recover, TypedActor, kinds
from config.settings import PaperSettings
from messages.base import Command, Currency, Event, Message, OrderId, ProposalId, Symbol
from messages.exchange import AccountReported, GetAccount
from messages.lifecycle import StopOpening
from messages.market import Instrument, PriceMoved
from messages.orders import (
    AmendOrder,
    AmendRefused,
    CancelOrder,
    CancelRefused,
    ExecutionReported,
    LookUpOrder,
    OrderAccepted,
    OrderEnded,
    OrderRefused,
    OrderStatus,
    PlaceOrder,
    PollOrders,
)
from messages.protocols import ExchangeOutbox, MockExchangeInbox
from messages.trades import Side

MICROSECONDS_PER_MS = 1_000
RETRY_US = 1_000_000
"""Wait before the store is tried again."""
TICKS_PER_SAVE = 500
"""After so many ticks that changed nothing but prices, how far the prices have come is saved."""
HELD_MAX = 100_000
"""So many messages may wait for the books to be read; one more is a failure."""


@attrs.frozen(kw_only=True)
class BooksRead(Command):
    """The store has told what it keeps."""

    documents: tuple[Document, ...]
    progress: Progress


@attrs.frozen(kw_only=True)
class ReadBooks(Command):
    """Time to read the store again, after a failure."""


@attrs.frozen(kw_only=True)
class BooksSaved(Command):
    """The save under way is safe."""


@attrs.frozen(kw_only=True)
class SaveFailed(Command):
    """The save under way, or the reading at the start, did not succeed."""

    reason: str


@attrs.frozen(kw_only=True)
class SaveAgain(Command):
    """Time to try the same save once more."""


@attrs.frozen(kw_only=True)
class Deliver(Command):
    """These have been under way long enough."""

    sayings: tuple[Saying, ...]


@attrs.frozen(kw_only=True)
class DeliverPush(Command):
    """The next push on the ordered channel has been under way long enough."""


@attrs.frozen(kw_only=True)
class ExpireOrders(Command):
    """The earliest order to expire may be due."""


OwnMessage = (
    Recover | BooksRead | ReadBooks | BooksSaved | SaveFailed | SaveAgain | Deliver | DeliverPush | ExpireOrders
)


@attrs.frozen(kw_only=True)
class MockExchangeReport:
    """The mock from outside: the books as the engine would see them, and what waits to be saved."""

    actor: ActorReport
    account: AccountReported
    equity_usd: Decimal
    trades: int
    progress: Progress
    untold: int
    """Sayings that wait for a save."""
    store_error: str
    """Why the last save failed; empty once one succeeded."""


class MockExchangeActor(TypedActor):
    """Owns the books of one account and lets orders trade on the ticks it hears."""

    role = "exchange"
    accepts = kinds(MockExchangeInbox) | kinds(OwnMessage)
    emits = kinds(ExchangeOutbox)

    def __init__(
        self,
        ports: Ports,
        *,
        instruments: Mapping[Symbol, Instrument],
        paper: PaperSettings,
        usd_equivalents: tuple[Currency, ...],
        store: BookStore | None,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(ports)
        self._store = store
        self._faults = Faults() if faults is None else faults
        self._telling = Telling(
            self._faults,
            acknowledge_delay_us=paper.acknowledge_delay_ms * MICROSECONDS_PER_MS,
            fill_delay_us=paper.fill_delay_ms * MICROSECONDS_PER_MS,
            may_end=self._may_end,
        )
        self._channel = Channel(self._faults)
        self._books = Books(
            instruments=instruments,
            balances=paper.balances,
            usd_equivalents=usd_equivalents,
            slippage_pct=paper.slippage_pct,
            fill_share_pct=paper.fill_share_pct,
            liquidation_level_pct=paper.liquidation_level_pct,
        )
        self._is_open = False
        self._is_quiet = False
        """Whether the books are open and no push is held back: then a tick is nothing but a tick."""
        self._held: deque[Message] = deque()
        self._sequence = 0
        self._at_us = 0
        self._idle_ticks = 0
        self._expiry_armed_us: int | None = None
        self._saving: BookChanges | None = None
        self._untold: list[Saying] = []
        """What is told once the save under way is safe."""
        self._unsaved: list[Saying] = []
        """What belongs to the save after that."""
        self._store_error = ""

    def on_receive(self, message: Any) -> None:
        """Trade when the books are open; keep everything in order until they are."""
        if type(message) is PriceMoved and self._is_quiet and not self._faults.acts:
            self._on_price(message)
        elif isinstance(message, OwnMessage):
            self._on_own(message)
        elif self._is_open:
            self._on_message(message)
        else:
            self._hold(message)

    @property
    def books(self) -> Books:
        """The books themselves, for whoever audits: the truth, also what has not been told."""
        return self._books

    def is_settled(self) -> bool:
        """Say whether the books are saved and all of it has been told."""
        return self._saving is None and not self._unsaved

    def describe(self) -> MockExchangeReport:
        """Return the books as they are now."""
        return MockExchangeReport(
            actor=self.report(),
            account=self._books.report(self.now_us),
            equity_usd=self._books.account.gauge().equity_usd,
            trades=self._books.history.trade_count,
            progress=Progress(sequence=self._sequence, at_us=self._at_us),
            untold=len(self._untold) + len(self._unsaved),
            store_error=self._store_error,
        )

    # What the engine and the prices say -------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        if not self._is_quiet:
            self._release()
        if self._faults.acts:
            self._carry_out()
        match message:
            case PriceMoved():
                self._on_price(message)
            case PlaceOrder():
                self._say(self._telling.told(self._place(message), message.proposal_id))
                self._arm_expiry()
            case AmendOrder():
                self._say(self._telling.told(self._amend(message), message.proposal_id))
            case CancelOrder():
                self._say(self._telling.told(self._cancel(message), message.proposal_id))
            case LookUpOrder() | PollOrders() | GetAccount():
                self._say(self._answer(message))
            case StopOpening():
                self._idle_ticks = TICKS_PER_SAVE  # The next start shall go on from here, not from the last save.
                self._say([])

    def _on_price(self, moved: PriceMoved) -> None:
        books = self._books
        if books.is_in_the_books(moved.symbol, moved.at_us, moved.sequence):
            return  # A replay that resumes a little too early: this tick is saved already.
        events = books.on_price(
            moved.symbol,
            moved.last_quote,
            moved.low_quote,
            moved.high_quote,
            moved.at_us,
            moved.sequence,
            self.ports.clock.now_us(),
        )
        self._sequence = max(self._sequence, moved.sequence)
        self._at_us = max(self._at_us, moved.at_us)
        self._idle_ticks += 1
        is_due = self._idle_ticks >= TICKS_PER_SAVE
        # A stop-limit that fires and rests changes the books without a word.
        if events or is_due or (events is not NOTHING and books.has_changed()):
            self._say(self._pushed(events))

    def _place(self, message: PlaceOrder) -> Sequence[Event]:
        intent, faults = message.intent, self._faults
        if faults.strikes("lost_requests"):
            return [unknown(intent.id)]
        refusal = UNAVAILABLE if faults.keeps_shut() else faults.next_refusal()
        if refusal is not None:
            return [OrderRefused(order_id=intent.id, reason=refusal, may_retry=may_retry(refusal))]
        share_pct = faults.first_shares_pct.popleft() if faults.first_shares_pct else None
        events = self._books.place(intent, message.deadline_us, self.now_us, share_pct)
        if share_pct is not None and type(events[0]) is OrderAccepted:
            faults.struck["first_shares_pct"] += 1
        return events

    def _amend(self, message: AmendOrder) -> Sequence[Event]:
        faults = self._faults
        if faults.strikes("lost_amends"):
            return [amend_unknown(message.order_id)]
        refusal = UNAVAILABLE if faults.keeps_shut() else faults.next_amend_refusal()
        if refusal is not None:
            return [AmendRefused(order_id=message.order_id, reason=refusal)]
        return self._books.amend(
            message.order_id, message.volume_base, message.trigger_price_quote, message.deadline_us, self.now_us
        )

    def _cancel(self, message: CancelOrder) -> Sequence[Event]:
        if self._faults.strikes("lost_cancels"):
            return [cancel_unknown(message.order_id)]
        if self._faults.keeps_shut():
            return [CancelRefused(order_id=message.order_id, reason=UNAVAILABLE)]
        return self._books.cancel(message.order_id, self.now_us)

    def _answer(self, question: LookUpOrder | PollOrders | GetAccount) -> list[Saying]:
        if self._telling.keeps_silent():
            return []
        event: Event
        if isinstance(question, GetAccount):
            event = self._books.report(self.now_us)
        else:
            event = questions.answer(question, self._books.history, self._faults, self.now_us)
        return self._telling.answered(event, question.proposal_id)

    def _carry_out(self) -> None:
        """Let happen what the fault plan wants to happen to the account."""
        faults = self._faults
        while faults.acts:
            act = faults.acts.popleft()
            events = self._act(act)
            if events or isinstance(act, FundsMoved):
                faults.struck[act.name] += 1
                self._say(self._pushed(events))

    def _act(self, act: Act) -> Sequence[Event]:
        match act:
            case FundsMoved():
                self._books.move_funds(act.currency, act.amount)
                return NOTHING
            case ClosedByHand():
                return self._books.close_by_hand(act.symbol, self.now_us)
            case TradedByHand():
                return self._books.trade_by_hand(act, self.now_us)
            case OrderedByHand():
                return self._books.order_by_hand(act, self.now_us)
            case CancelledByHand():
                return self._books.cancel_by_hand(act.order_id, self.now_us)

    def _pushed(self, events: Sequence[Event]) -> list[Saying]:
        sayings = [saying for event in events for saying in self._telling.pushed(event, self._trade_of(event))]
        if self._telling.held:
            self._is_quiet = False
        return sayings

    def _release(self) -> None:
        """Tell what maintenance has held back, if it is over."""
        self._say(self._telling.release())
        self._is_quiet = not self._telling.held

    def _may_end(self, order_id: OrderId) -> bool:
        """Say whether the end of this order is still to be told, and may be told wrong: one that is filled has none.

        Of a sale outright the count is always right: where it was not, nobody could know what is left to be sold.
        """
        order = self._books.history.find(order_id)
        if order is None or order.status is OrderStatus.FILLED:
            return False
        return order.is_margin or order.side is Side.BUY

    def _trade_of(self, event: Event) -> ProposalId | None:
        """Return the trade that a push belongs to, where it is about one of our orders."""
        match event:
            case ExecutionReported():
                order = self._books.history.find(event.fill.order_id)
            case OrderEnded():
                order = self._books.history.find(event.order_id)
            case _:
                return None
        return None if order is None else order.proposal_id

    # What it says to itself -------------------------------------------------------------------------

    def _on_own(self, message: OwnMessage) -> None:
        match message:
            case Recover() | ReadBooks():
                self._read_books()
            case BooksRead():
                self._open(message)
            case BooksSaved():
                self._saved()
            case SaveFailed():
                self._store_error = message.reason
                self.after(RETRY_US, SaveAgain() if self._is_open else ReadBooks())
            case SaveAgain():
                self._send_save()
            case Deliver():
                self._deliver(message.sayings)
            case DeliverPush():
                self._deliver((self._channel.next_push(),))
            case ExpireOrders():
                self._expiry_armed_us = None
                self._say(self._pushed(self._books.expire(self.now_us)))
                self._arm_expiry()

    def _read_books(self) -> None:
        if self._store is None:
            self._open(BooksRead(documents=(), progress=Progress()))
        else:
            self.pipe(_read(self._store), _as_read, _as_failure)

    def _open(self, read: BooksRead) -> None:
        self._books.open_with(read.documents)
        self._sequence, self._at_us = read.progress.sequence, read.progress.at_us
        self._is_open, self._is_quiet, self._store_error = True, True, ""
        self._say([])
        self._arm_expiry()
        while self._held:
            self._on_message(self._held.popleft())

    def _hold(self, message: Message) -> None:
        if len(self._held) >= HELD_MAX:
            raise OverflowError(f"{HELD_MAX} messages wait for the books to be read")
        self._held.append(message)

    def _arm_expiry(self) -> None:
        due_us = self._books.next_expiry_us()
        if due_us is not None and (self._expiry_armed_us is None or due_us < self._expiry_armed_us):
            self._expiry_armed_us = due_us
            self.after(max(0, due_us - self.now_us), ExpireOrders())

    # Saved before told ------------------------------------------------------------------------------

    def _say(self, sayings: list[Saying]) -> None:
        """Tell these once everything that the books contain now is safe."""
        if self._store is None:
            self._idle_ticks = 0
            self._books.forget_changes()
            self._send_off(sayings)
            return
        self._unsaved += sayings
        if self._saving is None:
            self._save()

    def _save(self) -> None:
        """Save what has gathered; if that is nothing, there is nothing to wait for."""
        is_due = self._books.has_changed() or self._idle_ticks >= TICKS_PER_SAVE
        self._untold, self._unsaved = self._unsaved, []
        if not is_due:
            self._tell_all()
            return
        self._idle_ticks = 0
        progress = Progress(sequence=self._sequence, at_us=self._at_us)
        self._saving = BookChanges(documents=self._books.take_documents(), progress=progress)
        self._send_save()

    def _send_save(self) -> None:
        if self._store is not None and self._saving is not None:
            self.pipe(self._store.save(self._saving), _as_saved, _as_failure)

    def _saved(self) -> None:
        self._saving, self._store_error = None, ""
        self._tell_all()
        if self._unsaved or self._books.has_changed():
            self._save()

    def _tell_all(self) -> None:
        sayings, self._untold = self._untold, []
        self._send_off(sayings)

    def _send_off(self, sayings: Sequence[Saying]) -> None:
        """Emit what has no delay and set timers for the rest, keeping the order among equals."""
        if not self._channel.is_idle:
            self._send_off_singly(sayings)
            return
        delayed: dict[int, list[Saying]] = {}
        for saying in sayings:
            if saying.delay_us:
                delayed.setdefault(saying.delay_us, []).append(saying)
            else:
                self.emit(saying.event, saying.proposal_id)
        for delay_us, together in delayed.items():
            self.after(delay_us, Deliver(sayings=tuple(together)))

    def _send_off_singly(self, sayings: Sequence[Saying]) -> None:
        for saying in sayings:
            wait_us = self._channel.wait_us(saying, self.now_us)
            if wait_us is None:
                self.emit(saying.event, saying.proposal_id)
            else:
                self.after(wait_us, DeliverPush() if saying.is_push else Deliver(sayings=(saying,)))

    def _deliver(self, sayings: Sequence[Saying]) -> None:
        for saying in sayings:
            self.emit(saying.event, saying.proposal_id)


async def _read(store: BookStore) -> tuple[tuple[Document, ...], Progress]:
    return await store.load(), await store.progress()


def _as_read(result: tuple[tuple[Document, ...], Progress]) -> BooksRead:
    documents, progress = result
    return BooksRead(documents=documents, progress=progress)


def _as_saved(_nothing: None) -> BooksSaved:
    return BooksSaved()


def _as_failure(error: Exception) -> SaveFailed:
    return SaveFailed(reason=f"{type(error).__name__}: {error}")

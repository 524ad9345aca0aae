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

from actors.exchange.mock.books import NOTHING, Books
from actors.exchange.mock.faults import ClosedByHand, Faults, FundsMoved
from actors.exchange.mock.history import number_of, trade_id_of
from actors.exchange.mock.refusals import may_retry
from actors.exchange.mock.store import BookChanges, BookStore, Document, Progress
from actors.exchange.mock.telling import Saying, Telling
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
    ExecutionReported,
    LookUpOrder,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrdersPolled,
    PlaceOrder,
    PollOrders,
)
from messages.protocols import ExchangeOutbox, MockExchangeInbox

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
class ExpireOrders(Command):
    """The earliest order to expire may be due."""


OwnMessage = Recover | BooksRead | ReadBooks | BooksSaved | SaveFailed | SaveAgain | Deliver | ExpireOrders


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
        )
        self._books = Books(
            instruments=instruments,
            balances=paper.balances,
            usd_equivalents=usd_equivalents,
            slippage_pct=paper.slippage_pct,
            fill_share_pct=paper.fill_share_pct,
            liquidation_level_pct=paper.liquidation_level_pct,
        )
        self._is_open = False
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
        if type(message) is PriceMoved and self._is_open and not self._faults.acts:
            self._on_price(message)
        elif isinstance(message, OwnMessage):
            self._on_own(message)
        elif self._is_open:
            self._on_message(message)
        else:
            self._hold(message)

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
        if self._faults.acts:
            self._carry_out()
        match message:
            case PriceMoved():
                self._on_price(message)
            case PlaceOrder():
                self._say(self._place(message))
                self._arm_expiry()
            case AmendOrder():
                self._say(self._amend(message))
            case CancelOrder():
                events = self._books.cancel(message.order_id, self.now_us)
                self._say(self._telling.cancelled(events, message.proposal_id))
            case LookUpOrder():
                self._say(self._telling.answered(self._look_up(message.order_id), message.proposal_id))
            case PollOrders():
                self._say(self._telling.answered(self._poll(message), message.proposal_id))
            case GetAccount():
                self._say(self._telling.answered(self._books.report(self.now_us), message.proposal_id))
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

    def _place(self, message: PlaceOrder) -> list[Saying]:
        intent, faults = message.intent, self._faults
        if faults.loses_request():
            return [self._telling.unknown(intent.id, message.proposal_id)]
        refusal = faults.next_refusal()
        if refusal is not None:
            refused = OrderRefused(order_id=intent.id, reason=refusal, may_retry=may_retry(refusal))
            return self._telling.placed((refused,), message.proposal_id)
        events = self._books.place(intent, message.deadline_us, self.now_us, faults.next_first_share_pct())
        return self._telling.placed(events, message.proposal_id)

    def _amend(self, message: AmendOrder) -> list[Saying]:
        refusal = self._faults.next_amend_refusal()
        if refusal is not None:
            refused = AmendRefused(order_id=message.order_id, reason=refusal)
            return self._telling.amended((refused,), message.proposal_id)
        events = self._books.amend(
            message.order_id, message.volume_base, message.trigger_price_quote, message.deadline_us, self.now_us
        )
        return self._telling.amended(events, message.proposal_id)

    def _horizon_us(self) -> int | None:
        """Return until when questions see the books; None is until now."""
        lag_us = self._faults.poll_lag_us
        return self.now_us - lag_us if lag_us else None

    def _look_up(self, order_id: OrderId) -> OrderFound | OrderNotFound:
        history, horizon_us = self._books.history, self._horizon_us()
        order = history.find(order_id)
        view = None if order is None else history.view(order, horizon_us)
        if view is None:
            return OrderNotFound(order_id=order_id, as_of_us=self.now_us)
        return OrderFound(order=view, fills=history.fills_of(order_id, horizon_us))

    def _poll(self, message: PollOrders) -> OrdersPolled:
        history, horizon_us = self._books.history, self._horizon_us()
        orders = (history.find(order_id) for order_id in message.order_ids)
        views = (history.view(order, horizon_us) for order in orders if order is not None)
        after = history.trade_count if message.after_trade is None else number_of(message.after_trade)
        fills, cursor = history.fills_after(after, horizon_us)
        if message.after_trade is None and message.since_us is not None:
            cursor = history.seen_until(horizon_us)
            fills = history.fills_since(message.since_us, horizon_us)
        elif message.after_trade is None:
            cursor = history.seen_until(horizon_us)
            fills = tuple(fill for asked in message.order_ids for fill in history.fills_of(asked, horizon_us))
        return OrdersPolled(
            orders=tuple(view for view in views if view is not None), fills=fills, cursor=trade_id_of(cursor)
        )

    def _carry_out(self) -> None:
        """Let happen what the fault plan wants to happen to the account."""
        while self._faults.acts:
            act = self._faults.acts.popleft()
            match act:
                case FundsMoved():
                    self._books.move_funds(act.currency, act.amount)
                    self._say([])
                case ClosedByHand():
                    self._say(self._pushed(self._books.close_by_hand(act.symbol, self.now_us)))

    def _pushed(self, events: Sequence[Event]) -> list[Saying]:
        return [saying for event in events for saying in self._telling.pushed(event, self._trade_of(event))]

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
        self._is_open, self._store_error = True, ""
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
        delayed: dict[int, list[Saying]] = {}
        for saying in sayings:
            if saying.delay_us:
                delayed.setdefault(saying.delay_us, []).append(saying)
            else:
                self.emit(saying.event, saying.proposal_id)
        for delay_us, together in delayed.items():
            self.after(delay_us, Deliver(sayings=tuple(together)))

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

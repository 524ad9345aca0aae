"""OrderActor: from proposal to intent, from intent to the exchange, from fills to protection and exit.

Read in order: on_receive(), then the sections: requests, intents, answers, settling, fills, protection, closing,
watching, start. What it remembers is in book.py, what a trade needs in protection.py.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

import attrs

from actors.order import outbox
from actors.order.book import OrderBook, Phase, Tracked, Trade
from actors.order.lifecycle import Happening, advance, amended, apply_fill, new_order
from actors.order.proposals import from_row, level_problems, price_problems, problems, request_row
from actors.order.protection import Amend, CloseNow, Place, Withdraw, covers, exit_side, plan
from actors.order.retry import backoff_us
from actors.order.sizing import entry_limit_quote, entry_volume_base, size_problem, slippage_limit_quote
from actors.order.sizing import is_dust as is_dust_volume
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import OrderSettings
from messages.base import NO_TRADE, Command, ExternalOrderId, OrderId, PositionId, ProposalId, Symbol, TradeId
from messages.journal import (
    IntentRecorded,
    JournalLoaded,
    JournalResumed,
    JournalStalled,
    RecordAlert,
    RecordIntent,
    RecordOrder,
    RecordRequest,
    RecoveredState,
    RequestRow,
)
from messages.lifecycle import EngineReady, OrdersReconciled, StopOpening
from messages.market import GetPrice, Instrument, PriceReported
from messages.orders import (
    AmendOrder,
    AmendRefused,
    CancelOrder,
    CancelRefused,
    ExchangeOrder,
    ExecutionReported,
    Fill,
    LookUpOrder,
    Order,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderIntent,
    OrderNotFound,
    OrderRefused,
    OrderRole,
    OrdersPolled,
    OrderStatus,
    OutcomeUnknown,
    PlaceOrder,
    PollOrders,
    TimeInForce,
)
from messages.permits import CallKind, CallPriority, PermitExpired, PermitGranted, RequestPermit
from messages.positions import (
    ApplyFill,
    BeginClosing,
    ClosePosition,
    CloseReason,
    ConfirmProtection,
    Level,
    LevelReached,
    MoveStop,
    PositionChanged,
)
from messages.protocols import OrderInbox, OrderOutbox
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    OrderType,
    RejectRequest,
    ReviewTrade,
    TradeApproved,
    TradeEnded,
    TradeProposal,
    TradeRejected,
)

REQUESTS_REMEMBERED = 10_000
"""The newest request ids in memory; older ones are known to the database alone."""
HELD_MAX = 10_000
"""Proposals that may wait for the start, or for an unknown outcome on their symbol."""
FOREVER_US = 365 * 86_400 * MICROSECONDS
ENDING_HAPPENING = {
    OrderStatus.CANCELLED: Happening.CANCEL_CONFIRMED,
    OrderStatus.EXPIRED: Happening.EXPIRY_CONFIRMED,
    OrderStatus.ERROR: Happening.CANCEL_CONFIRMED,
}
WITH_LIMIT = (OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
LEVEL_ROLES = {Level.STOP: OrderRole.STOP, Level.TRAILING: OrderRole.STOP, Level.TARGET: OrderRole.TARGET}


# Its own timers ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class AnswerOverdue(Command):
    """The exchange actor owes an answer about this order since its deadline."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class LookAgain(Command):
    """Look for an order of unknown outcome once more."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class ExpiryDue(Command):
    """A resting entry has reached the end of its time."""

    order_id: OrderId


@attrs.frozen(kw_only=True)
class RetryDue(Command):
    """The wait before the next attempt of this role is over."""

    trade_id: ProposalId
    role: OrderRole


@attrs.frozen(kw_only=True)
class ProtectionDue(Command):
    """The configured delay between fill and protection is over."""

    trade_id: ProposalId


@attrs.frozen(kw_only=True)
class GraceOver(Command):
    """A position that could not be protected has had its time."""

    trade_id: ProposalId


@attrs.frozen(kw_only=True)
class WatchOverdue(Command):
    """The resting order should have acted on this level by now."""

    trade_id: ProposalId
    reason: CloseReason


@attrs.frozen(kw_only=True)
class PollDue(Command):
    """Compare the live orders with the exchange."""


OrderTimer = AnswerOverdue | LookAgain | ExpiryDue | RetryDue | ProtectionDue | GraceOver | WatchOverdue | PollDue


@attrs.frozen(kw_only=True)
class OrderSummary:
    """What OrderActor shows to those who look in."""

    live: tuple[Order, ...]
    over: int
    trades: int
    is_ready: bool
    alerted: frozenset[PositionId]
    """Positions whose stop could not be placed: watched locally, and a person has been told."""


class OrderActor(TypedActor):
    """Owns every order, and decides which order protects what."""

    role = "order"
    accepts = kinds(OrderInbox) | kinds(OrderTimer)
    emits = kinds(OrderOutbox)

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
        self._to_reconcile: set[OrderId] = set()
        self._reconciled = 0
        self._repaired = 0
        self._is_poll_set = False
        self._poll_cursor: str | None = None

    def on_receive(self, message: OrderInbox | OrderTimer) -> None:  # noqa: C901, PLR0912, PLR0915  # One case a message.
        """Handle one message."""
        match message:
            case ExecuteTrade():
                self._take_proposal(message)
            case PriceReported():
                self._send_to_review(message)
            case TradeApproved():
                self._open_trade(message)
            case TradeRejected():
                self._in_review.pop(message.proposal.id, None)
                self._withdrawn_in_review.discard(message.proposal.id)
                self._reject(message.proposal, message.codes, message.reasons)
            case IntentRecorded():
                self._ask_to_place(message.order_id)
            case PermitGranted():
                self._use_permit(message)
            case PermitExpired():
                self._do_without_permit(message)
            case OrderAccepted():
                self._accepted(message)
            case ExecutionReported():
                self._book_fill(message.fill)
            case PositionChanged():
                self._follow_position(message)
            case OrderEnded():
                self._ended(message)
            case OrderAmended():
                self._amended(message)
            case OrdersPolled():
                self._compare(message)
            case PollDue():
                self._poll()
            case LevelReached():
                self._act_on_level(message)
            case ClosePosition():
                self._close(self._book.by_position.get(message.position_id), message.reason)
            case OrderRefused():
                self._refused(message)
            case OutcomeUnknown():
                self._settle(self._book.find(message.order_id), message.reason)
            case AnswerOverdue():
                self._answer_overdue(message.order_id)
            case OrderFound():
                self._found(message)
            case OrderNotFound():
                self._not_found(message)
            case LookAgain():
                self._look_again(message.order_id)
            case CancelRefused():
                self._cancel_refused(message)
            case AmendRefused():
                self._amend_refused(message)
            case ExpiryDue():
                self._expire(message.order_id)
            case RetryDue():
                self._retry(message)
            case ProtectionDue():
                self._end_delay(message.trade_id)
            case GraceOver():
                self._end_grace(message.trade_id)
            case WatchOverdue():
                self._close(self._book.trades.get(message.trade_id), message.reason)
            case CancelTrade():
                self._cancel_trade(message)
            case CloseTrade():
                self._close_trade(message)
            case ChangeProtection():
                self._change_protection(message)
            case RejectRequest():
                self._keep_unreadable(message)
            case JournalLoaded():
                self._recover(message.state)
            case EngineReady():
                self._is_ready = True
                self._release_held()
            case StopOpening():
                self._is_stopping = True
            case JournalStalled():
                self._go_on_without_journal()
            case JournalResumed():
                self._is_stalled = False
            case _:
                assert_never(message)

    # Requests -----------------------------------------------------------------------------------------

    def _take_proposal(self, message: ExecuteTrade) -> None:
        """Check what can be checked without a price, and ask for one. A known id is the same intent: done."""
        proposal = message.proposal
        if proposal.id in self._requests:
            return
        if not self._is_ready or self._settling.get(proposal.symbol):
            self._hold(message)
            return
        self._remember(proposal.id)
        if self._is_stopping:
            self._reject(proposal, ("ENGINE_STOPPING",), ("the engine takes no new trades while it stops",))
            return
        found = problems(proposal, self._instruments)
        if found:
            self._reject_with(proposal, found)
            return
        self._in_review[proposal.id] = proposal
        self.emit(GetPrice(symbol=proposal.symbol, wanted_for=proposal.id), proposal.id)

    def _hold(self, message: ExecuteTrade) -> None:
        """Let a proposal wait: for the start, or until nothing on its symbol is of unknown outcome."""
        if len(self._held) >= HELD_MAX:
            self._remember(message.proposal.id)
            self._reject(message.proposal, ("TOO_MANY_WAITING",), (f"{HELD_MAX} proposals wait already",))
            return
        self._held.append(message)

    def _release_held(self) -> None:
        held, self._held = self._held, deque()
        for message in held:
            self._take_proposal(message)

    def _remember(self, request_id: ProposalId) -> None:
        self._requests[request_id] = None
        if len(self._requests) > REQUESTS_REMEMBERED:
            self._requests.popitem(last=False)

    def _send_to_review(self, message: PriceReported) -> None:
        proposal = self._in_review.get(message.wanted_for)
        if proposal is None:
            return
        price = message.last_quote
        if price is None:
            del self._in_review[proposal.id]
            self._reject(proposal, ("NO_PRICE",), (f"no price of {proposal.symbol} has been heard yet",))
            return
        found = price_problems(proposal, price)
        if found:
            del self._in_review[proposal.id]
            self._reject_with(proposal, found)
            return
        self.emit(
            ReviewTrade(
                proposal=proposal,
                price_quote=price,
                price_at_us=message.heard_at_us,
                quote_usd=message.quote_usd,
            ),
            proposal.id,
        )

    def _reject_with(self, proposal: TradeProposal, found: tuple[tuple[str, str], ...]) -> None:
        self._reject(proposal, tuple(code for code, _text in found), tuple(text for _code, text in found))

    def _reject(self, proposal: TradeProposal, codes: tuple[str, ...], reasons: tuple[str, ...]) -> None:
        event = outbox.proposal_rejected(proposal, codes, reasons)
        row = request_row(proposal, "rejected", codes, reasons)
        self.emit(RecordRequest(request=row, events=(event,)), proposal.id)

    def _keep_unreadable(self, message: RejectRequest) -> None:
        if message.request_id in self._requests:
            return
        self._remember(message.request_id)
        row = RequestRow(
            id=message.request_id,
            kind="unreadable",
            at_us=self.now_us,
            symbol="",
            body=outbox.as_json_text(message.raw),
            verdict="rejected",
            codes=(message.code,),
            reasons=(message.reason,),
        )
        event = outbox.request_refused(row)
        self.emit(RecordRequest(request=row, events=(event,)), message.request_id)

    # Intents ------------------------------------------------------------------------------------------

    def _open_trade(self, message: TradeApproved) -> None:
        """Size the approved trade and commit the intent of its entry."""
        proposal = message.proposal
        self._in_review.pop(proposal.id, None)
        trade = Trade(
            proposal=proposal,
            position_id=PositionId(self.ports.new_id()),
            is_withdrawn=proposal.id in self._withdrawn_in_review,
        )
        self._withdrawn_in_review.discard(proposal.id)
        intent = self._entry_intent(trade, message.price_quote, attempt=1)
        problem = size_problem(intent.volume_base, intent.limit_price_quote or message.price_quote, self._of(proposal))
        if trade.is_withdrawn:
            problem = problem or "withdrawn while in review"
        if problem is not None:
            code = "WITHDRAWN" if trade.is_withdrawn else "ORDER_TOO_SMALL"
            self._reject(proposal, (code,), (problem,))
            self.emit(TradeEnded(trade_id=proposal.id), proposal.id)
            return
        self._book.open_trade(trade)
        self._record_intent(trade, intent, request_row(proposal, "approved", exposure_usd=message.exposure_usd))

    def _of(self, proposal: TradeProposal) -> Instrument:
        return self._instruments[proposal.symbol]

    def _entry_intent(self, trade: Trade, reference_price_quote: Decimal, attempt: int) -> OrderIntent:
        proposal = trade.proposal
        instrument = self._of(proposal)
        settings = self._settings
        if proposal.order_type is OrderType.LIMIT and proposal.entry_price_quote is not None:
            limit = entry_limit_quote(proposal.side, proposal.entry_price_quote, instrument)
            reference_price_quote = limit
            time_in_force = TimeInForce(settings.default_time_in_force)
        else:
            limit = slippage_limit_quote(proposal.side, reference_price_quote, settings.slippage_pct, instrument)
            time_in_force = TimeInForce.IOC
        expires = self.now_us + settings.expiry_s * MICROSECONDS if time_in_force is TimeInForce.GTD else None
        return OrderIntent(
            id=OrderId(self.ports.new_id()),
            proposal_id=proposal.id,
            position_id=trade.position_id,
            symbol=proposal.symbol,
            side=proposal.side,
            role=OrderRole.ENTRY,
            order_type=OrderType.LIMIT,
            volume_base=entry_volume_base(proposal, reference_price_quote, settings.fee_pct, instrument),
            limit_price_quote=limit,
            trigger_price_quote=None,
            reference_price_quote=reference_price_quote,
            leverage=proposal.leverage,
            reduce_only=False,
            time_in_force=time_in_force,
            expires_at_us=expires,
            attempt=attempt,
            created_at_us=self.now_us,
        )

    def _exit_intent(self, trade: Trade, step: Place) -> OrderIntent:
        position = trade.position
        if position is None:
            raise RuntimeError(f"trade {trade.id} has no position to exit")
        order_type = self._exit_type(step.role)
        side = exit_side(position)
        trigger = step.trigger_price_quote
        limit = None
        if trigger is not None and order_type in WITH_LIMIT:
            limit = slippage_limit_quote(side, trigger, self._settings.trigger_limit_pct, self._of(trade.proposal))
        earlier = trade.legs.get(step.role)
        return OrderIntent(
            id=OrderId(self.ports.new_id()),
            proposal_id=trade.id,
            position_id=trade.position_id,
            symbol=position.symbol,
            side=side,
            role=step.role,
            order_type=order_type,
            volume_base=step.volume_base,
            limit_price_quote=limit,
            trigger_price_quote=step.trigger_price_quote,
            reference_price_quote=step.trigger_price_quote or trade.last_price_quote,
            leverage=position.leverage,
            reduce_only=position.leverage > 1,
            time_in_force=TimeInForce.GTC,
            expires_at_us=None,
            attempt=earlier.order.intent.attempt + 1 if earlier is not None else 1,
            created_at_us=self.now_us,
        )

    def _exit_type(self, role: OrderRole) -> OrderType:
        """Protection is of the configured types; getting out is a market order: it comes first."""
        if role is OrderRole.STOP:
            return OrderType(self._settings.stop_order_type)
        return OrderType(self._settings.target_order_type) if role is OrderRole.TARGET else OrderType.MARKET

    def _record_intent(self, trade: Trade, intent: OrderIntent, request: RequestRow | None = None) -> None:
        order = attrs.evolve(new_order(intent), retries=intent.attempt - 1) if intent.attempt > 1 else new_order(intent)
        tracked = Tracked(order=order, trade=trade, phase=Phase.RECORDING, heard_at_us=self.now_us)
        self._book.add(trade, tracked)
        self.emit(RecordIntent(order=order, request=request), trade.id)
        if self._is_stalled and intent.role is not OrderRole.ENTRY:
            self._ask_to_place(intent.id)

    def _ask_to_place(self, order_id: OrderId) -> None:
        """The intent is committed (or must go without): ask when it may leave."""
        tracked = self._book.live.get(order_id)
        if tracked is None or tracked.phase is not Phase.RECORDING:
            return
        if tracked.is_withdrawn:
            self._over(tracked, Happening.WITHDRAWN, "withdrawn before it was sent")
            return
        tracked.phase = Phase.WAITING
        is_entry = tracked.order.intent.role is OrderRole.ENTRY
        wait_us = self._settings.permit_wait_max_s * MICROSECONDS if is_entry else FOREVER_US
        self._ask_permit(tracked, CallKind.PLACE, CallPriority.OPEN if is_entry else CallPriority.PROTECT, wait_us)

    def _ask_permit(self, tracked: Tracked, kind: CallKind, priority: CallPriority, wait_us: int = FOREVER_US) -> None:
        self.emit(
            RequestPermit(kind=kind, priority=priority, order_id=tracked.order.id, deadline_us=self.now_us + wait_us),
            tracked.order.intent.proposal_id,
        )

    def _use_permit(self, message: PermitGranted) -> None:
        if message.kind is CallKind.POLL:
            self._send_poll()
            return
        tracked = self._book.live.get(message.order_id) if message.order_id is not None else None
        if tracked is None:
            return
        match message.kind:
            case CallKind.PLACE:
                self._send(tracked)
            case CallKind.CANCEL:
                self._send_cancel(tracked)
            case CallKind.AMEND:
                self._send_amend(tracked)
            case CallKind.LOOK_UP:
                order = tracked.order
                sent_at_us = order.intent.created_at_us
                query = LookUpOrder(order_id=order.id, symbol=order.intent.symbol, sent_at_us=sent_at_us)
                self.emit(query, order.intent.proposal_id)
            case _:
                assert_never(message.kind)

    def _send(self, tracked: Tracked) -> None:
        if tracked.phase is not Phase.WAITING:
            return
        if tracked.is_withdrawn:
            self._over(tracked, Happening.WITHDRAWN, "withdrawn before it was sent")
            return
        intent = tracked.order.intent
        tracked.phase = Phase.SENT
        tracked.deadline_us = self.now_us + self._settings.deadline_s * MICROSECONDS
        self.emit(PlaceOrder(intent=intent, deadline_us=tracked.deadline_us), intent.proposal_id)
        # Twice the deadline: later than any client timeout, so it only speaks when the exchange actor is mute.
        self.after(2 * self._settings.deadline_s * MICROSECONDS, AnswerOverdue(order_id=intent.id), intent.proposal_id)

    def _do_without_permit(self, message: PermitExpired) -> None:
        if message.kind is CallKind.POLL:
            self._set_poll()
            return
        tracked = self._book.live.get(message.order_id) if message.order_id is not None else None
        if tracked is not None and message.kind is CallKind.PLACE and tracked.phase is Phase.WAITING:
            self._over(tracked, Happening.WITHDRAWN, "no permit in time: too many calls")

    # Answers ------------------------------------------------------------------------------------------

    def _accepted(self, message: OrderAccepted) -> None:
        tracked = self._book.find(message.order_id)
        if tracked is None:
            return
        self._adopt(tracked, message.external_id, message.at_us)

    def _adopt(self, tracked: Tracked, external_id: ExternalOrderId, at_us: int) -> None:
        """The exchange has the order: keep its id, confirm protection, and do what was waiting for this."""
        before = tracked.order
        order = advance(before, Happening.ACCEPTED, at_us, external_id=external_id)
        tracked.order = order
        tracked.heard_at_us = self.now_us
        if order is not before:
            became_open = before.status is OrderStatus.PENDING
            events = (outbox.order_placed(order),) if became_open else ()
            self.emit(RecordOrder(order=order, events=events), order.intent.proposal_id)
        if not tracked.is_live:
            return
        self._leave_settling(tracked)
        tracked.phase = Phase.RESTING
        self._set_poll()
        intent = order.intent
        if intent.role is OrderRole.STOP:
            self._protected(tracked, at_us)
        if intent.role is OrderRole.ENTRY and intent.time_in_force is not TimeInForce.IOC:
            due_us = intent.created_at_us + self._settings.expiry_s * MICROSECONDS
            self.after(max(0, due_us - self.now_us), ExpiryDue(order_id=order.id), intent.proposal_id)
        if tracked.is_withdrawn:
            self._ask_cancel(tracked)
        else:
            self._align(tracked.trade)

    def _protected(self, tracked: Tracked, at_us: int) -> None:
        trade = tracked.trade
        trade.is_alerted = False
        trade.failures.pop(OrderRole.STOP, None)
        self.emit(ConfirmProtection(position_id=trade.position_id, at_us=at_us), trade.id)

    def _refused(self, message: OrderRefused) -> None:
        """Nothing was placed. Entries are tried again if that may help, exits and protection always."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None or tracked.phase is Phase.RESTING:
            return
        self._leave_settling(tracked)
        self._over(tracked, Happening.REFUSED, message.reason, may_retry=message.may_retry)

    def _amended(self, message: OrderAmended) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        tracked.is_amend_asked = False
        tracked.trade.failures.pop(tracked.order.intent.role, None)
        tracked.heard_at_us = self.now_us
        tracked.order = amended(tracked.order, message.volume_base, message.trigger_price_quote, message.at_us)
        self.emit(RecordOrder(order=tracked.order), tracked.order.intent.proposal_id)
        self._align(tracked.trade)

    def _amend_refused(self, message: AmendRefused) -> None:
        """The order rests as before or is gone: the poll will say; then what is still missing is asked again."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._wait_to_retry(tracked.trade, tracked.order.intent.role, message.reason)
        self._look_up(tracked)

    def _ended(self, message: OrderEnded) -> None:
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._leave_settling(tracked)
        happening = ENDING_HAPPENING[message.status]
        if tracked.has_expired and happening is Happening.CANCEL_CONFIRMED:
            happening = Happening.EXPIRY_CONFIRMED
        self._over(tracked, happening, message.reason, at_us=message.at_us)

    def _over(
        self, tracked: Tracked, happening: Happening, reason: str, *, may_retry: bool = True, at_us: int | None = None
    ) -> None:
        """End an order other than by its last fill, keep it, and see what the trade needs now."""
        order = advance(tracked.order, happening, at_us or self.now_us, reason=reason)
        tracked.order = order
        trade = tracked.trade
        self.emit(RecordOrder(order=order, events=(outbox.order_ended(order),)), order.intent.proposal_id)
        self._book.retire(tracked)
        if happening in (Happening.REFUSED, Happening.PROVEN_ABSENT):
            self._after_failure(trade, order, may_retry=may_retry)
        self._align(trade)

    def _after_failure(self, trade: Trade, order: Order, *, may_retry: bool) -> None:
        role = order.intent.role
        if role is OrderRole.ENTRY:
            attempts_left = order.intent.attempt <= self._settings.retries_max
            if may_retry and attempts_left and not trade.is_withdrawn and not self._is_stopping:
                self._wait_to_retry(trade, role, order.reason)
        elif role is OrderRole.TARGET and not may_retry:
            trade.is_target_local = True  # The exchange does not want it: the local watch has it anyway.
        else:
            self._wait_to_retry(trade, role, order.reason)

    def _wait_to_retry(self, trade: Trade, role: OrderRole, reason: str) -> None:
        """Set the timer of the next attempt; a stop or an exit that fails is everybody's business."""
        failures = trade.failures.get(role, 0) + 1
        trade.failures[role] = failures
        trade.waiting.add(role)
        wait_us = backoff_us(failures, self._settings.retry_first_ms, self._settings.retry_longest_ms)
        self.after(wait_us, RetryDue(trade_id=trade.id, role=role), trade.id)
        if role in (OrderRole.STOP, OrderRole.EXIT) and not trade.is_alerted:
            trade.is_alerted = True
            self._alert("protection_failing" if role is OrderRole.STOP else "exit_failing", trade, reason)
            if role is OrderRole.STOP:
                grace_us = self._settings.protection_grace_s * MICROSECONDS
                self.after(grace_us, GraceOver(trade_id=trade.id), trade.id)

    def _alert(self, kind: str, trade: Trade, reason: str) -> None:
        event = outbox.alert(kind, trade.id, self.now_us, symbol=trade.proposal.symbol, reason=reason)
        self.emit(RecordAlert(events=(event,)), trade.id)

    def _retry(self, message: RetryDue) -> None:
        trade = self._book.trades.get(message.trade_id)
        if trade is None:
            return
        trade.waiting.discard(message.role)
        leg = trade.legs.get(message.role)
        if leg is not None:
            leg.is_amend_asked = False
        if message.role is not OrderRole.ENTRY or leg is None or leg.is_live:
            self._align(trade)
        elif trade.is_withdrawn or self._is_stopping:
            self._finish(trade)
        else:
            earlier = leg.order.intent
            intent = self._entry_intent(trade, earlier.reference_price_quote, earlier.attempt + 1)
            self._record_intent(trade, intent)

    # Settling: an outcome that nobody knows -------------------------------------------------------------

    def _answer_overdue(self, order_id: OrderId) -> None:
        tracked = self._book.live.get(order_id)
        if tracked is not None and tracked.phase is Phase.SENT:
            self._settle(tracked, "no answer at all")

    def _settle(self, tracked: Tracked | None, reason: str) -> None:
        """Silence may hide a live order: look for it, never send it again."""
        if tracked is None or not tracked.is_live or tracked.phase in (Phase.RESTING, Phase.SETTLING):
            return
        tracked.order = advance(tracked.order, Happening.UNCERTAIN, self.now_us, reason=reason)
        tracked.phase = Phase.SETTLING
        symbol = tracked.order.intent.symbol
        self._settling[symbol] = self._settling.get(symbol, 0) + 1
        self.emit(RecordOrder(order=tracked.order), tracked.order.intent.proposal_id)
        self._look_up(tracked)

    def _look_up(self, tracked: Tracked | None) -> None:
        if tracked is None or not tracked.is_live:
            return
        self._ask_permit(tracked, CallKind.LOOK_UP, CallPriority.QUERY)

    def _found(self, message: OrderFound) -> None:
        """The exchange knows it: adopt it, count its fills, and end it if it has ended."""
        tracked = self._book.find(message.order.order_id)
        if tracked is None:
            return
        if tracked.phase is Phase.SETTLING:
            self._repaired += 1
        self._take_state(tracked, message.order, message.fills)
        self._note_reconciled(tracked.order.id)

    def _take_state(self, tracked: Tracked, state: ExchangeOrder, fills: tuple[Fill, ...]) -> None:
        """Bring an order to what the exchange says of it. Weaker or older news changes nothing."""
        if tracked.phase in (Phase.SENT, Phase.SETTLING):
            self._adopt(tracked, state.external_id, self.now_us)
        tracked.heard_at_us = self.now_us
        for fill in fills:
            if fill.order_id == tracked.order.id:
                self._book_fill(fill)
        if not tracked.is_live or state.filled_base > tracked.order.filled_base:
            return  # Fills are still on their way: the end is believed when they are in.
        if state.status in ENDING_HAPPENING:
            self._over(tracked, ENDING_HAPPENING[state.status], state.reason)
        elif tracked.is_withdrawn and tracked.phase is Phase.RESTING:
            self._ask_cancel(tracked)
        elif tracked.phase is Phase.RESTING and not tracked.is_amend_asked:
            self._take_levels(tracked, state)

    def _take_levels(self, tracked: Tracked, state: ExchangeOrder) -> None:
        order = tracked.order
        if (order.volume_base, order.trigger_price_quote) == (state.volume_base, state.trigger_price_quote):
            return
        tracked.order = amended(order, state.volume_base, state.trigger_price_quote, self.now_us)
        self.emit(RecordOrder(order=tracked.order), order.intent.proposal_id)
        self._align(tracked.trade)

    def _not_found(self, message: OrderNotFound) -> None:
        """Absence is believed only when the deadline and the lag of the records have passed."""
        tracked = self._book.live.get(message.order_id)
        if tracked is None:
            return
        self._note_reconciled(message.order_id)
        if tracked.phase is Phase.RESTING:
            return  # The exchange has had it, so absence proves nothing: it stays ours until its end is told.
        proven_at_us = tracked.deadline_us + self._settings.settle_lag_s * MICROSECONDS
        if tracked.phase is Phase.SETTLING and message.as_of_us >= proven_at_us:
            self._leave_settling(tracked)
            self._over(tracked, Happening.PROVEN_ABSENT, "never placed: unknown to the exchange after its deadline")
        else:
            wait_us = self._settings.look_up_every_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=message.order_id), tracked.order.intent.proposal_id)

    def _leave_settling(self, tracked: Tracked) -> None:
        if tracked.phase is not Phase.SETTLING:
            return
        symbol = tracked.order.intent.symbol
        tracked.phase = Phase.SENT
        self._settling[symbol] -= 1
        if not self._settling[symbol]:
            del self._settling[symbol]
            self._release_held()

    # Fills ----------------------------------------------------------------------------------------------

    def _book_fill(self, fill: Fill) -> None:
        """Count an execution once, whoever tells it, and hand it to the position."""
        tracked = self._book.find(fill.order_id)
        if tracked is None:
            event = outbox.alert(
                "unknown_execution", None, self.now_us, trade_id=fill.trade_id, symbol=fill.symbol,
                order_id=fill.order_id,
            )  # fmt: skip
            self.emit(RecordAlert(events=(event,)))
            return
        if fill.trade_id in tracked.fill_ids:
            return
        tracked.fill_ids.add(fill.trade_id)
        tracked.heard_at_us = self.now_us
        if fill.is_liquidation:
            self._pass_on(tracked, tracked.order, fill)
            return
        tracked.order = apply_fill(tracked.order, fill)
        self._leave_settling(tracked)
        if tracked.is_live and tracked.phase in (Phase.SENT, Phase.WAITING, Phase.RECORDING):
            tracked.phase = Phase.RESTING
        self._pass_on(tracked, tracked.order, fill)
        if tracked.is_live and tracked.order.is_over:
            self._book.retire(tracked)
        if tracked.is_live:
            self._set_poll()

    def _pass_on(self, tracked: Tracked, order: Order, fill: Fill) -> None:
        """Hand the fill to the position, and a trade that had ended comes back to life with it."""
        trade = tracked.trade
        proposal = trade.proposal
        self._book.open_trade(trade)
        if order.intent.role is not OrderRole.ENTRY:
            trade.failures.pop(order.intent.role, None)
        self.emit(
            ApplyFill(
                fill=fill,
                order=order,
                stop_loss_quote=proposal.stop_loss_quote,
                take_profit_quote=proposal.take_profit_quote,
                trailing=proposal.trailing,
            ),
            proposal.id,
        )

    def _follow_position(self, message: PositionChanged) -> None:
        position = message.position
        trade = self._book.by_position.get(position.id)
        if trade is None:
            return
        is_new = trade.position is None
        trade.position = position
        if message.last_price_quote:
            trade.last_price_quote = message.last_price_quote
        if position.is_over:
            trade.closing = None
        elif is_new and self._settings.protection_delay_ms:
            trade.is_delayed = True
            self.after(self._settings.protection_delay_ms * 1000, ProtectionDue(trade_id=trade.id), trade.id)
        if trade.close_when_held is not None:
            self._close(trade, trade.close_when_held)
        self._align(trade)

    def _name_dust(self, trade: Trade) -> None:
        """Say once that what is left is too small for any order, and give its slot back: nobody can act on it."""
        is_dust = bool(trade.held_base) and is_dust_volume(trade.held_base, self._of(trade.proposal))
        if not is_dust or trade.live(OrderRole.ENTRY) is not None or trade.is_dust_named:
            return
        trade.is_dust_named = True
        self._alert("dust_left", trade, f"{trade.held_base} is below the smallest order")
        if not trade.is_released:
            trade.is_released = True
            self.emit(TradeEnded(trade_id=trade.id), trade.id)

    # Protection -----------------------------------------------------------------------------------------

    def _align(self, trade: Trade) -> None:
        """Take every step between the trade as it is and as it should be."""
        for step in plan(trade, self._of(trade.proposal)):
            match step:
                case Place():
                    self._record_intent(trade, self._exit_intent(trade, step))
                case Amend():
                    step.tracked.is_amend_asked = True
                    self._ask_permit(step.tracked, CallKind.AMEND, CallPriority.PROTECT)
                case Withdraw():
                    self._withdraw(step.tracked)
                case CloseNow():
                    self._close(trade, step.reason)
                    return
                case _:
                    assert_never(step)
        self._name_dust(trade)
        self._finish(trade)

    def _withdraw(self, tracked: Tracked) -> None:
        """Get rid of an order, wherever it is on its way."""
        tracked.is_withdrawn = True
        if tracked.phase is Phase.RESTING:
            self._ask_cancel(tracked)

    def _ask_cancel(self, tracked: Tracked) -> None:
        if not tracked.is_cancel_asked:
            tracked.is_cancel_asked = True
            self._ask_permit(tracked, CallKind.CANCEL, CallPriority.CANCEL)

    def _send_cancel(self, tracked: Tracked) -> None:
        order = tracked.order
        if tracked.phase is Phase.RESTING and order.external_id is not None:
            self.emit(
                CancelOrder(order_id=order.id, external_id=order.external_id, symbol=order.intent.symbol),
                order.intent.proposal_id,
            )
            wait_us = 2 * self._settings.deadline_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=order.id), order.intent.proposal_id)

    def _cancel_refused(self, message: CancelRefused) -> None:
        """It may have filled, be gone, or rest still: ask, and cancel again if it rests."""
        tracked = self._book.live.get(message.order_id)
        if tracked is not None:
            wait_us = self._settings.look_up_every_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=tracked.order.id), tracked.order.intent.proposal_id)

    def _look_again(self, order_id: OrderId) -> None:
        tracked = self._book.live.get(order_id)
        if tracked is not None:
            tracked.is_cancel_asked = False
            self._look_up(tracked)

    def _send_amend(self, tracked: Tracked) -> None:
        """Amend to what is wanted now, which may have moved while the permit was waited for."""
        trade = tracked.trade
        tracked.is_amend_asked = False
        order = tracked.order
        for step in plan(trade, self._of(trade.proposal)):
            if isinstance(step, Amend) and step.tracked is tracked and order.external_id is not None:
                tracked.is_amend_asked = True
                self.emit(
                    AmendOrder(
                        order_id=order.id,
                        external_id=order.external_id,
                        symbol=order.intent.symbol,
                        volume_base=step.volume_base,
                        trigger_price_quote=step.trigger_price_quote,
                        deadline_us=self.now_us + self._settings.deadline_s * MICROSECONDS,
                    ),
                    trade.id,
                )

    def _end_delay(self, trade_id: ProposalId) -> None:
        trade = self._book.trades.get(trade_id)
        if trade is not None:
            trade.is_delayed = False
            self._align(trade)

    def _end_grace(self, trade_id: ProposalId) -> None:
        """Bare for too long: being out is better than being exposed."""
        trade = self._book.trades.get(trade_id)
        if trade is None or not trade.failures.get(OrderRole.STOP) or not trade.held_base:
            return
        stop = trade.live(OrderRole.STOP)
        if stop is None or stop.phase is not Phase.RESTING:
            self._close(trade, CloseReason.PROTECTION_FAILED)

    def _finish(self, trade: Trade) -> None:
        """Tell risk when nothing of the trade can grow any more, and forget it when nothing lives."""
        position = trade.position
        entry_over = trade.live(OrderRole.ENTRY) is None and OrderRole.ENTRY not in trade.waiting
        expects_position = any(leg.order.filled_base for leg in trade.legs.values()) and position is None
        if not entry_over or expects_position or (position is not None and not position.is_over):
            return
        if not trade.is_released:
            trade.is_released = True
            self.emit(TradeEnded(trade_id=trade.id), trade.id)
        if not trade.live_legs:
            self._book.close_trade(trade)

    # Closing --------------------------------------------------------------------------------------------

    def _act_on_level(self, message: LevelReached) -> None:
        """A level is touched: the resting order has its chance first, then we act ourselves."""
        trade = self._book.by_position.get(message.position_id)
        if trade is None or trade.closing is not None or trade.position is None:
            return
        trade.last_price_quote = message.price_quote
        is_target = message.level is Level.TARGET
        is_trailing = message.level is Level.TRAILING or trade.position.stop_is_trailing
        stop_reason = CloseReason.TRAILING_STOP if is_trailing else CloseReason.STOP_LOSS
        reason = CloseReason.TAKE_PROFIT if is_target else stop_reason
        if covers(trade, LEVEL_ROLES[message.level], message.price_quote):
            grace_us = self._settings.local_watch_grace_ms * 1000
            self.after(grace_us, WatchOverdue(trade_id=trade.id, reason=reason), trade.id)
        else:
            self._close(trade, reason)

    def _close(self, trade: Trade | None, reason: CloseReason) -> None:
        """Begin to get out; every further reason is late."""
        if trade is None or trade.closing is not None or trade.is_dust_named or not trade.held_base:
            return
        trade.closing = reason
        if reason in (CloseReason.PROTECTION_FAILED, CloseReason.BREAKER):
            self._alert("position_closing", trade, reason.value)
        self.emit(BeginClosing(position_id=trade.position_id, reason=reason), trade.id)
        self._align(trade)

    def _expire(self, order_id: OrderId) -> None:
        """Cancel an entry that has rested long enough, where the exchange has not ended it by itself."""
        tracked = self._book.live.get(order_id)
        if tracked is not None:
            tracked.trade.is_withdrawn = True
            tracked.has_expired = True
            if not tracked.is_withdrawn:
                self._withdraw(tracked)

    def _cancel_trade(self, message: CancelTrade) -> None:
        if self._take_request(message.request_id, message.target_id, "cancel"):
            self._withdraw_entry(message.target_id)

    def _close_trade(self, message: CloseTrade) -> None:
        if self._take_request(message.request_id, message.target_id, "close"):
            trade = self._book.trades.get(message.target_id)
            if trade is not None:
                trade.close_when_held = CloseReason.MANUAL
            self._withdraw_entry(message.target_id)
            self._close(trade, CloseReason.MANUAL)

    def _take_request(self, request_id: ProposalId, target_id: ProposalId, kind: str) -> bool:
        """Keep a cancel or a close once; say whether there is anything to do."""
        if request_id in self._requests:
            return False
        self._remember(request_id)
        is_known = target_id in self._book.trades or target_id in self._in_review
        row = RequestRow(
            id=request_id,
            kind=kind,
            at_us=self.now_us,
            symbol="",
            body=outbox.as_json_text(target_id),
            verdict="taken" if is_known else "rejected",
            codes=() if is_known else ("NOTHING_TO_DO",),
            reasons=() if is_known else (f"no trade {target_id} is alive",),
        )
        events = () if is_known else (outbox.request_refused(row),)
        self.emit(RecordRequest(request=row, events=events), target_id)
        return is_known

    def _withdraw_entry(self, trade_id: ProposalId) -> None:
        if trade_id in self._in_review:
            self._withdrawn_in_review.add(trade_id)
        trade = self._book.trades.get(trade_id)
        if trade is None:
            return
        trade.is_withdrawn = True
        entry = trade.live(OrderRole.ENTRY)
        if entry is not None and not entry.is_withdrawn:
            self._withdraw(entry)
        elif OrderRole.ENTRY in trade.waiting:
            trade.waiting.discard(OrderRole.ENTRY)
            self._finish(trade)

    def _change_protection(self, message: ChangeProtection) -> None:
        """Hand new levels to the position; one on the wrong side of the price is refused with an alert."""
        trade = self._book.trades.get(message.target_id)
        if trade is None or not trade.held_base or trade.position is None:
            return
        stop, target = message.stop_loss_quote, message.take_profit_quote
        found = level_problems(trade.proposal.side, trade.last_price_quote, stop, target)
        if found:
            self._alert("protection_refused", trade, "; ".join(text for _code, text in found))
            return
        self.emit(
            MoveStop(
                position_id=trade.position_id,
                stop_loss_quote=stop,
                take_profit_quote=target,
                trailing=message.trailing,
            ),
            trade.id,
        )

    # Watching -------------------------------------------------------------------------------------------

    def _set_poll(self) -> None:
        if not self._is_poll_set and self._book.live:
            self._is_poll_set = True
            self.after(self._settings.poll_s * MICROSECONDS, PollDue(), NO_TRADE)

    def _poll(self) -> None:
        self._is_poll_set = False
        if not self._book.live:
            return
        deadline_us = self.now_us + self._settings.poll_s * MICROSECONDS
        self.emit(
            RequestPermit(kind=CallKind.POLL, priority=CallPriority.QUERY, order_id=None, deadline_us=deadline_us)
        )

    def _send_poll(self) -> None:
        ids = tuple(id_ for id_, tracked in self._book.live.items() if tracked.phase is Phase.RESTING)
        if ids:
            self.emit(PollOrders(order_ids=ids, after_trade=self._poll_cursor))
        self._set_poll()

    def _compare(self, message: OrdersPolled) -> None:
        """Take from the poll what the push has not told: fills first, then states."""
        self._poll_cursor = message.cursor
        for fill in message.fills:
            if self._book.find(fill.order_id) is not None:
                self._book_fill(fill)
        for state in message.orders:
            tracked = self._book.live.get(state.order_id)
            if tracked is not None:
                self._take_state(tracked, state, ())
        self._report_silence()

    def _report_silence(self) -> None:
        """An order that no poll has mentioned for too long is looked up by itself and reported, never dropped."""
        limit_us = self.now_us - self._settings.silence_max_s * MICROSECONDS
        for tracked in self._book.live.values():
            if tracked.phase is Phase.RESTING and tracked.heard_at_us < limit_us:
                tracked.heard_at_us = self.now_us
                self._alert("order_silent", tracked.trade, f"no news of order {tracked.order.id}")
                self._look_up(tracked)

    # Start ----------------------------------------------------------------------------------------------

    def _recover(self, state: RecoveredState) -> None:
        """Take up what the journal remembers, and look for every order that may live."""
        for request_id in state.requests:
            self._remember(request_id)
        for row in state.approved:
            self._recover_trade(row, state)
        fill_ids = set(state.fill_ids)
        for order in sorted(state.orders, key=lambda order: order.intent.created_at_us):
            self._recover_order(order, fill_ids)
        for tracked in tuple(self._book.live.values()):
            self._look_up(tracked)
        for trade in tuple(self._book.trades.values()):
            self._align(trade)
        self._note_reconciled(None)

    def _recover_trade(self, row: RequestRow, state: RecoveredState) -> None:
        proposal = from_row(row)
        orders = [order for order in state.orders if order.intent.proposal_id == proposal.id]
        if not orders:
            return
        trade = Trade(proposal=proposal, position_id=orders[0].intent.position_id)
        for position in state.positions:
            if position.id == trade.position_id:
                trade.position = position
                trade.closing = position.close_reason
        self._book.open_trade(trade)

    def _recover_order(self, order: Order, fill_ids: set[TradeId]) -> None:
        """What was open rests, as far as we know; what was pending may or may not have left."""
        trade = self._book.trades.get(order.intent.proposal_id)
        if trade is None:
            return
        deadline_us = self.now_us + self._settings.deadline_s * MICROSECONDS
        tracked = Tracked(
            order=order, trade=trade, phase=Phase.RESTING, deadline_us=deadline_us, heard_at_us=self.now_us
        )
        tracked.fill_ids.update(fill_ids)
        self._book.add(trade, tracked)
        if order.is_over:
            self._book.retire(tracked)
            return
        if order.status is OrderStatus.PENDING:
            tracked.phase = Phase.SETTLING
            symbol = order.intent.symbol
            self._settling[symbol] = self._settling.get(symbol, 0) + 1
        self._to_reconcile.add(order.id)

    def _note_reconciled(self, order_id: OrderId | None) -> None:
        """Say so once every order of the journal has been asked about."""
        if order_id is not None:
            if order_id not in self._to_reconcile:
                return
            self._to_reconcile.discard(order_id)
            self._reconciled += 1
        if not self._to_reconcile and not self._is_ready:
            self.emit(OrdersReconciled(orders=self._reconciled, repaired=self._repaired))
            self._set_poll()

    def _go_on_without_journal(self) -> None:
        """The database is away: no entry leaves, but what protects and closes does not wait for it."""
        self._is_stalled = True
        for tracked in tuple(self._book.live.values()):
            if tracked.phase is Phase.RECORDING and tracked.order.intent.role is not OrderRole.ENTRY:
                self._ask_to_place(tracked.order.id)

    def is_settled(self) -> bool:
        """Say whether nothing is under way: what is live rests on the exchange and nothing is being moved."""
        return not self._in_review and all(
            tracked.phase is Phase.RESTING and not tracked.is_withdrawn and not tracked.is_amend_asked
            for tracked in tuple(self._book.live.values())
        )

    def describe(self) -> OrderSummary:
        """Return the live orders and how much is remembered."""
        return OrderSummary(
            live=tuple(tracked.order for tracked in self._book.live.values()),
            over=len(self._book.over),
            trades=len(self._book.trades),
            is_ready=self._is_ready,
            alerted=frozenset(trade.position_id for trade in self._book.trades.values() if trade.is_alerted),
        )

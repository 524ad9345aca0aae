"""Requests: what a strategy asks for, from the first look at a proposal to the intent of its entry."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from actors.order import outbox
from actors.order.book import Trade
from actors.order.proposals import (
    change_problems,
    change_row,
    changed,
    level_problems,
    price_problems,
    problems,
    request_row,
    stops_in_row,
)
from actors.order.shell.reconciling import Reconciling
from actors.order.sizing import size_problem
from messages.base import PositionId, ProposalId
from messages.journal import (
    RecordRequest,
)
from messages.market import GetPrice, PriceReported
from messages.orders import (
    OrderRole,
)
from messages.positions import (
    CloseReason,
    MoveStop,
)
from messages.risk import TradingState, TradingStateChanged
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    RejectRequest,
    RequestRow,
    ReviewTrade,
    TradeApproved,
    TradeEnded,
    TradeProposal,
)

HELD_MAX = 10_000
"""Proposals that may wait for the start, or for an unknown outcome on their symbol."""


class Requests(Reconciling):
    """Proposals, cancels, closes and changed levels."""

    def _take_proposal(self, message: ExecuteTrade) -> None:
        """Check what can be checked without a price, and ask for one. A known id is the same intent: done."""
        proposal = message.proposal
        if proposal.id in self._requests:
            return
        if self._is_stopping:
            self._remember(proposal.id)
            self._reject(proposal, ("ENGINE_STOPPING",), ("the engine takes no new trades while it stops",))
            return
        if not self._is_ready or self._settling.get(proposal.symbol):
            self._hold(message)
            return
        self._remember(proposal.id)
        found = problems(proposal, self._instruments)
        if found:
            self._reject_with(proposal, found)
            return
        differs = self._standing_of(proposal.symbol).differs
        if differs:
            self._reject(proposal, ("ACCOUNT_DIFFERS",), (f"the account is not what our books say: {differs}",))
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

    def _hear_price(self, message: PriceReported) -> None:
        """A price was asked for the sake of a proposal, of another attempt, or of changed levels."""
        proposal = self._in_review.get(message.wanted_for)
        if proposal is not None:
            self._send_to_review(proposal, message)
        elif message.wanted_for in self._repricing:
            self._enter_again(message.wanted_for, message.last_quote)
        elif message.wanted_for in self._changes:
            self._move_levels(message.wanted_for, message.last_quote)

    def _send_to_review(self, proposal: TradeProposal, message: PriceReported) -> None:
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
        intent = self._entry(trade, message.price_quote, attempt=1)
        problem = size_problem(intent.volume_base, intent.limit_price_quote or message.price_quote, self._of(proposal))
        if trade.is_withdrawn:
            problem = problem or "withdrawn while in review"
        if problem is not None:
            code = "WITHDRAWN" if trade.is_withdrawn else "ORDER_TOO_SMALL"
            self._reject(proposal, (code,), (problem,))
            self.emit(TradeEnded(trade_id=proposal.id), proposal.id)
            return
        self._book.open_trade(trade)
        self._record_intent(trade, intent, self._approved_row(message))

    def _approved_row(self, message: TradeApproved) -> RequestRow:
        """Keep the proposal as it was approved, with what review changed about it."""
        return request_row(message.proposal, "approved", reasons=message.changes, exposure_usd=message.exposure_usd)

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
        waits = any(message.proposal.id == target_id for message in self._held)
        is_known = waits or target_id in self._book.trades or target_id in self._in_review
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
        for message in tuple(self._held):
            if message.proposal.id == trade_id:
                self._held.remove(message)
                self._remember(trade_id)
                self._reject(message.proposal, ("WITHDRAWN",), ("withdrawn while it waited",))
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

    def _hear_trading_state(self, message: TradingStateChanged) -> None:
        """While nothing may be opened, no entry waits to be filled either."""
        if message.state is TradingState.ACTIVE:
            return
        for trade in tuple(self._book.trades.values()):
            if trade.live(OrderRole.ENTRY) is not None or OrderRole.ENTRY in trade.waiting:
                self._withdraw_entry(trade.id)

    def _change_protection(self, message: ChangeProtection) -> None:
        """Ask what the symbol costs now: new levels are measured against that."""
        if message.request_id in self._requests:
            return
        self._remember(message.request_id)
        trade = self._book.trades.get(message.target_id)
        if trade is None:
            self._refuse_change(message, "NOTHING_TO_DO", f"no trade {message.target_id} is alive, or not yet")
        elif found := change_problems(message):
            self._refuse_levels(message, found)
        else:
            self._changes.setdefault(trade.id, deque()).append(message)
            self.emit(GetPrice(symbol=trade.proposal.symbol, wanted_for=trade.id), trade.id)

    def _move_levels(self, trade_id: ProposalId, price_quote: Decimal | None) -> None:
        """Hand new levels to the position, or keep them for the one that the entry will open.

        They are kept in one breath with the position, so what was taken stands after a crash, and is not done twice.
        """
        waiting = self._changes[trade_id]
        message = waiting.popleft()
        if not waiting:
            del self._changes[trade_id]
        trade = self._book.trades.get(trade_id)
        if trade is None or not self._has_levels(trade):
            self._refuse_change(message, "NOTHING_TO_DO", f"trade {trade_id} is over, or being closed")
            return
        found = self._wrong_levels(trade, message, price_quote)
        if found:
            self._refuse_levels(message, found)
            return
        held = trade.proposal if trade.position is None else trade.position
        row = change_row(message, self.now_us, "taken", stop_before_quote=held.stop_loss_quote)
        trade.proposal = changed(trade.proposal, message)
        trade.note_levels(self.now_us, stops_in_row(row))
        if not trade.left_base:
            self.emit(RecordRequest(request=row), trade_id)
            return
        self.emit(
            MoveStop(
                position_id=trade.position_id,
                stop_loss_quote=message.stop_loss_quote,
                take_profit_quote=message.take_profit_quote,
                trailing=message.trailing,
                request=row,
            ),
            trade_id,
        )

    def _has_levels(self, trade: Trade) -> bool:
        """Say whether there is something that levels are for: a position that stays, or an entry that may open one."""
        if trade.left_base:
            return trade.closing is None
        return trade.live(OrderRole.ENTRY) is not None or OrderRole.ENTRY in trade.waiting

    def _wrong_levels(
        self, trade: Trade, message: ChangeProtection, price_quote: Decimal | None
    ) -> tuple[tuple[str, str], ...]:
        """Return which new level is on the wrong side: of the price, or of where the entry waits."""
        if price_quote is None:
            return ()
        trade.last_price_quote = price_quote
        if not trade.left_base:
            return price_problems(changed(trade.proposal, message), price_quote)
        return level_problems(trade.proposal.side, price_quote, message.stop_loss_quote, message.take_profit_quote)

    def _refuse_levels(self, message: ChangeProtection, found: tuple[tuple[str, str], ...]) -> None:
        """Say what is wrong with new levels; a person may believe that they stand."""
        codes, texts = tuple(code for code, _text in found), tuple(text for _code, text in found)
        row = change_row(message, self.now_us, "rejected", codes, texts)
        event = outbox.alert("protection_refused", message.target_id, self.now_us, reason="; ".join(texts))
        self.emit(RecordRequest(request=row, events=(event,)), message.target_id)

    def _refuse_change(self, message: ChangeProtection, code: str, reason: str) -> None:
        row = change_row(message, self.now_us, "rejected", (code,), (reason,))
        self.emit(RecordRequest(request=row, events=(outbox.request_refused(row),)), message.target_id)

"""Surveying: at a start, nothing is believed before it is known which orders are ours; those forgotten are taken up.

A journal that was restored from a backup is behind the exchange. So the start asks for the trades since the newest
known one, for the account with its open orders, for every order of the journal that may live, and for every other
order that bears an id of ours. What is said meanwhile is put off. Then the forgotten orders are recorded
(`adopting.py`), before any fill is booked: a crash in between finds them known. From there on they are orders like any
other.
Read in order: _begin_survey(), _puts_off(), _look_into(), _end_survey().
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actors.order import outbox
from actors.order.adoption import is_our_id
from actors.order.book import Phase
from actors.order.shell.adopting import Adopting
from actors.order.shell.desk import FOREVER_US
from actors.order.survey import Survey, Unknown
from actors.order.timers import AskAgain, LookAgain
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from config.settings import OrderSettings
from messages.base import NO_TRADE, Message, OrderId, ProposalId, Symbol
from messages.exchange import AccountReported, GetAccount
from messages.journal import RecordAlert, RecoveredState
from messages.market import Instrument
from messages.orders import (
    AmendRefused,
    CancelRefused,
    ExecutionReported,
    Fill,
    LookUpOrder,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrderRole,
    OrdersPolled,
    OutcomeUnknown,
)
from messages.permits import CallKind, CallPriority, RequestPermit
from messages.positions import ClosePosition, CloseReason, LevelReached, MoveStop
from messages.trades import CancelTrade, ChangeProtection, CloseTrade

PUT_OFF = (
    *(OrderAccepted, OrderRefused, OutcomeUnknown, ExecutionReported, OrderEnded, OrderAmended),
    *(CancelRefused, AmendRefused, OrdersPolled, OrderFound, OrderNotFound),
    *(LevelReached, ClosePosition, CancelTrade, CloseTrade, ChangeProtection),
)
"""What waits for the end of the survey: it would be acted on with half the knowledge."""


class Surveying(Adopting):
    """Which orders are ours, known or forgotten."""

    def __init__(self, ports: Ports, *, settings: OrderSettings, instruments: Mapping[Symbol, Instrument]) -> None:
        super().__init__(ports, settings=settings, instruments=instruments)
        self._survey: Survey | None = Survey()
        self._is_new = False
        """Whether the account begins with this start, so that nothing can be forgotten."""
        self._owes_account = True
        """Whether the open orders on the exchange have not been told since the start."""
        self._is_watchful = True
        """Whether an order of ours that nobody knows may still turn up: records lag behind for a while."""
        self._strangers: set[OrderId] = set()
        """Orders with an id like ours of which the exchange says nothing."""

    def _begin_survey(self, state: RecoveredState) -> None:
        """Ask for everything that may have happened since the journal's last word."""
        survey = self._survey or Survey()
        survey.is_loaded, survey.began_at_us, survey.answered_at_us = True, self.now_us, self.now_us
        survey.owes_poll = self._owes_poll
        self._is_new = state.is_new
        self._known_ids = {*state.order_ids, *(self._known_ids or ())}
        if self._owes_poll:
            self._poll()
        for order_id in sorted(self._to_reconcile):
            tracked = self._book.find(order_id)
            if tracked is None:  # Over, and more orders are than are remembered.
                self._to_reconcile.discard(order_id)
            else:
                self._look_up(tracked)
        survey.known |= self._to_reconcile
        for message in tuple(survey.put_off):
            self._look_into(survey, message)
        self.after(self._settings.poll_s * MICROSECONDS, AskAgain(), NO_TRADE)
        self._end_survey_if_over()

    def _puts_off(self, message: Message) -> bool:
        """Say whether a message has to wait until more is known; it is kept then."""
        survey = self._survey
        if survey is None:
            if not isinstance(message, ExecutionReported | OrdersPolled):
                return False
            if not any(self._unknown_orders(message)):
                if self._polled_at_us >= self._polls_until_us and not (self._owes_poll or self._owes_account):
                    self._is_watchful, self._known_ids = False, None
                return False
            survey = self._survey_again()
        if not isinstance(message, PUT_OFF):
            return False
        is_answer = isinstance(message, OrderFound | OrderNotFound) and self._hear_answer(survey, message)
        if not is_answer:
            survey.put_off.append(message)
            self._look_into(survey, message)
        self._end_survey_if_over()
        return True

    def _survey_again(self) -> Survey:
        """Something of ours has turned up that nobody knows: nothing is believed until it is known."""
        survey = self._survey = Survey(
            began_at_us=self.now_us,
            answered_at_us=self.now_us,
            is_loaded=True,
            owes_account=False,
            owes_poll=False,
        )
        self._is_surveying = self._is_watchful = True
        self.after(self._settings.poll_s * MICROSECONDS, AskAgain(), NO_TRADE)
        return survey

    def _hear_account(self, message: AccountReported) -> None:
        """Look among the open orders for forgotten ones."""
        survey, self._owes_account = self._survey, False
        if survey is None:
            if not self._is_watchful or not any(self._unknown_orders(message)):
                return
            survey = self._survey_again()
        survey.owes_account, survey.answered_at_us = False, self.now_us
        self._look_into(survey, message)
        if not survey.is_loaded:
            survey.put_off.append(message)  # To be looked into again, when it is known what is unknown.
        self._end_survey_if_over()

    def _look_into(self, survey: Survey, message: Message) -> None:
        """Ask about every order in the message that is ours by its id, and that nobody here knows."""
        if isinstance(message, OrdersPolled):
            survey.owes_poll, survey.answered_at_us = False, self.now_us
        if not survey.is_loaded:
            return
        if isinstance(message, OrderFound | OrderNotFound):
            order_id = message.order.order_id if isinstance(message, OrderFound) else message.order_id
            survey.known.discard(order_id)
            survey.answered_at_us = self.now_us
        for order_id, unknown in self._unknown_orders(message):
            if order_id not in survey.unknown and order_id not in survey.found:
                survey.unknown[order_id] = unknown
                self._ask_about(order_id)

    def _unknown_orders(self, message: Message) -> Iterable[tuple[OrderId, Unknown]]:
        """Yield the orders named in a message that are ours by their id, and that nobody here knows.

        A trade that is booked, if only as somebody else's, asks for nothing any more.
        """
        match message:
            case AccountReported():
                told = [
                    (order.order_id, order.symbol, self.now_us if order.terms is None else order.terms.opened_at_us)
                    for order in message.open_orders
                ]
            case OrdersPolled():
                told = [_named(fill) for fill in message.fills if self._unbooked(fill) is not None]
            case ExecutionReported():
                told = [] if self._unbooked(message.fill) is None else [_named(message.fill)]
            case _:
                told = []
        for order_id, symbol, at_us in told:
            if self._is_forgotten(order_id, symbol):
                yield order_id, Unknown(symbol=symbol, at_us=at_us)

    def _is_forgotten(self, order_id: OrderId, symbol: Symbol) -> bool:
        return (
            is_our_id(order_id)
            and symbol in self._instruments
            and self._book.find(order_id) is None
            and order_id not in (self._known_ids or ())
            and order_id not in self._strangers
        )

    def _hear_answer(self, survey: Survey, message: OrderFound | OrderNotFound) -> bool:
        """Take the answer about a forgotten order; say whether it was one."""
        if isinstance(message, OrderFound):
            order_id = message.order.order_id
            if survey.unknown.pop(order_id, None) is None:
                return False
            survey.answered_at_us = self.now_us
            if message.order.terms is None:
                self._strangers.add(order_id)
            else:
                survey.found[order_id] = message
            return True
        if message.order_id not in survey.unknown:
            return False
        if message.as_of_us >= survey.began_at_us + self._settings.settle_lag_s * MICROSECONDS:
            del survey.unknown[message.order_id]
            self._strangers.add(message.order_id)
        else:  # The records lag behind what was pushed.
            wait_us = self._settings.look_up_every_s * MICROSECONDS
            self.after(wait_us, LookAgain(order_id=message.order_id), NO_TRADE)
        return True

    def _ask_about(self, order_id: OrderId) -> None:
        unknown = None if self._survey is None else self._survey.unknown.get(order_id)
        tracked = self._book.find(order_id)
        known_symbol = None if tracked is None else tracked.order.intent.symbol
        permit = RequestPermit(
            kind=CallKind.LOOK_UP,
            priority=CallPriority.QUERY,
            order_id=order_id,
            symbol=known_symbol if unknown is None else unknown.symbol,
            deadline_us=self.now_us + FOREVER_US,
        )
        self.emit(permit, NO_TRADE)

    def _send_look_up(self, order_id: OrderId) -> None:
        survey = self._survey
        if survey is not None:
            survey.asked_at_us[order_id] = self.now_us
            unknown = survey.unknown.get(order_id)
            if unknown is not None:
                query = LookUpOrder(order_id=order_id, symbol=unknown.symbol, sent_at_us=unknown.at_us)
                self.emit(query, NO_TRADE)
                return
        super()._send_look_up(order_id)

    def _look_again(self, order_id: OrderId) -> None:
        survey = self._survey
        if survey is not None and order_id in survey.unknown:
            self._ask_about(order_id)
        else:
            super()._look_again(order_id)

    def _ask_again(self) -> None:
        """Ask once more what has left and was never answered; polls repeat themselves.

        An exchange that is silent for longer than a position may be bare is not waited for, unless it has named an
        order that we know nothing of: what it says later is taken up when it comes.
        """
        survey = self._survey
        if survey is None:
            if self._owes_account:
                self.emit(GetAccount(), NO_TRADE)
                self.after(self._settings.poll_s * MICROSECONDS, AskAgain(), NO_TRADE)
            return
        silent_us = self.now_us - survey.answered_at_us
        if survey.is_loaded and silent_us > self._settings.protection_grace_s * MICROSECONDS:
            if not survey.unknown:
                self._end_survey(survey)
                self.after(self._settings.poll_s * MICROSECONDS, AskAgain(), NO_TRADE)
                return
            self._tell_waiting(survey)
        if survey.owes_account:
            self.emit(GetAccount(), NO_TRADE)
        late_us = self.now_us - 2 * self._settings.deadline_s * MICROSECONDS
        for order_id in sorted(survey.known | survey.unknown.keys()):
            if survey.asked_at_us.get(order_id, self.now_us) <= late_us:
                survey.asked_at_us[order_id] = self.now_us
                self._ask_about(order_id)
        self.after(self._settings.poll_s * MICROSECONDS, AskAgain(), NO_TRADE)

    def _tell_waiting(self, survey: Survey) -> None:
        """Tell a person, once, that an order of ours is unknown and that the exchange does not say what it is."""
        if not survey.is_told:
            survey.is_told = True
            event = outbox.alert("orders_unknown", None, self.now_us, orders=", ".join(sorted(survey.unknown)))
            self.emit(RecordAlert(events=(event,)), NO_TRADE)

    def _end_survey_if_over(self) -> None:
        if self._survey is not None and self._survey.is_over:
            self._end_survey(self._survey)

    def _end_survey(self, survey: Survey) -> None:
        """Take up what was forgotten, believe what was put off, and act."""
        self._survey = None
        if not self._is_new:
            # What happened just now is in the records after their lag: one poll more must leave after that, however
            # late it is by then.
            self._polls_until_us = self.now_us + self._settings.settle_lag_s * MICROSECONDS
        moves: dict[ProposalId, MoveStop] = {}
        adopted = self._take_up(survey, moves)
        self._take_tighter_stops(survey, moves)
        for message in survey.in_order():
            if not isinstance(message, AccountReported):
                self.on_receive(message)
        for tracked in adopted:
            self._see_to(tracked)
        for trade_id, move in moves.items():
            self.emit(move, trade_id)
        self._is_surveying = False
        for trade in tuple(self._book.trades.values()):
            if trade.closing is None and trade.live(OrderRole.EXIT) is not None:
                # Why it was left was never recorded. That it was, is known.
                trade.close_when_held = trade.close_when_held or CloseReason.MANUAL
                self._close(trade, trade.close_when_held)
            if trade.id not in moves:
                self._align(trade)  # The others are, as soon as their levels have moved.
            stop = trade.live(OrderRole.STOP)
            if stop is not None and stop.phase is Phase.SETTLING:
                self._watch_bare(trade, "nobody knows whether the stop was placed before the start")
        self._note_reconciled(None)


def _named(fill: Fill) -> tuple[OrderId, Symbol, int]:
    return fill.order_id, fill.symbol, fill.at_us

"""KrakenActor: what the engine wishes and asks goes to Kraken, and what Kraken says comes back. It decides no trade.

It keeps three ways of hearing apart that all tell the same, each counted once by the engine: the answers to what was
asked, the line on which executions are pushed, and polls. The line is watched: whoever is silent, skips a number or
gets no acknowledgement is opened anew with a new token, and then the trades since are asked for.
Read in order: on_receive(), the line, what is done from time to time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import attrs

from actors.exchange.kraken.executions import ORDERS_REMEMBERED
from actors.exchange.kraken.line_watch import LineWatch
from actors.exchange.kraken.links import LineClosed, LineNews, LineOpened, LineSaid, Links
from actors.exchange.kraken.notation import read_json, write_json
from actors.exchange.kraken.pairs import PairError, Pairs, read_pairs, with_fees
from actors.exchange.kraken.shell.asking import UNREADABLE, Asked, Failed
from actors.exchange.kraken.shell.calling import Answered, Ask, Steps, Wait, WaitOver
from actors.exchange.kraken.shell.wishing import Wishing
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from actors.runtime.statistics import ActorReport
from actors.runtime.typed_actor import Recover, kinds
from config.settings import KrakenSettings
from messages.base import NO_TRADE, Command, Event, ExternalOrderId, OrderId, ProposalId, Symbol
from messages.exchange import ExchangeAlert, GetAccount, InstrumentsReported
from messages.lifecycle import StopOpening
from messages.market import Instrument
from messages.orders import (
    AmendOrder,
    CancelOrder,
    ExecutionReported,
    LookUpOrder,
    OrderAccepted,
    PlaceOrder,
    PollOrders,
)
from messages.permits import CallGranted, CallPriority, CallsThrottled, ThrottleScope
from messages.protocols import KrakenInbox, KrakenOutbox

TOKEN = "/0/private/GetWebSocketsToken"  # noqa: S105 - A path, and no secret.
ASSET_PAIRS = "/0/public/AssetPairs"
TRADE_VOLUME = "/0/private/TradeVolume"
CANCEL_ALL_AFTER = "/0/private/CancelAllOrdersAfter"
EXECUTIONS, BALANCES = "executions", "balances"
LOOK_EVERY_US = MICROSECONDS
OPENING_MAX_S = 10
"""A line that is not live so long after it was begun is begun anew."""
OWN_MOVES = ("trade", "margin", "rollover", "settled", "spend", "receive")
"""Kinds of balance changes that come of trading; others are deposits, withdrawals and the like."""
CLOSED_STATES = ("maintenance", "cancel_only", "post_only")
CLOSED_FOR_US = 8 * MICROSECONDS


class LineState(Enum):
    """How far the line is."""

    DOWN = "down"
    OPENING = "opening"
    SUBSCRIBING = "subscribing"
    LIVE = "live"


@attrs.frozen(kw_only=True)
class LookAtLine(Command):
    """Time to look whether the line is alive."""


@attrs.frozen(kw_only=True)
class RefreshDue(Command):
    """Time to ask what the exchange demands of orders, and what it charges."""


@attrs.frozen(kw_only=True)
class SwitchDue(Command):
    """Time to tell the dead man's switch that we live."""


OwnMessage = Recover | Answered | WaitOver | LineNews | LookAtLine | RefreshDue | SwitchDue


@attrs.frozen(kw_only=True)
class KrakenReport:
    """The actor from outside."""

    actor: ActorReport
    line: LineState
    lines_opened: int
    calls_waiting: int
    system: str
    """What Kraken says of itself: online, maintenance, cancel_only, post_only."""


class KrakenActor(Wishing):
    """Speaks for the engine at Kraken."""

    role = "exchange"
    accepts = kinds(KrakenInbox) | kinds(OwnMessage)
    emits = kinds(KrakenOutbox)

    def __init__(
        self,
        ports: Ports,
        *,
        settings: KrakenSettings,
        links: Links,
        pairs: Pairs,
        wanted: Mapping[Symbol, Instrument],
        clock_ahead_us: int,
    ) -> None:
        super().__init__(ports, settings=settings, links=links, pairs=pairs)
        self._wanted = wanted
        self._clock_ahead_us = clock_ahead_us
        """How far Kraken's clock is ahead of ours."""
        self._line = 0
        self._line_state = LineState.DOWN
        self._line_since_us = 0
        """Since when the line is in this state."""
        self._line_watch = LineWatch(settings.quiet_max_s, self.now_us)
        self._was_live = False
        """Whether a line before this one was live: then something may have been lost between."""
        self._subscribed: set[str] = set()
        self._trade_ids: dict[OrderId, ProposalId] = {}
        """Which trade each of the newest orders belongs to."""
        self._unclear: list[Mapping[str, Any]] = []
        self._is_clearing_up = False
        self._system = "online"
        self._is_refreshing = False
        self._is_stopping = False
        self._is_switch_armed = False
        self._openings_held_until_us = 0

    def on_receive(self, message: Any) -> None:  # noqa: C901, PLR0912 - flat: a line for each message.
        """Handle one message."""
        if isinstance(message, PlaceOrder | AmendOrder | CancelOrder | LookUpOrder):
            self._note_trade(message)
        match message:
            case PlaceOrder():
                self._begin(self._place_steps(message), message.proposal_id)
            case AmendOrder():
                self._begin(self._amend_steps(message), message.proposal_id)
            case CancelOrder():
                self._begin(self._cancel_steps(message), message.proposal_id)
            case LookUpOrder():
                self._start_look_up(message)
            case PollOrders():
                self._start_poll(message)
            case GetAccount():
                self._start_account()
            case CallGranted():
                self._granted(message.call)
            case Answered():
                self._hear(message)
            case WaitOver():
                self._wait_over(message.job)
            case LineOpened() | LineSaid() | LineClosed():
                self._hear_line(message)
            case LookAtLine():
                self._look_at_line()
            case RefreshDue():
                self.after(self._settings.refresh_s * MICROSECONDS, RefreshDue())
                self._refresh_pairs()
            case SwitchDue():
                self._begin(self._quietly(self._hold_switch()))
            case StopOpening():
                self._stop_opening()
            case Recover():
                self._start()

    def is_settled(self) -> bool:
        """Say whether no wish is under way, and nobody waits for us to fall silent."""
        return not self._is_switch_armed and not any(
            job.ask is not None and job.ask.is_wish for job in self._jobs.values()
        )

    def describe(self) -> KrakenReport:
        """Return how things stand."""
        return KrakenReport(
            actor=self.report(),
            line=self._line_state,
            lines_opened=self._line,
            calls_waiting=len(self._jobs),
            system=self._system,
        )

    def _start(self) -> None:
        self._look_at_line()
        self.after(self._settings.refresh_s * MICROSECONDS, RefreshDue())
        if self._settings.dead_man_s:
            text = "the dead man's switch is armed: if we fall silent, Kraken cancels every order, the stops too"
            self.emit(ExchangeAlert(kind="dead_man_switch", text=text))
            self._begin(self._quietly(self._hold_switch()))

    # The line -------------------------------------------------------------------------------------

    def _is_line_live(self) -> bool:
        return self._line_state is LineState.LIVE

    def _look_at_line(self) -> None:
        """Open the line if it is down, and give up one that is silent or does not come up."""
        self.after(LOOK_EVERY_US, LookAtLine())
        now_us = self.now_us
        if self._system in CLOSED_STATES:
            self._hold_openings(f"Kraken is {self._system}")
        elif not self._is_line_live() and self._line_watch.is_silent(now_us):
            self._hold_openings("what happens is not pushed at present")
        if self._line_state is LineState.DOWN:
            if self._line_watch.may_open(now_us) and not self._is_stopping:
                self._open_line()
        elif self._line_state is LineState.LIVE:
            if self._line_watch.is_silent(now_us):
                self._give_up_line(f"nothing was heard for {self._line_watch.silent_s(now_us)} s")
            else:
                self._links.say(write_json({"method": "ping"}))
        elif now_us - self._line_since_us >= OPENING_MAX_S * MICROSECONDS:
            self._give_up_line(f"not live after {OPENING_MAX_S} s ({self._line_state.value})")

    def _open_line(self) -> None:
        self._line += 1
        self._enter(LineState.OPENING)
        self._links.open_line(self._line, self._tell_line)

    def _tell_line(self, news: LineNews) -> None:
        self.tell_self(news, None)

    def _enter(self, state: LineState) -> None:
        self._line_state, self._line_since_us = state, self.now_us

    def _give_up_line(self, reason: str) -> None:
        """Begin with a new line, after a wait that doubles with each failure in a row."""
        was_live = self._line_state is LineState.LIVE
        self._links.close_line()
        self._enter(LineState.DOWN)
        self._subscribed.clear()
        self._line_watch.fails(self.now_us, at_once=was_live)
        if was_live:
            self.emit(ExchangeAlert(kind="feed_lost", text=reason))

    def _hear_line(self, news: LineNews) -> None:
        if news.line != self._line or self._line_state is LineState.DOWN:
            return  # An old line's last words.
        self._line_watch.hears(self.now_us)
        match news:
            case LineOpened():
                self._begin(self._subscribe_steps(news.line))
            case LineClosed():
                self._give_up_line(news.reason)
            case LineSaid():
                self._hear_message(news.text)

    def _subscribe_steps(self, line: int) -> Steps:
        """Get a token, and subscribe to what is private."""
        # What protects depends on hearing, so it may use what is kept for that.
        reply = yield Ask(path=TOKEN, priority=CallPriority.PROTECT)
        if line != self._line or self._line_state is not LineState.OPENING:
            return
        token = reply.result.get("token") if isinstance(reply.result, dict) else None
        if not token:
            self._give_up_line(f"no token: {reply.reason}")
            return
        self._enter(LineState.SUBSCRIBING)
        self._executions.begin()
        executions = {"channel": EXECUTIONS, "snap_orders": True, "snap_trades": True, "order_status": True}
        for params in (executions, {"channel": BALANCES, "snapshot": True}):
            self._links.say(write_json({"method": "subscribe", "params": {**params, "token": token}}))

    def _hear_message(self, text: str) -> None:
        """Take in one message; what cannot be understood costs the line, because something may be lost with it."""
        try:
            message = read_json(text)
            channel = message.get("channel")
            if message.get("method") == "subscribe":
                self._hear_acknowledgement(message)
            elif channel == EXECUTIONS:
                self._hear_executions(message)
            elif channel == BALANCES:
                self._hear_balances(message)
            elif channel == "status":
                self._hear_status(message)
        except UNREADABLE as error:
            text = f"a message was not understood ({type(error).__name__}: {error})"
            self.emit(ExchangeAlert(kind="feed_unreadable", text=text))
            self._give_up_line(text)

    def _hear_acknowledgement(self, message: Mapping[str, Any]) -> None:
        if not message.get("success"):
            self._hear_refusal(str(message.get("error")))
            return
        self._subscribed.add(message["result"]["channel"])
        if EXECUTIONS in self._subscribed and self._line_state is LineState.SUBSCRIBING:
            self._enter(LineState.LIVE)
            self._line_watch.succeeds()
            if self._was_live:
                self._begin(self._quietly(self._tell_trades()), NO_TRADE)  # What happened while nobody told.
                self._start_account()  # And whether that was all.
            self._was_live = True

    def _hear_refusal(self, error: str) -> None:
        """Give up a line that does not tell executions. Balances are asked for as well, so they may be missing."""
        if EXECUTIONS in self._subscribed:
            self.emit(ExchangeAlert(kind="feed_incomplete", text=f"balances are not pushed: {error}"))
        else:
            self._give_up_line(f"not subscribed: {error}")

    def _hear_executions(self, message: Mapping[str, Any]) -> None:
        heard = self._executions.hear(message)
        for event in heard.events:
            self._pass_on(event)
        if heard.unclear:
            self._unclear += heard.unclear
            if not self._is_clearing_up:
                self._is_clearing_up = True
                self._begin(self._clear_up_and_go_on(), NO_TRADE)
        if heard.has_gap:
            self._give_up_line("a message was lost on the way")

    def _note_trade(self, wish: PlaceOrder | AmendOrder | CancelOrder | LookUpOrder) -> None:
        """Remember which trade an order belongs to, for what is pushed of it."""
        order_id = wish.intent.id if isinstance(wish, PlaceOrder) else wish.order_id
        self._trade_ids[order_id] = wish.proposal_id or NO_TRADE
        if len(self._trade_ids) > ORDERS_REMEMBERED:
            del self._trade_ids[next(iter(self._trade_ids))]

    def _pass_on(self, event: Event) -> None:
        """Tell it, and remember it, so that no poll has to ask for it."""
        order_id: OrderId | None = getattr(event, "order_id", None)
        if isinstance(event, OrderAccepted):
            self._note_external(event.order_id, event.external_id)
        elif isinstance(event, ExecutionReported):
            order_id = event.fill.order_id
            known = self._executions.known(event.fill.external_order_id)
            if known is not None and known.is_ours:
                self._note_external(known.order_id, event.fill.external_order_id, is_newer=False)
            self._trades.add(event.fill)
        self.emit(event, NO_TRADE if order_id is None else self._trade_ids.get(order_id, NO_TRADE))

    def _clear_up_and_go_on(self) -> Steps:
        while self._unclear:
            rows, self._unclear = self._unclear, []
            yield from self._quietly(self._clear_up(rows))
        self._is_clearing_up = False

    def _clear_up(self, rows: Sequence[Mapping[str, Any]]) -> Asked[None]:
        """Ask whose the orders are of which too little was told; what is unclear still, the trades will tell."""
        yield from self._orders(list(dict.fromkeys(ExternalOrderId(str(row["order_id"])) for row in rows)))
        heard = self._executions.explain(rows)
        for event in heard.events:
            self._pass_on(event)
        if heard.unclear:
            yield from self._tell_trades()

    def _hear_balances(self, message: Mapping[str, Any]) -> None:
        """Tell a person of funds that came or went other than by trading."""
        self._executions.hear_elsewhere(message.get("sequence"))
        if message.get("type") == "snapshot":
            return
        for row in message.get("data") or ():
            kind = str(row.get("type") or "trade")
            if kind not in OWN_MOVES:
                text = f"{kind} of {row.get('amount')} {row.get('asset')}"
                self.emit(ExchangeAlert(kind="funds_moved", text=text))

    def _hear_status(self, message: Mapping[str, Any]) -> None:
        system = str(message["data"][0]["system"])
        if system != self._system:
            self._system = system
            self.emit(ExchangeAlert(kind="exchange_status", text=f"Kraken is {system}"))
            if system in CLOSED_STATES:
                self._hold_openings(f"Kraken is {system}")

    def _hold_openings(self, reason: str) -> None:
        """Let no entry leave for the next seconds; whatever is the reason is looked at each second."""
        if self._openings_held_until_us > self.now_us + 2 * LOOK_EVERY_US:
            return
        self._openings_held_until_us = until_us = self.now_us + CLOSED_FOR_US
        self.emit(CallsThrottled(scope=ThrottleScope.OPENINGS, symbol=None, until_us=until_us, reason=reason))

    # From time to time ----------------------------------------------------------------------------

    def _to_exchange_us(self, at_us: int) -> int:
        return at_us + self._clock_ahead_us

    def _refresh_pairs(self) -> None:
        """Ask anew what the exchange demands of orders, and what it charges: daily, and when it surprises us."""
        if not self._is_refreshing:
            self._is_refreshing = True
            self._begin(self._refresh_and_go_on(), NO_TRADE)

    def _refresh_and_go_on(self) -> Steps:
        yield from self._quietly(self._refresh_steps())
        self._is_refreshing = False

    def _refresh_steps(self) -> Asked[None]:
        told = yield from self._ask(ASSET_PAIRS, 0)
        names = ",".join(pair.altname for pair in self._pairs.all)
        volume = yield Ask(path=TRADE_VOLUME, params={"pair": names})
        try:
            pairs = with_fees(read_pairs(told, self._wanted), volume.result or {})
        except PairError as error:
            self.emit(ExchangeAlert(kind="pairs_unreadable", text=str(error)))
            raise Failed(str(error)) from error
        before = self._pairs.instruments()
        self._pairs = pairs
        self._executions.take_pairs(pairs)
        if pairs.instruments() != before:
            self.emit(InstrumentsReported(instruments=tuple(pairs.instruments().values())))

    def _hold_switch(self) -> Asked[None]:
        """Tell Kraken to cancel everything unless it hears of us again; the next time is due in a third of that."""
        if self._is_stopping:
            return
        self.after(self._settings.dead_man_s * MICROSECONDS // 3, SwitchDue())
        self._is_switch_armed = True
        yield from self._ask(CANCEL_ALL_AFTER, timeout=str(self._settings.dead_man_s))

    def _disarm_switch(self) -> Steps:
        """Disarm the switch, however often that has to be asked: until it is, we are not done."""
        while self._is_switch_armed:
            reply = yield Ask(path=CANCEL_ALL_AFTER, params={"timeout": "0"}, priority=CallPriority.PROTECT)
            if reply.meaning is None:
                self._is_switch_armed = False
            else:
                yield Wait(self.now_us + MICROSECONDS)

    def _stop_opening(self) -> None:
        """Disarm the switch: a stop of the engine must not take the stops with it."""
        self._is_stopping = True
        self._begin(self._disarm_switch(), NO_TRADE)

"""RiskActor: says yes or no to every trade, and reserves in the same step what a yes takes.

One message is handled at a time, so a hundred proposals of the same instant meet the limits one by one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from decimal import Decimal
from typing import assert_never

import attrs

from actors.order.proposals import from_row, reserved_usd
from actors.position.profit import realised
from actors.risk.funds import Claim, OwnFunds, claim_of
from actors.risk.limits import Circumstances, judge, notional_usd, reduced
from actors.risk.reservations import Reservation, Reservations
from actors.risk.results import after_result
from actors.runtime.ports import Ports
from actors.runtime.recovering import RecoveringActor
from actors.runtime.typed_actor import kinds
from config.settings import RiskSettings
from messages.base import Currency, PositionId, ProposalId, Symbol
from messages.bus import EventPriority, PublicEvent, Topic
from messages.journal import ADOPTED, JournalLoaded, RecordRiskState, RecoveredState
from messages.market import Instrument
from messages.positions import BookReported, Position, PositionChanged, PositionSide
from messages.protocols import RiskInbox, RiskOutbox
from messages.risk import RiskState, SetTradingState, TradingState, TradingStateChanged
from messages.trades import ReviewTrade, Side, TradeApproved, TradeEnded, TradeProposal, TradeRejected

RESULTS_REMEMBERED = 1_000
LATE_US = 60_000_000
"""So long after the end of a trade a fill of it may be told: as long as the records of the exchange lag behind."""


@attrs.frozen(kw_only=True)
class RiskSummary:
    """What RiskActor shows to those who look in."""

    state: RiskState
    equity_usd: Decimal
    exposure_usd: Decimal
    slots_taken: int


class RiskActor(RecoveringActor):
    """Owns equity, reservations, streaks and the trading state."""

    role = "risk"
    accepts = kinds(RiskInbox)
    emits = kinds(RiskOutbox)

    def __init__(
        self,
        ports: Ports,
        *,
        settings: RiskSettings,
        instruments: Mapping[Symbol, Instrument],
        usd_equivalents: tuple[Currency, ...],
        equity_start_usd: Decimal,
    ) -> None:
        super().__init__(ports)
        self._settings = settings
        self._instruments = instruments
        self._usd_equivalents = usd_equivalents
        self._equity_start_usd = equity_start_usd
        self._equity_usd = equity_start_usd
        self._state = RiskState()
        self._reservations = Reservations()
        self._rates: dict[Currency, Decimal] = dict.fromkeys(usd_equivalents, Decimal(1))
        self._own_funds = OwnFunds()
        self._late: deque[tuple[int, Claim]] = deque()
        """The claims of trades that were over a moment ago, and until when they count."""
        self._results: OrderedDict[PositionId, Decimal] = OrderedDict()

    def on_receive(self, message: RiskInbox) -> None:
        """Handle one message."""
        if self.is_too_early(message):
            return
        match message:
            case ReviewTrade():
                self._review(message)
            case PositionChanged():
                self._follow(message.position)
            case TradeEnded():
                self._free(self._reservations.release(message.trade_id))
            case BookReported():
                self._equity_usd = self._equity_start_usd + message.realised_usd + message.unrealised_usd
            case SetTradingState():
                self._set_state(message)
            case JournalLoaded():
                self._recover(message.state)
                self.catch_up()
            case _:
                assert_never(message)

    def _review(self, message: ReviewTrade) -> None:
        """Answer, and reserve what a yes takes before the next review is read."""
        proposal, changes = reduced(message.proposal, self._settings)
        review = attrs.evolve(message, proposal=proposal) if changes else message
        self._learn_rate(review)
        findings = judge(review, self._circumstances(proposal))
        if findings:
            codes = tuple(finding.code for finding in findings)
            texts = tuple(finding.text for finding in findings)
            self.emit(TradeRejected(proposal=message.proposal, codes=codes, reasons=texts))
            return
        exposure_usd = notional_usd(review)
        self._reserve(proposal.id, proposal.symbol, proposal.side, proposal.leverage, exposure_usd)
        self.emit(
            TradeApproved(
                proposal=proposal, price_quote=message.price_quote, exposure_usd=exposure_usd, changes=changes
            )
        )

    def _reserve(self, trade_id: ProposalId, symbol: Symbol, side: Side, leverage: int, exposure_usd: Decimal) -> None:
        self._reservations.take(
            Reservation(
                trade_id=trade_id,
                symbol=symbol,
                side=side,
                exposure_usd=exposure_usd,
                claim=claim_of(self._instruments[symbol], leverage),
            )
        )

    def _free(self, reservation: Reservation | None) -> None:
        """Give the slot back at once, the claim on the balances when no late fill can bring the trade back."""
        if reservation is not None:
            self._late.append((self.now_us + LATE_US, reservation.claim))

    def _late_claims(self) -> tuple[Claim, ...]:
        while self._late and self._late[0][0] <= self.now_us:
            self._late.popleft()
        return tuple(claim for _until_us, claim in self._late)

    def _circumstances(self, proposal: TradeProposal) -> Circumstances:
        return Circumstances(
            state=self._state,
            reservations=self._reservations,
            claim=claim_of(self._instruments[proposal.symbol], proposal.leverage),
            late=self._late_claims(),
            own_funds=self._own_funds,
            equity_usd=self._equity_usd,
            settings=self._settings,
            now_us=self.now_us,
        )

    def _learn_rate(self, review: ReviewTrade) -> None:
        if review.quote_usd is not None:
            self._rates[self._instruments[review.proposal.symbol].quote] = review.quote_usd

    def _rate(self, symbol: Symbol) -> Decimal:
        """Return the last known worth of the symbol's quote currency; 0 while nobody knows."""
        return self._rates.get(self._instruments[symbol].quote, Decimal(0))

    def _follow(self, position: Position) -> None:
        """Count a result once; a position that lives again by a late fill takes its slot again."""
        if position.is_over or position.leverage > 1:
            self._own_funds.count(position, self._instruments[position.symbol].quote)
        if not position.is_over:
            self._reserve_for(position)
            return
        net_usd = realised(position) * self._rate(position.symbol)
        earlier_usd = self._results.get(position.id)
        if earlier_usd == net_usd:
            return
        self._results[position.id] = net_usd
        if len(self._results) > RESULTS_REMEMBERED:
            self._results.popitem(last=False)
        if earlier_usd is None:
            self._state = after_result(self._state, net_usd, self._settings.cooldowns, self.now_us)
        else:  # It was over before, and has lived again: the difference counts, the streak has been counted.
            realised_usd = self._state.realised_usd + net_usd - earlier_usd
            self._state = attrs.evolve(self._state, realised_usd=realised_usd, updated_at_us=self.now_us)
        self.emit(RecordRiskState(state=self._state))

    def _reserve_for(self, position: Position) -> None:
        if position.proposal_id in self._reservations:
            return
        exposure_usd = position.entry_cost_quote * self._rate(position.symbol)
        side = Side.BUY if position.side is PositionSide.LONG else Side.SELL
        self._reserve(position.proposal_id, position.symbol, side, position.leverage, exposure_usd)

    def _set_state(self, message: SetTradingState) -> None:
        reason = f"{message.reason} (by {message.operator})"
        self._state = attrs.evolve(
            self._state, trading_state=message.state, halt_reason=reason, updated_at_us=self.now_us
        )
        event = PublicEvent(
            topic=Topic.RISK_ALERTS,
            kind="trading_state_changed",
            priority=EventPriority.URGENT,
            proposal_id=None,
            at_us=self.now_us,
            details=(("state", message.state.value), ("reason", message.reason), ("operator", message.operator)),
        )
        self.emit(RecordRiskState(state=self._state, events=(event,)))
        self.emit(TradingStateChanged(state=message.state, reason=reason))

    def _recover(self, state: RecoveredState) -> None:
        """Take up the memory; reservations follow from the trades that live."""
        self._state = state.risk
        self._equity_usd = self._equity_start_usd + state.risk.realised_usd
        positions = ((position, self._instruments[position.symbol].quote) for position in state.positions)
        self._own_funds.begin(state.initial_balances, state.realised_by_quote, positions)
        living = state.living
        for row in state.approved:
            if row.id not in living:
                proposal = from_row(row)
                claim = claim_of(self._instruments[proposal.symbol], proposal.leverage)
                self._late.append((self.now_us + LATE_US, claim))
                continue
            proposal, exposure_usd = from_row(row), reserved_usd(row)
            if row.kind == ADOPTED:  # Nobody has reviewed it, so nobody has reserved anything for it.
                exposure_usd = proposal.size_usd * proposal.leverage * self._rate(proposal.symbol)
            else:
                self._rates.setdefault(
                    self._instruments[proposal.symbol].quote, exposure_usd / (proposal.size_usd * proposal.leverage)
                )
            self._reserve(proposal.id, proposal.symbol, proposal.side, proposal.leverage, exposure_usd)
        if self._state.trading_state is not TradingState.ACTIVE:  # What waits to be filled was to be withdrawn.
            self.emit(TradingStateChanged(state=self._state.trading_state, reason=self._state.halt_reason))

    def describe(self) -> RiskSummary:
        """Return the memory beside what is in use."""
        return RiskSummary(
            state=self._state,
            equity_usd=self._equity_usd,
            exposure_usd=self._reservations.exposure_usd,
            slots_taken=len(self._reservations),
        )

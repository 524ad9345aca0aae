"""The limits that a trader has set (I7): what risk may approve, and what an entry may cost.

Counted anew from what was approved and what has ended; nothing is asked of the engine's own sums.
Read in order: Limits, what is noted, what is approved, what an entry asks for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol

from actors.risk.actor import RiskSummary
from actors.runtime.clock import SteppedClock
from actors.runtime.simulation.pace import SECOND_US
from config.settings import Settings
from messages.base import Message, OrderId, PositionId, ProposalId, Symbol
from messages.journal import JournalLoaded, RecordIntent, RecordRiskState
from messages.market import PriceReported
from messages.orders import OrderIntent, OrderRole, PlaceOrder
from messages.permits import CallKind, PermitGranted, RequestPermit
from messages.positions import BookReported, PositionChanged, PositionSide
from messages.risk import RiskState, TradingState, TradingStateChanged
from messages.trades import OrderType, Side, TradeApproved, TradeEnded, TradeProposal

ZERO, ONE_HUNDRED = Decimal(0), Decimal(100)
REPORTS_UNDER_WAY = 3
"""So many reports of what everything is worth may have been said and not yet be read by risk."""


class Judge(Protocol):
    """What this module asks of the watch."""

    @property
    def alive(self) -> Mapping[ProposalId, Symbol]:
        """The trades that hold a slot."""
        ...

    @property
    def approved(self) -> Mapping[ProposalId, TradeProposal]:
        """The trades that risk has approved."""
        ...

    @property
    def trading_state(self) -> TradingState:
        """What was committed of it."""
        ...

    def breaks(self, invariant: str, text: str) -> None:
        """Note that an invariant is broken."""
        ...


class Limits:
    """Remembers what was approved and at what prices. It outlives the engine."""

    def __init__(self, judge: Judge, settings: Settings, clock: SteppedClock) -> None:
        self._judge = judge
        self._settings = settings
        self._clock = clock
        self._equity_start_usd = settings.execution.in_account_money(settings.execution.paper.balances)
        self._equities_usd: deque[Decimal] = deque((self._equity_start_usd,), maxlen=REPORTS_UNDER_WAY)
        """What risk may believe that the account is worth, the newest last."""
        self._state = TradingState.ACTIVE
        self._memory = RiskState()
        """What risk has last said that it remembers."""
        self._results: dict[int, Decimal] = {}
        """What the positions have brought that the engine that runs now has said to be over, by the message."""
        self._ended: set[PositionId] = set()
        self._open: dict[ProposalId, TradeProposal] = {}
        """Trades that were approved and have not ended since; one that a late fill brings back is not counted."""
        self._exposures_usd: dict[ProposalId, Decimal] = {}
        self._prices_told: dict[int, Decimal | None] = {}
        """Each price that was told, by the message that told it, or that approved a trade with it."""
        self._measures: dict[OrderId, Decimal | None] = {}
        """The price that each entry was measured by: the approved one, and for a new attempt the one just told."""
        self._entries: dict[OrderId, OrderIntent] = {}
        self._deadlines_us: dict[OrderId, int] = {}
        self.checks: Mapping[type[Message], Callable[[Any], None]] = {
            JournalLoaded: self._starting,
            BookReported: self._valuing,
            TradingStateChanged: self._switching,
            PositionChanged: self._following,
            RecordRiskState: self._remembering,
            PriceReported: self._pricing,
            TradeApproved: self._approving,
            TradeEnded: self._ending,
            RecordIntent: self._intending,
            RequestPermit: self._asking,
            PermitGranted: self._granting,
            PlaceOrder: self._placing,
        }

    # What is noted --------------------------------------------------------------------------------

    def _starting(self, message: JournalLoaded) -> None:
        """A new engine knows what was committed, and nothing else."""
        self._state = self._judge.trading_state
        self._memory = message.state.risk
        self._ended.clear()
        self._results.clear()
        self._equities_usd.clear()
        self._equities_usd.append(self._equity_start_usd + self._memory.realised_usd)
        self._open = {id_: self._judge.approved[id_] for id_ in self._judge.alive}

    def _valuing(self, message: BookReported) -> None:
        self._equities_usd.append(self._equity_start_usd + message.realised_usd + message.unrealised_usd)

    def _switching(self, message: TradingStateChanged) -> None:
        self._state = message.state

    def _following(self, message: PositionChanged) -> None:
        """A position ends once for risk, though a late fill may bring it back and it ends again."""
        position = message.position
        if position.is_over and position.id not in self._ended:
            self._ended.add(position.id)
            sign = 1 if position.side is PositionSide.LONG else -1
            moved_quote = sign * (position.exit_cost_quote - position.entry_cost_quote)
            self._results[message.id] = moved_quote - position.fees_quote

    def _remembering(self, message: RecordRiskState) -> None:
        """After a result openings pause for as long as was configured for it."""
        before, self._memory = self._memory, message.state
        after = message.state
        result = self._results.get(message.caused_by)
        if result is None or after.realised_usd == before.realised_usd:
            return  # A switch, an end after another one, or a result in what nobody knows the worth of.
        losses = before.losses_in_a_row + 1 if result < 0 else 0
        wins = before.wins_in_a_row + 1 if result > 0 else 0
        if (after.losses_in_a_row, after.wins_in_a_row) != (losses, wins):
            text = f"{after.losses_in_a_row} losses and {after.wins_in_a_row} wins in a row are counted"
            self._judge.breaks("I7", f"{text} instead of {losses} and {wins}")
        pause_s = self._pause_s(losses)
        if pause_s and after.cooldown_until_us < self._clock.now_us() + pause_s * SECOND_US:
            self._judge.breaks("I7", f"after {losses} losses in a row there is no pause of {pause_s} s")

    def _pause_s(self, losses: int) -> int:
        cooldowns = self._settings.risk.cooldowns
        if losses >= 5:
            return cooldowns.after_5_losses_s
        if losses >= 3:
            return cooldowns.after_3_losses_s
        return cooldowns.after_loss_s if losses else cooldowns.after_win_s

    def _pricing(self, message: PriceReported) -> None:
        self._prices_told[message.id] = message.last_quote

    def _ending(self, message: TradeEnded) -> None:
        self._open.pop(message.trade_id, None)

    # What is approved -----------------------------------------------------------------------------

    def _approving(self, message: TradeApproved) -> None:
        proposal = message.proposal
        self._prices_told[message.id] = message.price_quote
        limits = self._settings.risk.limits
        if self._state is not TradingState.ACTIVE:
            self._judge.breaks("I7", f"trade {proposal.id} is approved while trading is {self._state.value}")
        if self._clock.now_us() < self._memory.cooldown_until_us:
            self._judge.breaks(
                "I7", f"trade {proposal.id} is approved in the pause after {self._memory.cooldown_reason}"
            )
        if proposal.leverage > limits.leverage_max:
            self._judge.breaks("I7", f"trade {proposal.id} is approved with a leverage of {proposal.leverage}")
        if proposal.side is Side.SELL and proposal.leverage == 1:
            self._judge.breaks("I7", f"trade {proposal.id} is a short that borrows nothing")
        for other in self._open.values():
            if (other.symbol, other.side) == (proposal.symbol, proposal.side.opposite):
                self._judge.breaks("I7", f"trade {proposal.id} is approved, the opposite of {other.id}")
        self._open[proposal.id] = proposal
        self._count(proposal)
        self._sum_up(message)

    def _count(self, proposal: TradeProposal) -> None:
        """No more trades at once than may be, in the symbol and in all."""
        alive, limits = self._judge.alive, self._settings.risk.limits
        here = sum(symbol == proposal.symbol for symbol in alive.values())
        if here > limits.positions_per_symbol_max:
            self._judge.breaks("I7", f"{here} trades are alive in {proposal.symbol} with {proposal.id}")
        if len(alive) > limits.positions_total_max:
            self._judge.breaks("I7", f"{len(alive)} trades are alive with {proposal.id}")

    def _sum_up(self, message: TradeApproved) -> None:
        """What is approved and alive is no more than its share of what the account is worth.

        A trade that a late fill has brought back counts for what it holds, and that is less than what was approved.
        """
        self._exposures_usd[message.proposal.id] = message.exposure_usd
        counted = self._judge.alive.keys() & self._open.keys()
        total_usd = sum((self._exposures_usd.get(id_, ZERO) for id_ in counted), ZERO)
        most_usd = max(self._equities_usd) * self._settings.risk.limits.exposure_max_pct / ONE_HUNDRED
        if total_usd > most_usd:
            self._judge.breaks("I7", f"with {message.proposal.id} the exposure is {total_usd} of at most {most_usd}")

    # What an entry asks for -----------------------------------------------------------------------

    def _intending(self, message: RecordIntent) -> None:
        intent = message.order.intent
        if intent.role is OrderRole.ENTRY:
            self._entries[intent.id] = intent
            self._measures[intent.id] = self._prices_told.get(message.caused_by)

    def _asking(self, message: RequestPermit) -> None:
        """An entry that cannot leave in time is given up: the price it was sized at is of yesterday by then."""
        intent = None if message.order_id is None else self._entries.get(message.order_id)
        if intent is None or message.kind is not CallKind.PLACE:
            return
        may_wait_us = self._settings.execution.orders.permit_wait_max_s * SECOND_US
        self._deadlines_us[intent.id] = intent.created_at_us + may_wait_us
        if message.deadline_us > intent.created_at_us + may_wait_us:
            self._judge.breaks("I7", f"entry {intent.id} would wait for longer than it may")

    def _granting(self, message: PermitGranted) -> None:
        if message.kind is not CallKind.PLACE or message.order_id is None:
            return
        deadline_us = self._deadlines_us.get(message.order_id)
        if deadline_us is not None and self._clock.now_us() > deadline_us:
            self._judge.breaks("I7", f"entry {message.order_id} may leave although it has waited for too long")

    def _placing(self, message: PlaceOrder) -> None:
        """An entry is no larger than what was approved, and no worse than what was asked for."""
        intent = message.intent
        if intent.role is not OrderRole.ENTRY:
            return
        proposal = self._judge.approved.get(intent.proposal_id)
        if proposal is None:
            self._judge.breaks("I7", f"entry {intent.id} is sent without an approval")
        elif intent.volume_base * intent.reference_price_quote > proposal.size_usd * proposal.leverage:
            self._judge.breaks("I7", f"entry {intent.id} is larger than the {proposal.size_usd} approved")
        elif intent.limit_price_quote is None:
            self._judge.breaks("I7", f"entry {intent.id} may fill at any price")
        elif proposal.order_type is OrderType.LIMIT:
            wanted, limit = proposal.entry_price_quote or ZERO, intent.limit_price_quote
            if (limit > wanted) if proposal.side is Side.BUY else (limit < wanted):
                self._judge.breaks("I7", f"entry {intent.id} at {limit} is worse than the {wanted} asked for")
        else:
            self._fills_near_the_price(intent, intent.limit_price_quote)

    def _fills_near_the_price(self, intent: OrderIntent, limit_quote: Decimal) -> None:
        told_quote = self._measures.get(intent.id)
        if told_quote is None or intent.reference_price_quote != told_quote:
            text = f"entry {intent.id} is measured by {intent.reference_price_quote}, the price told was {told_quote}"
            self._judge.breaks("I7", text)
            return
        worse_quote = abs(limit_quote - told_quote)
        if worse_quote * ONE_HUNDRED > told_quote * self._settings.execution.orders.slippage_pct:
            self._judge.breaks("I7", f"entry {intent.id} may fill at {limit_quote}, the price is {told_quote}")

    # A look at the engine -------------------------------------------------------------------------

    def equity_differs(self, risk: RiskSummary) -> str:
        """Say how far the equity that risk counts with is from what was last reported; nothing when it is that."""
        if risk.equity_usd == self._equities_usd[-1]:
            return ""
        return f"risk counts with an equity of {risk.equity_usd}, reported are {self._equities_usd[-1]}"

"""Deliberate defects, as data: what a careless programmer could have written, and which promise it breaks.

What one is, and those of limits, local watch and alarms, stands in defects.py.
Read in order: DEFECTS, hunt(). `python -m tests.simulation.mutations` writes the table into the docs.
"""

from __future__ import annotations

import sys

import attrs

from actors.audit import Violation
from actors.journal.actor import JournalActor
from actors.order import intents, protection, sizing
from actors.order.actor import OrderActor
from actors.order.book import OrderBook
from actors.order.shell.guarding import Guarding
from actors.order.shell.requests import Requests
from actors.order.shell.sending import Sending
from actors.order.shell.settling import Settling
from actors.order.shell.surveying import Surveying
from actors.position import changes, ledger
from actors.position.actor import PositionActor
from actors.rate_limiter.actor import RateLimiterActor
from actors.risk import limits
from actors.risk.actor import RiskActor
from actors.risk.reservations import Reservations
from actors.runtime.recovering import RecoveringActor
from actors.simulator.simulation import simulate
from actors.simulator.workload import plan_of
from tests.simulation.defects import WATCHED, Defect
from tests.simulation.page import Table

SEEDS_MAX = 2_000
MINUTES = 2
TABLE = Table("mutations", "| defect | what goes wrong | seeds | what is found broken |\n|---|---|---:|---|")


DEFECTS: tuple[Defect, ...] = (
    # Sending -------------------------------------------------------------------------------------
    Defect(
        name="send before commit",
        text="an order leaves while its intent is still being committed",
        where=Sending._record_intent,
        old="if self._is_stalled and intent",
        new="if self._is_stalled or intent",
        breaks=("I1",),
    ),
    Defect(
        name="resend on silence",
        text="an order whose outcome is unknown is sent once more",
        where=Settling._settle,
        old="self._look_up(tracked)",
        new="tracked.phase = Phase.WAITING; self._send(tracked)",
        breaks=("I2",),
    ),
    Defect(
        name="silence is refusal",
        text="an order whose outcome is unknown is given up, and the next attempt is made",
        where=Settling._settle,
        old="self._look_up(tracked)",
        new="self._leave_settling(tracked); self._over(tracked, Happening.REFUSED, reason)",
        breaks=("I2", "I5", "I6", "I7", "I12"),
    ),
    Defect(
        name="absence believed at once",
        text="an order that the exchange does not know yet is given up before its deadline",
        where=Settling._not_found,
        old="message.as_of_us >= proven_at_us",
        new="message.as_of_us >= 0",
        breaks=("I2", "I5", "I12"),
    ),
    Defect(
        name="proposal taken twice",
        text="a proposal that is handed in again opens again",
        where=Requests._take_proposal,
        old="if proposal.id in self._requests",
        new="if proposal.id in self._in_review",
        breaks=("I2",),
    ),
    Defect(
        name="proposals forgotten by a restart",
        text="a proposal that is handed in again after a restart opens again",
        where=OrderActor._recover,
        old="self._remember(request_id)",
        new="pass",
        breaks=("I2",),
    ),
    Defect(
        name="permit timer never set again",
        text="the rate limiter believes that its timer is still set, and calls wait for ever",
        where=RateLimiterActor.on_receive,
        old="self._timers_us.pop()",
        new="pass",
        breaks=("liveness", "I4"),
    ),
    # Sizes and prices ----------------------------------------------------------------------------
    Defect(
        name="entry volume rounded up",
        text="an entry is rounded up to the lot, and costs more than was approved",
        where=sizing.entry_volume_base,
        old="ROUND_FLOOR",
        new="ROUND_CEILING",
        breaks=("I7",),
    ),
    Defect(
        name="fee not held back",
        text="an entry is sized as if trading were free",
        where=sizing.entry_volume_base,
        old=" * (ONE - fee_pct / ONE_HUNDRED)",
        new="",
        breaks=("I7",),
    ),
    Defect(
        name="limit rounded the wrong way",
        text="a limit entry is rounded to a price worse than was asked for",
        where=sizing.entry_limit_quote,
        old="ROUND_FLOOR if side is Side.BUY else ROUND_CEILING",
        new="ROUND_CEILING if side is Side.BUY else ROUND_FLOOR",
        breaks=("I7",),
    ),
    Defect(
        name="stop rounded the wrong way",
        text="a stop is rounded to a price that is reached later than was asked for",
        where=sizing.exit_level_quote,
        old="ROUND_CEILING if is_stop == (side is Side.SELL) else ROUND_FLOOR",
        new="ROUND_FLOOR if is_stop == (side is Side.SELL) else ROUND_CEILING",
        breaks=("I8",),
    ),
    Defect(
        name="margin exit may open",
        text="an exit on margin is not reduce-only, so a late one opens the opposite position",
        where=intents.exit_intent,
        old="reduce_only=position.leverage > 1",
        new="reduce_only=position.leverage > 2",
        breaks=("I5",),
    ),
    # Protection ----------------------------------------------------------------------------------
    Defect(
        name="protection for what was ordered",
        text="a stop is placed for the ordered volume, not for the filled one",
        where=protection._placing_steps,
        old="Place(role, position.volume_base, trigger)",
        new="Place(role, trade.legs[OrderRole.ENTRY].order.volume_base, trigger)",
        breaks=("I4", "I5", "liveness"),
    ),
    Defect(
        name="protection that does not grow",
        text="later fills of the entry do not raise the volume of the stop",
        where=protection._leg_steps,
        old="volume = order.filled_base + position.volume_base",
        new="volume = order.volume_base",
        breaks=("I5",),
    ),
    Defect(
        name="sibling left alone",
        text="when one exit has filled, the other stays on the exchange",
        where=protection.plan,
        old="tuple(Withdraw(leg) for leg in trade.live_legs if not leg.is_withdrawn)",
        new="()",
        breaks=("I5",),
    ),
    Defect(
        name="sibling left alone after a restart",
        text="after a restart nobody remembers that a closed position still has a stop on the exchange",
        where=OrderActor._recover_order,
        old="if trade is None:",
        new="if trade is None or (trade.position is not None and trade.position.is_over):",
        breaks=("I5", "I9", "liveness"),
    ),
    Defect(
        name="double sell",
        text="on cash spot an exit leaves while the stop still rests: both sell the same coins",
        where=protection._blocks_exit,
        old="return not (",
        new="return position.leverage > 1 and not (",
        breaks=("I5", "I6"),
    ),
    Defect(
        name="bare and nobody told",
        text="a stop cannot be placed, and no person is told of it",
        where=Guarding._watch_bare,
        old='self._alert("protection_failing", trade, reason)',
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="bare for ever",
        text="a position that cannot be protected is not closed after its grace",
        where=Guarding._end_grace,
        old="self._close(trade, CloseReason.PROTECTION_FAILED)",
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="refused stop not tried again",
        text="the timer of the next attempt is forgotten",
        where=Guarding._wait_to_retry,
        old="self.after(wait_us, RetryDue(trade_id=trade.id, role=role), trade.id)",
        new="pass",
        breaks=("I4", "I5", "liveness"),
    ),
    Defect(
        name="amend believed",
        text="a stop counts as moved when the wish has left, whatever becomes of it",
        where=Sending._send_amend,
        old="tracked.amended_at_us = sent_at_us = self.now_us",
        new="sent_at_us = self.now_us; self._take_levels(tracked, step.volume_base, step.trigger_price_quote)",
        breaks=("I3", "I4", "I5", "liveness", "crash-only"),
    ),
    Defect(
        name="loosening stop",
        text="a trailing stop follows the price down as well",
        where=changes.trailed,
        old="if tightens(position, level_quote)",
        new="if level_quote != position.stop_loss_quote",
        breaks=("I4",),
    ),
    Defect(
        name="levels of another position",
        text="new levels go to the oldest position of the symbol",
        where=Requests._move_levels,
        old="position_id=trade.position_id",
        new="position_id=next(iter(self._book.by_symbol[trade.proposal.symbol].values())).position_id",
        breaks=("I4",),
    ),
    Defect(
        name="levels forgotten by the entry",
        text="levels that were taken before the entry filled are forgotten when it opens the position",
        where=Requests._move_levels,
        old="trade.proposal = changed(trade.proposal, message)",
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="levels forgotten by a restart",
        text="levels that were taken before a crash are forgotten after it, when the entry opens the position",
        where=OrderActor._recover_wish,
        old="trade.proposal = changed(trade.proposal, change)",
        new="pass",
        breaks=("I4",),
    ),
    # Fills ---------------------------------------------------------------------------------------
    Defect(
        name="fill counted twice",
        text="an execution told by push and by poll is applied twice",
        where=Settling._book_fill,
        old="None if fill.trade_id in tracked.fill_ids else self._unbooked(fill)",
        new="fill",
        breaks=("I3", "I5", "I6", "I9", "liveness", "crash-only"),
    ),
    Defect(
        name="late fill ignored",
        text="a fill that arrives after the cancel of its order was asked for does not count",
        where=Settling._book_fill,
        old="if fill.trade_id in tracked.fill_ids",
        new="if tracked.is_withdrawn or fill.trade_id in tracked.fill_ids",
        breaks=("I5", "I6", "liveness"),
    ),
    Defect(
        name="end believed before its fills",
        text="a cancelled order is over although the exchange has told of fills that never arrived",
        where=Settling._ended,
        old="message.filled_base > tracked.order.filled_base",
        new="not message.filled_base",
        breaks=("I6",),
    ),
    Defect(
        name="poll over push",
        text="an older state from a poll takes back what a push has told",
        where=Settling._take_state,
        old="tracked.heard_at_us = self.now_us",
        new="tracked.order = attrs.evolve(tracked.order, filled_base=state.filled_base)",
        breaks=("I3", "I5", "I6", "liveness", "crash-only"),
    ),
    Defect(
        name="gap skipped",
        text="the poll goes on from the last trade that a push told, over those that it did not tell",
        where=Settling._mark_booked,
        old="self._booked[fill.trade_id] = fill.volume_base",
        new="self._booked[fill.trade_id] = fill.volume_base; self._poll_cursor = fill.trade_id",
        breaks=("I6", "liveness"),
    ),
    Defect(
        name="gap skipped by a restart",
        text="after a restart the poll begins with today, and what was traded meanwhile is not asked for",
        where=OrderActor._since_us,
        old="return min(oldest_us, state.last_fill_at_us - self._settings.settle_lag_s * MICROSECONDS)",
        new="return self.now_us",
        breaks=("I6", "liveness"),
    ),
    Defect(
        name="polled once",
        text="the poll is never set again, so what a push has lost stays lost",
        where=Sending._poll,
        old="self._is_poll_set = False",
        new="pass",
        breaks=("I4", "I5", "I6", "liveness"),
    ),
    Defect(
        name="fill lost in recovery",
        text="a fill that the exchange tells while the start still asks is looked into and never booked",
        where=Surveying._puts_off,
        old="survey.put_off.append(message)",
        new="pass",
        breaks=("I4", "I5", "I6", "I9", "liveness"),
    ),
    Defect(
        name="early messages dropped",
        text="what is told before the journal is read is dropped",
        where=RecoveringActor.catch_up,
        old="in early:",
        new="in ():",
        breaks=("liveness", "I6", "I7"),
    ),
    Defect(
        name="entries wait through a halt",
        text="a halt leaves the entries that rest on the exchange waiting to be filled",
        where=Requests._hear_trading_state,
        old="self._withdraw_entry(trade.id)",
        new="pass",
        breaks=("I7",),
    ),
    Defect(
        name="entries wait through a halt and a crash",
        text="a start that finds trading halted does not withdraw what a crash has left waiting",
        where=RiskActor._recover,
        old="self._state.trading_state is not TradingState.ACTIVE",
        new="False",
        breaks=("I7",),
    ),
    # Positions -----------------------------------------------------------------------------------
    Defect(
        name="close not journaled",
        text="a position begins to close, and no CLOSING is recorded",
        where=PositionActor._begin_closing,
        old="self._change(position, after, events.closing_begun(after, self.now_us))",
        new="self._portfolio.relabel(after)",
        breaks=("I9",),
    ),
    Defect(
        name="taken close forgotten",
        text="a close that was taken before a crash is forgotten after it",
        where=OrderActor._recover_wish,
        old='row.kind == "close"',
        new='row.kind == "closed"',
        breaks=("I9",),
    ),
    Defect(
        name="taken cancel forgotten",
        text="a cancel that was taken before a crash is forgotten after it",
        where=OrderActor._recover_wish,
        old="self._withdraw_entry(trade.id)",
        new="pass",
        breaks=("I9",),
    ),
    Defect(
        name="fees forgotten",
        text="the fees of an entry's later fills are not deducted",
        where=ledger.add_entry,
        old="fees_quote=position.fees_quote + fill.fee_quote",
        new="fees_quote=position.fees_quote",
        breaks=("I6",),
    ),
    Defect(
        name="expired entry stays",
        text="a resting entry is not cancelled when its time is over",
        where=Guarding._expire,
        old="self._withdraw(tracked)",
        new="pass",
        breaks=("liveness",),
    ),
    Defect(
        name="held for ever",
        text="the timer of the holding limit is not set for the next position",
        where=PositionActor._end_holding,
        old="self._holding_timer_us = None",
        new="pass",
        breaks=("liveness",),
    ),
    # Risk ----------------------------------------------------------------------------------------
    Defect(
        name="slot released twice",
        text="a reservation frees two slots of its symbol",
        where=Reservations.release,
        old="[reservation.side] -= 1",
        new="[reservation.side] -= 2",
        breaks=("I7",),
    ),
    Defect(
        name="exposure released twice",
        text="a reservation gives back its exposure twice",
        where=Reservations.release,
        old="self.exposure_usd -= reservation.exposure_usd",
        new="self.exposure_usd -= 2 * reservation.exposure_usd",
        breaks=("I7",),
    ),
    Defect(
        name="reservation never released",
        text="a trade that is over keeps its slot",
        where=RiskActor.on_receive,
        old="self._free(self._reservations.release(message.trade_id))",
        new="pass",
        breaks=("I7",),
    ),
    Defect(
        name="slot released too early",
        text="a slot is given back when the position is over, while the rest of its entry can still fill",
        where=Guarding._finish,
        old="if not entry_over or not trade.is_in_step",
        new="if position is None and not entry_over or not trade.is_in_step",
        breaks=("I5", "I7"),
    ),
    Defect(
        name="halt ignored",
        text="a halted engine opens trades",
        where=limits.trading_state,
        old="is TradingState.ACTIVE",
        new="is not TradingState.REDUCING",
        breaks=("I7",),
    ),
    Defect(
        name="halt forgotten by a restart",
        text="an engine that was halted trades again after a restart",
        where=RiskActor._recover,
        old="self._state = state.risk",
        new="self._state = attrs.evolve(state.risk, trading_state=RiskState().trading_state)",
        breaks=("I7", "I9"),
    ),
    Defect(
        name="result not recorded",
        text="risk counts a result and does not have it recorded: a restart forgets the streak and its pause",
        where=RiskActor._follow,
        old="self.emit(RecordRiskState(state=self._state))",
        new="pass",
        breaks=("I9",),
    ),
    # The journal ---------------------------------------------------------------------------------
    Defect(
        name="publish before commit",
        text="events are told when their commit begins",
        where=JournalActor._commit,
        old="self.pipe(",
        new="self.emit(EventsCommitted(events=tuple(NumberedEvent(sequence=self._queue.units + number, event=event) "
        "for number, event in enumerate((event for unit in group for event in getattr(unit, 'events', ())), 1))))\n"
        "    self.pipe(",
        breaks=("I11",),
    ),
    Defect(
        name="told before commit",
        text="an intent counts as committed when its commit begins",
        where=JournalActor._commit,
        old="self.pipe(",
        new="[self.emit(IntentRecorded(order_id=unit.order.id)) for unit in group if isinstance(unit, RecordIntent)]\n"
        "    self.pipe(",
        breaks=("I1",),
    ),
    Defect(
        name="group of a lost answer forgotten",
        text="after a failed commit the next group is committed instead of the same one",
        where=JournalActor.on_receive,
        old="self._commit(self._queue.in_flight)",
        new="self._commit(self._queue.next_group())",
        breaks=("I1", "I3", "I9", "liveness", "crash-only"),
    ),
    Defect(
        name="lost answer written twice",
        text="a group whose answer was lost is committed again as another one, with what has come meanwhile",
        where=JournalActor.on_receive,
        old="self._commit(self._queue.in_flight)",
        new="self._commit((*self._queue.in_flight, *self._queue.next_group()))",
        breaks=("I2", "I3", "I9", "liveness", "crash-only"),
    ),
    # One balance, several trades -----------------------------------------------------------------
    Defect(
        name="coins of one position pay for another",
        text="an entry is paid with the coins that another position holds, and they are missing at its stop",
        where=limits.funds_in_use,
        old="if now.reservations.holding(claim.spends) or any(late.holds == claim.spends for late in now.late)",
        new="if not claim.spends",
        breaks=("I4", "I5", "liveness"),
    ),
    Defect(
        name="debt filled with what is bought",
        text="coins are bought to be held although the account owes some, and a part of them is gone at once",
        where=limits.funds_owed,
        old="if not owed",
        new="if owed >= 0",
        breaks=("I4", "I5", "liveness"),
    ),
    # What is told late ---------------------------------------------------------------------------
    Defect(
        name="late fill of an order that is over is ignored",
        text="a fill that is told after the end of its order does not count",
        where=Settling._book_fill,
        old="if fill.trade_id in tracked.fill_ids",
        new="if not tracked.is_live or fill.trade_id in tracked.fill_ids",
        breaks=("I6", "liveness"),
    ),
    Defect(
        name="orders that are over forgotten by a crash",
        text="a fill that is told after the end of its order and after a crash is taken for somebody else's",
        where=OrderActor._retire_ended,
        old="self._book.retire(tracked)",
        new="self._book.live.pop(tracked.order.id)",
        breaks=("I6", "liveness"),
    ),
    Defect(
        name="sale before a late fill forgotten",
        text="what somebody sells by hand closes nothing when the fill that it closes is told later",
        where=OrderBook.may_have_entered,
        old="(*live, *self._ended_since(over_since_us, fill))",
        new="live",
        breaks=("I6", "liveness"),
    ),
    # Limits, local watch, alarms ------------------------------------------------------------------
    *WATCHED,
)


@attrs.frozen(kw_only=True)
class Found:
    """The first seed whose story tells of a defect, and what it says."""

    seed: int
    violation: Violation


def hunt(defect: Defect, seeds_max: int = SEEDS_MAX) -> Found | None:
    """Return the first story in which the defect does harm: the same story without it is sound."""
    for seed in range(1, seeds_max + 1):
        with defect.switched_on():
            violation = simulate(plan_of(seed, MINUTES)).violation
        if violation is not None and simulate(plan_of(seed, MINUTES)).violation is None:
            return Found(seed=seed, violation=violation)
    return None


# The table ----------------------------------------------------------------------------------------


def row_of(defect: Defect, found: Found) -> str:
    """Return the line of the table that tells of one defect."""
    return f"| {defect.name} | {defect.text} | {found.seed} | {found.violation.invariant} |"


def main() -> int:
    """Hunt every defect and write the table; return how many were not found."""
    rows, missing = [], 0
    for defect in DEFECTS:
        found = hunt(defect)
        if found is None:
            missing += 1
            sys.stdout.write(f"{defect.name}: not found within {SEEDS_MAX} seeds\n")
            continue
        rows.append(row_of(defect, found))
        sys.stdout.write(f"{rows[-1]}\n")
    TABLE.write(rows)
    return missing


if __name__ == "__main__":
    sys.exit(main())

"""A deliberate defect, as data; and those that break limits, the local watch and what people are told.

Each is the smallest edit of one function: a few words of its source are replaced, and the function runs with the new
code while the defect is switched on, whoever has imported it. Where the engine has moved on and the words are no
longer there, the defect says so instead of doing nothing.
Read in order: Defect, WATCHED.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

import attrs
import pytest

from actors.journal.actor import JournalActor
from actors.order import protection, sizing
from actors.order.actor import OrderActor
from actors.order.shell.guarding import Guarding
from actors.order.shell.sending import Sending
from actors.position import ledger
from actors.position.actor import PositionActor
from actors.position.portfolio import Portfolio
from actors.position.watch import SymbolWatch
from actors.risk import limits, results
from actors.risk.actor import RiskActor


class StaleDefectError(Exception):
    """The words that a defect replaces are not in the engine any more, or are there more than once."""

    def __init__(self, name: str, where: str, times: int) -> None:
        super().__init__(f"'{name}' replaces words that stand {times} times in {where}: write it anew")


@attrs.frozen(kw_only=True)
class Defect:
    """One careless edit."""

    name: str
    text: str
    """What goes wrong, in one sentence."""
    where: Callable[..., Any]
    """The function that is edited."""
    old: str
    new: str
    breaks: tuple[str, ...]
    """The promises that may be found broken: an invariant, `liveness`, or `crash-only`."""

    @contextmanager
    def switched_on(self) -> Iterator[None]:
        """Let the engine run with the defect."""
        function: Any = self.where
        sound: CodeType = function.__code__
        function.__code__ = self._careless_code()
        try:
            yield
        finally:
            function.__code__ = sound

    def _careless_code(self) -> CodeType:
        source = textwrap.dedent(inspect.getsource(self.where))
        times = source.count(self.old)
        if times != 1:
            raise StaleDefectError(self.name, self.where.__qualname__, times)
        module: dict[str, Any] = {}
        flags = __future__.annotations.compiler_flag
        code = compile(source.replace(self.old, self.new), f"<{self.name}>", "exec", flags=flags, dont_inherit=True)
        (careless,) = (part for part in code.co_consts if isinstance(part, CodeType))
        return FunctionType(careless, module).__code__


WATCHED: tuple[Defect, ...] = (
    # Limits ---------------------------------------------------------------------------------------
    Defect(
        name="shrinking ignored",
        text="an engine that may only shrink opens trades",
        where=limits.trading_state,
        old="is TradingState.ACTIVE",
        new="is not TradingState.HALTED",
        breaks=("I7",),
    ),
    Defect(
        name="pause ignored",
        text="trades are opened in the pause after a result",
        where=limits.cooldown,
        old="if left_us <= 0",
        new="if True",
        breaks=("I7",),
    ),
    Defect(
        name="pause of a streak too short",
        text="three losses in a row pause as long as one",
        where=results.cooldown_s,
        old="if losses_in_a_row >= 3",
        new="if losses_in_a_row > 3",
        breaks=("I7",),
    ),
    Defect(
        name="streak never counted",
        text="each loss counts as the first",
        where=results.after_result,
        old="state.losses_in_a_row + 1 if is_loss",
        new="1 if is_loss",
        breaks=("I7",),
    ),
    Defect(
        name="opposite position ignored",
        text="a trade is opened against one that is open",
        where=limits.opposite_position,
        old="if not now",
        new="if True or not now",
        breaks=("I5", "I6", "I7", "liveness"),
    ),
    Defect(
        name="exposure cap ignored",
        text="more is opened than the account may carry",
        where=limits.exposure,
        old="if total_usd <= most_usd",
        new="if True",
        breaks=("I7",),
    ),
    Defect(
        name="leverage cap ignored",
        text="a trade borrows more than is allowed",
        where=limits.reduced,
        old="if proposal.leverage <= most",
        new="if True",
        breaks=("I7",),
    ),
    Defect(
        name="short without borrowing",
        text="a short whose leverage was cut to 1 is sold from coins that are there for something else",
        where=limits.short_on_margin,
        old="or review.proposal.leverage > 1",
        new="or True",
        breaks=("I5", "I6", "I7"),
    ),
    Defect(
        name="equity never updated",
        text="the cap is counted from what the account began with, whatever was lost since",
        where=RiskActor.on_receive,
        old="self._equity_usd = self._equity_start_usd + message.realised_usd + message.unrealised_usd",
        new="pass",
        breaks=("I7",),
    ),
    Defect(
        name="losses in another currency",
        text="a loss in bitcoin counts as if it were dollars",
        where=Portfolio.value,
        old="unrealised += totals.unrealised(price_quote) * rate",
        new="unrealised += totals.unrealised(price_quote)",
        breaks=("I6",),
    ),
    Defect(
        name="any price will do",
        text="a market entry may fill at any price up to half away from the last one",
        where=sizing.slippage_limit_quote,
        old="share = slippage_pct / ONE_HUNDRED",
        new="share = ONE / 2",
        breaks=("I7",),
    ),
    Defect(
        name="second attempt at the first price",
        text="an entry is tried again at the price of the first attempt",
        where=Guarding._enter_again,
        old="self._entry(trade, price_quote,",
        new="self._entry(trade, entry.order.intent.reference_price_quote,",
        breaks=("I7",),
    ),
    Defect(
        name="entry waits for ever",
        text="an entry that cannot leave in time is not given up",
        where=Sending._ask_to_place,
        old="tracked.order.intent.created_at_us + may_wait_us - self.now_us",
        new="FOREVER_US",
        breaks=("I7",),
    ),
    # The local watch ------------------------------------------------------------------------------
    Defect(
        name="local watch dead",
        text="a price passes a level, and nothing comes of it",
        where=Guarding._act_on_level,
        old="if trade is None or",
        new="if True or trade is None or",
        breaks=("I4",),
    ),
    Defect(
        name="local close never",
        text="a price passes a level where no order rests, and the position is not closed",
        where=Guarding._act_on_level,
        old="self._close(trade, reason)",
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="resting order waited for",
        text="the order at a level has its chance for ever, though it never fires",
        where=OrderActor.on_receive,
        old="self._close(self._book.trades.get(message.trade_id), message.reason)",
        new="pass",
        breaks=("I4", "liveness"),
    ),
    Defect(
        name="target never watched",
        text="a price that reaches a target is not told",
        where=SymbolWatch.follow,
        old="self._arm(after, Trigger.TARGET, after.take_profit_quote)",
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="levels not watched after a restart",
        text="after a restart nobody watches the levels of what is held",
        where=PositionActor._take_up,
        old="self._follow(None, position)",
        new="self._hold(position)",
        breaks=("I4", "liveness"),
    ),
    Defect(
        name="targets never placed",
        text="a target is watched, and no order of it rests on the exchange",
        where=protection._target_steps,
        old="rests = position",
        new="rests = False and position",
        breaks=("I4",),
    ),
    Defect(
        name="trailing never follows",
        text="the best price moves on, and the trailing stop stays",
        where=PositionActor._move_stop,
        old="if after is None",
        new="if True",
        breaks=("I4",),
    ),
    Defect(
        name="stop never resized",
        text="a stop that should be for more is never moved, and nobody is told",
        where=Guarding._align,
        old="self._ask_permit(step.tracked, CallKind.AMEND, CallPriority.PROTECT)",
        new="pass",
        breaks=("I4", "I5", "liveness"),
    ),
    # Alarms ---------------------------------------------------------------------------------------
    Defect(
        name="unrecorded not told",
        text="an exit leaves before it is kept, and nobody is told",
        where=Sending._place_unrecorded,
        old='self._alert("sent_unrecorded", tracked.trade,',
        new="str((tracked.trade,) and",
        breaks=("I1",),
    ),
    Defect(
        name="stall never ends",
        text="the journal is back, and exits still leave before they are kept",
        where=OrderActor.on_receive,
        old="self._is_stalled = False",
        new="pass",
        breaks=("I1",),
    ),
    Defect(
        name="exit fails in silence",
        text="a way out is refused, and nobody is told",
        where=Guarding._wait_to_retry,
        old='self._alert("exit_failing", trade, reason)',
        new="pass",
        breaks=("I4",),
    ),
    Defect(
        name="alarm of something else",
        text="a position has no stop, and the alarm says something else",
        where=Guarding._watch_bare,
        old='"protection_failing"',
        new='"protection_refused"',
        breaks=("I4",),
    ),
    Defect(
        name="dust in silence",
        text="a remainder that can neither be protected nor closed is not told of",
        where=Guarding._name_dust,
        old='self._alert("dust_left", trade,',
        new="str((trade,) and",
        breaks=("I4",),
    ),
    Defect(
        name="alarm never committed",
        text="what is only an alarm is kept when something else comes along",
        where=JournalActor.on_receive,
        old="if self._queue.add(message)",
        new="if self._queue.add(message) and not isinstance(message, RecordAlert)",
        breaks=("I4", "I11", "liveness"),
    ),
    Defect(
        name="events never told",
        text="events are committed, and nobody outside hears of them",
        where=JournalActor._settle,
        old="if events:",
        new="if False:",
        breaks=("I11",),
    ),
    Defect(
        name="half of the events told",
        text="of the events of one group only the first is told",
        where=JournalActor._settle,
        old="EventsCommitted(events=events)",
        new="EventsCommitted(events=events[:1])",
        breaks=("I11",),
    ),
    # What is over, and what is known --------------------------------------------------------------
    Defect(
        name="pushes ignored",
        text="an execution that is pushed counts only when a poll tells it again",
        where=OrderActor.on_receive,
        old="self._book_fill(message.fill)",
        new="pass",
        breaks=("I4", "I5", "I6", "liveness"),
    ),
    Defect(
        name="closing forgotten by a part",
        text="a position that is being left is open again when a part of it has filled",
        where=ledger.apply_exit,
        old="exit_cost_quote=exit_cost_quote, fees_quote=fees_quote)",
        new="exit_cost_quote=exit_cost_quote, fees_quote=fees_quote, status=PositionStatus.OPEN)",
        breaks=("I12",),
    ),
    Defect(
        name="liquidation not named",
        text="a position that the exchange has liquidated counts as closed by us",
        where=ledger.apply_exit,
        old="PositionStatus.LIQUIDATED if fill.is_liquidation else PositionStatus.CLOSED",
        new="PositionStatus.CLOSED",
        breaks=("I12",),
    ),
)


# Without words: what is done is more than an edit ---------------------------------------------------


def sends_before_the_intent_is_committed(patch: pytest.MonkeyPatch) -> None:
    """Ask for the permit in the same breath as for the commit."""
    original = OrderActor._record_intent

    def hasty(self: OrderActor, trade: Any, intent: Any, request: Any = None) -> None:
        original(self, trade, intent, request)
        self._ask_to_place(intent.id)

    patch.setattr(OrderActor, "_record_intent", hasty)

"""What the simulator has found in the engine, as data: each defect, how to bring it back, and a story that tells of it.

All of them are fixed. A defect comes back when the words of its fix are swapped for what stood there before, the same
way as in mutations.py. Its story is the shrunken plan of a seed: of one that is drawn as any other, or, where that
takes too long, of one whose steps were written by hand. Where the engine has moved on, a story may no longer lead to
its defect: then a new one is hunted for.
Read in order: Found, a_story(), FOUND. `python -m tests.simulation.found NAME` hunts for a story and prints it as
source; without a name it writes the table into the docs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from enum import Enum
from functools import reduce
from typing import Any

import attrs

from actors.order import adoption, book, protection
from actors.order.actor import OrderActor
from actors.order.shell.adopting import Adopting
from actors.order.shell.booking import Booking
from actors.order.shell.desk import OrderDesk
from actors.order.shell.guarding import Guarding
from actors.order.shell.reconciling import Reconciling
from actors.order.shell.sending import Sending
from actors.order.shell.settling import Settling
from actors.order.shell.surveying import Surveying
from actors.position.actor import PositionActor
from actors.risk.actor import RiskActor
from actors.runtime.recovering import RecoveringActor
from actors.runtime.simulation.pace import CALM, SECOND_US, Pace
from actors.simulator.plan import (
    Cancel,
    Close,
    Crash,
    Heal,
    Jump,
    Plan,
    PriceMoves,
    Propose,
    Protect,
    SetState,
    Step,
    Strike,
)
from actors.simulator.shrink import shrink
from actors.simulator.simulation import Outcome, simulate
from actors.simulator.workload import plan_of
from config.loader import load_settings
from messages.base import Currency, Symbol
from messages.risk import TradingState
from messages.trades import Side
from tests.simulation.defects import Defect
from tests.simulation.mutations import MINUTES
from tests.simulation.page import Table

SEEDS_MAX = 3_000
BTC_USDT, XRP_USDT, XRP_BTC = Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")
SYMBOLS = {BTC_USDT: "BTC_USDT", XRP_USDT: "XRP_USDT", XRP_BTC: "XRP_BTC"}


@attrs.frozen
class Swap:
    """One function, and the words of its source that make way for what stood there before the fix."""

    where: Any
    old: str
    new: str


@attrs.frozen(kw_only=True)
class Found:
    """A defect that the engine had."""

    name: str
    text: str
    """What a trader would have seen."""
    swaps: tuple[Swap, ...]
    """What brings it back; what has come to stand in for the fix since then is taken away as well."""
    breaks: str
    """The promise that its story finds broken."""
    plan: Plan

    @contextmanager
    def brought_back(self) -> Iterator[None]:
        """Let the engine run with the defect."""
        with ExitStack() as stack:
            for swap in self.swaps:
                careless = Defect(
                    name=self.name, text=self.text, where=swap.where, old=swap.old, new=swap.new, breaks=(self.breaks,)
                )
                stack.enter_context(careless.switched_on())
            yield


def a_story(seed: int, *steps: Step, pace: Pace = CALM, settings: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan of a story under the defaults, but for the settings that are named with dots."""
    changed = reduce(lambda owner, pair: _with(owner, *pair), (settings or {}).items(), load_settings())
    return Plan(seed=seed, settings=changed, pace=pace, steps=steps)


def _with(owner: Any, path: str, value: Any) -> Any:
    name, _dot, rest = path.partition(".")
    return attrs.evolve(owner, **{name: _with(getattr(owner, name), rest, value) if rest else value})


FOUND: tuple[Found, ...] = (
    Found(
        name="fill told too early",
        text="A fill told while the engine starts is taken for somebody else's, and what was bought is in no book.",
        swaps=(
            Swap(
                RecoveringActor.is_too_early,
                "type(message) is JournalLoaded",
                'type(message) is JournalLoaded or type(message).__name__ == "ExecutionReported"',
            ),
            Swap(
                Surveying._puts_off,
                "    if survey is None:\n",
                "    if survey is not None and not survey.is_loaded:\n        return False\n    if survey is None:\n",
            ),
        ),
        breaks="I6",
        plan=a_story(
            1,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, entry_bps=5, stop_bps=None, target_bps=None
            ),
            Crash(messages=2, downtime_us=1),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=-8),
        ),
    ),
    Found(
        name="switch undone by the start",
        text="A person halts trading while the engine starts, and the start undoes it.",
        swaps=(Swap(RiskActor.on_receive, "if self.is_too_early(message):", "if False:"),),
        breaks="I9",
        plan=a_story(
            1,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Crash(messages=0, downtime_us=1),
            SetState(state=TradingState.HALTED),
        ),
    ),
    Found(
        name="look-up never answered",
        text="The exchange never says whether it has an order: it stays pending, and its symbol is blocked.",
        swaps=(
            Swap(
                Sending._send_look_up,
                "self.after(2 * self._settings.deadline_s * MICROSECONDS, overdue, intent.proposal_id)",
                "pass",
            ),
        ),
        breaks="liveness",
        plan=a_story(
            5,
            Strike(fault="lost requests"),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
            Strike(fault="no answers at all"),
            PriceMoves(after_us=8 * SECOND_US, symbol=BTC_USDT, move_bps=0),
        ),
    ),
    Found(
        name="amend never answered",
        text="The exchange never says whether a stop was moved, and it is never moved again.",
        swaps=(
            Swap(
                Sending._send_amend,
                "self.after(2 * self._settings.deadline_s * MICROSECONDS, overdue, trade.id)",
                "pass",
            ),
        ),
        breaks="liveness",
        plan=a_story(
            1,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=150, target_bps=None),
            Strike(fault="no answers at all"),
            Protect(trade=-1, stop_bps=50, target_bps=None),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
        ),
    ),
    Found(
        name="start waits for what it forgot",
        text="More orders are over than are remembered, and a start waits for ever to hear of one of those.",
        swaps=(Swap(Surveying._begin_survey, "self._to_reconcile.discard(order_id)", "pass"),),
        breaks="liveness",
        plan=a_story(
            1,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
            Crash(messages=0, downtime_us=0),
            settings={"execution.orders.history_max": 1},
        ),
    ),
    Found(
        name="stop of unknown fate",
        text="The engine dies while a stop is on its way, and nobody is told that the position may have none.",
        swaps=(
            Swap(
                Surveying._end_survey,
                'self._watch_bare(trade, "nobody knows whether the stop was placed before the start")',
                "pass",
            ),
        ),
        breaks="I4",
        plan=a_story(
            329,
            Propose(symbol=BTC_USDT, side=Side.SELL, size_usd=100, leverage=2, stop_bps=150, target_bps=None),
            Crash(after_us=1_000, messages=1, downtime_us=0),
            PriceMoves(after_us=1_000, symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=47 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            pace=Pace(io_us=500),
        ),
    ),
    Found(
        name="stop for what is gone",
        text="While a stop waits until it may leave, a part is sold by hand, and the stop sells more than is held.",
        swaps=(Swap(Sending._send, "intent.volume_base > tracked.trade.left_base", "not intent.volume_base"),),
        breaks="I5",
        plan=a_story(
            5,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=150, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=150, target_bps=None),
            Strike(fault="sold by hand on margin"),
            PriceMoves(after_us=300_000, symbol=BTC_USDT, move_bps=0),
            settings={"execution.paper.acknowledge_delay_ms": 50},
        ),
    ),
    Found(
        name="older state over a newer fill",
        text="What an order was before a fill is recorded after that fill, so the record forgets it.",
        swaps=(
            Swap(
                OrderDesk._record_waiting,
                "record if tracked is None else attrs.evolve(record, order=tracked.order)",
                "record",
            ),
        ),
        breaks="I3",
        plan=a_story(
            406,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Strike(fault="executions told first"),
            Strike(fault="pushes behind polls"),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, entry_bps=0, stop_bps=150, target_bps=None
            ),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=300_000, symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=-200),
            pace=Pace(slow_io_one_in=10, slow_io_us=40 * SECOND_US),
            settings={"execution.paper.fill_delay_ms": 30, "execution.paper.fill_share_pct": Decimal(7)},
        ),
    ),
    Found(
        name="spot trade closes margin",
        text="Somebody sells coins by hand on spot, and a position on margin counts as closed.",
        swaps=(Swap(book.is_closed_by, " and (proposal.leverage > 1) is fill.is_margin", ""),),
        breaks="I6",
        plan=a_story(
            2,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, stop_bps=None, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="closed by hand"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
        ),
    ),
    Found(
        name="nobody asks what is held",
        text="No order rests, so the exchange is not asked for trades, and a close by hand is never learnt.",
        swaps=(
            Swap(OrderDesk._wants_poll, "self._book.trades", "self._book.live"),
            Swap(Reconciling._compare_account, "self._poll_at_once()", "pass"),
        ),
        breaks="I6",
        plan=a_story(
            1,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="lost executions"),
            Strike(fault="closed by hand"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
        ),
    ),
    Found(
        name="closed before it was opened",
        text="A position is closed by hand before we hear that it was opened, and stays in our books for ever.",
        swaps=(Swap(Settling._put_by, "self._unclaimed.append((rest, at_us))", "pass"),),
        breaks="I6",
        plan=a_story(
            1,
            Strike(fault="lost executions"),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="sold by hand on margin"),
            PriceMoves(after_us=8 * SECOND_US, symbol=BTC_USDT, move_bps=0),
        ),
    ),
    Found(
        name="left without a record of why",
        text="A position is left, the engine dies, and the journal has never heard that it was being closed.",
        swaps=(Swap(protection._closing_steps, "position.status is not PositionStatus.CLOSING", "position.is_over"),),
        breaks="I9",
        plan=a_story(
            59,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=30),
            PriceMoves(after_us=8 * SECOND_US, symbol=BTC_USDT, move_bps=40),
            Crash(messages=26, downtime_us=0),
            pace=Pace(slow_read_one_in=40, slow_read_us=50_000, io_us=500),
        ),
    ),
    Found(
        name="dust without a price",
        text="After a restart an exit of what is too small to sell is tried for ever: no price of it is known.",
        swaps=(
            Swap(PositionActor._tell_first_price, "self._tell_changed(position)", "pass"),
            Swap(Settling._refused, "if message.is_too_small:", "if False:"),
        ),
        breaks="liveness",
        plan=a_story(
            1,
            Strike(fault="partial fills", amount=2),
            Propose(symbol=XRP_BTC, side=Side.BUY, size_usd=10, leverage=1, stop_bps=None, target_bps=None),
            Close(after_us=8 * SECOND_US, trade=-1),
            Crash(after_us=3 * SECOND_US, messages=0, downtime_us=0),
            pace=Pace(slow_read_one_in=200, slow_read_us=50_000, io_us=5_000),
            settings={"execution.paper.balances": {Currency("USDT"): Decimal(50000), Currency("BTC"): Decimal(1)}},
        ),
    ),
    Found(
        name="dust under a larger stop",
        text="Somebody sells all but a remainder by hand, and the stop still rests for the whole.",
        swaps=(Swap(protection.plan, "return _too_large(trade, position)", "return ()"),),
        breaks="I5",
        plan=a_story(
            10,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=803, leverage=1, stop_bps=150, target_bps=None),
            Strike(after_us=3 * SECOND_US, fault="sold by hand", amount=4),
            PriceMoves(after_us=3 * SECOND_US, symbol=BTC_USDT, move_bps=0),
        ),
    ),
    Found(
        name="order that left unrecorded",
        text="A stop leaves before it is kept, the engine dies, and the exchange has a stop that we know nothing of.",
        swaps=(Swap(Surveying._is_forgotten, "is_our_id(order_id)", "not order_id"),),
        breaks="I5",
        plan=a_story(
            1,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            Propose(
                after_us=3 * SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=500,
                leverage=1,
                stop_bps=150,
                target_bps=None,
            ),
            Crash(after_us=3 * SECOND_US, messages=0, downtime_us=0),
            pace=Pace(slow_io_one_in=10, slow_io_us=40 * SECOND_US),
            settings={"execution.paper.acknowledge_delay_ms": 50, "execution.paper.fill_delay_ms": 30},
        ),
    ),
    Found(
        name="exit counted twice",
        text="An exit is told before the entry that it closes, the engine dies, and then it fills a second time.",
        swaps=(Swap(OrderActor._recover, "unbooked.get(order.id, ZERO)", "ZERO"),),
        breaks="crash-only",
        plan=a_story(
            128,
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, entry_bps=0, stop_bps=None, target_bps=30
            ),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="lost cancels", amount=4),
            Strike(fault="sold by hand on margin", amount=2),
            PriceMoves(symbol=BTC_USDT, move_bps=40),
            Crash(messages=0, downtime_us=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            settings={"execution.paper.fill_share_pct": Decimal(40)},
        ),
    ),
    Found(
        name="shared trade booked in part",
        text="A close by hand closes two positions, the engine dies between, and an exit of one is tried for ever.",
        swaps=(Swap(Settling._unbooked, "split(fill, booked_base)[1] if booked_base", "None if booked_base"),),
        breaks="liveness",
        plan=a_story(
            16,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Strike(after_us=3 * SECOND_US, fault="closed by hand"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Crash(messages=20, downtime_us=0),
            Close(after_us=8 * SECOND_US, trade=-1),
            pace=Pace(io_us=5_000),
            settings={"execution.journal.group_max": 1},
        ),
    ),
    Found(
        name="stop moved while it fills",
        text="A stop is resized before its own fill is off what is held, and is to sell more than that.",
        swaps=(Swap(Sending._send_amend, "if not trade.is_in_step:", "if trade.position is None:"),),
        breaks="I5",
        plan=a_story(
            1,
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, entry_bps=5, stop_bps=30, target_bps=None
            ),
            PriceMoves(symbol=BTC_USDT, move_bps=-6),
            PriceMoves(after_us=2 * SECOND_US, symbol=BTC_USDT, move_bps=-25),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            settings={"execution.paper.acknowledge_delay_ms": 50, "execution.paper.fill_share_pct": Decimal(7)},
        ),
    ),
    Found(
        name="end believed before its fills",
        text="A stop ends and nobody says how much it had sold, and an exit for the whole sells that once more.",
        swaps=(
            Swap(
                Settling._ended,
                "message.filled_base is None or message.filled_base",
                "message.filled_base is not None and message.filled_base",
            ),
            Swap(
                protection._closing_steps,
                "(_is_outdated(leaving, position) or _is_too_large(leaving, position))",
                "_is_outdated(leaving, position)",
            ),
        ),
        breaks="I6",
        plan=a_story(
            3,
            Strike(fault="ends without figures"),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, entry_bps=5, stop_bps=60, target_bps=None
            ),
            PriceMoves(after_us=8 * SECOND_US, symbol=BTC_USDT, move_bps=-6),
            Strike(after_us=8 * SECOND_US, fault="pushes behind polls"),
            PriceMoves(symbol=BTC_USDT, move_bps=-70),
            Close(after_us=2 * SECOND_US, trade=-1),
            pace=Pace(slow_read_one_in=40, slow_read_us=2 * SECOND_US, slow_io_one_in=10, slow_io_us=SECOND_US),
            settings={
                "execution.paper.balances": {Currency("USDT"): Decimal(50000), Currency("BTC"): Decimal(1)},
                "execution.paper.fill_share_pct": Decimal(7),
            },
        ),
    ),
    Found(
        name="own order taken for a stranger",
        text="A fill of an order that is over and not remembered is told again, and the order is recorded twice.",
        swaps=(
            Swap(Sending._record_intent, "self._known_ids.add(intent.id)", "pass"),
            Swap(Surveying._unknown_orders, "message.fills if self._unbooked(fill) is not None]", "message.fills]"),
        ),
        breaks="I2",
        plan=a_story(
            4,
            Crash(messages=0, downtime_us=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            settings={"execution.orders.history_max": 1},
        ),
    ),
    Found(
        name="later exit took its share",
        text="A close by hand is told after an exit of ours that took its share, and a rest stays open in our books.",
        swaps=(Swap(Settling._close_by_foreign, "taking.was_the_share_of(rest, at_us)", "not taking"),),
        breaks="I6",
        plan=a_story(
            1,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="lost executions"),
            Strike(fault="sold by hand on margin"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(
                after_us=50_000,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=500,
                leverage=2,
                stop_bps=None,
                target_bps=None,
            ),
            Close(trade=-2),
        ),
    ),
    Found(
        name="account never told",
        text="The exchange is silent for all of a start, and a stop that had left unrecorded is never found.",
        swaps=(
            Swap(Surveying._ask_again, "if self._owes_account:", "if False:"),
            Swap(Reconciling._compare_again, "self.emit(GetAccount(), NO_TRADE)", "pass"),
        ),
        breaks="I5",
        plan=a_story(
            566,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            Propose(
                after_us=300_000,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=500,
                leverage=1,
                entry_bps=5,
                stop_bps=60,
                target_bps=None,
            ),
            PriceMoves(after_us=300_000, symbol=BTC_USDT, move_bps=-5),
            Strike(after_us=SECOND_US, fault="lost executions", amount=4),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=300_000, symbol=BTC_USDT, move_bps=-100),
            PriceMoves(symbol=XRP_BTC, move_bps=0),
            PriceMoves(after_us=20_000, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Protect(trade=35, stop_bps=None, target_bps=None),
            Propose(
                after_us=20 * SECOND_US,
                symbol=XRP_BTC,
                side=Side.BUY,
                size_usd=20,
                leverage=1,
                stop_bps=None,
                target_bps=None,
            ),
            Propose(
                after_us=5 * SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=500,
                leverage=1,
                stop_bps=1_500,
                target_bps=None,
            ),
            Strike(after_us=SECOND_US, fault="funds vanish"),
            Strike(after_us=SECOND_US, fault="funds vanish"),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=43 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=SECOND_US, symbol=XRP_BTC, move_bps=0),
            Heal(),
            Strike(fault="answers beyond every timeout", amount=2),
            Crash(
                after_us=3 * SECOND_US,
                messages=45,
                downtime_us=0,
                again=(
                    8,
                    9,
                    32,
                ),
            ),
            Protect(after_us=8 * SECOND_US, trade=2, stop_bps=None, target_bps=None),
            Protect(trade=42, stop_bps=None, target_bps=None),
            PriceMoves(after_us=20 * SECOND_US, symbol=XRP_BTC, move_bps=0),
            Strike(after_us=20 * SECOND_US, fault="throttled"),
            pace=Pace(
                slow_read_one_in=200, slow_read_us=1_000, io_us=500, slow_io_one_in=50, slow_io_us=40 * SECOND_US
            ),
            settings={
                "execution.orders.default_time_in_force": "GTC",
                "execution.orders.retry_first_ms": 100,
                "execution.positions.holding_max_s": 60,
                "execution.snapshots.every_s": 20,
                "execution.journal.group_max": 1,
                "execution.paper.fill_delay_ms": 30,
                "execution.paper.fill_share_pct": Decimal(7),
                "execution.kraken.reconcile_s": 20,
            },
        ),
    ),
    Found(
        name="close overtaken by a late fill",
        text="A position is over when it is told to close, its entry fills once more, and that rest is never sold.",
        swaps=(
            Swap(
                Guarding._follow_position,
                "if position.status is PositionStatus.CLOSING and trade.closing is None:",
                "if False:",
            ),
        ),
        breaks="liveness",
        plan=a_story(
            83336,
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, entry_bps=0, stop_bps=60, target_bps=None
            ),
            PriceMoves(symbol=BTC_USDT, move_bps=-60),
            Crash(messages=0, downtime_us=30 * SECOND_US, moves_bps=(10,), again=(20,)),
            settings={"execution.positions.holding_max_s": 60, "execution.paper.fill_share_pct": Decimal(40)},
        ),
    ),
    Found(
        name="share of a share",
        text="An exit told late takes the share of one that took a third one's, and a rest stays in our books.",
        swaps=(
            Swap(
                Settling._close_by_foreign,
                "displaced.append((part, taking.at_us))",
                "self._put_by(self._close_held(part, taking.at_us), taking.at_us)",
            ),
        ),
        breaks="I6",
        plan=a_story(
            66772,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=2, stop_bps=None, target_bps=None),
            Strike(after_us=38 * SECOND_US, fault="lost executions"),
            PriceMoves(after_us=26 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Strike(fault="partial fills", amount=4),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=2_000, leverage=5, entry_bps=5, stop_bps=None, target_bps=None
            ),
            PriceMoves(after_us=300_000, symbol=BTC_USDT, move_bps=-1_500),
            PriceMoves(symbol=BTC_USDT, move_bps=-1_500),
            settings={
                "execution.positions.holding_max_s": 60,
                "execution.paper.balances": {Currency("USDT"): Decimal(1500), Currency("BTC"): Decimal("0.02")},
                "execution.paper.fill_share_pct": Decimal(7),
                "risk.limits.exposure_max_pct": Decimal(1000),
            },
        ),
    ),
    Found(
        name="share forgotten by a crash",
        text="A close by hand is told after a crash and a later one, and what that one closed stays in our books.",
        swaps=(Swap(OrderActor._recover, "for exit_ in state.margin_exits", "for exit_ in state.margin_exits[:0]"),),
        breaks="I6",
        plan=a_story(
            80743,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="lost executions"),
            Strike(fault="closed by hand"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(
                after_us=50_000, symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=2, stop_bps=None, target_bps=None
            ),
            Strike(fault="closed by hand"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Crash(messages=0, downtime_us=0),
        ),
    ),
    Found(
        name="look-ups that multiply",
        text="An order of ours, booked as a stranger's, is looked up ever more often: nothing else gets through.",
        swaps=(
            Swap(Surveying._unknown_orders, "message.fills if self._unbooked(fill) is not None]", "message.fills]"),
            Swap(Adopting._adopted_order, "if self._unbooked(fill) is None]", "if False]"),
            Swap(OrderDesk._look_later, "if tracked.is_look_up_set:", "if False:"),
            # It has been asked about more often since, and found in time.
            Swap(
                Surveying._puts_off,
                "if not any(self._unknown_orders(message)):",
                "if self.now_us > self._polls_until_us or not any(self._unknown_orders(message)):",
            ),
        ),
        breaks="liveness",
        plan=a_story(
            32803,
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            Propose(symbol=XRP_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Strike(after_us=25 * SECOND_US, fault="lagging records"),
            Strike(after_us=32 * SECOND_US, fault="database away"),
            Crash(after_us=4 * SECOND_US, messages=0, downtime_us=0),
            Jump(by_us=84_375_000),
            Crash(messages=0, downtime_us=0),
            settings={"execution.positions.holding_max_s": 60},
        ),
    ),
    Found(
        name="exit of another trade",
        text="A target that the journal has forgotten is given to another trade, and nobody ever takes it away.",
        swaps=(
            Swap(
                adoption._fits,
                "(is_named or ((holder.left_base > 0 or holder.may_grow) and not is_taken))",
                "(is_named or holder.left_base > 0 or holder.may_grow) and not is_taken",
            ),
            Swap(
                protection.plan,
                "position is None and (trade.live(OrderRole.ENTRY) is not None or OrderRole.ENTRY in trade.waiting):",
                "position is None:",
            ),
        ),
        breaks="I5",
        plan=a_story(
            15,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=XRP_BTC, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Strike(fault="erratic latency", amount=2),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(
                after_us=23 * SECOND_US,
                symbol=XRP_BTC,
                side=Side.BUY,
                size_usd=500,
                leverage=2,
                entry_bps=0,
                stop_bps=60,
                target_bps=None,
            ),
            Close(after_us=SECOND_US, trade=22),
            Crash(messages=3, downtime_us=30 * SECOND_US, moves_bps=(-25,)),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, stop_bps=None, target_bps=None),
            Propose(symbol=XRP_BTC, side=Side.BUY, size_usd=500, leverage=2, stop_bps=30, target_bps=80),
            PriceMoves(after_us=3 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Cancel(after_us=3 * SECOND_US, trade=1),
            Propose(symbol=BTC_USDT, side=Side.SELL, size_usd=2_000, leverage=2, stop_bps=None, target_bps=None),
            PriceMoves(symbol=XRP_BTC, move_bps=-1),
            Protect(trade=32, stop_bps=None, target_bps=50),
            Strike(fault="orders throttled"),
            Jump(by_us=12_304_687),
            Crash(messages=0, downtime_us=0),
            pace=Pace(slow_read_one_in=200, slow_read_us=2 * SECOND_US, slow_io_one_in=10, slow_io_us=40 * SECOND_US),
            settings={
                "execution.orders.default_time_in_force": "GTC",
                "execution.orders.protection_delay_ms": 300,
                "execution.rate_limits.orders_per_minute": 10,
                "execution.paper.fill_share_pct": Decimal(7),
            },
        ),
    ),
    Found(
        name="late fill of what was closed by hand",
        text="An entry fill told late opens a position that somebody closed by hand long ago, and nobody sees that.",
        swaps=(Swap(Booking._pass_on, "if self._leftovers:", "if False:"),),
        breaks="I6",
        plan=a_story(
            112,
            Strike(fault="partial fills"),
            Strike(fault="lagging records", amount=2),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=2, stop_bps=None, target_bps=None),
            Strike(fault="late executions", amount=2),
            Strike(fault="partial fills"),
            Crash(after_us=2 * SECOND_US, messages=0, downtime_us=0),
            PriceMoves(after_us=3 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, entry_bps=5, stop_bps=None, target_bps=None
            ),
            PriceMoves(after_us=6 * SECOND_US, symbol=BTC_USDT, move_bps=-8),
            Strike(fault="closed by hand"),
            PriceMoves(after_us=21 * SECOND_US, symbol=XRP_BTC, move_bps=0),
            pace=Pace(io_us=500, slow_io_one_in=10, slow_io_us=40 * SECOND_US, timer_late_us=20_000),
        ),
    ),
    Found(
        name="newest ending forgotten",
        text="A start with a short history forgets the order that ended last, and its late fill is a stranger's.",
        swaps=(Swap(OrderActor._retire_ended, "tracked.order.ended_at_us or 0", "tracked.order.intent.created_at_us"),),
        breaks="I6",
        plan=a_story(
            43,
            Propose(
                after_us=SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=100,
                leverage=2,
                entry_bps=5,
                stop_bps=None,
                target_bps=None,
            ),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Strike(fault="throttled", amount=3),
            Strike(fault="throttled", amount=4),
            Strike(fault="throttled", amount=4),
            Crash(after_us=123 * SECOND_US, messages=68, downtime_us=0),
            Strike(fault="pushes behind polls"),
            PriceMoves(symbol=BTC_USDT, move_bps=-6),
            Strike(fault="lagging records"),
            Strike(after_us=3 * SECOND_US, fault="late executions"),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Strike(fault="closed by hand"),
            Propose(
                after_us=20 * SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=20,
                leverage=1,
                stop_bps=None,
                target_bps=None,
            ),
            settings={
                "execution.orders.retry_first_ms": 100,
                "execution.orders.history_max": 12,
                "execution.positions.holding_max_s": 60,
                "execution.paper.fill_share_pct": Decimal(40),
            },
        ),
    ),
    Found(
        name="slot of a remainder that is being sold",
        text="The last that an exit has to sell counts as dust before it is sold: another trade takes its slot.",
        swaps=(Swap(Guarding._name_dust, "trade.live_legs or", "trade.live(OrderRole.ENTRY) is not None or"),),
        breaks="I7",
        plan=a_story(
            78646,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=XRP_BTC, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=2, stop_bps=300, target_bps=None),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Strike(after_us=SECOND_US, fault="lost cancels", amount=4),
            Crash(messages=0, downtime_us=1),
            Close(after_us=8 * SECOND_US, trade=12),
            Propose(
                after_us=16 * SECOND_US,
                symbol=XRP_BTC,
                side=Side.BUY,
                size_usd=100,
                leverage=1,
                stop_bps=None,
                target_bps=None,
            ),
            Propose(symbol=XRP_BTC, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            Propose(
                after_us=8 * SECOND_US,
                symbol=XRP_BTC,
                side=Side.BUY,
                size_usd=2_000,
                leverage=1,
                stop_bps=None,
                target_bps=None,
            ),
            PriceMoves(after_us=20_300_000, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=3 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, stop_bps=None, target_bps=None),
            PriceMoves(after_us=23 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Propose(
                after_us=20 * SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=100,
                leverage=1,
                stop_bps=None,
                target_bps=None,
            ),
            pace=Pace(slow_io_one_in=10, slow_io_us=40 * SECOND_US),
            settings={
                "execution.journal.group_max": 1,
                "execution.paper.acknowledge_delay_ms": 50,
                "execution.paper.fill_share_pct": Decimal(7),
                "risk.limits.positions_total_max": 1,
            },
        ),
    ),
    Found(
        name="forgotten stop believed",
        text="A stop that the journal had forgotten turns up, and brings back a level that a person has changed since.",
        swaps=(Swap(Adopting._adopted_order, "order.intent.created_at_us >= trade.levels_named_at_us", "True"),),
        breaks="I4",
        plan=a_story(
            4301,
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=XRP_BTC, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=SECOND_US, symbol=BTC_USDT, move_bps=0),
            Propose(symbol=XRP_USDT, side=Side.SELL, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
            Close(after_us=28 * SECOND_US, trade=23),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            Propose(
                after_us=300_000,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=500,
                leverage=1,
                stop_bps=300,
                target_bps=None,
            ),
            Strike(after_us=3 * SECOND_US, fault="database away"),
            Close(after_us=300_000, trade=-1),
            Crash(after_us=5 * SECOND_US, messages=0, downtime_us=0),
            Protect(after_us=8 * SECOND_US, trade=25, stop_bps=50, target_bps=None),
            pace=Pace(io_us=200_000, slow_io_one_in=10, slow_io_us=40 * SECOND_US, timer_late_us=3 * SECOND_US),
            settings={
                "execution.orders.protection_delay_ms": 300,
                "execution.snapshots.every_s": 20,
                "execution.paper.fill_share_pct": Decimal(7),
            },
        ),
    ),
    Found(
        name="stop of before believed",
        text="A stop that a person has loosened, as they were told, is as before again after a crash.",
        swaps=(
            Swap(
                Adopting._take_tighter_stops,
                "(position.stop_loss_quote, trade.known_stop_quote)",
                "(position.stop_loss_quote,)",
            ),
        ),
        breaks="I4",
        plan=a_story(
            42418,
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
            Crash(messages=0, downtime_us=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=150, target_bps=None),
            Strike(after_us=3 * SECOND_US, fault="lost answers to amends"),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=150, target_bps=None),
            Strike(after_us=SECOND_US, fault="amends throttled", amount=2),
            Protect(trade=-1, stop_bps=20, target_bps=None),
            Protect(after_us=8 * SECOND_US, trade=26, stop_bps=50, target_bps=None),
            Crash(messages=0, downtime_us=0),
            settings={"execution.rate_limits.orders_per_minute": 10},
        ),
    ),
    Found(
        name="level reached while it was dust",
        text="A stop leaves a remainder that is dust, the entry fills further, and nobody comes back to the level.",
        swaps=(Swap(Guarding._close, "trade.close_when_held = reason", "pass"),),
        breaks="I4",
        plan=a_story(
            55897,
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=XRP_BTC, move_bps=0),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(symbol=BTC_USDT, move_bps=0),
            PriceMoves(after_us=SECOND_US, symbol=BTC_USDT, move_bps=25),
            Propose(
                symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, entry_bps=20, stop_bps=150, target_bps=None
            ),
            Propose(symbol=XRP_BTC, side=Side.BUY, size_usd=20, leverage=1, stop_bps=None, target_bps=None),
            PriceMoves(after_us=8 * SECOND_US, symbol=XRP_BTC, move_bps=0),
            Close(after_us=3 * SECOND_US, trade=-1),
            Propose(
                after_us=70 * SECOND_US,
                symbol=BTC_USDT,
                side=Side.BUY,
                size_usd=100,
                leverage=1,
                stop_bps=60,
                target_bps=None,
            ),
            PriceMoves(after_us=SECOND_US, symbol=BTC_USDT, move_bps=-100),
            Close(after_us=3 * SECOND_US, trade=-1),
            Crash(messages=2, downtime_us=15 * SECOND_US, moves_bps=(-40,)),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=500, leverage=1, stop_bps=None, target_bps=None),
            Strike(fault="ends without figures"),
            Strike(fault="pushes behind polls", amount=3),
            Strike(after_us=500_000, fault="partial fills", amount=3),
            PriceMoves(after_us=SECOND_US, symbol=BTC_USDT, move_bps=-6),
            Cancel(after_us=2 * SECOND_US, trade=-1),
            Heal(after_us=3 * SECOND_US),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=100, leverage=1, stop_bps=None, target_bps=None),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(after_us=3 * SECOND_US, symbol=BTC_USDT, move_bps=0),
            Strike(fault="ordered by hand"),
            PriceMoves(symbol=XRP_USDT, move_bps=0),
            PriceMoves(after_us=20 * SECOND_US, symbol=XRP_BTC, move_bps=0),
            Propose(symbol=BTC_USDT, side=Side.BUY, size_usd=20, leverage=1, stop_bps=None, target_bps=None),
            Crash(after_us=3 * SECOND_US, messages=3, downtime_us=0),
            PriceMoves(symbol=BTC_USDT, move_bps=-5),
            PriceMoves(symbol=BTC_USDT, move_bps=-70),
            Close(after_us=20_000, trade=9),
            pace=Pace(
                slow_read_one_in=40,
                slow_read_us=2 * SECOND_US,
                slow_io_one_in=10,
                slow_io_us=5 * SECOND_US,
                timer_late_us=20_000,
            ),
            settings={
                "execution.orders.stop_order_type": "stop-loss-limit",
                "execution.orders.local_watch_grace_ms": 500,
                "execution.journal.group_max": 1,
                "execution.paper.fill_delay_ms": 30,
                "execution.paper.fill_share_pct": Decimal(7),
            },
        ),
    ),
)


# The table ----------------------------------------------------------------------------------------

TABLE = Table("found", "| defect | what a trader would have seen | broke |\n|---|---|---|")


def rows() -> list[str]:
    """Return the lines of the table: all that was found."""
    return [f"| {found.name} | {found.text} | {found.breaks} |" for found in FOUND]


# A new story --------------------------------------------------------------------------------------


def hunt(found: Found, seeds_max: int = SEEDS_MAX) -> Plan | None:
    """Return the shrunken plan of the first seed in which the defect does harm, and is alone in doing so."""

    def run(plan: Plan) -> Outcome:
        with found.brought_back():
            outcome = simulate(plan)
        is_its_own = outcome.violation is None or simulate(plan).violation is None
        return outcome if is_its_own else attrs.evolve(outcome, violation=None)

    for seed in range(1, seeds_max + 1):
        outcome = run(plan_of(seed, MINUTES))
        if outcome.violation is not None and outcome.violation.invariant == found.breaks:
            return shrink(outcome, run=run).plan
    return None


def as_source(plan: Plan) -> str:
    """Return the call of a_story() that makes this plan; `ruff format` breaks its lines."""
    parts = [str(plan.seed), *map(_value, plan.steps)]
    if plan.pace != CALM:
        parts.append(f"pace={_value(plan.pace, CALM)}")
    changes = dict(_changes(plan.settings, load_settings()))
    if changes:
        parts.append("settings={" + ", ".join(f'"{path}": {_value(value)}' for path, value in changes.items()) + "}")
    return f"a_story({', '.join(parts)})"


def _changes(owner: Any, usual: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if attrs.has(type(owner)):
        for field in attrs.fields(type(owner)):
            name = f"{path}.{field.name}" if path else field.name
            yield from _changes(getattr(owner, field.name), getattr(usual, field.name), name)
    elif owner != usual:
        yield path, owner


def _value(value: Any, usual: Any = None) -> str:
    """Return the source of a value; fields that are as usual, or have their default, are left out."""
    if attrs.has(type(value)):
        fields = {field.name: (getattr(value, field.name), field.default) for field in attrs.fields(type(value))}
        told = [f"{name}={_value(it)}" for name, (it, default) in fields.items() if it != getattr(usual, name, default)]
        return f"{type(value).__name__}({', '.join(told)})"
    match value:
        case Enum():
            return str(value)
        case Decimal():
            return f"Decimal({value})" if value == int(value) else f'Decimal("{value}")'
        case bool() | None:
            return repr(value)
        case int() if value and value % SECOND_US == 0:
            return "SECOND_US" if value == SECOND_US else f"{value // SECOND_US} * SECOND_US"
        case int():
            return f"{value:_}"
        case Mapping():
            return "{" + ", ".join(f'Currency("{key}"): {_value(it)}' for key, it in value.items()) + "}"
        case tuple():
            return f"({''.join(f'{_value(it)}, ' for it in value)})"
        case str() if value in SYMBOLS:
            return SYMBOLS[Symbol(value)]
        case _:
            return repr(value)


def main() -> int:
    """Hunt for stories of the defects that are named and print them as source; without a name, write the table."""
    if not sys.argv[1:]:
        TABLE.write(rows())
    missing = 0
    for found in FOUND:
        if found.name in sys.argv[1:]:
            plan = hunt(found)
            missing += plan is None
            told = f"not within {SEEDS_MAX} seeds" if plan is None else as_source(plan)
            sys.stdout.write(f"{found.name}: {told}\n")
    return missing


if __name__ == "__main__":
    sys.exit(main())

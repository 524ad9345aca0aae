"""What users of other systems suffered, each as a story (C4 to C24 of the collection)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.harness import Harness
from messages.base import ExternalOrderId, Message, TradeId
from messages.bus import NumberedEvent
from messages.journal import RecordUnit
from messages.orders import (
    AmendOrder,
    CancelOrder,
    ExchangeOrder,
    ExecutionReported,
    Fill,
    OrderAccepted,
    OrderEnded,
    OrderNotFound,
    OrderRole,
    OrdersPolled,
    OrderStatus,
    PlaceOrder,
)
from messages.positions import CloseReason, PositionSide, PositionStatus
from messages.trades import Side
from persistence.memory import MemoryJournal
from persistence.protocol import JournalUnavailableError
from tests.scenarios.conftest import World, with_settings

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT


# C4: fill, acknowledgement and status in every order, with repetitions ------------------------------------


def what_the_exchange_says(world: Harness) -> list[Message]:
    """Return acknowledgement, two fills and a poll of an entry that has left and of which nothing is known."""
    intent = world.said(PlaceOrder)[-1].intent
    external = ExternalOrderId("OX")
    half = intent.volume_base / 2
    fills = tuple(
        Fill(
            trade_id=TradeId(f"TX{number}"),
            order_id=intent.id,
            external_order_id=external,
            symbol=intent.symbol,
            side=Side.BUY,
            price_quote=Decimal(100_000 - number),
            volume_base=half,
            fee_quote=Decimal("0.65"),
            is_maker=False,
            is_liquidation=False,
            at_us=world.now_us,
        )
        for number in (1, 2)
    )
    state = ExchangeOrder(
        order_id=intent.id,
        external_id=external,
        symbol=intent.symbol,
        status=OrderStatus.FILLED,
        volume_base=intent.volume_base,
        filled_base=intent.volume_base,
        trigger_price_quote=None,
    )
    return [
        OrderAccepted(order_id=intent.id, external_id=external, at_us=world.now_us),
        ExecutionReported(fill=fills[0]),
        ExecutionReported(fill=fills[1]),
        OrdersPolled(orders=(state,), fills=fills, cursor=TradeId("T0000000002")),
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_c04_whatever_comes_first_the_end_is_the_same(order: Sequence[int]) -> None:
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        world.exchange.lost_requests = 1
        world.exchange.timeout_us = 3_600_000_000
        trade = world.proposes("BTC/USDT", "buy", stop=90_000)
        said = what_the_exchange_says(world)
        for number in order:
            world.tell(said[number])
        for message in said:
            world.tell(message)  # All of it once more.
        entry = world.order(trade, ENTRY)
        assert entry.status is OrderStatus.FILLED
        assert entry.filled_base == entry.volume_base
        assert entry.external_id == "OX"
        assert entry.fees_quote == Decimal("1.30")
        assert world.position(trade).entry_base == entry.volume_base
        assert len(world.journal.fills) == 2


# C10: an order on the exchange is never unknown to the database ---------------------------------------------


class LockedJournal(MemoryJournal):
    """A journal whose database can be locked, before a commit is in or after it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_locked = False
        self.forgets_answers = 0

    async def commit(self, units: Sequence[RecordUnit]) -> tuple[NumberedEvent, ...]:
        """Refuse while locked; forget to answer as often as asked."""
        if self.is_locked:
            raise JournalUnavailableError("the database is locked")
        events = await super().commit(units)
        if self.forgets_answers:
            self.forgets_answers -= 1
            raise JournalUnavailableError("the answer was lost")
        return events


@pytest.fixture
def locked() -> Iterator[tuple[Harness, LockedJournal]]:
    """Return a world with a journal that can be locked."""
    world = Harness()
    world.journal = journal = LockedJournal()
    with world:
        world.price("BTC/USDT", 100_000)
        yield world, journal


def test_c10_no_entry_leaves_while_its_intent_is_not_in_the_database(locked: tuple[Harness, LockedJournal]) -> None:
    world, journal = locked
    journal.is_locked = True
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=30)
    assert world.said(PlaceOrder) == []
    journal.is_locked = False
    world.passes(seconds=5)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    assert world.violations() == ()


def test_c10_protection_and_exits_do_not_wait_for_the_database(locked: tuple[Harness, LockedJournal]) -> None:
    world, journal = locked
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    journal.is_locked = True
    world.closes(trade)
    world.passes(seconds=10)
    assert world.account().holdings == (), "out, although nothing could be written"
    journal.is_locked = False
    world.passes(seconds=5)
    assert world.position(trade).close_reason is CloseReason.MANUAL
    assert world.violations() == ()


def test_c10_a_commit_whose_answer_is_lost_is_kept_once(locked: tuple[Harness, LockedJournal]) -> None:
    world, journal = locked
    journal.forgets_answers = 3
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=10)
    assert len(world.orders(trade, ENTRY)) == 1
    sequences = [numbered.sequence for numbered in journal.events]
    assert sequences == sorted(set(sequences))
    assert world.violations() == ()


@pytest.mark.parametrize("messages", range(1, 90, 4))
def test_c10_a_crash_after_any_message_leaves_no_order_unknown(messages: int) -> None:
    """The process dies once so many messages have passed; what it had committed and what the exchange has remain."""
    with Harness() as world:
        world.price("BTC/USDT", 100_000)
        world.dies_after(messages)
        proposal = world.proposal("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
        world.hands_in(proposal)
        world.crashes()
        world.price("BTC/USDT", 100_000)
        world.hands_in(proposal)  # The strategy cannot know, and asks again: the same id is the same intent.
        world.passes(minutes=3)
        assert world.violations() == ()
        assert world.position(proposal.id).entry_base == world.order(proposal.id, ENTRY).volume_base
        assert len(world.journal.positions) == 1


# C11 to C15: protection -------------------------------------------------------------------------------------


def test_c11_a_stop_moves_in_place_and_is_never_away(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2, trailing=True)
    for price in range(101_000, 110_000, 500):
        world.price("BTC/USDT", price)
        world.passes(seconds=7)
        assert [order.trigger_price_quote for order in world.account().open_orders] != []
    assert len(world.orders(trade, STOP)) == 1
    assert world.said(AmendOrder)
    assert world.said(CancelOrder) == []
    assert world.violations() == ()


def test_c11_a_refused_amend_leaves_the_old_stop_and_is_tried_again(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.exchange.refuse_next_amend("EOrder:Rate limit exceeded", times=2)
    world.protects(trade, stop=99_000)
    assert world.account().open_orders[0].trigger_price_quote == 98_000
    world.passes(seconds=30)
    assert world.account().open_orders[0].trigger_price_quote == 99_000
    assert world.violations() == ()


def test_c12_a_stop_that_would_fire_at_once_becomes_an_exit(worlds: World) -> None:
    world = worlds(orders={"protection_delay_ms": 1_000})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=99_000, leverage=2)
    world.price("BTC/USDT", 98_500)  # Through the stop, before there is one.
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.order(trade, EXIT).intent.reduce_only
    assert world.orders(trade, STOP) == ()
    assert world.account().holdings == ()
    assert world.violations() == ()


@settings(max_examples=25, deadline=None)
@given(prices=st.lists(st.integers(97_000, 104_000), min_size=3, max_size=15), share=st.sampled_from([20, 45, 100]))
def test_c13_resting_exits_never_exceed_the_position(prices: list[int], share: int) -> None:
    with Harness(with_settings(paper={"fill_share_pct": Decimal(share)})) as world:
        world.price("BTC/USDT", 100_000)
        trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, target=103_000, leverage=3)
        for price in prices:
            world.price("BTC/USDT", price)
            world.price("BTC/USDT", price)  # The same tick again.
            world.passes(seconds=20)  # Amends wait for their permits; reduce-only guards meanwhile.
            account = world.account()
            held = sum((holding.volume_base for holding in account.holdings), Decimal(0))
            for role in (STOP, TARGET):
                ours = {order.id for order in world.orders(trade, role)}
                resting = [order for order in account.open_orders if order.order_id in ours]
                assert sum(order.volume_base - order.filled_base for order in resting) <= held
        world.passes(minutes=1)
        assert world.violations() == ()


def test_c14_what_a_half_filled_stop_leaves_is_protected_again(worlds: World) -> None:
    world = worlds(paper={"fill_share_pct": Decimal(40)}, orders={"local_watch_grace_ms": 3_600_000})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, leverage=2)
    for _tick in range(3):
        world.price("BTC/USDT", 99_900)
    world.passes(seconds=10)
    world.price("BTC/USDT", 97_900)
    stop = world.order(trade, STOP)
    assert stop.status is OrderStatus.PARTIALLY_FILLED
    world.tell(
        OrderEnded(
            order_id=stop.id, status=OrderStatus.CANCELLED, reason="by hand", at_us=world.now_us, filled_base=Decimal(0)
        )
    )
    world.passes(seconds=10)
    left = world.position(trade)
    assert left.volume_base == 0 or world.order(trade, STOP).remaining_base == left.volume_base or left.close_reason


def test_c14_dust_is_left_out_of_protection_and_named(worlds: World) -> None:
    world = worlds()
    world.price("BTC/USDT", 100_000)
    world.exchange.fill_only(Decimal("0.5"))
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=30)
    assert world.position(trade).volume_base < Decimal("0.00005")
    assert world.orders(trade, STOP) == ()
    assert world.events("dust_left")
    assert world.violations() == ()


@settings(max_examples=30, deadline=None)
@given(size=st.decimals(20, 5_000, places=7), price=st.decimals(10_000, 120_000, places=1))
def test_c15_a_spot_stop_never_asks_for_more_than_is_owned(size: Decimal, price: Decimal) -> None:
    with Harness() as world:
        world.price("BTC/USDT", price)
        trade = world.proposes("BTC/USDT", "buy", size=size, stop=price * Decimal("0.97"))
        owned = world.balance("BTC")
        assert owned - world.order(trade, STOP).volume_base == 0
        world.price("BTC/USDT", price * Decimal("0.96"))
        world.passes(seconds=10)
        assert world.position(trade).close_reason is CloseReason.STOP_LOSS
        assert world.violations() == ()


# C17, C18: late and absent news -------------------------------------------------------------------------------


def test_c17_a_fill_after_a_failure_counts_and_nothing_is_sold_twice(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.exchange.lost_answers = 1  # The exit is accepted, and filled, and nobody hears of it.
    world.exchange.lost_executions = 1
    world.closes(trade)
    world.passes(minutes=3)
    position = world.position(trade)
    assert position.status is PositionStatus.CLOSED
    assert len(world.orders(trade, EXIT)) == 1
    assert position.exit_base == position.entry_base
    assert world.violations() == ()


def test_c17_a_late_fill_of_a_cancelled_entry_is_held_and_protected(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    entry = world.order(trade, ENTRY)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_900)  # Filled, and not told ...
    world.tell(
        OrderEnded(
            order_id=entry.id,
            status=OrderStatus.CANCELLED,
            reason="timeout",
            at_us=world.now_us,
            filled_base=Decimal(0),
        )
    )
    assert world.order(trade, ENTRY).status is OrderStatus.CANCELLED
    fill = Fill(
        trade_id=TradeId("T0000000001"), order_id=entry.id, external_order_id=entry.external_id or ExternalOrderId(""),
        symbol=entry.intent.symbol, side=Side.BUY, price_quote=Decimal(99_000), volume_base=entry.volume_base,
        fee_quote=entry.volume_base * 99_000 * Decimal("0.0016"), is_maker=True, is_liquidation=False,
        at_us=world.now_us,
    )  # fmt: skip
    world.tell(ExecutionReported(fill=fill))  # ... until after the end.
    world.passes(seconds=10)
    assert world.order(trade, ENTRY).status is OrderStatus.CANCELLED, "a terminal status stays"
    assert world.order(trade, ENTRY).filled_base == entry.volume_base, "the fill counts"
    assert world.position(trade).status is PositionStatus.OPEN
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    assert world.violations() == ()


def test_c18_not_found_within_the_grace_changes_nothing(world: Harness) -> None:
    world.exchange.lost_answers = 1
    world.exchange.lost_executions = 1
    world.exchange.poll_lag_us = 40_000_000
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=30)
    assert world.said(OrderNotFound)
    assert world.order(trade, ENTRY).status is OrderStatus.PENDING
    world.passes(minutes=1)
    # By then a look-up has found it, or the trades since the last poll have told its fill.
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    assert len(world.orders(trade, ENTRY)) == 1
    world.exchange.poll_lag_us = 0
    world.passes(minutes=1)
    assert world.violations() == ()


def test_c18_nothing_else_is_sized_on_a_symbol_of_unknown_outcome(world: Harness) -> None:
    world.exchange.lost_requests = 1
    world.proposes("BTC/USDT", "buy", stop=98_000, size=100)
    second = world.proposes("BTC/USDT", "buy", stop=98_000, size=200)
    world.passes(seconds=60)
    assert world.orders(second) == ()
    world.passes(seconds=30)
    assert world.order(second, ENTRY).status is OrderStatus.FILLED


# C24: the books and the exchange ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["price", "buy", "sell", "close", "cancel", "wait", "crash"]), st.integers(0, 9)),
        min_size=5,
        max_size=25,
    )
)
def test_c24_no_story_closes_a_position_without_its_exit_fills(steps: list[tuple[str, int]]) -> None:
    with Harness(with_settings(cooldowns={"after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0})) as world:
        world.price("BTC/USDT", 100_000)
        price, trades = Decimal(100_000), []
        for what, number in steps:
            if what == "price":
                price += (number - 5) * 400
                world.price("BTC/USDT", price)
            elif what in ("buy", "sell"):
                sign = 1 if what == "buy" else -1
                leverage = 1 + number % 3 if what == "buy" else 2 + number % 2
                entry = price - sign * 100 if number > 6 else None
                levels = {"stop": price - sign * 1_500, "target": price + sign * 1_500, "entry": entry}
                trades.append(world.proposes("BTC/USDT", what, leverage=leverage, trailing=number % 4 == 0, **levels))
            elif what == "wait":
                world.passes(seconds=3 * number)
            elif what == "crash":
                world.crashes()
                world.price("BTC/USDT", price)
            elif trades:
                (world.closes if what == "close" else world.cancels)(trades[number % len(trades)])
        world.passes(minutes=3)
        assert world.violations() == ()
        for position in world.journal.positions.values():
            fills = world.fills(position.proposal_id)
            exits = [fill for fill in fills if (fill.side is Side.BUY) != (position.side is PositionSide.LONG)]
            assert sum((fill.volume_base for fill in exits), Decimal(0)) == position.exit_base
            assert not position.is_over or position.exit_base == position.entry_base


def test_an_exit_that_is_told_before_the_fill_it_closes_is_not_forgotten(world: Harness) -> None:
    """Found by a random story: a silent fill of the entry, a stop that fires in silence, and an exit beside it."""
    world.exchange.fill_only(Decimal(40))
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=98_000, leverage=2)
    world.passes(seconds=10)
    world.exchange.poll_lag_us = 40_000_000
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_990)  # Four tenths, in silence.
    world.exchange.lost_answers = 1
    world.price("BTC/USDT", 98_980)  # The rest is told; its stop rests, and nobody says so.
    world.crashes()  # From now on the polls tell what came after the rest, and not what came before it.
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 97_900)  # The stop fires in silence; our exit finds four tenths to close.
    world.passes(minutes=5)
    position = world.position(trade)
    assert position.entry_base == position.exit_base == world.order(trade, ENTRY).volume_base
    assert world.violations() == ()


def test_an_exit_is_sized_when_every_fill_that_is_told_is_booked(worlds: World) -> None:
    """Found by a random story: on cash spot, an exit that is too large sells the coins of another position."""
    world = worlds(paper={"fill_share_pct": Decimal(40)}, orders={"local_watch_grace_ms": 3_600_000})
    world.price("BTC/USDT", 100_000)
    other = world.proposes("BTC/USDT", "buy", stop=90_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=10)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 97_900)  # The stop sells a part in silence ...
    world.price("BTC/USDT", 97_890)  # ... and another one aloud.
    world.closes(trade)
    for _tick in range(6):
        world.passes(seconds=10)
        world.price("BTC/USDT", 97_880)
    assert world.position(trade).is_over
    assert world.balance("BTC") == world.position(other).volume_base
    assert sum(order.filled_base for order in world.orders(trade, EXIT)) < world.position(trade).entry_base / 2
    assert world.violations() == ()

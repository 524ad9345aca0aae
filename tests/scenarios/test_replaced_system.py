"""What went wrong in the system that this one replaces, each as a story (X1 to X26 of its review)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.harness import Harness
from messages.bus import Subscribe, Topic
from messages.exchange import GetAccount
from messages.orders import (
    AmendOrder,
    CancelOrder,
    ExecutionReported,
    OrderIntent,
    OrderRole,
    OrderStatus,
    PlaceOrder,
    PollOrders,
    TimeInForce,
)
from messages.positions import CloseReason, PositionSide, PositionStatus
from messages.trades import OrderType, Side
from tests.scenarios.conftest import World

ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT


def test_x01_a_touched_target_sends_an_exit_and_only_its_fill_closes_the_position(worlds: World) -> None:
    world = worlds(paper={"fill_delay_ms": 1_000})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=102_000)
    world.passes(seconds=3)

    world.price("BTC/USDT", 102_500)
    assert world.position(trade).status is PositionStatus.CLOSING
    assert world.order(trade, EXIT).intent.order_type is OrderType.MARKET

    world.passes(seconds=2)
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.position(trade).close_reason is CloseReason.TAKE_PROFIT
    assert world.order(trade, EXIT).filled_base == world.position(trade).entry_base
    assert world.violations() == ()


def test_x01_closing_by_hand_is_a_request_too(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=3)
    world.closes(trade)
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.MANUAL
    assert world.order(trade, EXIT).intent.reduce_only
    assert world.order(trade, STOP).status is OrderStatus.CANCELLED
    assert world.account().holdings == ()
    assert world.violations() == ()


def test_x02_a_filled_stop_closes_the_position_and_cancels_its_sibling(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=103_000, leverage=2)
    world.price("BTC/USDT", 97_990)
    world.passes(seconds=10)
    assert world.order(trade, STOP).status is OrderStatus.FILLED
    assert world.order(trade, TARGET).status is OrderStatus.CANCELLED
    assert world.position(trade).status is PositionStatus.CLOSED
    assert len(world.journal.positions) == 1
    assert world.account().holdings == ()
    assert world.violations() == ()


def test_x03_a_lost_answer_is_looked_up_and_never_resent(world: Harness) -> None:
    world.exchange.lost_answers = 1
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(minutes=3)
    assert len(world.orders(trade, ENTRY)) == 1
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    assert len([order for order in world.said(PlaceOrder) if order.intent.role is ENTRY]) == 1
    assert world.violations() == ()


def test_x03_a_lost_request_is_a_new_intent_only_after_proof(world: Harness) -> None:
    world.exchange.lost_requests = 1
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(seconds=60)
    assert len(world.orders(trade, ENTRY)) == 1, "the deadline and the lag have not passed"
    world.passes(seconds=30)
    first, second = world.orders(trade, ENTRY)
    assert (first.status, second.status) == (OrderStatus.ERROR, OrderStatus.FILLED)
    assert first.id != second.id
    assert world.violations() == ()


@pytest.mark.parametrize(("order_type", "filled"), [("stop-loss-limit", False), ("stop-loss", True)])
def test_x04_the_trigger_triggers_and_the_limit_limits(worlds: World, order_type: str, *, filled: bool) -> None:
    world = worlds(
        orders={"stop_order_type": order_type, "trigger_limit_pct": Decimal("0.1"), "local_watch_grace_ms": 60_000}
    )
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    stop = world.order(trade, STOP).intent
    assert stop.trigger_price_quote == 98_000
    assert stop.limit_price_quote == (None if filled else Decimal(97_902))
    world.price("BTC/USDT", 97_000)  # Past the limit in one leap: only an order at market gets out there.
    assert (world.order(trade, STOP).status is OrderStatus.FILLED) is filled
    world.passes(minutes=2)
    assert world.position(trade).status is PositionStatus.CLOSED, "the local watch gets out where the limit did not"
    assert world.violations() == ()


@pytest.mark.parametrize(("side", "out"), [("buy", 101_000), ("sell", 99_000)])
def test_x05_profit_counts_leverage_once_and_equals_the_exchanges_books(world: Harness, side: str, out: int) -> None:
    trade = world.proposes("BTC/USDT", side, size=1_000, leverage=5)
    world.price("BTC/USDT", out)
    world.closes(trade)
    world.passes(seconds=10)
    position = world.position(trade)
    sign = 1 if side == "buy" else -1
    gross = sign * (position.exit_cost_quote - position.entry_cost_quote)
    assert gross == position.entry_base * 1_000
    assert world.balance("USDT") == 50_000 + gross - position.fees_quote
    assert world.violations() == ()


def test_x06_size_usd_means_own_funds_everywhere(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", size=1_000, leverage=5)
    notional = world.position(trade).entry_cost_quote
    assert Decimal(4_980) < notional <= 5_000, "own funds times leverage, less the fee"
    assert world.engine.actors["risk"].describe().exposure_usd == 5_000  # type: ignore[attr-defined]
    assert world.order(trade, ENTRY).intent.leverage == 5


def test_x07_market_entries_are_reachable_and_protected_against_slippage(worlds: World) -> None:
    world = worlds(paper={"slippage_pct": Decimal("0.8")})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    entry = world.order(trade, ENTRY)
    assert entry.intent.time_in_force is TimeInForce.IOC
    assert entry.intent.limit_price_quote == Decimal(100_500)
    assert world.fills(trade)[0].price_quote == Decimal(100_500), "half a per cent and no more"
    assert world.violations() == ()


def test_x08_a_position_has_its_levels_from_its_first_fill(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "sell", stop=102_000, target=97_000, leverage=2, trailing=True)
    position = world.position(trade)
    assert position.stop_loss_quote == 102_000
    assert position.take_profit_quote == 97_000
    assert position.trailing
    assert position.side is PositionSide.SHORT


def test_x09_prices_reach_the_positions_and_no_price_is_unknown(worlds: World) -> None:
    world = worlds()
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=90_000)
    world.price("BTC/USDT", 101_000)
    world.passes(minutes=1)
    mark = world.journal.snapshots[-1].marks[0]
    assert mark.price_quote == 101_000
    assert mark.unrealised_quote == world.position(trade).entry_base * 1_000

    world.crashes()
    world.passes(minutes=1)
    assert world.journal.snapshots[-1].marks[0].price_quote is None, "nobody has heard a price since the start"


def test_x10_trailing_moves_the_resting_stop_and_is_journalled(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, trailing=True, leverage=2)
    world.price("BTC/USDT", 102_000)
    world.passes(seconds=20)
    assert world.position(trade).stop_loss_quote == Decimal(100_470), "1.5 % below the high"
    assert world.order(trade, STOP).trigger_price_quote == Decimal(100_470)
    assert world.said(AmendOrder)

    world.price("BTC/USDT", 101_000)
    world.passes(minutes=1)
    assert world.position(trade).stop_loss_quote == Decimal(100_470), "it never loosens"

    world.crashes()
    world.price("BTC/USDT", 100_400)
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.TRAILING_STOP
    assert world.violations() == ()


def test_x13_a_restart_knows_every_order_and_position(world: Harness) -> None:
    held = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    resting = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000, leverage=2)
    world.passes(seconds=10)
    before = {order.id: order for order in world.journal.orders.values()}

    world.crashes()
    assert {order.id: order for order in world.journal.orders.values()} == before
    assert world.violations() == ()

    world.price("BTC/USDT", 98_990)
    world.price("BTC/USDT", 97_900)
    world.passes(seconds=10)
    assert world.position(held).close_reason is CloseReason.STOP_LOSS
    assert world.order(resting, ENTRY).status is OrderStatus.FILLED
    assert world.order(resting, STOP).status is OrderStatus.OPEN
    assert world.violations() == ()


def test_x13_what_the_exchange_did_meanwhile_is_booked_at_the_start(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 97_000)  # The stop fires; the process dies before it hears of it.
    assert world.position(trade).status is PositionStatus.OPEN
    world.crashes()
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.violations() == ()


def test_x15_an_order_is_watched_for_as_long_as_it_lives(world: Harness) -> None:
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000)
    world.passes(hours=5)
    world.exchange.lost_executions = 1
    world.price("BTC/USDT", 98_900)
    world.passes(seconds=10)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED, "the poll told what the push did not"
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    assert world.violations() == ()


def test_x15_an_order_that_no_poll_mentions_is_looked_up_and_reported(worlds: World) -> None:
    world = worlds(orders={"silence_max_s": 60})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=99_000, stop=97_000)
    world.exchange.poll_lag_us = 600_000_000  # Polls do not see the young order.
    world.passes(minutes=3)
    assert world.events("order_silent")
    assert world.order(trade, ENTRY).status is OrderStatus.OPEN


def test_x16_protection_follows_each_part_of_a_fill(worlds: World) -> None:
    world = worlds(paper={"fill_share_pct": Decimal(30)})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=100_000, stop=98_000, target=104_000, leverage=2)
    covered = []
    for _tick in range(5):
        assert world.violations() == ()
        covered.append(world.order(trade, STOP).volume_base)
        world.price("BTC/USDT", 99_990)
        world.passes(seconds=10)
    assert covered == sorted(covered)
    assert covered[0] < covered[-1] == world.position(trade).volume_base
    assert len(world.orders(trade, STOP)) == 1, "amended in place, not placed anew"
    fills = world.fills(trade)
    assert len(fills) == 4
    assert world.position(trade).entry_cost_quote == sum(fill.price_quote * fill.volume_base for fill in fills)


def test_x20_paper_rests_fills_in_part_credits_and_goes_short(worlds: World) -> None:
    world = worlds(paper={"fill_share_pct": Decimal(50)})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "sell", entry=101_000, leverage=2)
    assert world.order(trade, ENTRY).status is OrderStatus.OPEN
    world.price("BTC/USDT", 101_000)
    assert world.order(trade, ENTRY).status is OrderStatus.PARTIALLY_FILLED
    world.price("BTC/USDT", 101_500)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED, "the rest had not vanished"
    world.price("BTC/USDT", 99_000)
    world.closes(trade)
    world.passes(seconds=10)
    world.price("BTC/USDT", 99_000)
    world.passes(seconds=10)
    position = world.position(trade)
    assert position.status is PositionStatus.CLOSED
    earned = position.entry_cost_quote - position.exit_cost_quote - position.fees_quote
    assert world.balance("USDT") == 50_000 + earned
    assert world.violations() == ()


def test_x23_configured_order_numbers_are_obeyed(worlds: World) -> None:
    world = worlds(orders={"default_time_in_force": "GTC", "expiry_s": 600})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", entry=99_000)
    assert world.order(trade, ENTRY).intent.time_in_force is TimeInForce.GTC
    world.passes(minutes=9)
    assert world.order(trade, ENTRY).status is OrderStatus.OPEN
    world.passes(minutes=2)
    assert world.order(trade, ENTRY).status is OrderStatus.EXPIRED
    assert world.account().open_orders == ()


def test_x23_positions_are_closed_after_the_configured_time(worlds: World) -> None:
    world = worlds(positions={"holding_max_s": 3_600})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000)
    world.passes(minutes=59)
    assert world.position(trade).status is PositionStatus.OPEN
    world.passes(minutes=2)
    assert world.position(trade).close_reason is CloseReason.HOLDING_LIMIT
    assert world.violations() == ()


def test_x24_limits_count_sells_and_orders_in_flight(world: Harness) -> None:
    first = world.proposes("BTC/USDT", "sell", entry=110_000, leverage=2)
    second = world.proposes("BTC/USDT", "sell", leverage=2)
    third = world.proposes("BTC/USDT", "sell", leverage=2)
    assert (world.codes(first), world.codes(second)) == ((), ())
    assert world.codes(third) == ("POSITION_LIMIT_SYMBOL",)

    world.cancels(first)
    world.passes(seconds=10)
    fourth = world.proposes("BTC/USDT", "sell", leverage=2)
    assert world.codes(fourth) == (), "an entry that ends unfilled gives its slot back"


def test_x24_a_hundred_proposals_in_one_instant_meet_a_limit_of_five(worlds: World) -> None:
    world = worlds(limits={"positions_per_symbol_max": 100})
    world.price("BTC/USDT", 100_000)
    trades = world.hands_in(*(world.proposal("BTC/USDT", "buy", size=100, stop=98_000) for _ in range(100)))
    world.passes(minutes=5)
    assert sum(world.codes(trade) == () for trade in trades) == 5
    assert len(world.journal.positions) == 5
    assert world.violations() == ()


def test_x25_no_burst_of_calls_passes_the_limit(worlds: World) -> None:
    world = worlds(limits={"positions_per_symbol_max": 100, "positions_total_max": 100})
    world.price("BTC/USDT", 100_000)
    began_us = world.now_us
    world.hands_in(*(world.proposal("BTC/USDT", "buy", size=100, entry=99_000) for _ in range(20)))
    sent = len(world.said(PlaceOrder))
    assert sent == 3, "a burst of five, of which two are kept for protection"
    world.passes(seconds=30)
    sent = len(world.said(PlaceOrder)) + len(world.said(CancelOrder)) + len(world.said(AmendOrder))
    assert sent <= 5 + 30 * (world.now_us - began_us) // 60_000_000
    calls = sent + len(world.said(PollOrders))
    assert calls <= 10 + 60 * (world.now_us - began_us) // 60_000_000


def test_x26_a_subscriber_that_never_reads_delays_no_stop(worlds: World) -> None:
    world = worlds()
    world.price("BTC/USDT", 100_000)
    inbox = world.asks("bus", Subscribe(name="sleeper", topics=frozenset(Topic), capacity=3))
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    world.price("BTC/USDT", 97_000)
    world.passes(seconds=10)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert inbox.lost > 0
    assert inbox.pending == 3
    assert world.violations() == ()


def test_x26_urgent_events_are_read_first(worlds: World) -> None:
    world = worlds()
    world.price("BTC/USDT", 100_000)
    inbox = world.asks("bus", Subscribe(name="watcher", topics=frozenset(Topic), capacity=100))
    world.proposes("BTC/USDT", "buy", stop=98_000, leverage=2)
    world.halts("enough for today")
    assert inbox.take(100)[0].event.kind == "trading_state_changed"


def test_nobody_hears_of_what_is_not_committed(world: Harness) -> None:
    world.proposes("BTC/USDT", "buy", stop=98_000, target=104_000, leverage=2)
    world.tell(GetAccount())
    reported = {message.fill.trade_id for message in world.said(ExecutionReported)}
    assert reported == set(world.journal.fills)
    sequences = [numbered.sequence for numbered in world.journal.events]
    assert sequences == sorted(set(sequences))


def an_intent(world: Harness, **changes: object) -> OrderIntent:
    """Return an intent of no trade of ours, for talking to the exchange directly."""
    template = world.proposal("BTC/USDT", "sell")
    fields: dict[str, object] = {
        "id": template.id, "proposal_id": template.id, "position_id": template.id, "symbol": template.symbol,
        "side": Side.SELL, "role": STOP, "order_type": OrderType.STOP_LOSS, "volume_base": Decimal("0.01"),
        "limit_price_quote": None, "trigger_price_quote": Decimal(98_000), "reference_price_quote": Decimal(98_000),
        "leverage": 2, "reduce_only": True, "time_in_force": TimeInForce.GTC, "expires_at_us": None, "attempt": 1,
        "created_at_us": world.now_us,
    }  # fmt: skip
    return OrderIntent(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_pair_quoted_in_bitcoin_trades_and_is_valued_in_account_money(worlds: World) -> None:
    world = worlds()
    world.prices({"BTC/USDT": 100_000, "XRP/BTC": "0.00002"})
    trade = world.proposes("XRP/BTC", "buy", size="0.01", stop="0.000019", target="0.000022", leverage=2)
    risk: Any = world.engine.actors["risk"].describe()
    assert risk.exposure_usd == 2_000, "a fiftieth of a bitcoin"
    world.price("XRP/BTC", "0.000022")
    world.passes(seconds=10)
    position = world.position(trade)
    assert position.close_reason is CloseReason.TAKE_PROFIT
    earned = position.exit_cost_quote - position.entry_cost_quote - position.fees_quote
    assert world.balance("BTC") == earned > 0
    assert world.violations() == ()


def test_a_pair_whose_quote_currency_has_no_price_is_refused(worlds: World) -> None:
    world = worlds()
    world.price("XRP/BTC", "0.00002")
    assert world.codes(world.proposes("XRP/BTC", "buy", size="0.01", leverage=2)) == ("NO_RATE",)


def test_what_review_made_smaller_is_kept_with_the_request(worlds: World) -> None:
    world = worlds(limits={"leverage_max": 2})
    world.price("BTC/USDT", 100_000)
    trade = world.proposes("BTC/USDT", "buy", stop=98_000, leverage=5)
    assert world.journal.requests[trade].reasons == ("LEVERAGE_REDUCED: 5 to 2",)
    assert world.order(trade, ENTRY).intent.leverage == 2

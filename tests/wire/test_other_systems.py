"""What users of other systems suffered at their exchange, each as a story over the wire.

C1 to C3 and C21 stand in `test_live_faults.py` too, C6 and C9 in `test_account.py`; those that need no exchange are
told on the mock in `tests/scenarios/test_other_systems.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any

import attrs
import pytest

from actors.exchange.kraken.links import Answer, Request
from actors.exchange.kraken.notation import our_id
from actors.exchange.kraken.rest import Nonces, Rest
from actors.exchange.wire.counters import STARTER
from actors.supervisor.policy import EXIT_REFUSED
from config.settings import Settings
from messages.base import ProposalId
from messages.exchange import ExchangeAlert, GetAccount
from messages.lifecycle import ExchangeRefusesUs
from messages.orders import OrderRefused, OrderRole, OrderStatus, OutcomeUnknown, PlaceOrder, PollOrders
from messages.permits import CallsThrottled
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import with_settings
from tests.wire.world import PATIENCE, WireWorld

BTC, ETH, XRP, XRP_BTC = "BTC/USDT", "ETH/USDT", "XRP/USDT", "XRP/BTC"
PRICES = {BTC: Decimal(100_000), ETH: Decimal(4_000), XRP: Decimal("2.5")}
ENTRY, STOP, TARGET, EXIT = OrderRole.ENTRY, OrderRole.STOP, OrderRole.TARGET, OrderRole.EXIT
NO_COOLDOWNS = {"after_loss_s": 0, "after_3_losses_s": 0, "after_5_losses_s": 0}
AMPLE = {"orders_per_minute": 6_000, "orders_burst": 1_000, "api_per_minute": 6_000, "api_burst": 1_000}
"""Our own buckets out of the way."""
BUSY = with_settings(
    cooldowns=NO_COOLDOWNS,
    rate_limits={**AMPLE, "kraken_tier": "none"},
    limits={"positions_per_symbol_max": 10, "positions_total_max": 50, "exposure_max_pct": Decimal(500)},
)


def client_ids_sent(world: WireWorld) -> list[str]:
    return [request.params["cl_ord_id"] for request in world.sent("AddOrder")]


# C3: ignorance keeps its place ------------------------------------------------------------------------


def test_c03_while_it_is_unknown_what_an_order_may_cost_stays_reserved() -> None:
    """One position is allowed. Whether there is one nobody knows, and a second proposal comes."""
    with WireWorld(with_settings(limits={"positions_per_symbol_max": 1, "positions_total_max": 1})) as world:
        world.prices(PRICES)
        world.goes_wrong("ws_silent", heartbeats=True)
        world.goes_wrong("rest_lag", seconds=60)
        world.goes_wrong("answer_lost", endpoint="AddOrder", how="reset")
        first = world.proposes(BTC, "buy", size=500, stop=98_000)
        world.passes(seconds=40)
        assert world.order(first, ENTRY).status is OrderStatus.PENDING
        second = world.proposes(ETH, "buy", size=500, stop=3_900)

        assert world.codes(second) == ("POSITION_LIMIT_TOTAL",)
        world.passes(minutes=3)
        assert world.order(first, ENTRY).status is OrderStatus.FILLED
        assert len(world.said(OutcomeUnknown)) == 1
        assert world.violations() == ()


# C4: whatever comes first ------------------------------------------------------------------------------

ENTRY_MESSAGES = 4
"""What is pushed of an order that fills at once: it is coming, it is there, it trades, it is filled."""


class Turnstile:
    """Lets so many messages about the first order pass before the answer that it was placed; then `opens`."""

    def __init__(self, world: WireWorld, before: int, times: int) -> None:
        self._world = world
        self._before = before
        self._times = times
        self._held: list[str] = []
        self._call = world.wires.call
        world.wires.call = self._answered  # type: ignore[method-assign]
        world.wires.pushed = self._pushed

    def _pushed(self, text: str) -> Sequence[str]:
        if '"channel":"executions"' not in text:
            return (text,)
        self._held.append(text)
        return ()

    async def _answered(self, request: Request) -> Answer:
        self._world.wires.call = self._call  # type: ignore[method-assign]
        answer = await self._call(request)
        while len(self._held) < ENTRY_MESSAGES:  # noqa: ASYNC110 - Nobody tells a test that a message is there.
            await asyncio.sleep(0)
        for text in self._held[: self._before]:
            for _time in range(self._times):
                self._world.wires.tell(text)
        return answer

    def opens(self) -> None:
        """Let the rest pass, and hold nothing any more."""
        self._world.wires.pushed = lambda text: (text,)
        self._world.hears(*(text for text in self._held[self._before :] for _time in range(self._times)))


def how_it_ended(world: WireWorld, trade: ProposalId) -> Any:
    """Return all that is known of a trade, its instants and volumes too."""
    return world.orders(trade), world.fills(trade), world.position(trade), world.account()


def test_c04_whichever_of_answer_and_messages_comes_first_the_end_is_the_same() -> None:
    """The fill may be there before the answer, and each message may come twice."""
    ends = []
    for before, times in [*itertools.product(range(ENTRY_MESSAGES + 1), (1, 2))]:
        with WireWorld() as world:
            world.price(BTC, 100_000)
            turnstile = Turnstile(world, before, times)
            trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
            turnstile.opens()
            world.passes(seconds=5)
            assert world.violations() == ()
            assert len(world.sent("AddOrder")) == 3
            ends.append(how_it_ended(world, trade))

    assert all(end == ends[0] for end in ends)


# C5: what is left out, and what makes no sense ------------------------------------------------------------

NEEDED = {"order_id", "exec_type", "timestamp", "exec_id", "last_qty", "last_price", "fees", "cum_qty"}
"""What a message about an order cannot do without; everything else may have been said before, or never."""


def bare(text: str) -> str:
    """Leave out of a message whatever is not needed."""
    message = json.loads(text, parse_float=str)
    if message.get("channel") == "executions":
        message["data"] = [{name: row[name] for name in row if name in NEEDED} for row in message["data"]]
    return json.dumps(message)


def test_c05_orders_told_by_their_id_alone_are_known_all_the_same(world: WireWorld) -> None:
    """No message says symbol, side, volume or client id: what nobody has told is asked for."""
    world.wires.pushed = lambda text: (bare(text),)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
    world.passes(seconds=5)
    assert [order.status for order in world.orders(trade)] == [OrderStatus.FILLED, OrderStatus.OPEN, OrderStatus.OPEN]
    assert len(world.account().open_orders) == 2, "and nothing was placed a second time"
    world.protects(trade, stop=99_000)
    world.passes(seconds=5)
    world.price(BTC, 98_900)
    world.passes(seconds=5)

    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.said(ExchangeAlert) == [], "nothing of ours is a stranger's"
    assert world.violations() == ()


NONSENSE = {
    "no json": '{"channel":"executions","data":[',
    "a list": "[]",
    "no order": '{"channel":"executions","type":"update","data":[{"exec_type":"trade"}],"sequence":9}',
    "no rows": '{"channel":"executions","type":"update","data":{"exec_type":"trade"},"sequence":9}',
    "no instant": '{"channel":"executions","type":"update","data":[{"exec_type":"canceled","order_id":"%s"}]}',
    "no number": '{"channel":"executions","type":"update","data":[{"order_id":"%s","cum_qty":"NaN"}]}',
    "a float's nothing": '{"channel":"executions","type":"update","data":[{"order_id":"%s","order_qty":NaN}]}',
    "endless": '{"channel":"executions","type":"update","data":[{"order_id":"%s","order_qty":Infinity}]}',
    "a side unheard of": '{"channel":"executions","type":"update","data":[{"order_id":"%s","side":"both"}]}',
    "too deep": "[" * 100_000,
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_c05_what_cannot_be_understood_is_told_and_the_line_begins_anew(world: WireWorld, nonsense: str) -> None:
    """Something may be lost with it: so a snapshot is asked for, and nothing that was known is forgotten."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    before = world.orders(trade)
    world.says(nonsense.replace("%s", world.order(trade, STOP).external_id or ""))
    world.passes(seconds=2)

    assert [alert.kind for alert in world.said(ExchangeAlert)] == ["feed_unreadable", "feed_lost"]
    assert len(world.sent("GetWebSocketsToken")) == 2
    assert world.orders(trade) == before
    world.price(BTC, 97_900)
    world.passes(seconds=5)
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.violations() == ()


ODD_RESULTS: Mapping[str, Callable[[Any], Any]] = {
    "a list": lambda result: [result],
    "a number": lambda result: 7,
    "rows without anything": lambda result: {name: {"OODD": {}} for name in result},
    "rows of numbers": lambda result: {name: [1, 2] for name in result},
}


@pytest.mark.parametrize("endpoint", ["OpenOrders", "TradesHistory", "QueryOrders"])
@pytest.mark.parametrize("odd", ODD_RESULTS.values(), ids=ODD_RESULTS)
def test_c05_an_answer_that_makes_no_sense_is_told_and_asked_for_again(
    world: WireWorld, endpoint: str, odd: Callable[[Any], Any]
) -> None:
    call, answered = world.wires.call, itertools.count(1)

    async def oddly(request: Request) -> Answer:
        answer = await call(request)
        if not request.path.endswith(f"/{endpoint}") or next(answered) > 2:
            return answer
        return attrs.evolve(answer, text=json.dumps({"error": [], "result": odd(json.loads(answer.text)["result"])}))

    world.wires.call = oddly  # type: ignore[method-assign]
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.goes_wrong("answer_lost", endpoint="AddOrder", how="reset")  # The exit's outcome has to be looked up.
    world.goes_wrong("ws_silent", heartbeats=True)
    world.closes(trade)
    world.passes(minutes=3)

    assert next(answered) > 2
    assert {alert.kind for alert in world.said(ExchangeAlert)} == {"answer_unreadable"}
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


# C7: a start after anything ---------------------------------------------------------------------------------


class Story:
    """Random longs and shorts, filled in parts, closed by us, by their levels or by hand; now and then we die."""

    def __init__(self, world: WireWorld, seed: int) -> None:
        self._world = world
        self._chance = Random(f"story {seed}")
        self._prices = dict(PRICES)
        self._trades: list[ProposalId] = []
        world.prices(PRICES)

    def goes_on(self, steps: int) -> None:
        """Let so many things happen."""
        deeds = (self._propose, self._move, self._close, self._wait, self._by_hand, self._die)
        for deed in self._chance.choices(deeds, (4, 5, 2, 2, 2, 1), k=steps):
            deed()

    def _propose(self) -> None:
        symbol, side = self._chance.choice([*PRICES]), self._chance.choice(["buy", "sell"])
        price, sign = self._prices[symbol], 1 if side == "buy" else -1
        self._world.goes_wrong("first_share", endpoint="AddOrder", share_pct=str(self._chance.choice([30, 70, 100])))
        entry = self._chance.choice([None, price * (1 - sign * Decimal("0.002"))])
        stop, target = price * (1 - sign * Decimal("0.02")), price * (1 + sign * Decimal("0.02"))
        leverage = self._chance.choice([2, 3])
        self._trades.append(
            self._world.proposes(symbol, side, size=500, entry=entry, stop=stop, target=target, leverage=leverage)
        )

    def _move(self) -> None:
        symbol = self._chance.choice([*PRICES])
        self._prices[symbol] *= 1 + Decimal(self._chance.randrange(-150, 151)) / 10_000
        self._world.price(symbol, self._prices[symbol])

    def _close(self) -> None:
        if self._trades:
            self._chance.choice([self._world.closes, self._world.cancels])(self._chance.choice(self._trades))

    def _wait(self) -> None:
        self._world.passes(seconds=self._chance.randrange(1, 20))

    def _by_hand(self) -> None:
        for act in self._acts():
            self._world.acts(**act)

    def _die(self) -> None:
        self._world.is_down_while(*self._acts())
        self._world.prices(self._prices)

    def _acts(self) -> Iterator[Mapping[str, Any]]:
        """Somebody closes a position, or the price moves; nothing is closed that is not there."""
        symbol = self._chance.choice([*PRICES])
        if any(holding.symbol == symbol for holding in self._world.account().holdings):
            yield {"act": "close_by_hand", "symbol": symbol}
        symbol = self._chance.choice([*PRICES])
        self._prices[symbol] *= 1 + Decimal(self._chance.randrange(-250, 251)) / 10_000
        yield {"act": "set_price", "symbol": symbol, "price": f"{self._prices[symbol]:.5f}"}


@pytest.mark.parametrize("seed", range(4))
def test_c07_a_start_after_any_history_agrees_with_the_exchange(seed: int) -> None:
    with WireWorld(BUSY) as world:
        story = Story(world, seed)
        for _life in range(2):
            story.goes_on(20)
            world.crashes()
            world.passes(minutes=3)
            assert world.violations() == ()
        assert world.engine.exit_code is None
        assert {position.is_over for position in world.journal.positions.values()} >= {True}


# C8: asked in the middle of it --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_c08_asking_for_everything_during_a_burst_counts_nothing_twice(seed: int) -> None:
    """The same fill is pushed, polled, looked up and found in the account's trades, some of it a minute late."""
    chance = Random(f"burst {seed}")
    with WireWorld(BUSY) as world:
        world.prices(PRICES)
        world.goes_wrong("rest_lag", seconds=45, probability_pct=50, times=None)
        world.goes_wrong("ws_duplicate", channel="executions", probability_pct=30, times=None)
        world.goes_wrong("ws_gap", channel="executions", probability_pct=5, times=None)
        world.goes_wrong("internal_error", endpoint="AddOrder", probability_pct=20, times=None, placed=True)
        for number in range(12):
            symbol = chance.choice([*PRICES])
            stop = PRICES[symbol] * Decimal("0.98")
            proposals = [world.proposal(symbol, "buy", size=300, stop=stop, leverage=2) for _ in range(2)]
            world.hands_in(*proposals)
            world.tell(GetAccount())
            world.tell(PollOrders(order_ids=tuple(world.journal.orders), after_trade=None, since_us=0))
            world.passes(ms=chance.randrange(3_000))
            if number % 3 == 2:
                world.closes(chance.choice(proposals).id)
        world.heals()
        world.passes(minutes=4)

        assert len(world.journal.positions) > 12
        assert len(client_ids_sent(world)) == len(set(client_ids_sent(world)))
        assert world.events("unknown_execution") == []
        assert world.violations() == ()


# C16: the pair's own decimals ----------------------------------------------------------------------------------

LEVELS: Mapping[str, tuple[str, str, str]] = {
    BTC: ("100000", "98123.456789", "104321.987654"),
    ETH: ("4000", "3912.3456789", "4109.87654321"),
    XRP: ("2.5", "2.4123456789", "2.6123456789"),
    XRP_BTC: ("0.000025", "0.0000242345678", "0.0000261234567"),
}


def coarser(settings: Settings) -> Mapping[Any, Any]:
    """Return pairs of an exchange whose ticks and lots are ten times as coarse as the file says."""
    return {
        symbol: attrs.evolve(pair, price_tick_quote=pair.price_tick_quote * 10, lot_step_base=pair.lot_step_base * 100)
        for symbol, pair in settings.execution.instruments.items()
    }


@pytest.mark.parametrize("limited", [False, True], ids=["market", "limit"])
def test_c16_prices_and_volumes_have_the_decimals_that_the_exchange_tells(*, limited: bool) -> None:
    """Whoever sends a digit too many has no stop: nothing is refused here, on any pair, in any field."""
    types = {"stop_order_type": "stop-loss-limit", "target_order_type": "take-profit-limit"} if limited else {}
    settings = with_settings(orders=types)
    with WireWorld(settings, instruments=coarser(settings)) as world:
        world.prices({symbol: levels[0] for symbol, levels in LEVELS.items()})
        for symbol, (_price, stop, target) in LEVELS.items():
            size = "0.01" if symbol == XRP_BTC else "511.37"
            world.proposes(symbol, "buy", size=size, stop=stop, target=target, leverage=2)
            world.passes(minutes=1)
        pairs = {pair.altname: pair for pair in world.server.exchange.names.pairs.values()}
        sent = [request.params for request in world.sent("AddOrder")]

        assert world.said(OrderRefused) == []
        assert len(sent) == 3 * len(LEVELS)
        for params in sent:
            pair = pairs[params["pair"]].instrument
            assert Decimal(params["volume"]) % pair.lot_step_base == 0
            for name in ("price", "price2"):
                assert Decimal(params.get(name, 0)) % pair.price_tick_quote == 0
        assert any("price2" in params for params in sent) == limited
        assert world.violations() == ()


@pytest.mark.parametrize("text", ["EOrder:Tick size check failed", "EOrder:Invalid price:XBTUSDT price can only be"])
def test_c16_a_tick_that_has_changed_is_asked_for_and_the_stop_is_placed(world: WireWorld, text: str) -> None:
    world.goes_wrong("error", text=text, endpoint="AddOrder", skip=1)
    asked = len(world.sent("AssetPairs"))
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.passes(seconds=5)

    assert len(world.sent("AssetPairs")) == asked + 1
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    assert world.violations() == ()


# C19: never too fast ----------------------------------------------------------------------------------------------


def storm(tier: str) -> list[str]:
    """Place, move and cancel without rest for a minute; return what the exchange said of being too fast."""
    settings = with_settings(
        cooldowns=NO_COOLDOWNS,
        rate_limits={**AMPLE, "kraken_tier": tier},
        limits={"positions_per_symbol_max": 10, "positions_total_max": 50, "exposure_max_pct": Decimal(500)},
    )
    with WireWorld(settings, tier=STARTER) as world:
        world.price(BTC, 100_000)
        held = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
        for number in range(15):
            resting = world.proposes(BTC, "buy", size=100, entry=99_000, stop=97_000, leverage=2)
            world.protects(held, stop=98_000 + 10 * number)
            world.passes(seconds=1)
            world.cancels(resting)
            world.passes(seconds=3)
        world.passes(minutes=4)
        (stop,) = world.account().open_orders
        assert stop.trigger_price_quote == 98_140, "what protects is where it was wanted in the end"
        assert world.violations() == ()
        return [said.reason for said in world.said(CallsThrottled)]


def test_c19_a_storm_meets_no_limit_of_the_exchange() -> None:
    """Without our own reckoning of Kraken's counters it would have."""
    assert storm("starter") == []
    assert storm("none") != []


# C20: nonces -------------------------------------------------------------------------------------------------------


def late_nonces(world: WireWorld) -> list[str]:
    return [answer.text for answer in world.wires.answers if "EAPI:Invalid nonce" in answer.text]


@pytest.mark.parametrize("dispatcher", ["shared", "threads"])
def test_c20_no_nonce_is_ever_too_low(dispatcher: str) -> None:
    """The clock stands still but for the starts, there is much to say at once: the exchange takes every nonce."""
    lives, began_ns = [0], time.time_ns()
    world = WireWorld(BUSY, dispatcher=dispatcher)
    world.wall_ns = lambda: began_ns + lives[-1] * 1_000_000_000
    with world:
        for life in range(1, 4):
            world.prices(PRICES)
            stops = {symbol: price * Decimal("0.98") for symbol, price in PRICES.items()}
            world.hands_in(*(world.proposal(symbol, "buy", stop=stop, leverage=2) for symbol, stop in stops.items()))
            world.passes(seconds=20)
            assert late_nonces(world) == []
            lives.append(life)
            world.crashes()
        assert world.violations() == ()


def test_c20_a_clock_that_was_set_back_is_overcome(world: WireWorld) -> None:
    """The process before this one was an hour ahead."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    call_of_another(world, ahead_s=3_600)
    world.closes(trade)
    world.passes(seconds=10)

    assert len(late_nonces(world)) > 1
    assert world.engine.exit_code is None
    assert world.position(trade).status is PositionStatus.CLOSED
    assert world.violations() == ()


def test_c20_another_program_with_our_key_stops_us(world: WireWorld) -> None:
    """Two that take turns with one key would spoil each other's calls for ever; the stop stays where it is."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    call_of_another(world, ahead_s=1_000_000)
    world.passes(seconds=10)

    assert "another program uses this key" in world.said(ExchangeRefusesUs)[0].reason
    assert world.engine.exit_code == EXIT_REFUSED
    assert [order.order_id for order in world.account().open_orders] == [world.order(trade, STOP).id]


def call_of_another(world: WireWorld, ahead_s: int) -> None:
    """Let another program make a call with our key, its nonces so far ahead."""

    async def call() -> None:
        nonces = Nonces()
        nonces.jump(ahead_s)
        server = world.server
        other = Rest(url=server.rest_url, key=server.key, secret=server.secret, speed=PATIENCE, nonces=nonces)
        answer = await other.call(Request(path="/0/private/Balance", params={}, is_private=True, timeout_ms=5_000))
        assert answer.status == 200
        await other.close()

    world.does(call)


# C21: more than a snapshot holds ------------------------------------------------------------------------------------


def test_c21_what_happened_before_the_last_fifty_trades_is_heard_after_an_outage(world: WireWorld) -> None:
    """Nothing gets through for ten minutes. Our stop fires, and then others trade sixty times on the account."""
    world.price(ETH, 4_000)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.goes_wrong("request_lost", how="reset", times=None)
    world.goes_wrong("ws_refuse", times=None)
    world.goes_wrong("ws_drop", channel="executions")
    world.acts("set_price", symbol=BTC, price="97900")
    for number in range(60):
        world.acts("trade_by_hand", symbol=ETH, side="sell" if number % 2 else "buy", volume="0.01")
    world.passes(minutes=10)
    world.heals()
    world.passes(minutes=3)

    pages = {request.params["ofs"] for request in world.sent("TradesHistory")}
    assert {"0", "50"} <= pages
    assert world.position(trade).close_reason is CloseReason.STOP_LOSS
    assert world.account().open_orders == ()


# C22: REST is behind ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_c22_records_that_lag_take_nothing_back(world: WireWorld, *, dies: bool) -> None:
    """Filled and closed on the line at once; for a minute REST has the entry open, the stop resting, and no trade."""
    world.goes_wrong("rest_lag", seconds=55)
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    world.passes(seconds=20)
    assert world.order(trade, ENTRY).status is OrderStatus.FILLED
    world.price(BTC, 97_900)
    assert world.position(trade).status is PositionStatus.CLOSED
    ended = world.orders(trade), world.fills(trade), world.position(trade)
    if dies:
        world.crashes()
        world.price(BTC, 97_900)
    for _look in range(12):
        world.passes(seconds=10)
        assert (world.orders(trade), world.fills(trade), world.position(trade)) == ended
        assert world.account().open_orders == ()

    assert len(world.journal.positions) == 1
    assert world.violations() == ()


# C23: two of us -----------------------------------------------------------------------------------------------------


def test_c23_an_entry_that_is_not_heard_of_is_not_placed_a_second_time() -> None:
    """The position is there and nobody has told; the strategy, which sees none, asks again."""
    with WireWorld(with_settings(limits={"positions_per_symbol_max": 1})) as world:
        world.price(BTC, 100_000)
        world.goes_wrong("ws_silent", heartbeats=True)
        world.goes_wrong("rest_lag", seconds=40)
        trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
        assert not world.has_position(trade)
        again = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
        world.hands_in(attrs.evolve(world.proposal(BTC, "buy", stop=98_000, leverage=2), id=trade))
        world.passes(minutes=2)

        assert world.codes(again) == ("POSITION_LIMIT_SYMBOL",)
        (holding,) = world.account().holdings
        assert holding.volume_base == world.position(trade).volume_base
        assert world.violations() == ()


STRANGER = "0a1b2c3d4e5f4a6b8c7d9e0f1a2b3c4d"
"""An id such as we give them, which we never gave."""


@pytest.mark.parametrize("wears_our_id", [False, True])
def test_c23_what_another_engine_trades_is_told_of_and_is_no_trade_of_ours(
    world: WireWorld, *, wears_our_id: bool
) -> None:
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    terms = {"cl_ord_id": STRANGER} if wears_our_id else {}
    world.acts("order_by_hand", pair="XBTUSDT", type="buy", ordertype="market", volume="0.02", leverage="2", **terms)
    world.passes(minutes=3)

    assert len(world.events("unknown_execution")) == 1
    assert [position.proposal_id for position in world.journal.positions.values()] == [trade]
    assert len(world.account().open_orders) == 1
    assert world.sent("CancelOrder") == []


def test_c23_at_a_start_only_what_bears_our_id_is_cancelled(world: WireWorld) -> None:
    """Nobody could protect what an entry opens that no journal knows. What others have left is theirs."""
    trade = world.proposes(BTC, "buy", size=500, stop=98_000, leverage=2)
    resting = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "0.01", "price": "90000"}
    world.acts("order_by_hand", **resting)
    world.acts("order_by_hand", **resting, cl_ord_id=STRANGER)
    assert len(world.account().open_orders) == 3
    world.crashes()
    world.passes(minutes=2)

    assert [request.params["txid"] for request in world.sent("CancelOrder")] == [
        note.txid for note in world.server.exchange.registry.of_client(STRANGER)
    ]
    assert len(world.account().open_orders) == 2
    assert [dict(event.details)["order_id"] for event in world.events("order_adopted")] == [our_id(STRANGER)]
    assert world.order(trade, STOP).status is OrderStatus.OPEN
    assert world.violations() == ()


# C25: stop means stop ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", range(3, 90, 11))
def test_c25_killed_after_any_message_it_goes_on_from_there(messages: int) -> None:
    """What was under way on the wire when it died is there, or is not: the next start finds out which."""
    with WireWorld() as world:
        world.price(BTC, 100_000)
        world.dies_after(messages)
        proposal = world.proposal(BTC, "buy", size=500, stop=98_000, target=104_000, leverage=2)
        world.hands_in(proposal)
        world.crashes()
        world.price(BTC, 100_000)
        world.hands_in(proposal)
        world.passes(minutes=3)

        assert world.position(proposal.id).entry_base == world.order(proposal.id, ENTRY).volume_base
        assert len(world.journal.positions) == 1
        placed = [note.cl_ord_id for note in world.server.exchange.registry.orders()]
        assert len(placed) == len(set(placed))
        assert world.violations() == ()


def test_c25_after_a_halt_no_entry_leaves_and_none_stays() -> None:
    """Twenty limits are approved and wait for their turn; then a person halts. Those that rest are taken back."""
    with WireWorld(with_settings(limits={"positions_per_symbol_max": 50, "positions_total_max": 50})) as world:
        world.prices(PRICES)
        world.hands_in(*(world.proposal(BTC, "buy", size=100, entry=99_000, stop=97_000) for _ in range(20)))
        before = [wish.intent.id for wish in world.said(PlaceOrder) if wish.intent.role is ENTRY]
        assert 0 < len(before) < 20
        world.halts()
        world.passes(minutes=5)

        assert [wish.intent.id for wish in world.said(PlaceOrder) if wish.intent.role is ENTRY] == before
        assert world.account().open_orders == ()
        assert world.violations() == ()

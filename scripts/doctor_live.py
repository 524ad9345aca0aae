"""What `doctor --live` asks of the exchange. Every call is harmless: nothing is placed, moved or cancelled.

Each right of the key is tried with a call that needs it: an order is only validated, and the order that is cancelled
does not exist. Read in order: exchange_findings(), Enquiry, then one function for each finding.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from actors.exchange.kraken.actor import ASSET_PAIRS, TOKEN, TRADE_VOLUME
from actors.exchange.kraken.errors import ANYTHING_ELSE, Verdict
from actors.exchange.kraken.links import Request
from actors.exchange.kraken.notation import ZERO, instant_us, number, plain
from actors.exchange.kraken.pairs import Pair, PairError, Pairs, read_pairs, with_fees
from actors.exchange.kraken.rest import Rest
from actors.exchange.kraken.shell.asking import BALANCE, OPEN_ORDERS, TRADE_BALANCE, TRADES_HISTORY
from actors.exchange.kraken.shell.calling import INVALID_NONCE, Reply, read_answer
from actors.exchange.kraken.shell.wishing import ADD_ORDER, CANCEL_ORDER
from actors.runtime.clock import MICROSECONDS
from config.settings import ExecutionSettings, KrakenSettings, Settings, TradingMode
from messages.base import Symbol
from messages.market import Instrument
from scripts.findings import Finding, failure, fine, remark
from scripts.live import ANSWER_LATE_MS, CLOCK_OFF_MAX_S, CLOCK_TRIES_MAX, closed_gates, malformed_key, wall_us

TIME, SYSTEM_STATUS, TICKER = "/0/public/Time", "/0/public/SystemStatus", "/0/public/Ticker"
WITHDRAW_METHODS = "/0/private/WithdrawMethods"
NO_SUCH_ORDER = "OZZZZZ-ZZZZZ-ZZZZZZ"
PERMISSION_DENIED = "EGeneral:Permission denied"
ONLINE = "online"
TRIES_MAX = 3
NONCE_TRIES_MAX = 6
"""Nonces go ahead tenfold each time, as they do when the engine starts."""
WAIT_MAX_S = 20
"""Who wants to be left alone for longer is not asked again."""
FIGURES = ("price_tick_quote", "lot_step_base", "volume_min_base", "notional_min_quote")
HALF = Decimal("0.5")

Pause = Callable[[float], Awaitable[None]]


@attrs.frozen
class Right:
    """One thing that a key must be allowed to do."""

    name: str
    """As Kraken's own page for keys calls it."""
    path: str
    params: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Enquiry:
    """Questions, one after the other; each is asked again a few times while nobody answers."""

    rest: Rest
    kraken: KrakenSettings
    pause: Pause = asyncio.sleep
    now_us: Callable[[], int] = wall_us

    async def ask(self, path: str, **params: str) -> Reply:
        """Return what came of it."""
        is_private = path.startswith("/0/private/")
        timeout_ms = self.kraken.query_timeout_s * 1_000
        request = Request(path=path, params=params, is_private=is_private, timeout_ms=timeout_ms)
        tries = late_nonces = 0
        while True:
            reply = read_answer(await self.rest.call(request))
            meaning = reply.meaning
            if meaning is None or meaning.verdict in (Verdict.REFUSED, Verdict.FATAL, Verdict.MAINTENANCE):
                return reply
            if meaning.text == INVALID_NONCE:
                late_nonces += 1
                if late_nonces == NONCE_TRIES_MAX:
                    return reply
                self.rest.nonces.jump(10 ** (late_nonces - 1))
                continue
            tries += 1
            wait_s = max(1, meaning.pause_s)
            if tries == TRIES_MAX or wait_s > WAIT_MAX_S:
                return reply
            await self.pause(wait_s)


@asynccontextmanager
async def enquiry_at(kraken: KrakenSettings) -> AsyncIterator[Enquiry]:
    """Open the way to the exchange, with the key in the environment."""
    rest = Rest(
        url=kraken.rest_url, key=os.environ.get("KRAKEN_API_KEY", ""), secret=os.environ.get("KRAKEN_API_SECRET", "")
    )
    try:
        yield Enquiry(rest=rest, kraken=kraken)
    finally:
        await rest.close()


async def exchange_findings(settings: Settings) -> AsyncIterator[Finding]:
    """Look at the gates, and at everything that the exchange says."""
    yield gates(settings.execution)
    problem = key_problem()
    if problem is not None:
        yield problem
    async with enquiry_at(settings.execution.kraken) as enquiry:
        async for finding in findings_of(enquiry, settings.execution, has_key=problem is None):
            yield finding


async def findings_of(enquiry: Enquiry, execution: ExecutionSettings, *, has_key: bool) -> AsyncIterator[Finding]:
    """Ask what anybody may ask, and with a key also what its owner may."""
    answered = await clock(enquiry)
    yield answered
    if answered.name == "exchange":
        return
    yield await status(enquiry)
    told = await enquiry.ask(ASSET_PAIRS)
    pairs, listing = listed(told, execution.instruments)
    yield listing
    if pairs.all:
        yield figures(pairs, execution.instruments)
    if not has_key:
        return
    first = await enquiry.ask(BALANCE)
    if is_key_refused(first):
        yield failure("key", f"{enquiry.kraken.rest_url} says {first.reason}", "see to KRAKEN_API_KEY and its secret")
        return
    yield await rights(enquiry, pairs, first)
    yield await withdrawal(enquiry)
    if pairs.all:
        yield await fees(enquiry, execution, pairs)
        yield await margin(enquiry, execution.instruments, pairs)


# Before anything is asked ---------------------------------------------------------------------------


def gates(execution: ExecutionSettings) -> Finding:
    """Say which of the gates are closed, and whether the configuration wants live trading at all."""
    closed = closed_gates()
    is_live = execution.trading_mode is TradingMode.LIVE
    if closed:
        found = f"missing in the environment: {', '.join(closed)}"
        return failure("gates", found, "live trading is refused until they are set; docs/kraken.md")
    if not is_live:
        return remark("gates", "all four are open, but trading_mode is paper in execution.yaml", "a run is on paper")
    return fine("gates", "all four are open: a run trades with real money")


def key_problem() -> Finding | None:
    """Return what is wrong with the key as it is written; None if it may be asked with."""
    key, secret = os.environ.get("KRAKEN_API_KEY", ""), os.environ.get("KRAKEN_API_SECRET", "")
    if not key or not secret:
        return remark("key", "there is none, so nothing of the account was looked at", "see gates")
    problem = malformed_key()
    return failure("key", problem, "copy it anew; the secret is the longer of the two") if problem else None


# What anybody may ask -------------------------------------------------------------------------------


async def clock(enquiry: Enquiry) -> Finding:
    """Compare the clocks; that nobody answers is found here, because this is what is asked first."""
    for _try in range(CLOCK_TRIES_MAX):
        asked_us = enquiry.now_us()
        reply = await enquiry.ask(TIME)
        heard_us = enquiry.now_us()
        if reply.meaning is not None or heard_us - asked_us <= ANSWER_LATE_MS * 1_000:
            break  # One that was long on its way says too little about the time.
    if reply.meaning is not None:
        return _silence(enquiry, reply)
    told_us = instant_us(reply.result["unixtime"])
    # It is told in whole seconds, so on average it was half a second later.
    ahead_us = told_us + MICROSECONDS // 2 - (asked_us + heard_us) // 2
    tenths = round(abs(ahead_us) * 10 / MICROSECONDS)
    found = f"the exchange's is {tenths // 10}.{tenths % 10} s {'ahead of' if ahead_us > 0 else 'behind'} ours"
    if abs(ahead_us) > CLOCK_OFF_MAX_S * MICROSECONDS:
        return failure("clock", found, f"keep it within {CLOCK_OFF_MAX_S} s: let NTP set it")
    return fine("clock", f"within {CLOCK_OFF_MAX_S} s of the exchange's")


def _silence(enquiry: Enquiry, reply: Reply) -> Finding:
    advice = "see to the network and to kraken.rest_url; nothing else was asked"
    return failure("exchange", f"{enquiry.kraken.rest_url} does not answer: {reply.reason}", advice)


async def status(enquiry: Enquiry) -> Finding:
    """Say whether the exchange is open."""
    reply = await enquiry.ask(SYSTEM_STATUS)
    if reply.meaning is not None:
        return _not_known("status", reply)
    told = str(reply.result.get("status"))
    if told != ONLINE:
        return failure("status", f"the exchange is {told}", "nothing can be opened until it is online")
    return fine("status", "the exchange is online")


def listed(told: Reply, wanted: Mapping[Symbol, Instrument]) -> tuple[Pairs, Finding]:
    """Return the pairs that can be traded, and whether they are all that are configured."""
    if told.meaning is not None:
        return Pairs(()), _not_known("symbols", told)
    found: list[Pair] = []
    problems: list[str] = []
    for symbol, instrument in wanted.items():
        try:
            pair = read_pairs(told.result, {symbol: instrument}).all[0]
        except PairError as error:
            problems.append(str(error))
            continue
        found.append(pair)
        if pair.status != ONLINE:
            problems.append(f"{symbol} is {pair.status}")
    if problems:
        advice = "take out of `instruments` in execution.yaml what is not to be traded"
        return Pairs(found), failure("symbols", ", ".join(problems), advice)
    return Pairs(found), fine("symbols", f"{len(found)} of {len(wanted)} are listed and online")


def figures(pairs: Pairs, wanted: Mapping[Symbol, Instrument]) -> Finding:
    """Say where the file has other ticks, lots or minimums than the exchange."""
    differing = [text for pair in pairs.all for text in _differing(pair, wanted[pair.symbol])]
    if differing:
        advice = "live trading takes the exchange's; change the file so that paper does too"
        return remark("instruments", ", ".join(differing), advice)
    return fine("instruments", "ticks, lots and minimums are the exchange's own")


def _differing(pair: Pair, ours: Instrument) -> Iterator[str]:
    for name in FIGURES:
        here, there = getattr(ours, name), getattr(pair.instrument, name)
        if here != there:
            yield f"{pair.symbol} {name} is {plain(here)} in the file and {plain(there)} at the exchange"


# What the owner of the key may ask ------------------------------------------------------------------


def is_key_refused(reply: Reply) -> bool:
    """Say whether it is the key itself that the exchange does not take, rather than one of its rights."""
    if reply.meaning is None or PERMISSION_DENIED in reply.reason:
        return False
    return reply.meaning.verdict is Verdict.FATAL or reply.meaning.text == INVALID_NONCE


async def rights(enquiry: Enquiry, pairs: Pairs, balance: Reply) -> Finding:
    """Try each right that the engine needs."""
    answers = {"query funds": balance}
    for right in (
        Right("query open orders & trades", OPEN_ORDERS),
        Right("query closed orders & trades", TRADES_HISTORY, {"type": "all"}),
        Right("create & modify orders", ADD_ORDER, await _an_order(enquiry, pairs)),
        Right("cancel & close orders", CANCEL_ORDER, {"txid": NO_SUCH_ORDER}),
        Right("access WebSockets API", TOKEN),
    ):
        if right.path != ADD_ORDER or right.params:
            answers[right.name] = await enquiry.ask(right.path, **right.params)
    placed = _placed(answers.get("create & modify orders"))
    if placed:
        await enquiry.ask(CANCEL_ORDER, txid=placed)
        found = f"an order that was only to be validated was placed ({placed}), and has been cancelled"
        return failure("permissions", found, "look at the account before you trade there")
    missing = [name for name, reply in answers.items() if PERMISSION_DENIED in reply.reason]
    if missing:
        advice = "add to the key what is missing; nothing else is needed"
        return failure("permissions", f"the key lacks: {', '.join(missing)}", advice)
    unclear = [f"{name} ({reply.reason})" for name, reply in answers.items() if not _was_looked_at(reply)]
    if unclear or len(answers) < 6:
        return remark(
            "permissions", f"not known of: {', '.join(unclear) or 'create & modify orders'}", "ask again later"
        )
    return fine("permissions", ", ".join(answers))


def _was_looked_at(reply: Reply) -> bool:
    """Say whether the answer proves the right: a result, or a refusal of what was asked for."""
    return reply.meaning is None or reply.meaning.verdict is Verdict.REFUSED


def _placed(reply: Reply | None) -> str:
    told = reply.result.get("txid") if reply is not None and isinstance(reply.result, dict) else None
    return str(told[0]) if told else ""


async def _an_order(enquiry: Enquiry, pairs: Pairs) -> dict[str, str]:
    """Return an order to validate: the smallest one, far below the price and never taking. Empty if there is none."""
    if not pairs.all:
        return {}
    pair = pairs.all[0]
    reply = await enquiry.ask(TICKER, pair=pair.altname)
    instrument = pair.instrument
    price_quote = _half_of_last(reply.result if reply.meaning is None else None, instrument.price_tick_quote)
    volume_base = instrument.volume_min_base
    if price_quote * volume_base < instrument.notional_min_quote:
        lots = instrument.notional_min_quote / price_quote // instrument.lot_step_base + 1
        volume_base = lots * instrument.lot_step_base
    return {
        "pair": pair.altname,
        "type": "buy",
        "ordertype": "limit",
        "price": plain(price_quote),
        "volume": plain(volume_base),
        "oflags": "post",
        "validate": "true",
    }


def _half_of_last(told: Any, tick_quote: Decimal) -> Decimal:
    """Return half the last price on the grid; a tick where no price is told."""
    for row in (told or {}).values():
        return max(tick_quote, number(row["c"][0]) * HALF // tick_quote * tick_quote)
    return tick_quote


async def withdrawal(enquiry: Enquiry) -> Finding:
    """See whether the key may take money out: it should not."""
    reply = await enquiry.ask(WITHDRAW_METHODS)
    if PERMISSION_DENIED in reply.reason:
        return fine("withdrawal", "the key may not withdraw")
    if reply.meaning is None or reply.meaning.verdict is Verdict.REFUSED or reply.meaning is ANYTHING_ELSE:
        advice = "take that right away: whoever has the key has the money, and the engine never withdraws"
        return remark("withdrawal", "the key may withdraw", advice)
    return _not_known("withdrawal", reply)


async def fees(enquiry: Enquiry, execution: ExecutionSettings, pairs: Pairs) -> Finding:
    """Say what the account pays, and whether sizing reckons with it."""
    reply = await enquiry.ask(TRADE_VOLUME, pair=",".join(pair.altname for pair in pairs.all))
    if reply.meaning is not None:
        return _not_known("fees", reply)
    dearest = max((pair.instrument for pair in with_fees(pairs, reply.result).all), key=lambda one: one.fee_taker_pct)
    traded = f"{reply.result.get('volume')} {reply.result.get('currency')} traded in 30 days"
    found = f"taker {_shown(dearest.fee_taker_pct)} %, maker {_shown(dearest.fee_maker_pct)} % ({traded})"
    held_back_pct = execution.orders.fee_pct
    if held_back_pct < dearest.fee_taker_pct:
        advice = f"set orders.fee_pct to {_shown(dearest.fee_taker_pct)} or more, so that a position can pay its fee"
        return remark("fees", f"{found}; orders.fee_pct is {_shown(held_back_pct)}", advice)
    return fine("fees", found)


async def margin(enquiry: Enquiry, wanted: Mapping[Symbol, Instrument], pairs: Pairs) -> Finding:
    """Say how far the exchange goes with leverage where the configuration wants it, and what margin there is."""
    if all(wanted[pair.symbol].leverage_max == 1 for pair in pairs.all):
        return fine("margin", "not wanted: leverage_max is 1 everywhere")
    reply = await enquiry.ask(TRADE_BALANCE)
    if reply.meaning is not None:
        return _not_known("margin", reply)
    less = [
        f"{pair.symbol} up to {pair.instrument.leverage_max} instead of {wanted[pair.symbol].leverage_max}"
        for pair in pairs.all
        if pair.instrument.leverage_max < wanted[pair.symbol].leverage_max
    ]
    equity, free = reply.result.get("e", "?"), reply.result.get("mf", "?")
    found = f"equity {_money(equity)}, free margin {_money(free)} USD"
    if less:
        return remark("margin", f"{found}; {', '.join(less)}", "the lower of the two counts")
    return fine("margin", f"{found}; leverage as configured")


def _money(told: Any) -> str:
    try:
        return f"{number(told):.2f}"
    except InvalidOperation:
        return str(told)


def _shown(percentage: Decimal) -> str:
    return plain(percentage + ZERO)


def _not_known(name: str, reply: Reply) -> Finding:
    if PERMISSION_DENIED in reply.reason:
        return failure(name, f"not known: {reply.reason}", "see permissions")
    return remark(name, f"not known: {reply.reason}", "ask again later")

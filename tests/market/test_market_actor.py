"""MarketActor passes ticks on and knows the last price of each symbol."""

from __future__ import annotations

from decimal import Decimal

from actors.market.actor import MarketActor
from config.loader import load_settings
from messages.base import Currency, ProposalId, Symbol
from messages.market import GetPrice, PriceMoved, PriceReported, Tick
from tests.runtime.driver import START_US, Audience, Stage, on_both

BTC, XRP, CROSS, UNKNOWN = (Symbol(name) for name in ("BTC/USDT", "XRP/USDT", "XRP/BTC", "DOGE/EUR"))
TRADE = ProposalId("9f000000-0000-4000-8000-000000000002")


def market(stage: Stage) -> Audience:
    """Put a market actor on stage and return who hears it."""
    stage.enter(
        MarketActor,
        instruments=load_settings().execution.instruments,
        usd_equivalents=(Currency("USD"), Currency("USDT")),
    )
    return stage.audience(PriceMoved, PriceReported)


def tick(symbol: Symbol, price: int, at_us: int, sequence: int) -> Tick:
    return Tick(symbol=symbol, price_quote=Decimal(price), at_us=at_us, sequence=sequence)


def reported(symbol: Symbol, price: int | None, heard_at_us: int, quote_usd: int | None) -> PriceReported:
    return PriceReported(
        symbol=symbol,
        wanted_for=TRADE,
        last_quote=None if price is None else Decimal(price),
        heard_at_us=heard_at_us,
        quote_usd=None if quote_usd is None else Decimal(quote_usd),
    )


@on_both
async def test_a_tick_moves_the_price(stage: Stage) -> None:
    audience = market(stage)

    stage.say(tick(BTC, 5, 7, 1))
    await stage.settle()

    five = Decimal(5)
    assert audience.heard == [
        PriceMoved(symbol=BTC, last_quote=five, low_quote=five, high_quote=five, at_us=7, sequence=1)
    ]


@on_both
async def test_the_last_price_of_each_symbol_is_known(stage: Stage) -> None:
    market(stage)

    for message in (tick(BTC, 5, 7, 1), tick(BTC, 6, 8, 2), tick(XRP, 2, 9, 3), GetPrice(symbol=BTC, wanted_for=TRADE)):
        stage.say(message)
    await stage.settle()

    (answer,) = stage.of(PriceReported)
    assert answer == reported(BTC, 6, heard_at_us=8, quote_usd=1)
    assert answer.proposal_id == TRADE


@on_both
async def test_a_price_that_nobody_told_is_unknown(stage: Stage) -> None:
    market(stage)

    stage.say(tick(XRP, 2, 9, 1))
    stage.say(GetPrice(symbol=BTC, wanted_for=TRADE))
    stage.say(GetPrice(symbol=UNKNOWN, wanted_for=TRADE))
    await stage.settle()

    assert stage.of(PriceReported) == [
        reported(BTC, None, heard_at_us=START_US, quote_usd=1),
        reported(UNKNOWN, None, heard_at_us=START_US, quote_usd=None),
    ]


@on_both
async def test_a_quote_currency_is_valued_by_its_own_last_price(stage: Stage) -> None:
    market(stage)

    stage.say(GetPrice(symbol=CROSS, wanted_for=TRADE))
    stage.say(tick(BTC, 100_000, 7, 1))
    stage.say(GetPrice(symbol=CROSS, wanted_for=TRADE))
    await stage.settle()

    assert [answer.quote_usd for answer in stage.of(PriceReported)] == [None, Decimal(100_000)]

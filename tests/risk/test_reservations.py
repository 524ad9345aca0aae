"""What is reserved is what a naive recount finds, whatever came in whatever order."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from actors.risk.reservations import Reservation, Reservations
from messages.base import Currency, ProposalId, Symbol
from messages.trades import Side
from tests.risk.values import a_claim

SYMBOLS = [Symbol("BTC/USDT"), Symbol("XRP/USDT"), Symbol("XRP/BTC")]
CURRENCIES = [Currency("BTC"), Currency("USDT"), Currency("XRP")]
IDS = [ProposalId(f"p-{number}") for number in range(8)]
STEPS = st.lists(
    st.one_of(
        st.builds(
            Reservation,
            trade_id=st.sampled_from(IDS),
            symbol=st.sampled_from(SYMBOLS),
            side=st.sampled_from(Side),
            exposure_usd=st.decimals(0, 1_000_000, places=8),
            claim=st.builds(a_claim, st.sampled_from(SYMBOLS), leverage=st.sampled_from([1, 2])),
        ),
        st.sampled_from(IDS),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_the_sums_are_those_of_a_naive_recount(steps: list[Reservation | ProposalId]) -> None:
    reservations, naive = Reservations(), dict[ProposalId, Reservation]()
    for step in steps:
        if isinstance(step, Reservation):
            reservations.take(step)
            naive.setdefault(step.trade_id, step)
        else:
            reservations.release(step)
            naive.pop(step, None)
        held = list(naive.values())
        assert len(reservations) == len(held)
        assert reservations.exposure_usd == sum((one.exposure_usd for one in held), Decimal(0))
        for symbol in SYMBOLS:
            assert reservations.count(symbol) == sum(one.symbol == symbol for one in held)
            for side in Side:
                assert reservations.count(symbol, side) == sum((one.symbol, one.side) == (symbol, side) for one in held)
        for currency in CURRENCIES:
            assert reservations.holding(currency) == sum(one.claim.holds == currency for one in held)
            assert reservations.spending(currency) == sum(one.claim.spends == currency for one in held)
        assert all((id_ in reservations) == (id_ in naive) for id_ in IDS)
    for id_ in IDS:
        reservations.release(id_)
        reservations.release(id_)
    assert len(reservations) == reservations.exposure_usd == 0
    assert not any(reservations.count(symbol) for symbol in SYMBOLS)
    assert not any(reservations.holding(currency) or reservations.spending(currency) for currency in CURRENCIES)


def a_reservation(exposure: int = 100, side: Side = Side.BUY) -> Reservation:
    return Reservation(
        trade_id=IDS[0], symbol=SYMBOLS[0], side=side, exposure_usd=Decimal(exposure), claim=a_claim(SYMBOLS[0])
    )


def test_a_trade_keeps_the_reservation_it_has() -> None:
    reservations = Reservations()
    reservations.take(a_reservation(100))
    reservations.take(a_reservation(900, Side.SELL))
    assert reservations.exposure_usd == 100
    assert reservations.count(SYMBOLS[0], Side.SELL) == 0


def test_releasing_what_was_never_taken_is_harmless() -> None:
    reservations = Reservations()
    reservations.release(IDS[0])
    assert len(reservations) == reservations.count(SYMBOLS[0]) == reservations.exposure_usd == 0

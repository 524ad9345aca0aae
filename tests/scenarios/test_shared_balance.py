"""One balance of each currency, and several trades that lie in it: the coins of one never pay for another."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from actors.harness import Harness
from messages.base import Currency
from messages.orders import OrderRole
from messages.positions import CloseReason, PositionStatus
from tests.scenarios.conftest import World

BTC, XRP_BTC = "BTC/USDT", "XRP/BTC"
PRICES: Mapping[str, int | str] = {BTC: 100_000, "BTC/USD": 100_000, XRP_BTC: "0.00002"}


@pytest.fixture
def priced(world: Harness) -> Harness:
    """Return a world of 50,000 dollars and no bitcoin, in which everything has a price."""
    world.prices(PRICES)
    return world


@pytest.mark.parametrize("leverage", [1, 2])
def test_coins_of_a_position_pay_for_another_and_are_missing_at_its_stop(priced: Harness, leverage: int) -> None:
    """On margin they would pay the fees and the losses."""
    held = priced.proposes(BTC, "buy", size=5_000, stop=98_000)
    priced.passes(seconds=5)

    paid = priced.proposes(XRP_BTC, "buy", size="0.04", stop="0.000019", leverage=leverage)
    priced.price(BTC, 97_900)
    priced.passes(seconds=5)

    assert priced.codes(paid) == ("FUNDS_IN_USE",)
    assert priced.position(held).close_reason is CloseReason.STOP_LOSS
    assert not priced.has_position(paid)
    assert priced.balance("BTC") == 0
    assert priced.violations() == ()


def test_an_entry_that_waits_for_coins_takes_those_of_a_later_position(worlds: World) -> None:
    """It may rest, or be tried again, when the coins that it needs have been bought for something else."""
    world = worlds(paper={"balances": {Currency("USDT"): 50_000, Currency("BTC"): 1}})
    world.prices(PRICES)
    waits = world.proposes(XRP_BTC, "buy", size="0.04", entry="0.000019", stop="0.000018")
    world.passes(seconds=5)

    assert world.codes(world.proposes(BTC, "buy", stop=98_000)) == ("FUNDS_IN_USE",)
    on_margin = world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.cancels(waits)
    world.passes(seconds=5)
    assert world.codes(world.proposes(BTC, "buy", stop=98_000)) == ("FUNDS_IN_USE",), "a fill may be told late"
    world.passes(minutes=1)
    held = world.proposes(BTC, "buy", stop=98_000)
    world.passes(seconds=5)

    assert world.position(on_margin).status is PositionStatus.OPEN, "it holds nothing of the balance"
    assert world.position(held).status is PositionStatus.OPEN, "and now nobody wants its coins"
    assert world.violations() == ()


def test_after_a_restart_it_is_still_known_whose_coins_they_are(priced: Harness) -> None:
    held = priced.proposes(BTC, "buy", size=5_000, stop=98_000)
    priced.passes(seconds=5)

    priced.crashes()
    priced.prices(PRICES)
    paid = priced.proposes(XRP_BTC, "buy", size="0.04", stop="0.000019")

    assert priced.codes(paid) == ("FUNDS_IN_USE",)
    assert priced.order(held, OrderRole.STOP).volume_base == priced.position(held).volume_base


@pytest.mark.parametrize("crashes", [False, True])
def test_a_debt_swallows_a_part_of_what_is_bought(priced: Harness, *, crashes: bool) -> None:
    """A loss on margin is taken from a balance that has nothing: what is bought then fills the hole."""
    lost = priced.proposes(XRP_BTC, "buy", size="0.01", stop="0.000019", leverage=2)
    priced.price(XRP_BTC, "0.0000189")
    priced.passes(minutes=11)  # A loss is followed by a pause.
    assert priced.position(lost).close_reason is CloseReason.STOP_LOSS
    assert priced.balance("BTC") < 0
    if crashes:
        priced.crashes()
        priced.prices(PRICES)
        priced.passes(minutes=2)

    assert priced.codes(priced.proposes(BTC, "buy", stop=98_000)) == ("FUNDS_OWED",)
    on_margin = priced.proposes(BTC, "buy", stop=98_000, leverage=2)
    priced.passes(seconds=5)

    assert priced.position(on_margin).status is PositionStatus.OPEN
    assert priced.violations() == ()

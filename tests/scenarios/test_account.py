"""The account and the books: what others do is kept, what cannot be explained holds openings, and a person is told."""

from __future__ import annotations

from actors.harness import Harness

BTC = "BTC/USDT"


def test_what_somebody_else_does_on_the_account_is_kept(world: Harness) -> None:
    world.price(BTC, 100_000)
    world.proposes(BTC, "buy", stop=98_000, leverage=2)
    world.exchange.close_by_hand(BTC)
    world.price(BTC, 100_001)
    world.passes(seconds=1)

    event = world.events("external_order")[0]
    assert "closed the position in BTC/USDT" in dict(event.details)["reason"]

"""How often may be asked: Kraken's two counters, and how many orders may rest in a pair.

A counter rises with each request and falls steadily. REST has one for each key; the matching engine has one for
each pair, and charges amending and cancelling the more, the younger the order is.
Amounts are thousandths, time is microseconds: whole numbers, so that nothing drifts.
Read in order: Tier, Counter, Limits.
"""

from __future__ import annotations

import attrs

from actors.exchange.wire.refusals import API_LIMIT, ORDER_LIMIT, ORDERS_LIMIT, RefusedError
from messages.base import Symbol

SECOND_US = 1_000_000
MILLI = 1_000


@attrs.frozen(kw_only=True)
class Tier:
    """What an account of one verification level may do."""

    name: str
    rest_max: int
    rest_decay_milli: int
    """By how many thousandths the REST counter falls in a second."""
    engine_max: int
    engine_decay_milli: int
    open_orders_max: int
    """In one pair."""


STARTER = Tier(
    name="starter", rest_max=15, rest_decay_milli=330, engine_max=60, engine_decay_milli=1000, open_orders_max=60
)
INTERMEDIATE = Tier(
    name="intermediate", rest_max=20, rest_decay_milli=500, engine_max=125, engine_decay_milli=2340, open_orders_max=80
)
PRO = Tier(name="pro", rest_max=20, rest_decay_milli=1000, engine_max=180, engine_decay_milli=3750, open_orders_max=225)
TIERS = {tier.name: tier for tier in (STARTER, INTERMEDIATE, PRO)}

REST_COST = {"Ledgers": 2, "QueryLedgers": 2, "TradesHistory": 2, "ClosedOrders": 1, "AddOrder": 0, "CancelOrder": 0}
REST_COST_OTHERS = 1
AMEND_AGES = ((5, 3), (10, 2), (15, 1))
CANCEL_AGES = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
"""Up to this age in seconds it costs so much more."""


@attrs.define(eq=False)
class Counter:
    """Rises at once and falls steadily, never below nothing."""

    maximum: int
    decay_milli: int
    level_milli: int = 0
    at_us: int = 0
    _remainder: int = 0

    def level(self, now_us: int) -> int:
        """Return where it stands now, in thousandths."""
        if now_us > self.at_us:
            fallen, self._remainder = divmod(self._remainder + (now_us - self.at_us) * self.decay_milli, SECOND_US)
            self.level_milli = max(0, self.level_milli - fallen)
            self.at_us = now_us
        return self.level_milli

    def has_room(self, cost: int, now_us: int) -> bool:
        """Say whether so much more stays within the maximum."""
        return self.level(now_us) + cost * MILLI <= self.maximum * MILLI

    def add(self, cost: int, now_us: int) -> None:
        """Charge so much."""
        self.level_milli = self.level(now_us) + cost * MILLI


class Limits:
    """All counters of an account. Without a tier nothing is limited."""

    def __init__(self, tier: Tier | None) -> None:
        self.tier = tier
        self._rest: dict[str, Counter] = {}
        self._engine: dict[Symbol, Counter] = {}

    def charge_rest(self, key: str, endpoint: str, now_us: int) -> None:
        """Count one private call. Raises RefusedError when it is one too many."""
        tier, cost = self.tier, REST_COST.get(endpoint, REST_COST_OTHERS)
        if tier is None or not cost:
            return
        counter = self._rest.setdefault(key, Counter(tier.rest_max, tier.rest_decay_milli))
        if not counter.has_room(cost, now_us):
            raise RefusedError(API_LIMIT)
        counter.add(cost, now_us)

    def charge_add(self, symbol: Symbol, open_orders: int, now_us: int) -> None:
        """Count one new order, refused or not. Raises RefusedError when there are too many."""
        self._charge(symbol, 1, now_us)
        if self.tier is not None and open_orders >= self.tier.open_orders_max:
            raise RefusedError(ORDERS_LIMIT)

    def charge_amend(self, symbol: Symbol, age_us: int, now_us: int) -> None:
        """Count one amend of an order that was placed or last amended so long ago."""
        self._charge(symbol, 1 + _by_age(AMEND_AGES, age_us), now_us)

    def charge_cancel(self, symbol: Symbol, age_us: int, now_us: int, *, in_batch: bool = False) -> None:
        """Count one cancel; in a batch it is accepted whatever the counter says."""
        self._charge(symbol, _by_age(CANCEL_AGES, age_us), now_us, always=in_batch)

    def engine_level_milli(self, symbol: Symbol, now_us: int) -> int:
        """Return where the matching engine's counter of a pair stands, in thousandths."""
        counter = self._engine.get(symbol)
        return 0 if counter is None else counter.level(now_us)

    def rest_level_milli(self, key: str, now_us: int) -> int:
        """Return where the REST counter of a key stands, in thousandths."""
        counter = self._rest.get(key)
        return 0 if counter is None else counter.level(now_us)

    def _charge(self, symbol: Symbol, cost: int, now_us: int, *, always: bool = False) -> None:
        """Charge if the counter is below its threshold; it may pass it by one request, and then falls back."""
        tier = self.tier
        if tier is None:
            return
        counter = self._engine.setdefault(symbol, Counter(tier.engine_max, tier.engine_decay_milli))
        if not always and cost and not counter.has_room(cost, now_us):
            raise RefusedError(ORDER_LIMIT)
        counter.add(cost, now_us)


def _by_age(ages: tuple[tuple[int, int], ...], age_us: int) -> int:
    return next((cost for below_s, cost in ages if age_us < below_s * SECOND_US), 0)

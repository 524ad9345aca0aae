"""What settings must be to each other: each may be right by itself and wrong beside its neighbour."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from actors.rate_limiter.kraken_tiers import MILLI, PLACE_POINTS, QUERY_REST_POINTS_MAX, TIERS
from config.settings import ExecutionSettings, RiskSettings, Settings

EXECUTION = "execution.yaml"
RISK = "risk.yaml"


@attrs.frozen
class Contradiction:
    """Which file it is in, and one line that names the keys and values."""

    file: str
    text: str


def contradictions(settings: Settings) -> Iterator[Contradiction]:
    """Yield what cannot all be meant."""
    for text in (*_orders(settings.execution), *_budgets(settings.execution), *_money(settings.execution)):
        yield Contradiction(EXECUTION, text)
    for text in _limits(settings.risk, settings.execution):
        yield Contradiction(RISK, text)


def _orders(execution: ExecutionSettings) -> Iterator[str]:
    orders = execution.orders
    if orders.retry_longest_ms < orders.retry_first_ms:
        yield (
            f"orders.retry_longest_ms is {orders.retry_longest_ms}, "
            f"below orders.retry_first_ms ({orders.retry_first_ms})"
        )
    if orders.silence_max_s < orders.poll_s:
        yield f"orders.silence_max_s is {orders.silence_max_s}, below orders.poll_s ({orders.poll_s})"
    patience_s = execution.kraken.order_timeout_s
    if orders.deadline_s > patience_s:
        # Nobody would listen any more when the exchange still may take the order.
        yield f"orders.deadline_s is {orders.deadline_s}, above kraken.order_timeout_s ({patience_s})"


def _budgets(execution: ExecutionSettings) -> Iterator[str]:
    limits = execution.rate_limits
    if limits.orders_reserved >= limits.orders_burst:
        yield (
            f"rate_limits.orders_reserved is {limits.orders_reserved}, which leaves nothing of "
            f"rate_limits.orders_burst ({limits.orders_burst}) for opening"
        )
    tier = TIERS[limits.kraken_tier]
    if (limits.rest_points_reserved + QUERY_REST_POINTS_MAX) * MILLI > tier.rest_limit_milli:
        yield (
            f"rate_limits.rest_points_reserved is {limits.rest_points_reserved}, which leaves too little of the "
            f"{tier.rest_points} points of rate_limits.kraken_tier ({limits.kraken_tier}) for queries"
        )
    if (limits.engine_points_reserved + PLACE_POINTS) * MILLI > tier.engine_limit_milli:
        yield (
            f"rate_limits.engine_points_reserved is {limits.engine_points_reserved}, which leaves too little of the "
            f"{tier.engine_points} points of rate_limits.kraken_tier ({limits.kraken_tier}) for opening"
        )
    journal = execution.journal
    if journal.waiting_max < journal.group_max:
        yield f"journal.waiting_max is {journal.waiting_max}, below journal.group_max ({journal.group_max})"
    if journal.commit_timeout_s * 1_000 < journal.commit_slow_ms:
        yield (
            f"journal.commit_timeout_s is {journal.commit_timeout_s}, "
            f"below journal.commit_slow_ms ({journal.commit_slow_ms})"
        )


def _money(execution: ExecutionSettings) -> Iterator[str]:
    known = {side for pair in execution.instruments.values() for side in (pair.base, pair.quote)}
    for currency in execution.paper.balances:
        if currency not in known:
            yield f"paper.balances.{currency}: no instrument trades this currency; known: {', '.join(sorted(known))}"
    for currency in execution.usd_equivalents:
        if currency not in known:
            yield f"usd_equivalents: no instrument trades {currency}; known: {', '.join(sorted(known))}"
    for symbol, pair in execution.instruments.items():
        if pair.base == pair.quote:
            yield f"instruments.{symbol}: base and quote are the same currency"
        if pair.volume_min_base < pair.lot_step_base:
            yield (
                f"instruments.{symbol}.volume_min_base is {pair.volume_min_base}, "
                f"below its lot_step_base ({pair.lot_step_base})"
            )


def _limits(risk: RiskSettings, execution: ExecutionSettings) -> Iterator[str]:
    limits = risk.limits
    if limits.positions_per_symbol_max > limits.positions_total_max:
        yield (
            f"limits.positions_per_symbol_max is {limits.positions_per_symbol_max}, "
            f"above limits.positions_total_max ({limits.positions_total_max})"
        )
    allowed = max(pair.leverage_max for pair in execution.instruments.values())
    if limits.leverage_max > allowed:
        yield f"limits.leverage_max is {limits.leverage_max}, but no instrument allows more than {allowed}"

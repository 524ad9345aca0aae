"""What goes wrong in a soak: every fault that the wire mock knows, and what others do on the account.

A fault on the wire strikes each chance that it has (a request, a message, a connection) with the same probability;
where it has variants (the answer is lost at once or after a long wait), they share it. What has no chances of its own,
because it strikes when it is told to, is drawn with that probability for each proposal.

Read in order: wire_faults(), SUDDEN, STATES, ACTS, counted().
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

Rule = Mapping[str, Any]

ORDERS = ("AddOrder", "AmendOrder", "CancelOrder")
QUESTIONS = ("OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory", "Balance", "OpenPositions", "TradeBalance")
OTHERS = ("GetWebSocketsToken", "TradeVolume", "AssetPairs", "Time")
Fault = tuple[Rule, ...]
"""One fault in its variants: together they strike as often as a fault without any."""
EVERYWHERE: tuple[Fault, ...] = (
    ({"fault": "request_lost", "how": "reset"},),
    ({"fault": "answer_lost", "how": "reset"}, {"fault": "answer_lost", "how": "hold"}),
    ({"fault": "invalid_nonce"},),
    ({"fault": "rate_limit"}, {"fault": "too_many_requests"}),
)
UNCLEAR: tuple[Fault, ...] = (
    tuple({"fault": "http_error", "status": status} for status in (502, 503, 520)),
    ({"fault": "service_unavailable"},),
    ({"fault": "service_busy"},),
    ({"fault": "service_timeout"},),
    ({"fault": "throttled", "seconds": 3},),
    ({"fault": "internal_error"},),
)
"""These are said whether the wish was carried out or not: of orders each strikes either way."""
OF_ORDERS: tuple[Fault, ...] = (
    ({"fault": "order_rate_limit"},),
    ({"fault": "deadline_elapsed"},),
    (
        {"fault": "delay", "seconds": 15},  # Longer than any answer is waited for.
        {"fault": "delay", "seconds": 8, "before": True},  # Late, and still before its deadline.
        {"fault": "delay", "seconds": 14, "before": True},  # After its deadline, when nobody waits for it any more.
    ),
)
OF_QUESTIONS: tuple[Fault, ...] = (
    ({"fault": "delay", "seconds": 15},),
    ({"fault": "rest_lag", "seconds": 15}, {"fault": "rest_lag", "seconds": 60}),
)
OF_SOCKETS: tuple[Fault, ...] = tuple(
    ({"fault": fault},)
    for fault in ("ws_gap", "ws_duplicate", "ws_reorder", "ws_stale_token", "ws_lost_ack", "ws_refuse")
)
OF_CONNECTIONS: tuple[Rule, ...] = (
    {"fault": "ws_drop"},
    {"fault": "ws_silent"},
    {"fault": "ws_silent", "heartbeats": True},
)
STATE_LASTS_S = 12
"""On the engine's clock: as far as proposals are apart, so each state holds for as much of the time as it is drawn."""
TRADES_A_LOCKOUT = 500
"""A lock-out silences the engine for a quarter of an hour, so it is no matter of per cent."""
ACTS = ("trade_by_hand", "sell_by_hand", "order_by_hand", "close_by_hand", "cancel_by_hand", "move_funds", "liquidate")


def wire_faults(probability_pct: int, trades: int) -> list[Rule]:
    """Return the rules that stand from the beginning to the end."""
    either_way = [(*fault, *({**rule, "placed": True} for rule in fault)) for fault in UNCLEAR]
    rules = [
        *_rules([*EVERYWHERE, *either_way, *OF_ORDERS], ORDERS, probability_pct),
        *_rules([*EVERYWHERE, *UNCLEAR, *OF_QUESTIONS], QUESTIONS, probability_pct),
        *_rules([*EVERYWHERE, *UNCLEAR], OTHERS, probability_pct),
        *_rules([({"fault": "first_share"},)], ("AddOrder",), probability_pct),
        *_rules(OF_SOCKETS, (None,), probability_pct),
    ]
    lockouts = trades // TRADES_A_LOCKOUT
    lockout = named({"fault": "temporary_lockout", "times": lockouts, "probability_pct": 1})
    return [*rules, lockout] if lockouts else rules


def _rules(faults: Iterable[Fault], endpoints: Iterable[str | None], probability_pct: int) -> Iterator[Rule]:
    for fault in faults:
        share_pct = str(Decimal(probability_pct) / len(fault))
        for rule in fault:
            terms = {**named(rule), "times": None, "probability_pct": share_pct}
            yield from (terms if endpoint is None else {**terms, "endpoint": endpoint} for endpoint in endpoints)


def named(rule: Rule) -> Rule:
    """Return a rule with the name that it is counted by: the fault, and what tells it from others of that fault."""
    words = [str(rule["fault"]), str(rule.get("status", "")), str(rule.get("how", ""))]
    words += [f"{rule['seconds']} s"] if "seconds" in rule else []
    words += [flag for flag in ("placed", "before", "heartbeats") if rule.get(flag)]
    return {**rule, "name": " ".join(word for word in words if word)}


SUDDEN = tuple(named(rule) for rule in OF_CONNECTIONS)
STATES = tuple(named({"fault": fault}) for fault in ("maintenance", "cancel_only", "post_only"))


def counted(struck_by_name: Mapping[str, int], acts: Mapping[str, int]) -> dict[str, int]:
    """Return how often each kind has struck; one that never did is a zero."""
    faults = [str(rule["name"]) for rule in (*wire_faults(1, TRADES_A_LOCKOUT), *SUDDEN, *STATES)]
    kinds = dict.fromkeys([*faults, *ACTS])
    return {kind: struck_by_name.get(kind, 0) + acts.get(kind, 0) for kind in kinds}

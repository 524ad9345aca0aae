"""The report against sums of our own: what the fills have moved, and what the exchange's books say. In SQL, exact."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tests.operations.command import Where, look
from tests.operations.recordings import Recording

FROM_FILLS = """
SELECT symbol, sum(CASE side WHEN 'sell' THEN 1 ELSE -1 END * price * volume - fee) AS cash,
       sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) AS held
FROM fills GROUP BY symbol
"""
EXCHANGE = """
SELECT kind, key, (body::jsonb ->> 'amount')::numeric AS amount, (body::jsonb ->> 'volume_base')::numeric AS volume,
       (body::jsonb ->> 'price_quote')::numeric AS price, body::jsonb ->> 'side' AS side,
       body::jsonb ->> 'symbol' AS symbol
FROM paper_documents WHERE kind IN ('balance', 'lot')
"""
TWICE_HERE = """
SELECT external_id AS id FROM orders WHERE external_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
UNION ALL SELECT trade_id FROM fills GROUP BY 1 HAVING count(*) > 1
"""
TWICE_THERE = """
SELECT body::jsonb ->> 'order_id' AS id FROM paper_documents WHERE kind = 'order' GROUP BY 1 HAVING count(*) > 1
"""
FILLS_APART = """
SELECT coalesce(f.trade_id, t.body ->> 'trade_id') AS id
FROM fills f FULL JOIN (SELECT body::jsonb AS body FROM paper_documents WHERE kind = 'trade') t
  ON t.body ->> 'trade_id' = f.trade_id AND (t.body ->> 'price_quote')::numeric = f.price
     AND (t.body ->> 'volume_base')::numeric = f.volume AND (t.body ->> 'fee_quote')::numeric = f.fee
     AND t.body ->> 'order_id' = f.order_id::text
WHERE f.trade_id IS NULL OR t.body IS NULL
"""
ALIVE_APART = """
SELECT coalesce(o.id::text, x.body ->> 'order_id') AS id, o.status AS here, x.body ->> 'status' AS there
FROM (SELECT * FROM orders WHERE NOT is_over) o
FULL JOIN (
    SELECT body::jsonb AS body FROM paper_documents
    WHERE kind = 'order' AND body::jsonb ->> 'ended_at_us' IS NULL
) x
  ON x.body ->> 'order_id' = o.id::text
WHERE o.status IS DISTINCT FROM x.body ->> 'status'
"""
FILLED_APART = """
SELECT o.id FROM orders o LEFT JOIN fills f ON f.order_id = o.id
GROUP BY o.id, o.filled_volume, o.fees
HAVING o.filled_volume <> coalesce(sum(f.volume), 0) OR o.fees <> coalesce(sum(f.fee), 0)
"""


def assert_equal_to_sums(where: Where, recordings: Sequence[Recording], report: dict[str, Any]) -> None:
    """What the report says was earned is what our fills have moved, and what the exchange's own books say."""
    last = {recording.symbol: recording.last for recording in recordings}
    fills, exchange = look(where, FROM_FILLS, EXCHANGE)
    earned = sum(row["cash"] + row["held"] * last[row["symbol"]] for row in fills)
    assert Decimal(report["net_pnl"]) + Decimal(report["unrealised_pnl"]) == earned

    worth = {symbol.split("/")[0]: price for symbol, price in last.items()} | {"USD": Decimal(1), "USDT": Decimal(1)}
    equity = sum((row["amount"] * worth[row["key"]] for row in exchange if row["kind"] == "balance"), Decimal(0))
    for lot in (row for row in exchange if row["kind"] == "lot"):
        sign = 1 if lot["side"] == "buy" else -1
        equity += sign * lot["volume"] * (last[lot["symbol"]] - lot["price"])
    assert Decimal(report["equity_end"]) == equity


def assert_nothing_twice(where: Where) -> None:
    """No order and no fill stands twice, here or at the exchange, and both sides have the same fills."""
    assert look(where, TWICE_HERE, TWICE_THERE, FILLS_APART, FILLED_APART) == [[], [], [], []]


def assert_same_orders(where: Where) -> None:
    """What we keep as alive is what rests at the exchange, in the same state."""
    assert look(where, ALIVE_APART) == [[]]

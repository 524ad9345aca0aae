"""What a run came to: the account's life in figures, and the audit of its books. For people and as JSON.

Read in order: RunReport, make_report(), as_text().
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs

from actors.audit import Books, Flow, Violation, audit, orphans, unprotected
from actors.engine import Engine
from actors.order.actor import OrderSummary
from actors.position.view import BookSummary
from config.settings import Settings, TradingMode
from messages.base import Currency, ProposalId, Symbol
from messages.exchange import AccountReported, GetAccount
from messages.market import GetPrice, PriceReported
from messages.trades import Side
from persistence.database import Connection
from persistence.journal import PostgresJournal
from persistence.report import Figures, Spread, figures
from persistence.sums import fill_sums
from scripts.logs import NO_TRADE

ZERO = Decimal(0)
ORDER_COUNTS = ("placed", "filled", "partially_filled", "cancelled", "expired", "failed")
PROFITS = (("gross", "gross_pnl"), ("fees", "fees"), ("net", "net_pnl"), ("unrealised", "unrealised_pnl"))
PROMISES = (
    ("unprotected positions", "unprotected_positions"),
    ("orphan orders", "orphan_orders"),
    ("broken invariants", "invariant_violations"),
)
WORK = (("messages", "messages"), ("commits", "commits"), ("rows", "rows_written"))
NANOSECONDS = Decimal(1_000_000_000)


@attrs.frozen(kw_only=True)
class RunReport:
    """One JSON object: figures by the names that the command's documentation gives."""

    figures: Mapping[str, Any]
    violations: tuple[Violation, ...]


@attrs.frozen(kw_only=True)
class Wall:
    """When this process began, on the monotonic clock."""

    began_ns: int

    def seconds(self) -> str:
        """Return how long it has run, to the millisecond."""
        return f"{(time.monotonic_ns() - self.began_ns) / NANOSECONDS:.3f}"


async def make_report(
    *,
    engine: Engine,
    journal: PostgresJournal,
    connection: Connection,
    settings: Settings,
    account: str,
    ticks: int,
    wall: Wall,
) -> RunReport:
    """Return the report of a drained engine. Money is in account currency, at the last prices."""
    messages = engine.switchboard.routed
    life = await figures(connection, account)
    rates = await _rates(engine, settings)
    initial = dict(await journal.open_account({}))
    orders: OrderSummary = engine.actors["order"].describe()  # type: ignore[assignment]
    book: BookSummary = engine.actors["position"].describe()  # type: ignore[assignment]
    books = Books(
        account=await engine.query(GetAccount(), AccountReported),
        initial_balances=initial,
        instruments=settings.execution.instruments,
        flows=tuple(
            Flow(
                symbol=Symbol(row.symbol),
                side=Side(row.side),
                volume_base=row.volume,
                cost_quote=row.cost,
                fees_quote=row.fees,
                trades=row.trades,
            )
            for row in await fill_sums(connection, account)
        ),
        live_orders=orders.live,
        open_positions=book.positions,
        closed_net={Currency(quote): profit.net_pnl for quote, profit in life.profit_by_quote.items()},
        alerted=orders.alerted,
        is_told_rounded=settings.execution.trading_mode is TradingMode.LIVE,
    )
    violations = audit(books)
    money = _money(life, rates, initial, book.totals.unrealised_usd)
    return RunReport(
        figures={
            "ticks": ticks,
            **_counts(life),
            **money,
            "unprotected_positions": len(unprotected(books)),
            "orphan_orders": len(orphans(books)),
            "invariant_violations": len(violations),
            "violations": [f"{violation.invariant}: {violation.text}" for violation in violations],
            "max_mailbox_depth": max(report.mailbox_depth_max for report in engine.reports()),
            "commits": journal.commits,
            "rows_written": journal.rows_written,
            "messages": messages,
            "by_reason": dict(life.closed_by_reason),
            "fill_seconds": _spread(life.fill_seconds),
            "slippage_pct": _spread(life.slippage_pct),
            "retries": _spread(life.retries),
            "seconds_unprotected": _spread(life.seconds_unprotected),
            "wall_seconds": wall.seconds(),
        },
        violations=violations,
    )


def _counts(life: Figures) -> dict[str, Any]:
    return {
        "proposals": life.proposals,
        "rejected": life.rejected,
        "rejections": dict(life.rejections_by_code),
        "orders_placed": life.orders_placed,
        "orders_filled": life.orders_filled,
        "orders_partially_filled": life.orders_partially_filled,
        "orders_cancelled": life.orders_cancelled,
        "orders_expired": life.orders_expired,
        "orders_failed": life.orders_failed,
        "positions_opened": life.positions_opened,
        "positions_closed": life.positions_closed,
        "open_positions": life.open_positions,
    }


def _money(
    life: Figures, rates: Mapping[Currency, Decimal], initial: Mapping[Currency, Decimal], unrealised_usd: Decimal
) -> dict[str, str]:
    """Return P&L of the closed positions, of the open ones, and the equity that follows. All exact.

    Balances the account began with are valued at today's rates, so that a rate that moved is nobody's profit.
    """
    profits = [(rates[Currency(quote)], profit) for quote, profit in life.profit_by_quote.items()]
    gross = sum((rate * profit.gross_pnl for rate, profit in profits), ZERO)
    fees = sum((rate * profit.fees for rate, profit in profits), ZERO)
    net = sum((rate * profit.net_pnl for rate, profit in profits), ZERO)
    start = sum((rates.get(currency, ZERO) * amount for currency, amount in initial.items()), ZERO)
    return {
        "gross_pnl": _plain(gross),
        "fees": _plain(fees),
        "net_pnl": _plain(net),
        "unrealised_pnl": _plain(unrealised_usd),
        "equity_start": _plain(start),
        "equity_end": _plain(start + net + unrealised_usd),
    }


async def _rates(engine: Engine, settings: Settings) -> dict[Currency, Decimal]:
    """Return what one unit of each quote currency is worth in account money; 0 for what has no price."""
    rates = dict.fromkeys(settings.execution.usd_equivalents, Decimal(1))
    for symbol, instrument in settings.execution.instruments.items():
        if instrument.quote not in rates:
            question = GetPrice(symbol=symbol, wanted_for=ProposalId(""))
            answer = await engine.query(question, PriceReported)
            rates[instrument.quote] = answer.quote_usd or ZERO
    return rates


def _spread(spread: Spread) -> dict[str, str | None]:
    values = {"p50": spread.p50, "p99": spread.p99, "max": spread.max}
    return {name: None if value is None else _plain(value) for name, value in values.items()}


def _plain(value: Decimal) -> str:
    """Return a number without exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_json(report: RunReport) -> str:
    """Return the report as one JSON object, money as strings."""
    return json.dumps(_figures(report), indent=2)


def _figures(report: RunReport) -> dict[str, Any]:
    return {**report.figures, "wall_seconds": float(report.figures["wall_seconds"])}


def as_log_line(report: RunReport) -> str:
    """Return the same summary as one more line of a log in JSON: the last one."""
    line = {
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "level": "ERROR" if report.violations else "INFO",
        "message": "summary",
        "correlation_id": NO_TRADE,
        "message_id": None,
        "caused_by": None,
        "error": None,
        "report": _figures(report),
    }
    return json.dumps(line)


def as_text(report: RunReport) -> str:
    """Return the same summary for people: a few lines, money to the cent."""
    figure = report.figures
    reasons = ", ".join(f"{name} {count}" for name, count in figure["by_reason"].items()) or "none"
    refused = ", ".join(f"{code} {count}" for code, count in figure["rejections"].items()) or "none"
    lines = [
        f"ticks {figure['ticks']:,}, proposals {figure['proposals']}, rejected {figure['rejected']} ({refused})",
        "orders: " + ", ".join(f"{name} {figure[f'orders_{name}']}" for name in ORDER_COUNTS),
        f"positions: opened {figure['positions_opened']}, closed {figure['positions_closed']} ({reasons}), open "
        + str(figure["open_positions"]),
        "P&L: " + ", ".join(f"{name} {_cents(figure[key])}" for name, key in PROFITS),
        f"equity: {_cents(figure['equity_start'])} to {_cents(figure['equity_end'])}",
        "books: " + ", ".join(f"{name} {figure[key]}" for name, key in PROMISES),
        "work: " + ", ".join(f"{name} {figure[key]:,}" for name, key in WORK) + f", {figure['wall_seconds']} s",
    ]
    broken = [f"BROKEN {violation.invariant}: {violation.text}" for violation in report.violations]
    return "\n".join(lines + broken)


def _cents(money: str) -> str:
    return f"{Decimal(money):,.2f}"

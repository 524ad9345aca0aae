"""The live view as a picture: from what was seen at one instant to lines of text. Pure.

The size alone says how many lines each part gets, so nothing jumps when a position opens. The smaller the terminal,
the less is shown: first the actors shrink to one line, then orders and events get shorter, then columns go.
Read in order: Sight, draw(), plan(), then one function for each part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from actors.order.actor import OrderSummary
from actors.position.profit import ZERO, average_entry, net
from actors.position.view import BookSummary
from actors.risk.actor import RiskSummary
from actors.runtime.clock import MICROSECONDS, as_datetime
from actors.runtime.statistics import ActorReport
from config.settings import TradingMode
from messages.base import Currency, Symbol
from messages.market import Instrument
from messages.orders import Order, OrderRole, OrderStatus
from messages.positions import Position, PositionMark, PositionSide
from messages.risk import TradingState
from messages.trades import Side
from scripts.view.events import ALARM, BAD, GOOD, NOTABLE, News
from scripts.view.lines import (
    BLANK,
    FAINT,
    PLAIN,
    Canvas,
    Column,
    Line,
    Piece,
    Size,
    beside,
    filled,
    heading,
    length,
    spread,
    table,
)

MARGIN = 1
POSITION_LINES = 7
"""Heading, titles, and the five positions that the limits allow as they are delivered."""
ORDER_LINES = 12
"""Heading, titles, and a stop and a target for each of them."""
ACTOR_LINES = 12
ACTORS_WIDTH = 46
MONEY_WIDTH = 13
SIDE_BY_SIDE_WIDTH = 98
PERCENT = Decimal("0.01")
NONE = "\u2013"
"""An en dash: nothing is set."""
TIMES = "\u00d7"
"""The multiplication sign."""
SIDE_STYLES = {PositionSide.LONG: "cyan", PositionSide.SHORT: "magenta", Side.BUY: "cyan", Side.SELL: "magenta"}
STATE_STYLES = {
    TradingState.ACTIVE: "bold green",
    TradingState.REDUCING: "bold yellow",
    TradingState.HALTED: "bold white on red",
}
STATUS_WORDS = {OrderStatus.PARTIALLY_FILLED: "partial"}
STATUS_STYLES = {OrderStatus.PENDING: NOTABLE, OrderStatus.PARTIALLY_FILLED: "cyan"}
MODE_STYLES = {TradingMode.PAPER: "bold black on cyan", TradingMode.LIVE: "bold white on red"}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@attrs.frozen(kw_only=True)
class Progress:
    """How far the prices have come, and how fast they come."""

    begins_at_us: int
    ends_at_us: int | None
    """None for prices without an end."""
    ticks: int
    ticks_per_s: int
    wall_left_s: int | None

    def share(self, now_us: int) -> float | None:
        """Return how much is done, from 0 to 1; None where there is no end."""
        if self.ends_at_us is None:
            return None
        span_us = self.ends_at_us - self.begins_at_us
        return min(1.0, max(0.0, (now_us - self.begins_at_us) / span_us)) if span_us > 0 else 1.0


@attrs.frozen(kw_only=True)
class Sight:
    """Everything that the view shows, at one instant."""

    mode: TradingMode
    account: str
    speed: int | None
    now_us: int
    zone: tzinfo | None
    """The reader's time zone; None for the one that the machine is set to."""
    phase: str
    instruments: Mapping[Symbol, Instrument]
    equity_start_usd: Decimal
    fees_usd: Decimal
    fees_unvalued: tuple[tuple[Currency, Decimal], ...]
    """Fees in currencies whose worth nobody has told yet."""
    slots_max: int
    book: BookSummary
    orders: OrderSummary
    risk: RiskSummary
    news: tuple[News, ...]
    news_lost: int
    actors: tuple[ActorReport, ...]
    progress: Progress
    trouble: str
    """The newest error; empty when all is well."""
    warnings: int
    """Log lines of warnings and worse since the view began."""


@attrs.frozen(kw_only=True)
class Plan:
    """How many lines each part gets. A part without lines is not shown."""

    progress: int
    positions: int
    orders: int
    events: int
    actors: int
    """1 for all actors in one line."""
    footer: int
    is_side_by_side: bool
    """Whether events and actors share their lines."""


def draw(sight: Sight, size: Size) -> Canvas:
    """Return the picture, exactly as large as `size`."""
    plan = plan_for(size)
    width = size.width - 2 * MARGIN
    lines = [_header(sight, width), *_money(sight, width)]
    if plan.progress:
        lines.append(_progress(sight, width))
    if plan.positions:
        lines += _positions(sight, Size(width=width, height=plan.positions))
    if plan.orders:
        lines += _orders(sight, Size(width=width, height=plan.orders))
    lines += _events_and_actors(sight, plan, width)
    lines = filled(lines, size.height - plan.footer)
    if plan.footer:
        lines.append(_footer(sight, width))
    return Canvas(lines, size.width, MARGIN)


def plan_for(size: Size) -> Plan:
    """Share the lines out: first what is at stake, then how the engine feels."""
    spare = max(0, size.height - 3)  # Header and money are always there.
    positions = min(POSITION_LINES, spare) if spare >= 3 else 0
    spare -= positions
    progress = min(1, spare)
    footer = min(1, spare - progress)
    spare -= progress + footer
    is_side_by_side = size.width >= SIDE_BY_SIDE_WIDTH and spare >= ACTOR_LINES + 4
    if is_side_by_side:
        orders = min(ORDER_LINES, spare - ACTOR_LINES)
        events = actors = spare - orders
    else:
        actors = ACTOR_LINES if spare >= ACTOR_LINES + 10 else min(1, spare)
        spare -= actors
        orders = min(ORDER_LINES, spare - spare // 2) if spare >= 6 else spare if spare >= 3 else 0
        events = spare - orders if spare - orders >= 2 else 0
    return Plan(
        progress=progress,
        positions=positions,
        orders=orders,
        events=events,
        actors=actors,
        footer=footer,
        is_side_by_side=is_side_by_side,
    )


# The head -----------------------------------------------------------------------------------------


def _header(sight: Sight, width: int) -> Line:
    """Whose money, what time it is there, and whether trading goes on."""
    state = sight.risk.state
    left: Line = (
        (f" {sight.mode.value.upper()} ", MODE_STYLES[sight.mode]),
        (f"  {sight.account}", "bold"),
        (f"   {clock_text(sight.now_us, sight.zone)}", PLAIN),
        (f"   {TIMES} {sight.speed if sight.speed is not None else 'max'}   ", FAINT),
        (f"● {state.trading_state.value}", STATE_STYLES[state.trading_state]),
    )
    for more in _pauses(sight):
        left = (*left, (f"   {more}", NOTABLE))
    phase_style = GOOD if sight.phase == "ready" else NOTABLE
    return spread(left, (("engine ", FAINT), (sight.phase, phase_style)), width)


def _pauses(sight: Sight) -> tuple[str, ...]:
    state = sight.risk.state
    if state.trading_state is not TradingState.ACTIVE and state.halt_reason:
        return (state.halt_reason,)
    if state.cooldown_until_us > sight.now_us:
        return (f"cools down for {age_text(state.cooldown_until_us - sight.now_us)}",)
    return ()


def _money(sight: Sight, width: int) -> list[Line]:
    """What the account is worth, and why: six figures in columns of the same width."""
    totals = sight.book.totals
    change = totals.realised_usd + totals.unrealised_usd
    start = sight.equity_start_usd
    share = f"  {signed(change * 100 / start, PERCENT)} %" if start else ""
    fees = "".join(f" + {amount:.3g} {currency}" for currency, amount in sight.fees_unvalued)
    blocks: tuple[tuple[str, str, str], ...] = (
        ("equity usd", money(start + change), "bold"),
        ("since start", f"{signed(change)}{share if width >= SIDE_BY_SIDE_WIDTH - 2 * MARGIN else ''}", tone(change)),
        ("realised", signed(totals.realised_usd), tone(totals.realised_usd)),
        ("unrealised", signed(totals.unrealised_usd), tone(totals.unrealised_usd)),
        ("fees paid", money(sight.fees_usd) + fees, PLAIN),
        ("exposure", money(totals.exposure_usd), PLAIN),
    )
    blocks = blocks[: max(1, width // MONEY_WIDTH)]
    widths = shares(width, (15, 22, 14, 14, 15, 15) if width >= SIDE_BY_SIDE_WIDTH - 2 * MARGIN else (1,) * len(blocks))
    titles = tuple((title.rjust(wide), FAINT) for (title, _text, _style), wide in zip(blocks, widths, strict=True))
    figures = tuple((text.rjust(wide), style) for (_title, text, style), wide in zip(blocks, widths, strict=True))
    return [titles, figures]


def _progress(sight: Sight, width: int) -> Line:
    """How far the prices have come."""
    progress = sight.progress
    share = progress.share(sight.now_us)
    pace = f"{progress.ticks:>12,} ticks {progress.ticks_per_s:>9,}/s"
    if share is None:
        return spread((("prices without an end", FAINT),), ((pace, PLAIN),), width)
    left = (
        ""
        if progress.wall_left_s is None or share == 1
        else f"{age_text(progress.wall_left_s * MICROSECONDS) if progress.wall_left_s else '<1s'} left"
    )
    tail = f" {int(share * 100):>3} % {pace} {left:>11}" if width > 60 else f" {int(share * 100):>3} % {left:>11}"
    room = max(0, width - len(tail))
    done = int(share * room)
    return (("━" * done, "cyan"), ("━" * (room - done), FAINT), (tail, PLAIN))


def _footer(sight: Sight, width: int) -> Line:
    """What a person should look at; else how to leave."""
    leave: Line = (("Ctrl-C drains and leaves", FAINT),)
    if not sight.trouble:
        said = f"{sight.warnings:,} warnings in the log above" if sight.warnings else ""
        return spread(((said, FAINT),), leave, width)
    trouble: Line = (("▲ ", NOTABLE), (" ".join(sight.trouble.split()), NOTABLE))
    return spread(trouble, leave, width)


# The tables ---------------------------------------------------------------------------------------


def _symbol_width(sight: Sight) -> int:
    return max((len(symbol) for symbol in sight.instruments), default=8)


def _positions(sight: Sight, size: Size) -> list[Line]:
    columns = (
        Column(title="symbol", width=_symbol_width(sight)),
        Column(title="side", width=5),
        Column(title="lev", width=3, is_number=True, goes=4),
        Column(title="volume", width=10, is_number=True, goes=5),
        Column(title="entry", width=10, is_number=True),
        Column(title="last", width=10, is_number=True),
        Column(title="stop  ", width=12, is_number=True),
        Column(title="target", width=10, is_number=True, goes=2),
        Column(title="P&L usd", width=9, is_number=True),
        Column(title="%", width=6, is_number=True, goes=6),
        Column(title="age", width=6, is_number=True, goes=3),
    )
    rates = worth_of_quotes(sight.book)
    rows = [
        _position_row(position, mark, sight, rates.get(position.symbol))
        for position, mark in zip(sight.book.positions, sight.book.marks, strict=True)
    ]
    slots = f"{len(rows)} · {sight.risk.slots_taken} of {sight.slots_max} slots taken"
    return table("Positions", slots, columns, rows, size)


def _position_row(position: Position, mark: PositionMark, sight: Sight, rate: Decimal | None) -> Sequence[Piece]:
    instrument = sight.instruments.get(position.symbol)
    price = mark.price_quote
    earned = None if price is None else net(position, price)
    share = None
    if earned is not None and position.entry_cost_quote:
        share = earned * 100 * position.leverage / position.entry_cost_quote
    earned_usd = None if earned is None or rate is None else earned * rate
    style = PLAIN if earned is None else tone(earned)
    return (
        (position.symbol, "bold"),
        (position.side.value.lower(), SIDE_STYLES[position.side]),
        (f"{position.leverage}x", PLAIN),
        (volume_text(position.volume_base, 10), PLAIN),
        (price_text(average_entry(position), instrument), PLAIN),
        (price_text(price, instrument), "bold"),
        _stop_cell(position, sight, instrument),
        (price_text(position.take_profit_quote, instrument), PLAIN),
        (NONE if earned_usd is None else signed(earned_usd), style),
        (NONE if share is None else signed(share, Decimal("0.1")), style),
        (age_text(sight.now_us - position.opened_at_us), FAINT),
    )


def _stop_cell(position: Position, sight: Sight, instrument: Instrument | None) -> Piece:
    """The stop and its state: ● rests on the exchange, ○ not yet there, ▲ could not be placed, ↗ trails."""
    text = price_text(position.stop_loss_quote, instrument)
    if position.id in sight.orders.alerted:
        return f"{text} ▲", ALARM
    if position.protected_at_us is None:
        return f"{text} ○", NOTABLE
    return f"{text} {'↗' if position.stop_is_trailing else '●'}", PLAIN


def _orders(sight: Sight, size: Size) -> list[Line]:
    columns = (
        Column(title="role", width=6),
        Column(title="type", width=17 if size.width >= 120 else 13, goes=3),
        Column(title="symbol", width=_symbol_width(sight)),
        Column(title="side", width=4),
        Column(title="volume", width=11, is_number=True),
        Column(title="filled", width=11, is_number=True, goes=2),
        Column(title="price", width=12, is_number=True),
        Column(title="status", width=8),
        Column(title="age", width=6, is_number=True, goes=1),
    )
    entries_first = sorted(sight.orders.live, key=lambda order: order.intent.role is not OrderRole.ENTRY)
    rows = [_order_row(order, sight) for order in entries_first]
    return table("Orders", f"{len(rows)} live", columns, rows, size)


def _order_row(order: Order, sight: Sight) -> Sequence[Piece]:
    intent = order.intent
    price = order.trigger_price_quote or intent.limit_price_quote
    filled_text = volume_text(order.filled_base, 11) if order.filled_base else NONE
    return (
        (intent.role.value, "bold" if intent.role is OrderRole.ENTRY else PLAIN),
        (intent.order_type.value, FAINT),
        (intent.symbol, PLAIN),
        (intent.side.value, SIDE_STYLES[intent.side]),
        (volume_text(order.volume_base, 11), PLAIN),
        (filled_text, PLAIN if order.filled_base else FAINT),
        ("market" if price is None else price_text(price, sight.instruments.get(intent.symbol)), PLAIN),
        (STATUS_WORDS.get(order.status, order.status.value.lower()), STATUS_STYLES.get(order.status, GOOD)),
        (age_text(sight.now_us - intent.created_at_us), FAINT),
    )


def _events_and_actors(sight: Sight, plan: Plan, width: int) -> list[Line]:
    if plan.is_side_by_side:
        gap = 2
        left = width - ACTORS_WIDTH - gap
        if width > 150:
            left = width // 2
        events = _events(sight, Size(width=left, height=plan.events))
        return beside(events, _actors(sight, Size(width=width - left - gap, height=plan.actors)), left, gap)
    lines = _events(sight, Size(width=width, height=plan.events)) if plan.events else []
    if plan.actors > 1:
        lines += _actors(sight, Size(width=width, height=plan.actors))
    elif plan.actors:
        lines.append(_actors_in_short(sight, width))
    return lines


def _events(sight: Sight, size: Size) -> list[Line]:
    """The newest at the top."""
    lost = f"{sight.news_lost:,} lost" if sight.news_lost else ""
    lines = [heading("Events", lost, size.width)]
    for news in reversed(sight.news):
        times = f" {TIMES}{news.times}" if news.times > 1 else ""
        symbol = f" {news.symbol:<{_symbol_width(sight)}}" if news.symbol else ""
        when = as_datetime(news.at_us).astimezone(sight.zone)
        line: Line = ((f"{when:%H:%M:%S}", FAINT), (symbol, PLAIN), (f" {news.text}", news.style), (times, "bold"))
        if length(line) > size.width:  # The count is news of its own: the words make room for it.
            room = size.width - length((line[0], line[1], line[3]))
            line = (line[0], line[1], (f" {news.text}"[: max(0, room - 1)] + "…", news.style), line[3])
        lines.append(line)
    return filled(lines, size.height)


def _actors(sight: Sight, size: Size) -> list[Line]:
    columns = (
        Column(title="", width=12),
        Column(title="handled", width=8, is_number=True),
        Column(title="inbox", width=5, is_number=True),
        Column(title="max", width=5, is_number=True),
        Column(title="p50", width=5, is_number=True),
        Column(title="p99", width=6, is_number=True),
        Column(title="last error", width=14, goes=1, grows=True),
    )
    rows = [_actor_row(report) for report in sight.actors]
    return table("Actors", f"{sum(report.handled for report in sight.actors):,} messages", columns, rows, size)


def _actor_row(report: ActorReport) -> Sequence[Piece]:
    style = BAD if report.last_error else PLAIN
    return (
        (report.role, style),
        (f"{report.handled:,}", PLAIN),
        (f"{report.mailbox_depth:,}", PLAIN if report.mailbox_depth else FAINT),
        (f"{report.mailbox_depth_max:,}", PLAIN),
        (duration_text(report.handling_p50_ns), PLAIN),
        (duration_text(report.handling_p99_ns), PLAIN),
        (report.last_error, style),
    )


def _actors_in_short(sight: Sight, width: int) -> Line:
    reports = sight.actors
    if not reports:
        return BLANK
    deepest = max(reports, key=lambda report: report.mailbox_depth)
    slowest = max(reports, key=lambda report: report.handling_p99_ns)
    failing = ", ".join(report.role for report in reports if report.last_error)
    text = (
        f"{len(reports)} actors, {sum(report.handled for report in reports):,} messages, "
        f"inbox {deepest.mailbox_depth:,} ({deepest.role}), "
        f"p99 {duration_text(slowest.handling_p99_ns)} ({slowest.role})"
    )
    errors: Line = ((f", errors: {failing}", BAD),) if failing else ()
    line: Line = (("─ ", FAINT), ("Actors ", "bold cyan"), (text, PLAIN), *errors)
    return spread(line, BLANK, width)


# Figures ------------------------------------------------------------------------------------------


def worth_of_quotes(book: BookSummary) -> dict[Symbol, Decimal]:
    """Return what one unit of each open symbol's quote currency is worth, as the book itself values it."""
    held: dict[Symbol, Decimal] = {}
    for position, mark in zip(book.positions, book.marks, strict=True):
        if mark.price_quote is not None:
            held[position.symbol] = held.get(position.symbol, ZERO) + position.volume_base * mark.price_quote
    worth = dict(book.totals.exposure_by_symbol_usd)
    return {symbol: worth[symbol] / amount for symbol, amount in held.items() if amount and worth.get(symbol)}


def shares(width: int, weights: Sequence[int]) -> list[int]:
    """Return the width in whole cells, shared out by weight; together they are exactly `width`."""
    ends = [width * sum(weights[: place + 1]) // sum(weights) for place in range(len(weights))]
    return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def tone(amount: Decimal) -> str:
    """Return green for a gain, red for a loss."""
    if not amount:
        return PLAIN
    return GOOD if amount > 0 else BAD


def money(amount: Decimal) -> str:
    """Return an amount to the cent."""
    return f"{amount.quantize(PERCENT, ROUND_HALF_EVEN):,f}"


def signed(amount: Decimal, step: Decimal = PERCENT) -> str:
    """Return an amount with its sign; nothing is neither gained nor lost at 0."""
    rounded = amount.quantize(step, ROUND_HALF_EVEN)
    return f"{rounded:+,f}" if rounded else f"{abs(rounded):f}"


def price_text(price: Decimal | None, instrument: Instrument | None) -> str:
    """Return a price with the decimals that the exchange gives it."""
    if price is None:
        return NONE
    if instrument is None:
        return f"{price:,f}"
    return f"{price.quantize(instrument.price_tick_quote.normalize(), ROUND_HALF_EVEN):,f}"


def volume_text(volume: Decimal, width: int) -> str:
    """Return a volume with as many of its eight decimals as have room."""
    whole = f"{volume:,.0f}"
    decimals = max(0, min(8, width - len(whole) - 1))
    return f"{volume:,.{decimals}f}"


def age_text(span_us: int) -> str:
    """Return a length of time by its two largest units."""
    seconds = max(0, span_us) // MICROSECONDS
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if days:
        return f"{days}d{hours % 24:02}h"
    if hours:
        return f"{hours}h{minutes % 60:02}m"
    return f"{minutes}m{seconds % 60:02}s" if minutes else f"{seconds}s"


def duration_text(span_ns: int) -> str:
    """Return a handling time in the unit that keeps it short."""
    if span_ns < 10_000:
        return f"{span_ns / 1_000:.1f}µs"
    if span_ns < 1_000_000:
        return f"{span_ns // 1_000}µs"
    return f"{span_ns // 1_000_000}ms"


def clock_text(at_us: int, zone: tzinfo | None) -> str:
    """Return date and time as the reader's clock shows them; English, whatever the locale."""
    when = as_datetime(at_us).astimezone(zone)
    return f"{when.day:>2} {MONTHS[when.month - 1]} {when:%Y %H:%M:%S} {when.tzname()}"

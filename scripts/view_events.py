"""Public events in a few words each, the same news again as one line with a count.

Pure. Read in order: News, news_of(), folded().
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from messages.bus import EventPriority, NumberedEvent, PublicEvent
from scripts.view_lines import FAINT, PLAIN

GOOD = "green"
BAD = "red"
ALARM = "bold red"
NOTABLE = "yellow"


@attrs.frozen(kw_only=True)
class News:
    """One line of the list of events."""

    at_us: int
    symbol: str
    text: str
    style: str
    is_rejection: bool = False
    times: int = 1


def news_of(event: PublicEvent) -> News:
    """Return an event in a few words."""
    details = dict(event.details)
    words = WORDS.get(event.kind)
    text, style = _in_general(event, details) if words is None else words(details)
    if event.priority is EventPriority.URGENT:
        style = ALARM
    return News(
        at_us=event.at_us,
        symbol=details.get("symbol", ""),
        text=text,
        style=style,
        is_rejection=event.kind in REJECTIONS,
    )


def folded(known: tuple[News, ...], events: Iterable[NumberedEvent], keep: int) -> tuple[News, ...]:
    """Return the newest news, oldest first. What is said again is one line that counts, and so are rejections in a row:

    a strategy that asks in vain all day must not push what did happen out of sight.
    """
    lines = list(known)
    for numbered in sorted(events, key=lambda numbered: numbered.sequence):
        news = news_of(numbered.event)
        last = lines[-1] if lines else None
        if last is not None and _is_the_same(last, news):
            lines[-1] = attrs.evolve(news, times=last.times + 1)
        else:
            lines.append(news)
    return tuple(lines[-keep:])


def _is_the_same(last: News, news: News) -> bool:
    return (last.is_rejection and news.is_rejection) or (last.text, last.symbol) == (news.text, news.symbol)


def fees_in(events: Iterable[NumberedEvent]) -> dict[str, Decimal]:
    """Return the fees that these events tell of, by quote currency."""
    fees: dict[str, Decimal] = {}
    for numbered in events:
        details = dict(numbered.event.details)
        if numbered.event.kind in FILLS and details.get("fee"):
            quote = details["symbol"].partition("/")[2]
            fees[quote] = fees.get(quote, Decimal(0)) + Decimal(details["fee"])
    return fees


Details = Mapping[str, str]
Words = tuple[str, str]


def _placed(details: Details) -> Words:
    price = _number(details["price"])
    return f"{details['role']} placed{f' at {price}' if price else ''}", FAINT


def _filled(details: Details) -> Words:
    return f"{details['role']} filled {_number(details['volume'])} at {_number(details['price'])}", PLAIN


def _partly_filled(details: Details) -> Words:
    share = f"{_number(details['filled'])} of {_number(details['ordered'])}"
    return f"{details['role']} filled {share} at {_number(details['price'])}", PLAIN


def _not_filled(word: str, style: str) -> Callable[[Details], Words]:
    def words(details: Details) -> Words:
        reason = details.get("reason", "")
        return f"{details['role']} {word}{f': {reason}' if reason else ''}", style

    return words


def _opened(details: Details) -> Words:
    return f"{details['side'].lower()} opened at {_number(details['price'])}", "bold"


def _changed(details: Details) -> Words:
    if details["status"] == "CLOSING":
        return f"{details['side'].lower()} closing: {details.get('reason', '').replace('_', ' ')}", PLAIN
    return f"{details['side'].lower()} now {_number(details['volume'])}", PLAIN


def _closed(details: Details) -> Words:
    net = Decimal(details["net_pnl"])
    quote = details["symbol"].partition("/")[2]
    amount = (
        f"{net:+,.2f}" if abs(net) >= 1 or not net else f"{net:+.2g}" if abs(net) >= Decimal("1e-4") else _tiny(net)
    )
    return f"{details['side'].lower()} closed by {details['reason'].replace('_', ' ')} {amount} {quote}", GOOD if net >= 0 else BAD


def _tiny(net: Decimal) -> str:
    return f"{net:+.8f}"


def _stop_moved(details: Details) -> Words:
    before, after = details.get("stop_loss_before", ""), details.get("stop_loss", "")
    if before == after:
        return f"target moved to {_number(details.get('take_profit', ''))}", PLAIN
    return f"stop moved {_number(before) or 'from none'} → {_number(after) or 'none'}", PLAIN


def _rejected(details: Details) -> Words:
    return f"rejected: {details.get('codes', '').replace(',', ', ').replace('_', ' ').lower()}", FAINT


def _state_changed(details: Details) -> Words:
    return f"trading is {details['state']}: {details['reason']} ({details['operator']})", ALARM


def _in_general(event: PublicEvent, details: Details) -> Words:
    said = " ".join(value for name, value in details.items() if value and name != "symbol" and not name.endswith("_id"))
    style = NOTABLE if event.priority is EventPriority.HIGH else PLAIN
    return f"{event.kind.replace('_', ' ')}{f': {said}' if said else ''}", style


def _number(text: str) -> str:
    """Return a number without the zeros that say nothing."""
    if not text:
        return ""
    value = Decimal(text)
    digits = f"{value:,f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


REJECTIONS = ("trade_rejected", "request_rejected")
FILLS = ("order_filled", "order_partially_filled")
WORDS: Mapping[str, Callable[[Details], Words]] = {
    "order_placed": _placed,
    "order_filled": _filled,
    "order_partially_filled": _partly_filled,
    "order_cancelled": _not_filled("cancelled", FAINT),
    "order_expired": _not_filled("expired", NOTABLE),
    "order_failed": _not_filled("failed", BAD),
    "position_opened": _opened,
    "position_changed": _changed,
    "position_closed": _closed,
    "position_liquidated": _closed,
    "stop_moved": _stop_moved,
    "trade_rejected": _rejected,
    "request_rejected": _rejected,
    "trading_state_changed": _state_changed,
}

"""Public events in a few words each, the same news again as one line with a count.

Pure. Read in order: News, news_of(), folded().
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import attrs

from messages.bus import EventPriority, NumberedEvent, PublicEvent
from scripts.view.lines import FAINT, PLAIN

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
    """Return the newest news, oldest first; what is said again and again is one line that counts.

    Rejections in a row are one line, too: who asks in vain all day must not push what did happen out of sight.
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
    return f"{details['role']} filled {_volume(details['volume'])} at {_number(details['price'])}", PLAIN


def _partly_filled(details: Details) -> Words:
    share = f"{_volume(details['filled'])} of {_volume(details['ordered'])}"
    return f"{details['role']} filled {share} at {_number(details['price'])}", PLAIN


def _not_filled(word: str, style: str) -> Callable[[Details], Words]:
    def words(details: Details) -> Words:
        reason = KRAKEN_CLASS.sub("", details.get("reason", ""))
        return f"{details['role']} {word}{f': {reason}' if reason else ''}", style

    return words


def _opened(details: Details) -> Words:
    return f"{details['side'].lower()} opened at {_number(details['price'])}", "bold"


def _changed(details: Details) -> Words:
    if details["status"] == "CLOSING":
        return f"{details['side'].lower()} closing: {_plain(details.get('reason', ''))}", PLAIN
    return f"{details['side'].lower()} now {_volume(details['volume'])}", PLAIN


def _closed(details: Details) -> Words:
    net = Decimal(details["net_pnl"])
    quote = details["symbol"].partition("/")[2]
    # To the cent, or to the digit where a coin is worth much more than a cent.
    amount = f"{net:+,.2f}" if abs(net) >= 1 or not net else f"{net:+.8f}".rstrip("0")
    return f"closed {amount} {quote}: {_plain(details['reason'])}", GOOD if net >= 0 else BAD


def _stop_moved(details: Details) -> Words:
    before, after = details.get("stop_loss_before", ""), details.get("stop_loss", "")
    if before == after:
        return f"target moved to {_number(details.get('take_profit', ''))}", PLAIN
    return f"stop moved {_number(before) or 'from none'} → {_number(after) or 'none'}", PLAIN


def _rejected(details: Details) -> Words:
    return f"rejected: {_plain(details.get('codes', '').replace(',', ', ').lower())}", FAINT


def _state_changed(details: Details) -> Words:
    return f"trading is {details['state']}: {details['reason']} ({details['operator']})", ALARM


def _in_general(event: PublicEvent, details: Details) -> Words:
    said = " ".join(value for name, value in details.items() if value and name != "symbol" and not name.endswith("_id"))
    style = NOTABLE if event.priority is EventPriority.HIGH else PLAIN
    return f"{event.kind.replace('_', ' ')}{f': {said}' if said else ''}", style


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _volume(text: str) -> str:
    """Return a volume with the decimals that tell it from another; the tables have the others."""
    volume = Decimal(text)
    return _number(f"{volume:.2f}" if volume >= 100 else f"{volume:.4f}" if volume >= 1 else text)


def _number(text: str) -> str:
    """Return a number without the zeros that say nothing."""
    if not text:
        return ""
    value = Decimal(text)
    digits = f"{value:,f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


KRAKEN_CLASS = re.compile(r"^E\w+:")
"""Which kind of error it is, as the exchange puts it before its text."""
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

"""Reconciling: the account is compared with our books, at a start, after a lost line, from time to time, and on demand.

What was missed is asked for: trades by a poll, orders by a look-up. What others hold is written down, told once, and
left alone, or taken up where `adopt_external` says so. What stays unexplained holds openings in its symbol, is told
with its figures, and is let go when a comparison finds nothing any more.
Read in order: _compare_account(), what differs, what others hold, what we believe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from actors.order import outbox
from actors.order.adoption import TAG_LENGTH, tag_of
from actors.order.book import Phase, Tracked, Trade
from actors.order.comparison import Books, Busy, Difference, Resting, Suspicions, What, compare
from actors.order.intents import EXTERNAL_LEVERAGE, foreign_entry, foreign_holding
from actors.order.proposals import request_row
from actors.order.shell.surveying import Surveying
from actors.order.timers import CompareDue
from actors.runtime.clock import MICROSECONDS
from actors.runtime.ports import Ports
from config.settings import OrderSettings
from messages.base import NO_TRADE, OrderId, PositionId, ProposalId, Symbol
from messages.bus import PublicEvent
from messages.exchange import AccountReported, GetAccount
from messages.journal import ADOPTED, RecordAlert, RecordIntent, RecordStanding, RecoveredState, Standing
from messages.market import Instrument
from messages.orders import Fill
from messages.trades import OrderType, Side, TradeProposal

ZERO = Decimal(0)


class Reconciling(Surveying):
    """Whether the account is what we believe it to be."""

    def __init__(
        self, ports: Ports, *, settings: OrderSettings, instruments: Mapping[Symbol, Instrument], reconcile_s: int
    ) -> None:
        super().__init__(ports, settings=settings, instruments=instruments)
        self._reconcile_us = reconcile_s * MICROSECONDS
        self._standings: dict[Symbol, Standing] = {}
        # A trade that explains it is in the records after their lag, and one poll more has to bring it.
        self._suspicions = Suspicions((settings.settle_lag_s + settings.poll_s) * MICROSECONDS)
        self._account_at_start: AccountReported | None = None
        self._has_ordered = False
        """Whether any order was ever written down before this start."""
        self._is_comparison_wanted = False
        """Whether a person waits to hear what the next comparison finds."""

    def _take_up_standings(self, state: RecoveredState) -> None:
        self._standings = {standing.symbol: standing for standing in state.standings}
        self._has_ordered = bool(state.order_ids)

    def _begin_comparing(self) -> None:
        """Compare what the start was told, and then from time to time."""
        self.after(self._reconcile_us, CompareDue(), NO_TRADE)
        if self._account_at_start is not None:
            self._compare_account(self._account_at_start)

    def _compare_again(self) -> None:
        if not self._is_stopping:
            self.after(self._reconcile_us, CompareDue(), NO_TRADE)
            self.emit(GetAccount(), NO_TRADE)

    def _compare_now(self) -> None:
        """Somebody wants to know."""
        self._is_comparison_wanted = True
        self.emit(GetAccount(), NO_TRADE)

    def _hear_account(self, message: AccountReported) -> None:
        super()._hear_account(message)
        if not self._is_ready:
            self._account_at_start = message
            if not self._has_ordered:  # Nothing of ours has ever been sent: what is there is others'.
                for holding in message.holdings:
                    self._note_others(holding.symbol)
        elif not self._is_surveying:
            self._compare_account(message)

    def _compare_account(self, account: AccountReported) -> None:
        """Compare, and act on what has stood for longer than any lag."""
        books = self._believed()
        found = compare(account, books)
        busy = Busy(self._under_way())
        differing = {one.symbol for one in found if one.what is not What.OTHERS}
        if not all(symbol in busy for symbol in differing):
            self._poll_at_once()  # Something was missed, perhaps: a trade would explain it, ours or another's.
        standing = self._suspicions.standing(found, busy, self.now_us)
        for symbol in sorted({one.symbol for one in standing}):
            self._act_on([one for one in standing if one.symbol == symbol], account)
        for symbol, kept in sorted(self._standings.items()):
            if kept.differs and symbol not in differing and symbol not in busy:
                self._release(kept)
        if self._is_comparison_wanted:
            self._is_comparison_wanted = False
            self._tell_comparison(found)

    # What differs ---------------------------------------------------------------------------------

    def _act_on(self, differences: list[Difference], account: AccountReported) -> None:
        """Hold openings where something differs; learn what others hold where nothing does."""
        unexplained = [one for one in differences if one.what is not What.OTHERS]
        for one in differences:
            if one.what is What.OTHERS and not unexplained:
                self._learn(one, account)
            elif one.order_id is not None:
                self._look_into_order(one, account)
        if unexplained:
            self._hold_openings(unexplained)

    def _hold_openings(self, differences: list[Difference]) -> None:
        """Open nothing in the symbol, and tell a person, once for the same figures."""
        before = self._standing_of(differences[0].symbol)
        text = "; ".join(one.text for one in differences)
        if before.differs != text:
            events = tuple(outbox.account_differs(one, self.now_us) for one in differences)
            self._keep(attrs.evolve(before, differs=text), *events)

    def _release(self, before: Standing) -> None:
        self._keep(attrs.evolve(before, differs=""), outbox.account_agrees(before.symbol, self.now_us))

    def _look_into_order(self, difference: Difference, account: AccountReported) -> None:
        """Ask what became of an order of ours that is missing; take up one that nobody here knows."""
        order_id = difference.order_id
        tracked = None if order_id is None else self._book.live.get(order_id)
        if tracked is not None:
            self._look_up(tracked)
        elif any(id_ == order_id for id_, _unknown in self._unknown_orders(account)):
            self._look_into(self._survey or self._survey_again(), account)

    def _tell_comparison(self, found: Iterable[Difference]) -> None:
        differences = [one.text for one in found if one.what is not What.OTHERS]
        self.emit(RecordAlert(events=(outbox.account_compared(differences, self.now_us),)), NO_TRADE)

    # What others hold -----------------------------------------------------------------------------

    def _put_by(self, rest: Fill | None, at_us: int) -> None:
        """What others have traded on margin, and has closed nothing of ours, they hold from now on, or hold less."""
        super()._put_by(rest, at_us)
        if rest is not None and rest.is_margin:
            self._note_others(rest.symbol)

    def _note_others(self, symbol: Symbol) -> None:
        """What others hold there has to be learnt."""
        before = self._standing_of(symbol)
        if not before.is_stale:
            self._keep(attrs.evolve(before, is_stale=True))

    def _learn(self, others: Difference, account: AccountReported) -> None:
        """Write down what others hold there; or make it ours, where that is wanted."""
        gap_base = others.gap_base
        if gap_base and self._settings.adopt_external:
            self._take_over(others, account)  # The next comparison finds nothing any more that is others'.
            return
        before = self._standing_of(others.symbol)
        is_news = gap_base != before.external_base
        events = (outbox.external_holding(others.symbol, gap_base, self.now_us),) if is_news else ()
        self._keep(attrs.evolve(before, external_base=gap_base, is_stale=False), *events)

    def _take_over(self, others: Difference, account: AccountReported) -> None:
        """Make a position of it, as if an order of ours had filled; without levels, which a person is told."""
        holding = next(one for one in account.holdings if one.symbol == others.symbol)
        instrument = self._instruments[others.symbol]
        order_id = OrderId(self.ports.new_id())
        fill = foreign_holding(others.gap_base, holding, instrument, order_id=order_id, now_us=self.now_us)
        proposal = TradeProposal(
            id=ProposalId(self.ports.new_id()),
            at_us=self.now_us,
            symbol=fill.symbol,
            side=fill.side,
            size_usd=fill.volume_base * fill.price_quote / EXTERNAL_LEVERAGE,
            order_type=OrderType.MARKET,
            leverage=EXTERNAL_LEVERAGE,
        )
        position_id = PositionId(tag_of(order_id) + self.ports.new_id()[TAG_LENGTH:])
        trade = Trade(proposal=proposal, position_id=position_id, is_adopted=True, is_withdrawn=True)
        order = foreign_entry(trade, fill, now_us=self.now_us)
        tracked = Tracked(order=order, trade=trade, phase=Phase.OVER, heard_at_us=self.now_us)
        self._remember(trade.id)
        self._book.open_trade(trade)
        self._book.add(trade, tracked)
        self._book.retire(tracked)
        row = attrs.evolve(request_row(proposal, "approved"), kind=ADOPTED)
        event = outbox.order_adopted(order)
        self.emit(RecordIntent(order=order, request=row, events=(event,)), trade.id)
        trade.entered_base += fill.volume_base
        self._apply(trade, order, fill)

    # What we believe ------------------------------------------------------------------------------

    def _standing_of(self, symbol: Symbol) -> Standing:
        return self._standings.get(symbol) or Standing(symbol=symbol)

    def _keep(self, standing: Standing, *events: PublicEvent) -> None:
        self._standings[standing.symbol] = standing
        self.emit(RecordStanding(standing=standing, events=events), NO_TRADE)

    def _believed(self) -> Books:
        margin: dict[Symbol, Decimal] = {}
        coins: dict[Symbol, Decimal] = {}
        for trade in self._book.trades.values():
            symbol, left_base = trade.proposal.symbol, trade.left_base
            if left_base and trade.proposal.leverage > 1:
                signed_base = left_base if trade.proposal.side is Side.BUY else -left_base
                margin[symbol] = margin.get(symbol, ZERO) + signed_base
            elif left_base:
                coins[symbol] = coins.get(symbol, ZERO) + left_base
        return Books(
            symbols=self._instruments.keys(),
            margin=margin,
            coins=coins,
            external=self._external(),
            resting={
                id_: Resting(
                    symbol=tracked.order.intent.symbol,
                    left_base=tracked.order.volume_base - tracked.order.filled_base,
                )
                for id_, tracked in self._book.live.items()
                if tracked.phase is Phase.RESTING
            },
            live=self._book.live.keys() | self._strangers,
        )

    def _external(self) -> Mapping[Symbol, Decimal | None]:
        """Return what is others', by symbol; what is to be taken over counts as not yet learnt."""
        adopts = self._settings.adopt_external
        return {
            symbol: None if standing.is_stale or (adopts and standing.external_base) else standing.external_base
            for symbol, standing in self._standings.items()
        }

    def _under_way(self) -> Iterable[Symbol]:
        """Return the symbols in which figures may change at any moment."""
        yield from self._settling
        for trade in self._book.trades.values():
            moves = any(leg.phase is not Phase.RESTING or leg.is_withdrawn for leg in trade.live_legs)
            if moves or trade.ahead or not trade.is_in_step:
                yield trade.proposal.symbol

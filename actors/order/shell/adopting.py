"""Adopting: orders of ours that the journal has forgotten become orders like any other, each with a trade to belong to.

Read in order: _take_up(), whose they are, their levels, what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from actors.order import outbox
from actors.order.adoption import (
    OPEN,
    TAG_LENGTH,
    Adopted,
    Holder,
    is_tighter,
    order_of,
    proposal_of,
    sort_out,
    tag_of,
)
from actors.order.book import Phase, Tracked, Trade
from actors.order.proposals import request_row
from actors.order.protection import PROTECTIVE, TRIGGER_TYPES
from actors.order.shell.booking import ZERO
from actors.order.shell.settling import Settling
from actors.order.sizing import exit_level_quote
from actors.order.survey import Survey
from actors.runtime.clock import MICROSECONDS
from messages.base import OrderId, PositionId, ProposalId
from messages.journal import ADOPTED, RecordIntent
from messages.orders import (
    ExchangeOrder,
    Order,
    OrderFound,
    OrderRole,
)
from messages.positions import CloseReason, MoveStop, PositionChanged


class Adopting(Settling):
    """Takes up what a survey has found."""

    def _take_up(self, survey: Survey, moves: dict[ProposalId, MoveStop]) -> list[Tracked]:
        """Record every forgotten order, before any fill is booked."""
        sorted_out = sort_out(survey.found.values(), self._holders(survey))
        trades: dict[str, Trade] = {str(trade.id): trade for trade in self._known_trades()}
        taken = []
        for one in sorted_out:
            is_first = one.role is OrderRole.ENTRY or one.holder is None
            if is_first:
                legs = [leg for leg in sorted_out if leg.holder == one.order.order_id and leg.role in PROTECTIVE]
                trades[one.order.order_id] = self._adopted_trade(one, legs)
            trade = trades[one.order.order_id if is_first or one.holder is None else one.holder]
            self._book.open_trade(trade)
            taken.append(self._adopted_order(trade, one, moves, is_first=is_first))
        return taken

    def _adopted_trade(self, first: Adopted, legs: Sequence[Adopted]) -> Trade:
        """Make a trade of what was found: withdrawn from the start, because nobody knows what it was to become."""
        proposal = proposal_of(first, legs, ProposalId(self.ports.new_id()))
        trade = Trade(
            proposal=proposal,
            position_id=PositionId(tag_of(first.order.order_id) + self.ports.new_id()[TAG_LENGTH:]),
            is_adopted=True,
            is_withdrawn=True,
        )
        self._remember(trade.id)
        self._book.open_trade(trade)
        return trade

    def _adopted_order(
        self, trade: Trade, one: Adopted, moves: dict[ProposalId, MoveStop], *, is_first: bool
    ) -> Tracked:
        order = order_of(one, trade.id, trade.position_id, self.now_us)
        booked = [fill for fill in one.found.fills if self._unbooked(fill) is None]
        for fill in booked:  # As somebody else's, before it was known whose order it was.
            order = self._filled(order, fill)
        tracked = Tracked(
            order=order,
            trade=trade,
            phase=Phase.RESTING,
            heard_at_us=self.now_us,
            touched_at_us=self.now_us + self._settings.deadline_s * MICROSECONDS,  # By an amend still under way.
        )
        tracked.fill_ids.update(fill.trade_id for fill in booked)
        present = trade.live(one.role)
        if present is None or one.is_open:
            trade.legs[one.role] = tracked
            if present is not None:
                self._withdraw(present)  # The journal's was followed by this one: it left, if ever, before.
        self._book.enter(tracked)
        if self._known_ids is not None:
            self._known_ids.add(order.id)
        tracked.is_withdrawn = self._is_unwanted(trade, order)
        is_younger = order.intent.created_at_us >= trade.levels_named_at_us  # Than what somebody has said since.
        if one.role in PROTECTIVE and one.is_open and not trade.is_adopted and is_younger:
            self._take_level(trade, order, moves)
        row = attrs.evolve(request_row(trade.proposal, "approved"), kind=ADOPTED) if is_first else None
        event = outbox.order_adopted(order)
        self.emit(RecordIntent(order=order, request=row, events=(event,)), trade.id)
        if order.is_over:
            self._book.retire(tracked)
        return tracked

    def _is_unwanted(self, trade: Trade, order: Order) -> bool:
        """Say whether an adopted order must not live: nobody could protect what it opens, or it protects nothing."""
        if not trade.is_adopted:
            return False
        return order.intent.role is OrderRole.ENTRY or OrderRole.ENTRY not in trade.legs

    # Whose is it? ---------------------------------------------------------------------------------

    def _holders(self, survey: Survey) -> list[Holder]:
        """Return the trades that are known, with what they hold and what rests of them, by all that has been told."""
        states = {
            message.order.order_id: message.order for message in survey.put_off if isinstance(message, OrderFound)
        }
        grown_base = self._untold_growth(survey)
        return [self._holder(trade, states, grown_base.get(trade.id, ZERO)) for trade in self._known_trades()]

    def _known_trades(self) -> Iterable[Trade]:
        """Return the trades that live, and those whose orders ended last: a late fill may have revived one of them."""
        over = {tracked.trade.id: tracked.trade for tracked in self._book.over.values()}
        return {**self._book.trades, **over}.values()

    def _untold_growth(self, survey: Survey) -> Mapping[ProposalId, Decimal]:
        """Return by how much each known trade grows with the fills that have been put off."""
        grown: dict[ProposalId, Decimal] = {}
        for fill in survey.fills():
            tracked = self._book.find(fill.order_id)
            if tracked is None or fill.trade_id in tracked.fill_ids or fill.trade_id in self._booked:
                continue
            is_entry = tracked.order.intent.role is OrderRole.ENTRY and not fill.is_liquidation
            trade_id = tracked.trade.id
            grown[trade_id] = grown.get(trade_id, ZERO) + (fill.volume_base if is_entry else -fill.volume_base)
        return grown

    def _holder(self, trade: Trade, states: Mapping[OrderId, ExchangeOrder], grown_base: Decimal) -> Holder:
        proposal = trade.proposal
        resting = {
            role
            for role, leg in trade.legs.items()
            if leg.is_live and (leg.order.id not in states or states[leg.order.id].status in OPEN)
        }
        return Holder(
            key=trade.id,
            tag=tag_of(trade.position_id),
            symbol=proposal.symbol,
            side=proposal.side,
            leverage=proposal.leverage,
            since_us=min([proposal.at_us, *(leg.order.intent.created_at_us for leg in trade.legs.values())]),
            left_base=trade.left_base + grown_base,
            may_grow=OrderRole.ENTRY in resting,
            resting=frozenset(resting),
            triggers=tuple(self._triggers(trade)),
        )

    def _triggers(self, trade: Trade) -> Iterable[Decimal]:
        """Yield where orders that protect the trade would stand by the levels that it has."""
        levels = trade.proposal if trade.position is None else trade.position
        if levels.stop_loss_quote is not None:
            yield self._trigger(trade, OrderRole.STOP, levels.stop_loss_quote)
        if levels.take_profit_quote is not None:
            yield self._trigger(trade, OrderRole.TARGET, levels.take_profit_quote)

    # Levels ---------------------------------------------------------------------------------------

    def _take_level(self, trade: Trade, order: Order, moves: dict[ProposalId, MoveStop]) -> None:
        """The exchange knows a younger level than the journal: it becomes the position's, or is what it opens with."""
        role, level_quote = order.intent.role, order.trigger_price_quote
        is_stop = role is OrderRole.STOP
        position, proposal = trade.position, trade.proposal
        if position is None:
            trade.proposal = (
                attrs.evolve(proposal, stop_loss_quote=level_quote)
                if is_stop
                else attrs.evolve(proposal, take_profit_quote=level_quote)
            )
            return
        present = position.stop_loss_quote if is_stop else position.take_profit_quote
        if trade.closing is not None or (present is not None and self._trigger(trade, role, present) == level_quote):
            return
        move = moves.get(trade.id) or MoveStop(
            position_id=position.id, stop_loss_quote=None, take_profit_quote=None, trailing=None
        )
        moves[trade.id] = (
            attrs.evolve(move, stop_loss_quote=level_quote)
            if is_stop
            else attrs.evolve(move, take_profit_quote=level_quote)
        )

    def _trigger(self, trade: Trade, role: OrderRole, level_quote: Decimal) -> Decimal:
        """Return the trigger that an order for this level has."""
        side = trade.proposal.side.opposite
        return exit_level_quote(TRIGGER_TYPES[role], side, level_quote, self._of(trade.proposal))

    def _take_tighter_stops(self, survey: Survey, moves: dict[ProposalId, MoveStop]) -> None:
        """A stop that was moved since the journal's last word is not loosened again.

        It was, if it is tighter than any that the journal has known: an older one may have been loosened by a person,
        and the crash has come before that was done.
        """
        for message in survey.put_off:
            if not isinstance(message, OrderFound) or message.order.status not in OPEN:
                continue
            tracked = self._book.live.get(message.order.order_id)
            trigger = message.order.trigger_price_quote
            if tracked is None or tracked.order.intent.role is not OrderRole.STOP or trigger is None:
                continue
            trade, was = tracked.trade, tracked.order.trigger_price_quote
            position = trade.position
            if position is None or was == trigger or trade.legs.get(OrderRole.STOP) is not tracked:
                continue
            known = [level for level in (position.stop_loss_quote, trade.known_stop_quote) if level is not None]
            side, triggers = trade.proposal.side, [self._trigger(trade, OrderRole.STOP, level) for level in known]
            if all(is_tighter(side, trigger, than) for than in triggers):
                self._take_level(trade, attrs.evolve(tracked.order, trigger_price_quote=trigger), moves)

    # What follows ---------------------------------------------------------------------------------

    def _see_to(self, tracked: Tracked) -> None:
        """Confirm the protection that an adopted order gives; what was being closed goes on closing."""
        role, trade = tracked.order.intent.role, tracked.trade
        if not tracked.is_live or tracked.is_withdrawn:
            return
        if role is OrderRole.STOP:
            self._protected(tracked, tracked.order.intent.created_at_us)
        elif role is OrderRole.EXIT:
            trade.close_when_held = CloseReason.MANUAL
            self._close(trade, CloseReason.MANUAL)

    def _follow_position(self, message: PositionChanged) -> None:
        """Follow it; an adopted position without a stop is left open, and a person is told."""
        super()._follow_position(message)
        position = message.position
        trade = self._book.by_position.get(position.id)
        if trade is None or not trade.is_adopted or trade.is_bare_told or not trade.is_in_step:
            return
        if not position.is_over and position.stop_loss_quote is None:
            trade.is_bare_told = True
            held = f"{position.side.value} {position.volume_base:f} {position.symbol}"
            self._alert("adopted_without_stop", trade, f"{held} was forgotten and has no stop: close it or protect it")

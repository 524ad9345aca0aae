"""Engines with a deliberate defect, to see that the simulator finds it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.order.actor import OrderActor


def sends_before_the_intent_is_committed(patch: pytest.MonkeyPatch) -> None:
    """Ask for the permit in the same breath as for the commit."""
    original = OrderActor._record_intent

    def hasty(self: OrderActor, trade: Any, intent: Any, request: Any = None) -> None:
        original(self, trade, intent, request)
        self._ask_to_place(intent.id)

    patch.setattr(OrderActor, "_record_intent", hasty)

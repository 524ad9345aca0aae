"""Every story is told on both dispatchers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import pytest

from actors.harness import Harness
from config.loader import load_settings
from config.settings import Settings

World = Callable[..., Harness]


def with_settings(**changes: Any) -> Settings:
    """Return the defaults with sections changed: `with_settings(orders={"slippage_pct": ...})`."""
    settings = load_settings()
    execution, risk = settings.execution, settings.risk
    for section, values in changes.items():
        if hasattr(execution, section):
            part = getattr(execution, section)
            changed = {section: attrs.evolve(part, **values) if isinstance(values, dict) else values}
            execution = attrs.evolve(execution, **changed)
        else:
            risk = attrs.evolve(risk, **{section: attrs.evolve(getattr(risk, section), **values)})
    return Settings(execution=execution, risk=risk)


@pytest.fixture(params=["shared", "threads"])
def worlds(request: pytest.FixtureRequest) -> Iterator[World]:
    """Return a function that makes a running world with changed settings."""
    with ExitStack() as stack:

        def make(**changes: Any) -> Harness:
            return stack.enter_context(Harness(with_settings(**changes), dispatcher=request.param))

        yield make


@pytest.fixture
def world(worlds: World) -> Harness:
    """Return a running world with the default settings, where BTC/USDT costs 100,000."""
    world = worlds()
    world.price("BTC/USDT", 100_000)
    return world

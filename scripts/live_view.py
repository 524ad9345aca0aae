"""What a person sees on a terminal while the engine runs. In a pipe there is nothing to see: log lines say it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from actors.market.sources import PriceStream
from actors.system import Engine


class LiveView:
    """Redrawn a few times a second on a terminal; silent elsewhere."""

    def __init__(self, engine: Engine, stream: PriceStream, arguments: object, *, is_on_screen: bool) -> None:
        self._engine = engine

    async def __aenter__(self) -> Self:
        """Begin to draw."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop drawing."""

"""Kraken's REST interface by way of python-kraken-sdk: it signs and sends, everything else is ours.

Its client is used so that every answer comes back whole: status and text, whatever they are. It does not retry, and
neither do we here. Nonces rise strictly, and calls must not overlap: whoever calls waits for the answer first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import aiohttp
from kraken.base_api import SpotAsyncClient

from actors.exchange.kraken.links import Answer, Request

NANOSECONDS_PER_STEP = 10
"""The SDK's own scale: a key that was used with it goes on being accepted."""
TEXT_MAX = 4_000_000


class Nonces:
    """Numbers that only rise: the clock's, or one more than the last. Whoever was told that they are too low jumps."""

    def __init__(self, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._clock_ns = clock_ns
        self._last = 0
        self._ahead = 0

    def next(self) -> int:
        """Return the next one."""
        self._last = max(self._last + 1, self._clock_ns() // NANOSECONDS_PER_STEP + self._ahead)
        return self._last

    def jump(self, seconds: int) -> None:
        """Go ahead of the clock by so much more: another start, or a clock set back, was ahead of us."""
        self._ahead += seconds * (1_000_000_000 // NANOSECONDS_PER_STEP)


class _Client(SpotAsyncClient):
    """The SDK's client with our nonces."""

    def __init__(self, key: str, secret: str, url: str, nonces: Nonces) -> None:
        super().__init__(key=key, secret=secret, url=url, use_custom_exceptions=False)
        self._nonces = nonces

    def get_nonce(self) -> str:
        """Return the next nonce."""
        return str(self._nonces.next())


class Rest:
    """One key's calls. Made on the running loop; `speed` says how much faster than the wall the engine's clock runs."""

    def __init__(self, *, url: str, key: str, secret: str, speed: int = 1, nonces: Nonces | None = None) -> None:
        self.nonces = nonces or Nonces()
        self._speed = speed
        self._client = _Client(key, secret, url, self.nonces)

    async def call(self, request: Request) -> Answer:
        """Send one request and return what came back."""
        # The SDK hands on whatever it is given, and says in its types that it is a whole number.
        timeout: Any = aiohttp.ClientTimeout(total=request.timeout_ms / 1000 / self._speed)
        try:
            response: Any = await self._client.request(
                "POST" if request.is_private else "GET",
                request.path,
                params=dict(request.params),
                auth=request.is_private,
                timeout=timeout,
            )
            async with response:
                return Answer(status=response.status, text=(await response.text(errors="replace"))[:TEXT_MAX])
        except aiohttp.ClientConnectorError as error:
            return Answer(failure=_said(error), was_sent=False)
        except TimeoutError:
            return Answer(failure=f"no answer within {request.timeout_ms} ms")
        except (aiohttp.ClientError, OSError) as error:
            return Answer(failure=_said(error))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

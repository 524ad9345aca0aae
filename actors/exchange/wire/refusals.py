"""What Kraken's servers say when they say no before, or instead of, the matching engine."""

from __future__ import annotations

from typing import Final


class RefusedError(Exception):
    """The request is answered with this text as its error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


INVALID_KEY: Final = "EAPI:Invalid key"
INVALID_SIGNATURE: Final = "EAPI:Invalid signature"
INVALID_NONCE: Final = "EAPI:Invalid nonce"
API_LIMIT: Final = "EAPI:Rate limit exceeded"
ORDER_LIMIT: Final = "EOrder:Rate limit exceeded"
ORDERS_LIMIT: Final = "EOrder:Orders limit exceeded"
UNKNOWN_METHOD: Final = "EGeneral:Unknown method"
PERMISSION_DENIED: Final = "EGeneral:Permission denied"
UNAVAILABLE: Final = "EService:Unavailable"
CANCEL_ONLY: Final = "EService:Market in cancel_only mode"
POST_ONLY_MODE: Final = "EService:Market in post_only mode"
INVALID_ORDER: Final = "EOrder:Invalid order"
UNKNOWN_ASSET: Final = "EQuery:Unknown asset"
INVALID_SESSION: Final = "ESession:Invalid session"
NOT_SERVED: Final = "EGeneral:Invalid arguments:not served by this mock"


def invalid(argument: str) -> RefusedError:
    """Return the refusal that blames one argument."""
    return RefusedError(f"EGeneral:Invalid arguments:{argument}")

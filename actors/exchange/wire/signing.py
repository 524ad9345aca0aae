"""Who is asking: the key, the signature over the exact body, and the nonce that only rises."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

import attrs

from actors.exchange.wire.refusals import INVALID_KEY, INVALID_NONCE, INVALID_SIGNATURE, RefusedError

PAPER_KEY = "TripleGainPaperTradingKeyForTheMockExchangeOnly000000000"
PAPER_SECRET = base64.b64encode(b"for paper trading on the mock exchange only; it protects nothing").decode()
"""Printed when a mock starts without keys of its own. They open nothing but mocks."""


@attrs.define(eq=False)
class ApiKey:
    """One key and the highest nonce that came with it."""

    key: str
    secret: str
    last_nonce: int = -1


def sign(path: str, nonce: str, body: bytes, secret: str) -> str:
    """Return the signature of a private request."""
    digest = hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(
        hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()
    ).decode()


class Doorman:
    """Knows the keys."""

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        self._keys = {key: ApiKey(key, secret) for key, secret in keys}

    def admit(self, path: str, key: str, signature: str, nonce: str, body: bytes) -> ApiKey:
        """Return whose request this is. Raises RefusedError when it is nobody's."""
        known = self._keys.get(key)
        if known is None:
            raise RefusedError(INVALID_KEY)
        if not hmac.compare_digest(sign(path, nonce, body, known.secret).encode(), signature.encode()):
            raise RefusedError(INVALID_SIGNATURE)
        if not (nonce.isascii() and nonce.isdigit() and int(nonce) > known.last_nonce):
            raise RefusedError(INVALID_NONCE)
        known.last_nonce = int(nonce)
        return known

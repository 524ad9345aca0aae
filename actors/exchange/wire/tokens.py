"""Tokens that open the websocket's private channels: good for 15 minutes, and as long as a channel lives by them."""

from __future__ import annotations

import base64
import hashlib

VALID_S = 900
SECOND_US = 1_000_000


class Tokens:
    """Gives out tokens and knows them again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.given: list[str] = []
        """Every one of them, oldest first, good or not."""
        self._expires_us: dict[str, int] = {}
        self._uses: dict[str, int] = {}

    def give(self, now_us: int) -> str:
        """Return a new token."""
        digest = hashlib.blake2b(f"{self._seed} {len(self.given) + 1} {now_us}".encode(), digest_size=32).digest()
        token = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self.given.append(token)
        self._expires_us[token] = now_us + VALID_S * SECOND_US
        return token

    def is_good(self, token: str, now_us: int) -> bool:
        """Say whether a token opens anything."""
        expires_us = self._expires_us.get(token)
        return expires_us is not None and (now_us < expires_us or self._uses.get(token, 0) > 0)

    def use(self, token: str) -> None:
        """Note that a channel lives by this token."""
        self._uses[token] = self._uses.get(token, 0) + 1

    def leave(self, token: str) -> None:
        """Note that a channel does not live by it any more."""
        self._uses[token] = self._uses.get(token, 0) - 1

    def spoil(self) -> None:
        """Let every token that was given out so far be refused."""
        self._expires_us.clear()
        self._uses.clear()

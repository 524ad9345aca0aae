"""Where an exchange may be: anywhere behind encryption, and without it on this machine alone.

Calls carry the key and its signature, and the websocket's token opens the account.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

BARE = re.compile(r"[^\s@?#\\]+")
"""Nothing that two readers of an address could take for different hosts."""


def rest_address(_settings: object, _field: Any, value: str) -> None:
    """Check the address of a REST interface: host and port. Raises ValueError."""
    _check(value, "https", "http", r"[^/]+/?", "https://api.kraken.com")


def websocket_address(_settings: object, _field: Any, value: str) -> None:
    """Check the address of a websocket. Raises ValueError."""
    _check(value, "wss", "ws", r"[^/].*", "wss://ws.kraken.com/v2")


def _check(value: str, encrypted: str, bare: str, rest: str, example: str) -> None:
    if not (BARE.fullmatch(value) and re.fullmatch(rf"(?:{encrypted}|{bare})://{rest}", value) and _host_of(value)):
        raise ValueError(f"must be an address such as {example}, without a user, a query or anything behind a #")
    if value.startswith(f"{bare}://") and not _is_this_machine(_host_of(value)):
        raise ValueError(
            f"is {value!r}: keys would travel unencrypted; begin it with {encrypted}://, "
            f"or name this machine, such as {bare}://127.0.0.1:8080"
        )


def _host_of(value: str) -> str:
    try:
        return urlsplit(value).hostname or ""
    except ValueError:  # A bracket without its other half.
        return ""


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

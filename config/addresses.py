"""Where an exchange may be: anywhere behind encryption, and without it on this machine or in its own network alone.

Calls carry the key and its signature, and the websocket's token opens the account.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

BARE = re.compile(r"[^\s@?#\\]+")
"""Nothing that two readers of an address could take for different hosts."""
NAME_OF_THE_NETWORK = re.compile(r"[a-z][a-z0-9-]*")
"""A name without a dot, such as localhost, is given by the machine or its own network."""
OWN_NETWORKS = tuple(
    map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1", "fc00::/7"))
)


def rest_address(_settings: object, _field: Any, value: str) -> None:
    """Check the address of a REST interface: host and port. Raises ValueError."""
    _check(value, "https", "http", r"[^/]+/?", "https://api.kraken.com")


def websocket_address(_settings: object, _field: Any, value: str) -> None:
    """Check the address of a websocket. Raises ValueError."""
    _check(value, "wss", "ws", r"[^/].*", "wss://ws.kraken.com/v2")


def _check(value: str, encrypted: str, bare: str, rest: str, example: str) -> None:
    if not (BARE.fullmatch(value) and re.fullmatch(rf"(?:{encrypted}|{bare})://{rest}", value) and _host_of(value)):
        raise ValueError(f"must be an address such as {example}, without a user, a query or anything behind a #")
    if value.startswith(f"{bare}://") and not _is_near(_host_of(value)):
        raise ValueError(
            f"is {value!r}: keys would travel unencrypted; begin it with {encrypted}://, "
            f"or name this machine, such as {bare}://127.0.0.1:8080"
        )


def _host_of(value: str) -> str:
    try:
        return urlsplit(value).hostname or ""
    except ValueError:  # A bracket without its other half.
        return ""


def _is_near(host: str) -> bool:
    if NAME_OF_THE_NETWORK.fullmatch(host):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in OWN_NETWORKS)

"""Unencrypted addresses lead to this machine or its own network, whatever they are made to look like."""

from __future__ import annotations

import pytest

from config.settings import KrakenSettings

HERE = (
    *("127.0.0.1", "127.0.0.1:8080", "127.8.9.10:1", "localhost", "localhost:8080", "[::1]", "[::1]:8080"),
    *("192.168.1.5:8080", "10.0.0.2", "172.16.0.1", "172.31.255.254:1", "[fd00::1]:8080", "exchange:8080"),
)
ELSEWHERE = (
    *(
        "api.kraken.com",
        "172.15.0.1",
        "172.32.0.1:80",
        "192.169.0.1",
        "11.0.0.1",
        "0.0.0.0:8080",
        "[2001:db8::1]:8080",
        "[::]:80",
    ),
    *("localhost.example.com", "127.0.0.1.example.com", "127.1", "2130706433", "LOCALHOST.evil.com", "8.8.8.8"),
)
TWO_FACED = (
    *("127.0.0.1@evil.com", "evil.com#127.0.0.1", "evil.com?127.0.0.1", "127.0.0.1\\@evil.com", "evil.com\\@127.0.0.1"),
    *("", "/", ":8080", "[::1", "::1]", "127.0.0.1 evil.com"),
)


@pytest.mark.parametrize("host", HERE)
def test_nearby_nothing_need_be_encrypted(host: str) -> None:
    """As a run against the mock exchange does."""
    KrakenSettings(rest_url=f"http://{host}", websocket_url=f"ws://{host}")
    KrakenSettings(rest_url=f"http://{host}/", websocket_url=f"ws://{host}/pub/v2")


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_encrypted_it_may_be_anywhere(host: str) -> None:
    KrakenSettings(rest_url=f"https://{host}", websocket_url=f"wss://{host}/v2")


@pytest.mark.parametrize("host", ELSEWHERE)
def test_unencrypted_elsewhere_is_refused_and_it_is_said_what_to_do(host: str) -> None:
    with pytest.raises(ValueError, match="keys would travel unencrypted; begin it with https://, or name this machine"):
        KrakenSettings(rest_url=f"http://{host}")
    with pytest.raises(ValueError, match="keys would travel unencrypted; begin it with wss://, or name this machine"):
        KrakenSettings(websocket_url=f"ws://{host}/v2")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", TWO_FACED)
def test_an_address_with_two_faces_is_none(scheme: str, host: str) -> None:
    with pytest.raises(ValueError, match=r"must be an address such as https://api\.kraken\.com"):
        KrakenSettings(rest_url=f"{scheme}://{host}")
    with pytest.raises(ValueError, match=r"must be an address such as wss://ws\.kraken\.com"):
        KrakenSettings(websocket_url=f"{scheme.replace('http', 'ws')}://{host}")

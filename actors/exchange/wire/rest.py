"""Kraken's REST: who asks, whether they may, what goes wrong on the way, and the envelope around the answer.

A private request passes in this order: lost on the way; key, signature and nonce; the counter; a refusal by fault;
a delay before the deed; the deed; what the fault makes of its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from actors.exchange.wire.exchange import MAINTENANCE, WireExchange
from actors.exchange.wire.faults import ERRORS, RESET, Rule, WireFaults, error_text
from actors.exchange.wire.numbers import decode, encode
from actors.exchange.wire.private import NEEDED, PRIVATE, TRADING, WITHDRAWING, Request
from actors.exchange.wire.public import PUBLIC
from actors.exchange.wire.refusals import (
    CANCEL_ONLY,
    INVALID_KEY,
    PERMISSION_DENIED,
    POST_ONLY_MODE,
    UNAVAILABLE,
    UNKNOWN_METHOD,
    RefusedError,
)
from actors.exchange.wire.rows import Rows
from actors.exchange.wire.signing import Doorman
from actors.exchange.wire.tokens import VALID_S, Tokens

SECOND_US = 1_000_000
LAG_S, DELAY_S = 60, 15
LOOKS_PER_S = 50
"""How often a request that is held looks whether the client is still there, or its time has come."""
ANSWERED = (*ERRORS, "http_error")
STATE_BEHIND = {UNAVAILABLE: "maintenance", CANCEL_ONLY: "cancel_only", POST_ONLY_MODE: "post_only"}
PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>{status}</title></head>
<body><center><h1>{status} Bad gateway</h1></center><hr><center>cloudflare</center></body></html>
"""


class Rest:
    """Answers requests."""

    def __init__(
        self,
        exchange: WireExchange,
        faults: WireFaults,
        doorman: Doorman,
        tokens: Tokens,
        permissions: frozenset[str],
    ) -> None:
        self._exchange = exchange
        self._faults = faults
        self._doorman = doorman
        self._tokens = tokens
        self._permissions = permissions
        self._rows = Rows(exchange.names, exchange.registry)
        self.is_stopping = False

    async def public(self, request: web.Request) -> web.StreamResponse:
        """Answer a public request."""
        endpoint = request.match_info["endpoint"]
        lost = self._faults.strike("request_lost", endpoint)
        if lost is not None:
            return await self._lose(request, lost)
        parameters = dict(request.query) | await _parameters(request)
        answered = self._faults.strike_any(ANSWERED, endpoint)
        if answered is not None:
            return self._faulty(answered)
        serve = PUBLIC.get(endpoint)
        if serve is None:
            return _error(UNKNOWN_METHOD)
        try:
            answer = _result(serve(self._exchange, parameters))
        except RefusedError as refusal:
            answer = _error(refusal.text)
        return await self._after(request, endpoint, answer)

    async def private(self, request: web.Request) -> web.StreamResponse:
        """Answer a private request."""
        endpoint = request.match_info["endpoint"]
        lost = self._faults.strike("request_lost", endpoint)
        if lost is not None:
            return await self._lose(request, lost)
        arrived_us = self._exchange.now_us()
        parameters = await _parameters(request)
        try:
            key = await self._admit(request, parameters)
            self._exchange.limits.charge_rest(key, endpoint, arrived_us)
        except RefusedError as refusal:
            return _error(refusal.text)
        answered = self._faults.strike_any(ANSWERED, endpoint)
        if answered is not None and not answered.placed:
            return self._faulty(answered)
        late = self._faults.strike("delay", endpoint)
        if late is not None and late.before:
            await self._wait(request, late, arrived_us)
        answer = self._carry_out(endpoint, parameters, arrived_us)
        if answered is not None:
            return self._faulty(answered)
        if late is not None and not late.before:
            await self._wait(request, late, arrived_us)
        return await self._after(request, endpoint, answer)

    async def _admit(self, request: web.Request, parameters: Mapping[str, Any]) -> str:
        """Return the key behind a request. Raises RefusedError."""
        headers = request.headers
        key, signature = headers.get("API-Key", ""), headers.get("API-Sign", "")
        if not key:
            raise RefusedError(INVALID_KEY)
        nonce = str(parameters.get("nonce", ""))
        return self._doorman.admit(request.path, key, signature, nonce, await request.read()).key

    def _carry_out(self, endpoint: str, parameters: Mapping[str, Any], arrived_us: int) -> web.Response:
        try:
            return _result(self._served(endpoint, parameters, arrived_us))
        except RefusedError as refusal:
            state = STATE_BEHIND.get(refusal.text)
            if state is not None and self._faults.state() == state:
                self._faults.turned_away(state)
            return _error(refusal.text)

    def _served(self, endpoint: str, parameters: Mapping[str, Any], arrived_us: int) -> Any:
        now_us = self._exchange.now_us()
        needed = NEEDED.get(endpoint)
        if needed is not None and self._permissions.isdisjoint(needed):
            raise RefusedError(PERMISSION_DENIED)
        if endpoint == "GetWebSocketsToken":
            return {"token": self._tokens.give(now_us), "expires": VALID_S}
        if endpoint == "GetApiKeyInfo":
            return {"permissions": sorted(self._permissions)}
        if endpoint in WITHDRAWING:
            return []
        serve = PRIVATE.get(endpoint)
        if serve is None:
            raise RefusedError(UNKNOWN_METHOD)
        if self._exchange.status == MAINTENANCE:
            raise RefusedError(UNAVAILABLE)
        return serve(self._request(endpoint, parameters, arrived_us, now_us))

    def _request(self, endpoint: str, parameters: Mapping[str, Any], arrived_us: int, now_us: int) -> Request:
        lag = None if endpoint in TRADING else self._faults.strike("rest_lag", endpoint)
        lag_us = 0 if lag is None else int((lag.seconds or LAG_S) * SECOND_US)
        share = self._faults.strike("first_share", endpoint) if endpoint == "AddOrder" else None
        return Request(
            parameters=parameters,
            exchange=self._exchange,
            rows=self._rows,
            now_us=now_us,
            arrived_us=arrived_us,
            until_us=now_us - lag_us,
            first_share_pct=None if share is None else share.share_pct,
        )

    # What goes wrong ------------------------------------------------------------------------------

    async def _after(self, request: web.Request, endpoint: str, answer: web.Response) -> web.StreamResponse:
        lost = self._faults.strike("answer_lost", endpoint)
        return answer if lost is None else await self._lose(request, lost)

    def _faulty(self, rule: Rule) -> web.Response:
        if rule.fault == "http_error":
            return web.Response(status=rule.status, text=PAGE.format(status=rule.status), content_type="text/html")
        return _error(error_text(rule, self._exchange.now_us() // SECOND_US))

    async def _lose(self, request: web.Request, rule: Rule) -> web.Response:
        """Answer nothing: reset the connection, or hold it until the client gives up."""
        if rule.how == RESET and request.transport is not None:
            request.transport.abort()
        while _is_there(request) and not self.is_stopping:  # noqa: ASYNC110 - Nobody tells when a client goes.
            await asyncio.sleep(1 / LOOKS_PER_S)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)

    async def _wait(self, request: web.Request, rule: Rule, since_us: int) -> None:
        """Let the exchange's clock run so far; whether the client is still there makes no difference to the deed."""
        due_us = since_us + int((rule.seconds or DELAY_S) * SECOND_US)
        while self._exchange.now_us() < due_us and not self.is_stopping:
            if not rule.before and not _is_there(request):
                return
            await asyncio.sleep(1 / LOOKS_PER_S)


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _parameters(request: web.Request) -> dict[str, Any]:
    """Return what a body says, as a form or as JSON."""
    if request.content_type != "application/json":
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    body = await request.read()
    try:
        read = decode(body) if body else {}
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _result(result: Any) -> web.Response:
    return web.Response(text=encode({"error": [], "result": result}), content_type="application/json")


def _error(text: str) -> web.Response:
    return web.Response(text=encode({"error": [text]}), content_type="application/json")

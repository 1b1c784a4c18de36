"""One wide log line and two metrics for each request. No bodies, query strings, tickets or tokens."""

import time
from typing import Any

import structlog
from carillon_shared.telemetry import metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.request_notes import notes_of

# Probes and scrapes come every few seconds and say nothing.
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_UNKNOWN_ROUTE = "none"

log = structlog.get_logger(__name__)


class RequestLog:
    """ASGI middleware; the outermost of ours, so that it sees how every request ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and record how it ended."""
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            _record(dict(scope), status or 500, time.perf_counter() - started)


def _record(scope: dict[str, Any], status: int, seconds: float) -> None:
    route = _template(scope)
    method = scope["method"] if route != _UNKNOWN_ROUTE else "other"
    metrics.HTTP_REQUESTS.labels(route, method, str(status)).inc()
    metrics.HTTP_SECONDS.labels(route).observe(seconds)
    log.info(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        ms=round(seconds * 1000, 2),
        **_caller(scope.get("carillon.caller")),
        **notes_of(scope),
    )


def _template(scope: dict[str, Any]) -> str:
    """Return the route with its parameters' names, never their values."""
    template: str | None = getattr(scope.get("route"), "path_format", None)
    return template or _UNKNOWN_ROUTE


def _caller(caller: Any) -> dict[str, str]:
    if caller is None:
        return {}
    key_id = getattr(caller, "key_id", None)
    return {"tenant": caller.tenant, "key": key_id} if key_id else {"tenant": caller.tenant}

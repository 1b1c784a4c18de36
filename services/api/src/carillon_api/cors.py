"""Calls from other origins: recipient routes, exact origins of the tenant, never `*` (WHATWG Fetch, 3.2)."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from carillon_api.errors import forbidden
from carillon_api.services import Services, services_of

_PATHS = ("/v1/inbox", "/v1/me/")
_MAX_AGE = "600"
_METHODS = "GET, POST, PUT, PATCH, DELETE"
_ALLOWED_HEADERS = "Authorization, Last-Event-ID, Content-Type"
_EXPOSED_HEADERS = "Retry-After"


class RecipientCors:
    """ASGI middleware. The answer to a call checks its own tenant's list, found by its credential."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")
        if scope["method"] == "OPTIONS" and origin is not None:
            await self._preflight(scope, receive, send, origin)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                await _add_headers(message, scope, origin)
            await send(message)

        await self._app(scope, receive, sent)

    async def _preflight(self, scope: Scope, receive: Receive, send: Send, origin: str) -> None:
        services = services_of(HTTPConnection(scope))
        if not await services.listed_origins.is_listed(origin):
            problem = forbidden("No tenant has listed this origin.")
            problem.headers = {"Vary": "Origin"}
            await problem.response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": _preflight_headers(origin)})
        await send({"type": "http.response.body", "body": b""})


async def _add_headers(message: Message, scope: Scope, origin: str | None) -> None:
    headers = MutableHeaders(raw=message.setdefault("headers", []))
    headers.add_vary_header("Origin")
    if origin is not None and await _may_read(services_of(HTTPConnection(scope)), scope, origin):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS


async def _may_read(services: Services, scope: Scope, origin: str) -> bool:
    caller = scope.get("carillon.caller")
    if caller is None:  # a 401 says nothing of any tenant, and a page must be able to tell it from a failure
        return bool(await services.listed_origins.is_listed(origin))
    tenant = await services.tenants.find(caller.tenant)
    return tenant is not None and origin in tenant.origins


def _preflight_headers(origin: str) -> list[tuple[bytes, bytes]]:
    values = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": _ALLOWED_HEADERS,
        "access-control-max-age": _MAX_AGE,
        "vary": "Origin",
    }
    return [(name.encode(), value.encode("latin-1")) for name, value in values.items()]

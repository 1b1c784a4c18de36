"""Nobody gets anything from the API without a credential, but for what is listed here."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from carillon_api.app import ROUTERS, make_app
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.unsubscribe import MailingOf, sign_mailing
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.routing import BaseRoute, Route

PUBLIC = {
    "/",
    "/demo",
    "/demo/{name}",
    "/static/carillon-inbox.js",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/livez",
    "/readyz",
    "/metrics",
}
"""Pages, descriptions and probes: the same for everybody, and nothing of any tenant."""

BY_SIGNATURE = {
    ("POST", "/v1/receipts/whatsapp/{tenant}"): 401,
    ("GET", "/v1/receipts/whatsapp/{tenant}"): 403,
    ("POST", "/v1/receipts/email/{tenant}"): 401,
}
"""Routes of providers, which have no key of ours, and what they answer to somebody who is none: the body is
signed with a secret that we share, or the query carries a token that we gave."""

BY_LINK = {(method, "/v1/unsubscribe/{token}") for method in ("GET", "HEAD", "POST")}
"""Routes of people who have no account with us: the link in their mail is signed (RFC 8058)."""

CREDENTIALS = {
    "none": None,
    "an empty one": "",
    "another scheme": "Basic dTpw",
    "no key after the scheme": "Bearer ",
    "an unknown key": "Bearer ck_0000000000000000_secret",
    "a token nobody signed": "Bearer e30.e30.e30",
}


def _routes(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return (method, path) of every route; included routers are kept whole by FastAPI."""
    for route in routes:
        inner: Any = getattr(route, "original_router", None)
        if inner is not None:
            yield from _routes(inner.routes, prefix + route.include_context.prefix)  # type: ignore[attr-defined]  # of FastAPI's own class
        else:
            assert isinstance(route, Route), f"{route!r} is of a kind this test does not know"
            yield from ((method, prefix + route.path) for method in sorted(route.methods or ()))


class _Nobody:
    """Knows no credential."""

    async def authenticate(self, _credential: str) -> None:
        return None


def _app() -> FastAPI:
    """Return the application with nothing behind it but the parts that look at credentials."""
    app = make_app()
    settings = SimpleNamespace(
        api_whatsapp_app_secret=SecretStr("app secret"),
        api_whatsapp_verify_token=SecretStr("verify token"),
        api_bounce_secret=SecretStr("bounce secret"),
    )
    app.state.services = SimpleNamespace(api_keys=_Nobody(), subscriber_tokens=_Nobody(), settings=settings)
    return app


ROUTES = sorted(set(_routes(make_app().routes)))
PRIVATE = [
    (method, path)
    for method, path in ROUTES
    if path not in PUBLIC and (method, path) not in BY_LINK | set(BY_SIGNATURE)
]


def test_every_route_is_seen_here() -> None:
    described = {
        (method.upper(), path) for path, item in make_app().openapi()["paths"].items() for method in item
    }
    assert described - set(ROUTES) == set()
    assert set(BY_SIGNATURE) <= set(ROUTES)
    assert set(ROUTES) >= BY_LINK
    others = len(PUBLIC) + len(BY_SIGNATURE) + len(BY_LINK)
    assert len(PRIVATE) >= sum(len(router.routes) for router in ROUTERS) - others


def test_every_public_route_exists_and_only_reads() -> None:
    assert {path for _, path in ROUTES} >= PUBLIC
    assert {method for method, path in ROUTES if path in PUBLIC} <= {"GET", "HEAD"}


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
async def test_every_other_route_answers_401(credential: str | None) -> None:
    transport = httpx2.ASGITransport(app=_app())
    headers = {} if credential is None else {"Authorization": credential}
    answered = {}
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as http:
        for method, path in PRIVATE:
            response = await http.request(method, _filled(path))
            answered[method, path] = response.status_code
            assert response.headers.get("www-authenticate", "").startswith("Bearer"), (method, path)
    assert {route: status for route, status in answered.items() if status != 401} == {}


_BODY = b'{"entry": []}'


def _signature(body: bytes, secret: str) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": _signature(_BODY, "another secret")},
        {"X-Hub-Signature-256": _signature(_BODY + b" ", "app secret")},
        {"X-Hub-Signature-256": _signature(_BODY, "app secret").removeprefix("sha256=")},
        {"Authorization": "Bearer ck_0000000000000000_secret"},
        {"X-Hub-Signature-256": "sha256=\u00e9".encode("latin-1")},
        {"X-Carillon-Signature": _signature(_BODY, "app secret")},
        {"X-Carillon-Signature": "sha256=\u00e9".encode("latin-1")},
    ],
)
@pytest.mark.parametrize("query", ["", "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong"])
async def test_a_provider_without_the_shared_secret_gets_and_changes_nothing(
    headers: dict[str, str], query: str
) -> None:
    transport = httpx2.ASGITransport(app=_app())  # with nothing behind it that could be read or written
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as http:
        for (method, path), status in BY_SIGNATURE.items():
            response = await http.request(method, _filled(path) + query, content=_BODY)
            assert response.status_code == status, (method, path)
            assert response.headers["content-type"] == "application/problem+json"


async def test_a_link_that_nobody_signed_opens_nothing() -> None:
    app = _app()  # with nothing behind it that could be read or written
    app.state.services.settings.unsubscribe_secret = SecretStr("s" * 32)
    transport = httpx2.ASGITransport(app=app)
    signed = sign_mailing(MailingOf("acme", 1, Channel.EMAIL, "tickets", "a.b"), b"another secret" * 4)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api.test") as http:
        for method, path in sorted(BY_LINK):
            for token in ("x", signed, signed[:-2], "%00", "é"):
                response = await http.request(method, path.replace("{token}", token))
                assert response.status_code == 404, (method, token)


def test_every_described_route_names_its_kind_of_credential() -> None:
    document = make_app().openapi()
    assert set(document["components"]["securitySchemes"]) == {
        "ApiKey",
        "BounceSignature",
        "SubscriberToken",
        "WhatsappSignature",
        "WhatsappVerifyToken",
    }
    bare = [
        (method, path)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path not in PUBLIC and not operation.get("security") and (method.upper(), path) not in BY_LINK
    ]
    assert bare == []


def _filled(path: str) -> str:
    """Return an address that the route takes: path parameters are checked before a caller is."""
    return path.replace("{channel}", Channel.EMAIL).replace("{", "").replace("}", "")

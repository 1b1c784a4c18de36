"""What routes ask for before they run: who calls, and whether they may."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from carillon_api.authentication.callers import ApiKey, SubscriberToken
from carillon_api.errors import Problem, forbidden, unauthorized
from carillon_api.services import Services, services_of

_KEY_PREFIX = "ck_"

api_key_scheme = HTTPBearer(
    scheme_name="ApiKey", description="An API key, `ck_<key id>_<secret>`.", auto_error=False
)
subscriber_scheme = HTTPBearer(
    scheme_name="SubscriberToken",
    description="A subscriber token, from `POST /v1/subscribers/{id}/tokens`.",
    bearerFormat="JWT",
    auto_error=False,
)


def get_services(request: Request) -> Services:
    """Return the parts of the running API."""
    return services_of(request)


async def authenticate_key(request: Request, scope: str) -> ApiKey:
    """Return the service that calls.

    Raises `Problem`: 401 without a valid credential, 403 for a key without `scope` or a person's token.
    """
    services, credential = services_of(request), _bearer(request)
    if not credential.startswith(_KEY_PREFIX):
        if await services.subscriber_tokens.authenticate(credential):
            raise forbidden("This needs an API key; a subscriber token was given.")
        raise _invalid_credential()
    caller = await services.api_keys.authenticate(credential)
    if caller is None:
        raise _invalid_credential()
    request.scope["carillon.caller"] = caller
    if not caller.allows(scope):
        raise forbidden(f"This needs a key with the scope {scope}.")
    return caller


def require_scope(scope: str) -> Callable[[Request], Awaitable[ApiKey]]:
    """Return a dependency that gives the calling `ApiKey` if it carries `scope`, and else 401 or 403."""

    async def authenticated(
        request: Request, _documented: Annotated[object, Depends(api_key_scheme)]
    ) -> ApiKey:
        return await authenticate_key(request, scope)

    return authenticated  # type: ignore[return-value]  # FastAPI fills the second parameter


async def current_subscriber(
    request: Request, _documented: Annotated[object, Depends(subscriber_scheme)] = None
) -> SubscriberToken:
    """Return the person who calls. Raises `Problem`: 401, or 403 for an API key."""
    services, credential = services_of(request), _bearer(request)
    if credential.startswith(_KEY_PREFIX):
        if await services.api_keys.authenticate(credential):
            raise forbidden("This needs a subscriber token; an API key was given.")
        raise _invalid_credential()
    caller = await services.subscriber_tokens.authenticate(credential)
    if caller is None:
        raise _invalid_credential()
    request.scope["carillon.caller"] = caller
    return caller


def _bearer(request: Request) -> str:
    """Return the credential of the Authorization header (RFC 6750, section 2.1)."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise unauthorized("Send `Authorization: Bearer <key or token>`.")
    return credential


def _invalid_credential() -> Problem:
    problem = unauthorized("The credential is unknown, wrong or expired.")
    problem.headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return problem

"""`/v1/unsubscribe`: the signature in the link is the credential. Reading it changes nothing (RFC 8058)."""

from typing import Annotated, Any
from urllib.parse import parse_qs

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.unsubscribe import MailingOf, read_mailing
from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import HTMLResponse

from carillon_api.authentication.callers import Tenant
from carillon_api.dependencies import get_services
from carillon_api.intake.json_body import read_body
from carillon_api.request_notes import note
from carillon_api.services import Services
from carillon_api.unsubscribing.page import asking_page, done_page, gone_page
from carillon_api.unsubscribing.storage import find_reader, leave
from carillon_api.unsubscribing.wishes import Scope, is_mixed

router = APIRouter(prefix="/v1/unsubscribe", tags=["Recipient"])

_MAX_FORM_BYTES = 2_000
_PAGES: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people.", "content": {"text/html": {}}},
    404: {"description": "Nobody here has signed this link.", "content": {"text/html": {}}},
}

Parts = Annotated[Services, Depends(get_services)]
Token = Annotated[str, Path(max_length=1_000, description="Signed, as the mail has it.")]


@router.head("/{token}", include_in_schema=False)
@router.get(
    "/{token}",
    operation_id="askUnsubscribe",
    response_class=HTMLResponse,
    responses=_PAGES,
)
async def ask_unsubscribe(token: Token, services: Parts) -> HTMLResponse:
    """Show what the link is about, and a button. Programs that look into links change nothing."""
    found = await _mailing(services, token)
    if found is None:
        return gone_page()
    mailing, tenant = found
    async with tenant_transaction(services.pool, tenant.id) as connection:
        reader = await find_reader(connection, mailing.subscriber)
    if reader is None:
        return gone_page()
    return asking_page(
        tenant=reader.tenant,
        category=mailing.category,
        locale=reader.locale,
        scopes=[Scope.ALL] if is_mixed(mailing) else list(Scope),
    )


@router.post(
    "/{token}",
    operation_id="unsubscribe",
    response_class=HTMLResponse,
    responses=_PAGES,
)
async def unsubscribe(token: Token, request: Request, services: Parts) -> HTMLResponse:
    """Opt out of the mail's category, at once and without a question; with `scope=all`, of all mail.

    A digest of several types has no category of its own: leaving it is leaving all mail. Mail programs post
    `List-Unsubscribe=One-Click` (RFC 8058). Posting it again changes nothing.
    """
    form = await read_body(request, limit=_MAX_FORM_BYTES)
    found = await _mailing(services, token)
    if found is None:
        return gone_page()
    mailing, tenant = found
    async with tenant_transaction(services.pool, tenant.id) as connection:
        reader = await find_reader(connection, mailing.subscriber)
        if reader is None:
            return gone_page()
        scope = Scope.ALL if is_mixed(mailing) else _scope(form)
        await leave(connection, mailing, scope, tenant_id=tenant.id)
    note(request, unsubscribed=scope.value)
    return done_page(locale=reader.locale)


async def _mailing(services: Services, token: str) -> tuple[MailingOf, Tenant] | None:
    secret = services.settings.unsubscribe_secret
    mailing = read_mailing(token, secret.get_secret_value().encode()) if secret else None
    tenant = await services.tenants.find(mailing.tenant) if mailing else None
    return (mailing, tenant) if mailing and tenant else None


def _scope(form: bytes) -> Scope:
    given = parse_qs(form.decode("latin-1")).get("scope", [])
    return Scope.ALL if given == [Scope.ALL.value] else Scope.CATEGORY

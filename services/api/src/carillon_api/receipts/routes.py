"""`/v1/receipts`: where providers report. They prove who they are by a secret they share with us."""

import hmac
from typing import Annotated

from carillon_shared.domain.channels import Channel
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import APIKeyHeader, APIKeyQuery
from pydantic import SecretStr
from starlette.responses import Response

from carillon_api.dependencies import get_services
from carillon_api.errors import Problem, forbidden, not_found
from carillon_api.intake.json_body import MAX_BATCH_BYTES, read_body
from carillon_api.problem_responses import problems
from carillon_api.receipts.bounces import PROVIDER as BOUNCES_FROM
from carillon_api.receipts.bounces import bounces_in
from carillon_api.receipts.receipt import Report
from carillon_api.receipts.replies import note_replies, replies_in
from carillon_api.receipts.whatsapp import PROVIDER, is_signed, receipts_in
from carillon_api.request_notes import note
from carillon_api.services import Services

router = APIRouter(prefix="/v1/receipts", tags=["Providers"])

SIGNATURE_HEADER = "X-Hub-Signature-256"
BOUNCE_HEADER = "X-Carillon-Signature"
EVERY_TENANT = "-"

signature_scheme = APIKeyHeader(
    name=SIGNATURE_HEADER,
    scheme_name="WhatsappSignature",
    description="`sha256=` and the HMAC-SHA256 of the body with the app's secret, in hexadecimal digits.",
    auto_error=False,
)
bounce_scheme = APIKeyHeader(
    name=BOUNCE_HEADER,
    scheme_name="BounceSignature",
    description="`sha256=` and the HMAC-SHA256 of the body with the bounce secret, in hexadecimal digits.",
    auto_error=False,
)
verify_scheme = APIKeyQuery(
    name="hub.verify_token",
    scheme_name="WhatsappVerifyToken",
    description="The token that was given to Meta with this address.",
    auto_error=False,
)

Parts = Annotated[Services, Depends(get_services)]
TenantSlug = Annotated[
    str,
    Path(
        pattern=r"^(-|[a-z0-9][a-z0-9-]{0,62})$",
        description="Whose deliveries may be reported on; `-` where several tenants share a number.",
    ),
]


@router.get(
    "/whatsapp/{tenant}",
    operation_id="verifyWhatsappReceipts",
    response_class=Response,
    responses=problems() | {200: {"description": "The challenge.", "content": {"text/plain": {}}}},
)
async def verify_whatsapp(
    services: Parts,
    tenant: TenantSlug,
    token: Annotated[str | None, Depends(verify_scheme)],
    mode: Annotated[str, Query(alias="hub.mode", max_length=40)] = "",
    challenge: Annotated[str, Query(alias="hub.challenge", max_length=400)] = "",
) -> Response:
    """Answer Meta's question whether this address expects its webhooks."""
    del tenant
    if mode != "subscribe" or not _is(services.settings.api_whatsapp_verify_token, token):
        raise forbidden("The verify token is wrong, or none is set here.")
    return Response(challenge, media_type="text/plain")


@router.post(
    "/whatsapp/{tenant}",
    operation_id="reportWhatsappReceipts",
    response_class=Response,
    responses=problems(404, 413) | {200: {"description": "Written down.", "content": {}}},
)
async def report_whatsapp(
    request: Request,
    services: Parts,
    tenant: TenantSlug,
    signature: Annotated[str | None, Depends(signature_scheme)],
) -> Response:
    """Take webhooks of the WhatsApp Cloud API: statuses, and what people write; others are passed over.

    `stop` ends messages to a person, `start` lets them come again. Statuses may come twice and in any order.
    A 503 asks for the same again later.
    """
    if signature is None:
        raise _unsigned(f"Send {SIGNATURE_HEADER}.")
    body = await read_body(request, limit=MAX_BATCH_BYTES)
    secret = services.settings.api_whatsapp_app_secret
    if secret is None or not is_signed(body, signature, app_secret=secret.get_secret_value()):
        raise _unsigned("The signature is wrong, or no app secret is set here.")
    tenant_id = await _tenant_id(services, tenant)
    receipts, replies = receipts_in(body), replies_in(body)
    note(request, receipts=len(receipts), replies=len(replies))
    await services.receipts.record(Report(tenant_id, Channel.WHATSAPP, PROVIDER, receipts))
    await note_replies(services.pool, replies, tenant_id=tenant_id)
    return Response(status_code=200)


@router.post(
    "/email/{tenant}",
    operation_id="reportEmailReceipts",
    response_class=Response,
    responses=problems(404, 413) | {200: {"description": "Written down, or passed over.", "content": {}}},
)
async def report_email(
    request: Request,
    services: Parts,
    tenant: TenantSlug,
    signature: Annotated[str | None, Depends(bounce_scheme)],
) -> Response:
    """Take a delivery status notification (RFC 3464) as it came by mail; any other mail is passed over.

    For the mail server that gets what comes back: it pipes each mail here (see `docs/guide/bounces.md`).
    """
    if signature is None:
        raise _unsigned(f"Send {BOUNCE_HEADER}.", header=BOUNCE_HEADER)
    body = await read_body(request, limit=MAX_BATCH_BYTES)
    secret = services.settings.api_bounce_secret
    if secret is None or not is_signed(body, signature, app_secret=secret.get_secret_value()):
        raise _unsigned("The signature is wrong, or no bounce secret is set here.", header=BOUNCE_HEADER)
    tenant_id = await _tenant_id(services, tenant)
    receipts = bounces_in(body)
    note(request, receipts=len(receipts))
    await services.receipts.record(Report(tenant_id, Channel.EMAIL, BOUNCES_FROM, receipts))
    return Response(status_code=200)


async def _tenant_id(services: Services, slug: str) -> int | None:
    """Return the tenant, None for every one. Raises `Problem` 404."""
    if slug == EVERY_TENANT:
        return None
    tenant = await services.tenants.find(slug)
    if tenant is None:
        raise not_found("tenant")
    return tenant.id


def _is(expected: SecretStr | None, given: str | None) -> bool:
    if expected is None or given is None:
        return False
    return hmac.compare_digest(expected.get_secret_value().encode(), given.encode())


def _unsigned(detail: str, *, header: str = SIGNATURE_HEADER) -> Problem:
    return Problem(
        "unauthorized",
        "A valid signature is needed.",
        401,
        detail,
        headers={"WWW-Authenticate": header},
    )

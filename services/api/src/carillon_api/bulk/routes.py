"""`/v1/subscribers:bulk` and `/v1/subscribers:export`."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.records import FileFormat
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.responses import Response

from carillon_api.bulk.exporting import export
from carillon_api.bulk.importing import MAX_BYTES, Import
from carillon_api.bulk.lines import read_lines
from carillon_api.bulk.models import BulkAnswer
from carillon_api.csv_files import MEDIA_TYPES
from carillon_api.dry_run import DryRun
from carillon_api.errors import Problem
from carillon_api.intake.json_body import too_large
from carillon_api.operators import audit
from carillon_api.operators.operation_routes import actor_of
from carillon_api.problem_responses import problems
from carillon_api.request_notes import note
from carillon_api.subscribers.people import Parts, Registrar

router = APIRouter(prefix="/v1", tags=["Subscribers"])

_FORMATS = {
    "application/jsonl": FileFormat.JSONL,
    "application/x-ndjson": FileFormat.JSONL,
    "application/ndjson": FileFormat.JSONL,
    "application/x-jsonlines": FileFormat.JSONL,
    "text/csv": FileFormat.CSV,
}
_TEXT = {"schema": {"type": "string"}}
_BODY = {
    "required": True,
    "description": "At most 50,000 lines and 32 MiB. A line of JSON is a `BulkSubscriber`. A CSV begins with "
    "a header that names its columns: those of a `BulkSubscriber`, and `attributes.NAME` for one attribute, "
    "while others stay. An empty cell is null; roles and topics are separated by semicolons.",
    "content": {
        "application/jsonl": {
            "schema": {"type": "string"},
            "example": '{"id": "u-7", "email": "bat@example.org", "roles": ["support"]}\n',
        },
        "application/x-ndjson": _TEXT,
        "text/csv": {
            "schema": {"type": "string"},
            "example": "id,email,roles,attributes.name\nu-7,bat@example.org,support,Bat\n",
        },
    },
}
_IMPORTED: dict[int | str, dict[str, Any]] = problems(400, 413, 415) | {
    207: {"model": BulkAnswer, "description": "Some lines were refused; the others are stored."}
}
_EXPORTED = problems() | {
    200: {
        "description": "Everybody, as `:bulk` takes them.",
        "content": {"application/jsonl": _TEXT, "text/csv": _TEXT},
    }
}


@router.post(
    "/subscribers:bulk",
    operation_id="importSubscribers",
    response_model=BulkAnswer,
    responses=_IMPORTED,
    openapi_extra={"requestBody": _BODY},
)
async def import_subscribers(
    request: Request, caller: Registrar, services: Parts, dry_run: DryRun
) -> Response:
    """Register many people, or change what is known of them; each line gets an answer.

    What a line leaves out stays as it is, null removes it. Good lines are stored in batches while the body
    arrives, whatever becomes of others. After it broke off the same can be sent again: what is there is
    `unchanged`.
    """
    form = _format_of(request)
    done = Import(services, tenant_id=caller.tenant_id, dry_run=dry_run)
    answer = await done.run(read_lines(_bounded(request), form))
    note(request, **done.counts)
    status = 207 if done.counts["refused"] else 200
    return Response(answer, status, media_type="application/json")


@router.get(
    "/subscribers:export",
    operation_id="exportSubscribers",
    responses=_EXPORTED,
    response_class=StreamingResponse,
)
async def export_subscribers(
    caller: Registrar,
    services: Parts,
    form: Annotated[FileFormat, Query(alias="format")] = FileFormat.JSONL,
) -> StreamingResponse:
    """Export everybody with addresses, roles, topics and preferences; the audit says who did."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        await audit.note(
            connection,
            tenant_id=caller.tenant_id,
            actor=actor_of(caller),
            action="subscribers.exported",
            target="subscribers",
            reason=None,
            details={"format": form.value},
        )
    return StreamingResponse(
        export(services, tenant_id=caller.tenant_id, form=form),
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="subscribers.{form.value}"',
            "Cache-Control": "no-store",
        },
    )


def _format_of(request: Request) -> FileFormat:
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    form = _FORMATS.get(media_type.strip())
    other_charset = "charset" in parameters and "utf-8" not in parameters
    encoded = request.headers.get("content-encoding", "identity").lower() != "identity"
    if form is None or other_charset or encoded:
        detail = "Send text/csv or application/jsonl, in UTF-8 and without a content encoding."
        raise Problem("unsupported-media-type", "This kind of content is not taken here.", 415, detail)
    return form


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives. Raises `Problem` 413 as soon as it is known to be too long."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BYTES:
        raise too_large(MAX_BYTES)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BYTES:
            raise too_large(MAX_BYTES)
        yield piece

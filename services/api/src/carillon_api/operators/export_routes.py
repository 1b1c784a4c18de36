"""`/v1/admin/dead-letters:export`."""

from dataclasses import asdict
from typing import Annotated

from carillon_shared.db.pool import tenant_transaction
from carillon_shared.domain.records import FileFormat
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from carillon_api.authentication.callers import ApiKey
from carillon_api.csv_files import MEDIA_TYPES
from carillon_api.dependencies import get_services, require_scope
from carillon_api.operators import audit
from carillon_api.operators.exporting import export
from carillon_api.operators.models import DeadLetterSelection
from carillon_api.operators.operation_routes import actor_of
from carillon_api.operators.routes import dead_letter_filter
from carillon_api.operators.storage import DeadLetterFilter
from carillon_api.problem_responses import problems
from carillon_api.services import Services

router = APIRouter(prefix="/v1/admin", tags=["Operators"])

_ANSWERS = problems() | {
    200: {
        "description": "The file, newest first.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/jsonl": {"schema": {"type": "string"}},
        },
    }
}


@router.get(
    "/dead-letters:export",
    operation_id="exportDeadLetters",
    responses=_ANSWERS,
    response_class=StreamingResponse,
)
async def export_dead_letters(
    *,
    caller: Annotated[ApiKey, Depends(require_scope("operator"))],
    services: Annotated[Services, Depends(get_services)],
    wanted: Annotated[DeadLetterFilter, Depends(dead_letter_filter)],
    form: Annotated[FileFormat, Query(alias="format")] = FileFormat.CSV,
    reveal: Annotated[bool, Query(description="With addresses as they are.")] = False,
) -> StreamingResponse:
    """Export dead letters as CSV or JSON lines. Who did it, and whether with addresses, is in the audit."""
    chosen = DeadLetterSelection(**asdict(wanted)).chosen()
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        await audit.note(
            connection,
            tenant_id=caller.tenant_id,
            actor=actor_of(caller),
            action="dead_letters.exported",
            target="dead-letters",
            reason=None,
            details={"filter": chosen, "format": form.value, "revealed": reveal},
        )
    return StreamingResponse(
        export(services, wanted, tenant_id=caller.tenant_id, form=form, reveal=reveal),
        media_type=MEDIA_TYPES[form],
        headers={
            "Content-Disposition": f'attachment; filename="dead-letters.{form.value}"',
            "Cache-Control": "no-store",
        },
    )

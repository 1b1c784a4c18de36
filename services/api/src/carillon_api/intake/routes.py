"""`POST /v1/events`."""

from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from carillon_api.dependencies import authenticate_key
from carillon_api.errors import Problem
from carillon_api.intake.completion import Circumstances
from carillon_api.intake.openapi import POST_EVENTS
from carillon_api.intake.requests import idempotency_key, read_events, traceparent
from carillon_api.intake.service import Answer
from carillon_api.request_notes import note
from carillon_api.services import services_of

router = APIRouter(tags=["Events"])


# The body is read here and not by FastAPI: five forms of it share this route, and the limits on its size hold
# before it is in memory.
@router.post("/v1/events", status_code=202, **POST_EVENTS)
async def post_events(request: Request) -> Response:
    """Accept one event or a batch. A 202 means that it is committed: it will be delivered, or say why not."""
    services = services_of(request)
    caller = await authenticate_key(request, "events:write")
    submitted = await read_events(request)
    at = Circumstances(
        caller=caller,
        now=services.clock.now(),
        traceparent=traceparent(request.headers),
        default_id=idempotency_key(request.headers),
    )
    answers = await services.intake.accept(submitted.events, at)
    note(request, events=len(answers))
    return _batch(answers) if submitted.is_batch else _single(answers[0])


def _single(answer: Answer) -> Response:
    if isinstance(answer, Problem):
        raise answer
    return Response(orjson.dumps(answer), 202, media_type="application/json")


def _batch(answers: list[Answer]) -> Response:
    data = [_item(place, answer) for place, answer in enumerate(answers)]
    status = 207 if any(isinstance(answer, Problem) for answer in answers) else 202
    return Response(orjson.dumps({"data": data}), status, media_type="application/json")


def _item(place: int, answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Problem):
        problem = answer.document()
        return {"index": place, "id": None, "status": "refused", "duplicate": False, "problem": problem}
    return {"index": place, **answer}

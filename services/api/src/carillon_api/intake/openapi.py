"""How `POST /v1/events` is described; its body is read by hand, so FastAPI cannot know."""

from typing import Any

from pydantic import BaseModel, Field

from carillon_api.intake.models import EXAMPLE, EventBody
from carillon_api.problem_responses import ProblemDocument, problems

_SCHEMA = {"$ref": "#/components/schemas/EventBody"}
_CLOUDEVENT = {
    "specversion": "1.0",
    "type": "ticket.status_changed",
    "source": "/helpdesk",
    "id": "chg-9131",
    "subject": "ticket/42",
    "time": "2026-11-21T10:00:00Z",
    "datacontenttype": "application/json",
    "data": {"ticket_id": 42, "old_status": "open", "new_status": "solved", "owner": "u-7"},
}


class AcceptedEvent(BaseModel):
    """An event that is committed."""

    id: str = Field(description="Our id of the event, a UUID; use it in `GET /v1/events/{id}`.")
    status: str = Field(
        description="`accepted`; `scheduled` when it has a `deliver_at` to come; `pending_approval` when its "
        "type asks for that."
    )
    duplicate: bool = Field(description="True when the same event had been accepted before.")


class BatchItem(AcceptedEvent):
    """The answer for one event of a batch."""

    index: int = Field(description="Its place in the request, from 0.")
    id: str | None  # type: ignore[assignment]  # an event that is refused has none
    problem: ProblemDocument | None = None


class BatchAnswer(BaseModel):
    """The answers for a batch, in its order."""

    data: list[BatchItem]


MODELS: tuple[type[BaseModel], ...] = (EventBody, AcceptedEvent, BatchAnswer, ProblemDocument)
"""Models that only hand-written parts of the description refer to."""

_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [_SCHEMA, {"type": "array", "maxItems": 1000, "items": _SCHEMA}]},
            "examples": {
                "one": {"summary": "One event", "value": EXAMPLE},
                "batch": {"summary": "Several events", "value": [EXAMPLE]},
                "message": {
                    "summary": "The built-in type `message`",
                    "value": {
                        "type": "message",
                        "data": {"title": "Maintenance tonight", "body": "From 22:00 to 23:00 UTC."},
                        "audience": {"everyone": True},
                    },
                },
            },
        },
        "application/cloudevents+json": {
            "schema": {"type": "object", "description": "A CloudEvent 1.0 in structured mode."},
            "example": _CLOUDEVENT,
        },
        "application/cloudevents-batch+json": {
            "schema": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
            "example": [_CLOUDEVENT],
        },
    },
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Stands in for the `id` of an event that has none.",
}

_ANSWER = {"schema": {"$ref": "#/components/schemas/AcceptedEvent"}}
_BATCH_ANSWER = {"schema": {"$ref": "#/components/schemas/BatchAnswer"}}

POST_EVENTS: dict[str, Any] = {
    "operation_id": "postEvents",
    "summary": "Accept events",
    "openapi_extra": {"security": [{"ApiKey": []}], "requestBody": _BODY, "parameters": [_IDEMPOTENCY_KEY]},
    "responses": {
        **problems(400, 409, 413, 415, 429),
        202: {
            "description": "Committed.",
            "content": {
                "application/json": {"schema": {"oneOf": [_ANSWER["schema"], _BATCH_ANSWER["schema"]]}}
            },
        },
        207: {
            "description": "Some events of the batch were refused; the others are committed.",
            "content": {"application/json": _BATCH_ANSWER},
        },
    },
}
"""Arguments of the route."""

ONE_EVENT: dict[str, Any] = {
    "operation_id": "explainUnsentEvent",
    "summary": "Explain an event before it is sent",
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _SCHEMA, "example": EXAMPLE},
                "application/cloudevents+json": _BODY["content"]["application/cloudevents+json"],  # type: ignore[index]  # a plain dict
            },
        }
    },
    "responses": problems(400, 413, 415),
}
"""Arguments of the route of the dry run."""

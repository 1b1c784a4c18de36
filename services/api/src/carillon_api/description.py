"""The API's description of itself, OpenAPI 3.1."""

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from carillon_api.bulk.models import BulkSubscriber
from carillon_api.intake.openapi import MODELS
from carillon_api.problem_responses import problems

DESCRIPTION = (
    "Accepts events, works out who should hear about them, and shows what became of each. "
    "Errors are `application/problem+json` (RFC 9457)."
)
TAGS = [
    {"name": "Events", "description": "What producers send, and what became of it."},
    {"name": "Schedules", "description": "Events that come again and again."},
    {"name": "Deliveries", "description": "One event to one person over one channel."},
    {"name": "Statistics", "description": "How much was sent, and how fast."},
    {"name": "Registry", "description": "Event types and their templates."},
    {"name": "Webhooks", "description": "Where product services are told what became of deliveries."},
    {"name": "Subscribers", "description": "The people who can be addressed, their roles and topics."},
    {"name": "Tenant", "description": "Defaults and origins of the tenant."},
    {"name": "Producer", "description": "Signals to connected clients."},
    {"name": "Providers", "description": "Where providers report what became of messages."},
    {"name": "Operators", "description": "What waits for a person."},
    {
        "name": "Recipient",
        "description": "A person's own feed, stream and settings, with a subscriber token.",
    },
]
_REFERENCE = "#/components/schemas/{model}"
# FastAPI's own form of a 422, which is never sent.
_NOT_OURS = ("HTTPValidationError", "ValidationError")
_METHODS = ("get", "put", "post", "patch", "delete")


def describe(app: FastAPI) -> None:
    """Complete the generated description: what routes that read their own bodies refer to, and problems."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            _add_models(document)
            _declare_problems(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending it


def operation_id(route: APIRoute) -> str:
    """Return the name of a route for generated clients: that of its function, as `getEvent`."""
    first, *others = route.name.split("_")
    own = ["my"] if route.path_format.startswith("/v1/me/") else []
    return first + "".join(word.capitalize() for word in own + others)


def openapi_text(app: FastAPI) -> str:
    """Return the description as it is committed: keys sorted, one final line end."""
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def _add_models(document: dict[str, Any]) -> None:
    models: tuple[type[BaseModel], ...] = (*MODELS, BulkSubscriber)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(name, schema)


def _declare_problems(document: dict[str, Any]) -> None:
    """Every route of version 1 can end in these, whoever wrote it."""
    usual = {str(status): response for status, response in problems().items()}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if path.startswith("/v1/") and method in operations:
                _declare_usual(operations[method], usual)
    for name in _NOT_OURS:
        document["components"]["schemas"].pop(name, None)


def _declare_usual(operation: dict[str, Any], usual: dict[str, Any]) -> None:
    responses = operation["responses"]
    if not operation.get("security"):
        usual = {status: response for status, response in usual.items() if status not in {"401", "403"}}
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for status, response in usual.items():
        responses.setdefault(status, response)

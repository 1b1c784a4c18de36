"""The API's description of itself, OpenAPI 3.1."""

from typing import Any

import orjson
from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from carillon_api.intake.openapi import MODELS

DESCRIPTION = (
    "Accepts events, works out who should hear about them, and shows what became of each. "
    "Errors are `application/problem+json` (RFC 9457)."
)
TAGS = [
    {"name": "events", "description": "What producers send, and what became of it."},
    {"name": "deliveries", "description": "One event to one person over one channel."},
]
_REFERENCE = "#/components/schemas/{model}"


def describe(app: FastAPI) -> None:
    """Complete the generated description with what routes that read their own bodies refer to."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generated()
            _add_models(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for extending it


def openapi_text(app: FastAPI) -> str:
    """Return the description as it is committed: keys sorted, one final line end."""
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def _add_models(document: dict[str, Any]) -> None:
    _, definitions = models_json_schema([(model, "validation") for model in MODELS], ref_template=_REFERENCE)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name, schema in definitions["$defs"].items():
        schemas.setdefault(schema.get("title", name) if name in _RENAMED else name, schema)


_RENAMED = frozenset({"EventBody", "ProblemDocument"})

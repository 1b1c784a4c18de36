"""Problem responses as OpenAPI declares them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from carillon_api.errors import PROBLEM_MEDIA_TYPE


class ProblemError(BaseModel):
    """What is wrong with one part of the request."""

    pointer: str | None = Field(default=None, description="JSON pointer (RFC 6901) into the body.")
    parameter: str | None = Field(default=None, description="Name of a query, path or header parameter.")
    detail: str


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 describes it."""

    model_config = ConfigDict(
        title="Problem",
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:carillon:problem:invalid-content",
                    "title": "The request has invalid content.",
                    "status": 422,
                    "errors": [{"pointer": "/audience/users/0", "detail": "Input should be a valid string"}],
                }
            ]
        },
    )

    type: str = Field(description="A URN that stays the same for ever: `urn:carillon:problem:<slug>`.")
    title: str
    status: int
    detail: str | None = None
    errors: list[ProblemError] = []


_MEANINGS = {
    400: "The request cannot be read.",
    401: "A valid credential is needed.",
    403: "The credential does not allow this.",
    404: "There is none, or it is another tenant's.",
    409: "Something that is there already stands in the way.",
    413: "The content is too large.",
    415: "This kind of content is not taken here.",
    422: "The content is understood and refused; `errors` names every fault.",
    429: "A limit is reached; `Retry-After` says how many seconds to wait.",
    503: "Nothing was done, the same can succeed later; `Retry-After` says when to try.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can answer with these, besides 401, 403, 422 and 503."""
    return {
        status: {
            "description": _MEANINGS[status],
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in sorted({401, 403, 422, 503, *statuses})
    }

"""Errors as RFC 9457 problem documents, `application/problem+json`."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import orjson
import structlog
from carillon_shared.db.transient import DATABASE_ERRORS, is_transient
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PROBLEM_MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
_SLUGS = {404: "not-found", 405: "method-not-allowed", 408: "too-slow", 413: "too-large"}

log = structlog.get_logger(__name__)


class FieldError(TypedDict, total=False):
    """What is wrong with one part of the request; never repeats the value."""

    pointer: str  # RFC 6901, into the body
    parameter: str  # of the query, path or header
    detail: str


class Problem(Exception):  # noqa: N818 - the word RFC 9457 uses
    """Ends a request with this problem. `slug` never changes once published."""

    def __init__(
        self,
        slug: str,
        title: str,
        status: int,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail or title)
        self.slug = slug
        self.title = title
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers
        self.members = members

    def document(self) -> dict[str, Any]:
        """Return the JSON members."""
        document: dict[str, Any] = {
            "type": f"urn:carillon:problem:{self.slug}",
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.errors:
            document["errors"] = list(self.errors)
        return document | self.members

    def response(self) -> Response:
        """Return the finished response."""
        return Response(
            orjson.dumps(self.document()), self.status, self.headers, media_type=PROBLEM_MEDIA_TYPE
        )


def invalid(errors: Sequence[FieldError]) -> Problem:
    """The content is understood and refused; every fault is named."""
    return Problem("invalid-content", "The request has invalid content.", 422, errors=errors)


def malformed(detail: str) -> Problem:
    """The content cannot be read at all."""
    return Problem("malformed", "The request cannot be read.", 400, detail)


def not_found(what: str = "object") -> Problem:
    """There is none, or it is another tenant's: the caller cannot tell which."""
    return Problem("not-found", "Not found.", 404, f"This {what} does not exist.")


def unauthorized(detail: str) -> Problem:
    """The credential is missing or no good."""
    return Problem(
        "unauthorized", "A valid credential is needed.", 401, detail, headers={"WWW-Authenticate": "Bearer"}
    )


def forbidden(detail: str) -> Problem:
    """The credential is good and does not allow this."""
    return Problem("forbidden", "The credential does not allow this.", 403, detail)


def conflict(detail: str, *, slug: str = "conflict") -> Problem:
    """Something that is there already stands in the way."""
    return Problem(slug, "The request conflicts with what is there.", 409, detail)


def unavailable(detail: str, *, retry_after: int = RETRY_AFTER_SECONDS) -> Problem:
    """Nothing was done; the same request can succeed later. `retry_after` in seconds."""
    return Problem(
        "unavailable",
        "The service cannot do this at the moment.",
        503,
        detail,
        headers={"Retry-After": str(retry_after)},
    )


def database_unavailable() -> Problem:
    """The database is away. Nothing is half done, but a commit may have been on its way."""
    return unavailable("The database cannot be reached at the moment; send the same again.")


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    for kind in DATABASE_ERRORS:
        app.add_exception_handler(kind, _answer_failure)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - what it is registered for
    return error.response()


async def _answer_validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return malformed("The body is not valid JSON.").response()
    return invalid([field_error(fault) for fault in faults]).response()


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    title = {404: "Not found.", 405: "This method is not allowed here."}.get(error.status_code)
    slug = _SLUGS.get(error.status_code, "http-error")
    return Problem(slug, title or str(error.detail), error.status_code, headers=error.headers).response()


async def _answer_failure(request: Request, error: Exception) -> Response:
    if is_transient(error):
        log.warning("database unavailable", path=request.url.path, error=type(error).__name__)
        return database_unavailable().response()
    log.error("request failed", path=request.url.path, exc_info=error)
    return _unexpected().response()


async def _answer_unexpected(_request: Request, _error: Exception) -> Response:
    return _unexpected().response()  # the server logs it, with its trace


def _unexpected() -> Problem:
    return Problem("internal", "Something went wrong on our side.", 500)


def field_error(fault: Mapping[str, Any]) -> FieldError:
    """Turn one of pydantic's faults into ours; its input value is left out."""
    place, *path = (part for part in fault["loc"] if not str(part).startswith("<"))  # tags of unions
    detail = str(fault["msg"]).removeprefix("Value error, ")
    if place == "body":
        return {"pointer": json_pointer(path), "detail": detail}
    return {"parameter": ".".join(map(str, path)), "detail": detail}


def json_pointer(path: Sequence[str | int]) -> str:
    """Return the RFC 6901 pointer of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)

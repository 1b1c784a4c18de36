"""What can go wrong, by what a caller does about it.

`transient`: the same request can succeed later. `outcome_unknown`: it may have been carried out all the same,
so only what is safe to repeat is sent again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

PROBLEM_PREFIX = "urn:carillon:problem:"


class CarillonError(Exception):
    """Anything that this package raises because of the service or the way to it."""

    transient: bool = False
    outcome_unknown: bool = False
    retry_after: float | None = None
    """Seconds that the service asks to wait."""


class NotReachableError(CarillonError):
    """No answer, or half of one: refused, cut, or too late. `arrived`: the request may have got there."""

    transient = True

    def __init__(self, what: str, arrived: bool = True) -> None:  # noqa: FBT001, FBT002 - pickled by its arguments
        super().__init__(what, arrived)
        self.outcome_unknown = arrived

    def __str__(self) -> str:
        return str(self.args[0])


class UnreadableAnswerError(CarillonError):
    """The answer is none of Carillon's: a page of a gateway, or of some other service at this address."""

    transient = True
    outcome_unknown = True


class BatcherClosedError(CarillonError):
    """The batcher was closed before this event was given to it; it was not sent."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of the request."""

    detail: str
    pointer: str | None = None  # RFC 6901, into the body
    parameter: str | None = None  # of the query, path or header


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457) as the service sent it."""

    type: str
    """Stays the same for ever: `urn:carillon:problem:<slug>`."""
    title: str
    status: int
    detail: str | None = None
    errors: tuple[FieldError, ...] = ()
    retry_after: float | None = None
    members: Mapping[str, Any] = field(default_factory=dict)
    """What else the document holds."""

    @property
    def slug(self) -> str:
        """The last word of `type`."""
        return self.type.removeprefix(PROBLEM_PREFIX)


class ProblemError(CarillonError):
    """The service refused, and says why. Each status that means something has a class of its own."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = problem.retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def slug(self) -> str:
        """The last word of the problem's type, such as `invalid-content`."""
        return self.problem.slug

    @property
    def detail(self) -> str | None:
        """What is special about this time."""
        return self.problem.detail

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """Every fault, with its place."""
        return self.problem.errors

    def __str__(self) -> str:
        faults = [f"{fault.pointer or fault.parameter or 'body'}: {fault.detail}" for fault in self.errors]
        told = [self.problem.detail, "; ".join(faults)]
        return " ".join([f"{self.problem.title} ({self.status} {self.slug})", *filter(None, told)])


class MalformedError(ProblemError):
    """400: the request cannot be read at all."""


class UnauthorizedError(ProblemError):
    """401: the key or token is missing, wrong, revoked or expired."""


class ForbiddenError(ProblemError):
    """403: the key or token is good, and does not allow this."""


class NotFoundError(ProblemError):
    """404: there is none, or it is another tenant's."""


class ConflictError(ProblemError):
    """409: something that is there stands in the way."""

    @property
    def event_id(self) -> UUID | None:
        """The event in the way, if it is one: of the same id and another body, or the same collapse key."""
        known = self.problem.members.get("event_id")
        return UUID(known) if isinstance(known, str) else None


class TooLargeError(ProblemError):
    """413: an event of more than 256 KiB, or a request of more than 4 MiB."""


class InvalidContentError(ProblemError):
    """422: understood and refused; `errors` names every fault."""


class ThrottledError(ProblemError):
    """429: a limit is reached; nothing was done."""

    transient = True


class UnavailableError(ProblemError):
    """503 (or 502, 504 of something in between): not at the moment."""

    transient = True
    outcome_unknown = True


_BY_STATUS: Mapping[int, type[ProblemError]] = {
    400: MalformedError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidContentError,
    429: ThrottledError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(problem: Problem) -> ProblemError:
    """Return the error that a problem is raised as."""
    return _BY_STATUS.get(problem.status, ProblemError)(problem)

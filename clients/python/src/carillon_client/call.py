"""One request and how its answer is read. Nothing here does input or output: both clients use it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from carillon_client.errors import UnreadableAnswerError, error_of
from carillon_client.event import to_json
from carillon_client.problems import problem_of

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
ModelT = TypeVar("ModelT", bound="Answer")


class Answer(BaseModel):
    """Base of what the service says. Members that this version does not know are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `token` stands in for the client's key."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    token: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whole; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """A request, how to read its answer, and whether sending it twice does no harm."""

    request: Request
    read: Callable[[Any], T_co]
    repeatable: bool = True

    def answer(self, reply: Reply) -> T_co:
        """Return what the service said.

        Raises:
            ProblemError: it refused.
            UnreadableAnswerError: it is no answer to this request.
        """
        if not 200 <= reply.status < 300:
            raise error_of(problem_of(reply.status, reply.headers, reply.body))
        try:
            return self.read(json.loads(reply.body) if reply.body else None)
        except (ValueError, TypeError, KeyError) as error:
            told = f"{self.request.method} {self.request.path} got an answer that cannot be read: {error}"
            raise UnreadableAnswerError(told) from error


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list, and where the next ones begin."""

    rows: tuple[T, ...]
    next_cursor: str | None


def get(path: str, model: type[ModelT], *, query: Mapping[str, Any] | None = None) -> Call[ModelT]:
    """Return a call that reads one object."""
    return Call(Request("GET", path, query_of(query or {})), model.model_validate)


def listing(path: str, model: type[ModelT], *, query: Mapping[str, Any] | None = None) -> Call[Page[ModelT]]:
    """Return the call for the first page of a list."""

    def read(said: Any) -> Page[ModelT]:
        return Page(tuple(model.model_validate(row) for row in said["data"]), said["next_cursor"])

    return Call(Request("GET", path, query_of(query or {})), read)


def next_page(call: Call[Page[T]], page: Page[T]) -> Call[Page[T]] | None:
    """Return the call for the page after this one; None when it was the last."""
    if page.next_cursor is None:
        return None
    query = tuple(pair for pair in call.request.query if pair[0] != "cursor")
    return replace(call, request=replace(call.request, query=(*query, ("cursor", page.next_cursor))))


def as_person(call: Call[T], token: str) -> Call[T]:
    """Return the same call with a subscriber's token."""
    return replace(call, request=replace(call.request, token=token))


def writing(
    method: str, path: str, model: type[ModelT], *, body: Any = None, repeatable: bool = True
) -> Call[ModelT]:
    """Return a call that changes something and reads what became of it."""
    content = None if body is None else to_json(body)
    return Call(Request(method, path, body=content), model.model_validate, repeatable=repeatable)


def changing(method: str, path: str, *, body: Any = None) -> Call[None]:
    """Return a call whose answer says nothing; repeating it changes nothing."""
    return Call(Request(method, path, body=None if body is None else to_json(body)), lambda _said: None)


def place(*parts: object) -> str:
    """Return a path of these parts, quoted. Raises ``ValueError`` for a name that no path can carry."""
    for part in parts:
        if str(part) in {"", ".", ".."} or "/" in str(part):
            raise ValueError(f"{str(part)!r} cannot be a part of an address")
    return "/v1/" + "/".join(quote(str(part), safe=":") for part in parts)


def query_of(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the parameters that have a value; times as RFC 3339 writes them."""
    texts = {name: json.loads(to_json(value)) for name, value in given.items() if value is not None}
    return tuple((name, str(value)) for name, value in texts.items())

"""A thin client of the HTTP API that turns its problems into sentences."""

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from carillon_cli.connection import ApiAccess
from carillon_cli.failures import CommandError, NothingMatchedError, NotReachableError, describe

_SECONDS = 30.0
_PAGE = 200


class ProblemError(CommandError):
    """The API refused; `problem` is its RFC 9457 document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(sentence_of(status, problem))


class MissingError(ProblemError, NothingMatchedError):
    """There is no such thing, or it is another tenant's."""


class Api:
    """Calls of one key. Use as an async context manager.

    Every call raises `NotReachableError` when nothing answers, `MissingError` for a 404 and `ProblemError`
    for any other refusal.
    """

    def __init__(self, access: ApiAccess, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self.access = access
        self._client = httpx2.AsyncClient(
            base_url=access.url, timeout=_SECONDS, trust_env=False, transport=transport
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def get(self, path: str, **params: Any) -> Any:
        """Return the JSON of a GET; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return await self.call("GET", path, params=given)

    async def put(self, path: str, body: Any = None, *, dry_run: bool = False) -> Any:
        """PUT JSON. A dry run is checked and answered, and not stored."""
        params = {"dry_run": "true"} if dry_run else None
        return await self.call("PUT", path, json=body, params=params)

    async def post(self, path: str, body: Any = None, *, content_type: str | None = None) -> Any:
        """POST JSON, with another content type when one is given."""
        headers = {"Content-Type": content_type} if content_type else None
        return await self.call("POST", path, json=body, headers=headers)

    async def rows(self, path: str, *, most: int, **params: Any) -> list[Any]:
        """Return up to so many rows of a list, page by page."""
        found: list[Any] = []
        cursor: str | None = None
        while len(found) < most:
            limit = min(_PAGE, most - len(found))
            page = await self.get(path, limit=limit, cursor=cursor, **params)
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found

    async def download(self, path: str, **params: Any) -> AsyncIterator[bytes]:
        """Yield the body of a GET as it comes; parameters that are None are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        headers = {"Authorization": f"Bearer {self.access.key}"}
        try:
            async with self._client.stream("GET", path, params=given, headers=headers) as reply:
                if reply.is_error:
                    await reply.aread()
                    raise problem_of(reply)
                async for piece in reply.aiter_bytes():
                    yield piece
        except httpx2.TransportError as error:
            raise unreachable(self.access.url, error) from error

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Return the JSON of an answer, None when it has no body."""
        headers = {"Authorization": f"Bearer {self.access.key}"} | (options.pop("headers", None) or {})
        try:
            reply = await self._client.request(method, path, headers=headers, **options)
        except httpx2.TransportError as error:
            raise unreachable(self.access.url, error) from error
        if reply.is_error:
            raise problem_of(reply)
        return reply.json() if reply.content else None


def segment(text: str) -> str:
    """Return text as one segment of a path."""
    return quote(text, safe="")


def unreachable(url: str, error: Exception) -> NotReachableError:
    """Say that nothing answers at an address."""
    why = describe(error)
    return NotReachableError(f"The API does not answer at {url} ({why}). `carillon status` shows what runs.")


def problem_of(reply: httpx2.Response) -> ProblemError:
    """Return the error of an answer whose body has been read."""
    try:
        problem = reply.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    kind = MissingError if reply.status_code == httpx2.codes.NOT_FOUND else ProblemError
    return kind(reply.status_code, problem)


def sentence_of(status: int, problem: Mapping[str, Any]) -> str:
    """Return a problem document as text: one sentence, and a line for each fault."""
    title = str(problem.get("title") or f"The API answered with status {status}.")
    parts = [title, str(problem.get("detail") or "")]
    for fault in problem.get("errors") or ():
        where = fault.get("pointer") or fault.get("parameter") or "the body"
        parts.append(f"\n  {where}: {fault.get('detail')}")
    return " ".join(part for part in parts if part).replace(" \n", "\n")

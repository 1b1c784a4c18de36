"""`/livez`, `/readyz` and `/metrics`: as routes for the API, as a small server for everything else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from carillon_shared.telemetry.masking import mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Check:
    """One thing readiness depends on.

    `probe` returns when all is well and raises otherwise, with a message for operators; it has `timeout`
    seconds. When one that is not `required` fails, the service is `degraded` and still ready.
    """

    name: str
    probe: Callable[[], Awaitable[None]]
    required: bool = True
    timeout: float = 2.0


def health_app(checks: Sequence[Check], *, registry: CollectorRegistry = REGISTRY) -> Starlette:
    """Return an ASGI application with nothing but the health routes."""
    return Starlette(routes=health_routes(checks, registry=registry))


def health_routes(checks: Sequence[Check], *, registry: CollectorRegistry = REGISTRY) -> list[Route]:
    """Return `/livez` (needs nothing), `/readyz` (200 or 503, `?verbose` names each check) and `/metrics`."""

    async def livez(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(request: Request) -> Response:
        failures = await _failures(checks)
        status = _status(checks, failures)
        body: dict[str, Any] = {"status": status}
        if "verbose" in request.query_params:
            body["checks"] = {check.name: failures.get(check.name, "ok") for check in checks}
        return JSONResponse(body, status_code=503 if status == "unavailable" else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


async def _failures(checks: Sequence[Check]) -> dict[str, str]:
    reasons = await asyncio.gather(*(_failure(check) for check in checks))
    return {check.name: reason for check, reason in zip(checks, reasons, strict=True) if reason is not None}


async def _failure(check: Check) -> str | None:
    try:
        async with asyncio.timeout(check.timeout):
            await check.probe()
    except TimeoutError:
        return f"no answer within {check.timeout:g} s"
    except Exception as error:  # noqa: BLE001 - a check may fail in any way; the page says how
        return mask_text(str(error) or type(error).__name__)
    return None


def _status(checks: Sequence[Check], failures: dict[str, str]) -> str:
    if any(check.required and check.name in failures for check in checks):
        return "unavailable"
    return "degraded" if failures else "ready"


class _Server(uvicorn.Server):
    """Leaves signals to `carillon_shared.lifecycle`, which owns the process."""

    @contextmanager
    def capture_signals(self) -> "Iterator[None]":
        yield


@asynccontextmanager
async def serve_health(app: Starlette, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve beside the real work for as long as the context lasts; yields the port (0 asks for a free one).

    Raises `OSError` when the port is taken.
    """
    listener = socket.create_server((host, port), backlog=64)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="health")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()

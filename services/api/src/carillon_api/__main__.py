"""`python -m carillon_api`: serve the API; `python -m carillon_api openapi`: print its description."""

import asyncio
import sys
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from carillon_shared.lifecycle import Shutdown, run
from carillon_shared.settings import load_settings
from carillon_shared.telemetry.health import health_app, serve_health
from carillon_shared.telemetry.logging import configure_logging

from carillon_api.app import create_app, make_app
from carillon_api.description import openapi_text
from carillon_api.readiness import readiness
from carillon_api.settings import ApiSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRONG_USE = 2


class _Server(uvicorn.Server):
    """Leaves signals to `carillon_shared.lifecycle`, which owns the process."""

    @contextmanager
    def capture_signals(self) -> "Iterator[None]":
        yield


async def serve(settings: ApiSettings, shutdown: Shutdown) -> None:
    """Serve until the shutdown is requested. Streams end by themselves then; requests get some seconds."""
    app = create_app(settings, shutdown=shutdown)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.api_host,
            port=settings.api_port,
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=settings.api_keep_alive_seconds,
            timeout_graceful_shutdown=settings.api_shutdown_seconds,
        )
    )
    health = health_app(readiness(app))
    async with serve_health(health, host=settings.metrics_host, port=settings.metrics_port):
        stopping = asyncio.create_task(_stop(server, shutdown), name="stop-server")
        try:
            await server.serve()
        finally:
            stopping.cancel()


async def _stop(server: uvicorn.Server, shutdown: Shutdown) -> None:
    await shutdown.wait()
    server.should_exit = True


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case []:
            settings = load_settings(ApiSettings)
            configure_logging("api", level=settings.log_level, log_format=settings.log_format)
            run(partial(serve, settings))
        case ["openapi"]:
            sys.stdout.write(openapi_text(make_app()))
        case _:
            sys.stderr.write("usage: python -m carillon_api [openapi]\n")
            sys.exit(_WRONG_USE)


if __name__ == "__main__":
    main()

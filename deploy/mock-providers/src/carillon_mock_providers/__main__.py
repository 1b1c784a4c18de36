"""Starts the mock providers: ``python -m carillon_mock_providers``."""

import asyncio
import gc
import json
import logging
import signal
import sys

import uvloop
from pydantic import ValidationError

from carillon_mock_providers.app import running
from carillon_mock_providers.settings import MockSettings


async def _serve(settings: MockSettings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(settings) as mocks:
        line = {
            "event": "mock providers ready",
            "page": f"http://{settings.host}:{mocks.http_port}/",
            "http_port": mocks.http_port,
            "smtp_port": mocks.smtp_port,
        }
        print(json.dumps(line), flush=True)
        await stopped.wait()
        # Else the collector walks through every record several times on the way out, for seconds.
        gc.freeze()


def main() -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    logging.basicConfig(level=logging.ERROR)
    try:
        settings = MockSettings()
    except (ValidationError, OSError) as error:
        print(f"The settings are not valid: {error}", file=sys.stderr)
        return 2
    try:
        uvloop.run(_serve(settings))
    except OSError as error:
        print(f"Cannot listen on {settings.host}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Running a command's calls against the API that is known here."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from carillon_cli.api import Api
from carillon_cli.connection import find_access, this_checkout
from carillon_cli.settings import cli_settings

T = TypeVar("T")


def with_api(work: Callable[[Api], Awaitable[T]]) -> T:
    """Open the API, do the work, and return its result."""
    access = find_access(cli_settings(), this_checkout())

    async def run() -> T:
        async with Api(access) as api:
            return await work(api)

    return asyncio.run(run())

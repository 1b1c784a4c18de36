"""Work on the database's tables. Loads SQLAlchemy and Alembic: only the commands that need it import it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncpg
from carillon_shared.db import sizes
from carillon_shared.db.migrate import is_current, migrate, newest_revision, wait_until_reachable
from sqlalchemy.exc import SQLAlchemyError

from carillon_cli.failures import CommandError, NotReachableError

__all__ = [
    "bring_up_to_date",
    "check_current",
    "newest_revision",
    "partition_sizes",
    "retention_plan",
    "table_sizes",
]

_WAIT_SECONDS = 10.0
T = TypeVar("T")


def bring_up_to_date(url: str, *, wait: float) -> None:
    """Run every outstanding migration, once the database answers within `wait` seconds.

    Raises:
        NotReachableError: when it does not.
        CommandError: when the database refuses.
    """
    _run(migrate, url, wait=wait)


def check_current(url: str, *, wait: float) -> bool:
    """Tell whether the database has this release's tables. Raises as `bring_up_to_date`."""
    return _run(is_current, url, wait=wait)


def table_sizes(url: str) -> list[dict[str, Any]]:
    """Return how large the tables are. Raises as `bring_up_to_date`."""
    return _run(sizes.table_sizes, url, wait=_WAIT_SECONDS)


def partition_sizes(url: str, days: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return how large the partitions are, and when they go. Raises as `bring_up_to_date`."""
    return _run(lambda each: sizes.partition_sizes(each, days), url, wait=_WAIT_SECONDS)


def retention_plan(url: str, days: Mapping[str, int], *, dead_letter_days: int) -> dict[str, Any]:
    """Return what retention lets go of now, and next. Raises as `bring_up_to_date`."""

    async def ask(each: str) -> dict[str, Any]:
        return await sizes.retention_plan(each, days, dead_letter_days=dead_letter_days)

    return _run(ask, url, wait=_WAIT_SECONDS)


def _run(work: Callable[[str], Awaitable[T]], url: str, *, wait: float) -> T:
    async def run() -> T:
        await wait_until_reachable(url, seconds=wait)
        return await work(url)

    try:
        return asyncio.run(run())
    except (OSError, TimeoutError) as error:
        raise NotReachableError("The database does not answer.") from error
    except (asyncpg.PostgresError, SQLAlchemyError) as error:
        raise CommandError(f"The database refuses this: {error}") from error

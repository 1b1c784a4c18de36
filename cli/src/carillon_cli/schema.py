"""Work on the database's tables. Loads SQLAlchemy and Alembic: only the commands that need it import it."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
from carillon_shared.db.migrate import is_current, migrate, newest_revision, wait_until_reachable
from sqlalchemy.exc import SQLAlchemyError

from carillon_cli.failures import CommandError, NotReachableError

__all__ = ["bring_up_to_date", "check_current", "newest_revision"]


def bring_up_to_date(url: str, *, wait: float) -> None:
    """Run every outstanding migration, once the database answers within `wait` seconds.

    Raises:
        NotReachableError: when it does not.
        CommandError: when the database refuses.
    """
    _run(migrate, url, wait=wait)


def check_current(url: str, *, wait: float) -> bool:
    """Tell whether the database has this release's tables. Raises as `bring_up_to_date`."""
    return bool(_run(is_current, url, wait=wait))


def _run(work: Callable[[str], Awaitable[bool | None]], url: str, *, wait: float) -> bool | None:
    async def run() -> bool | None:
        await wait_until_reachable(url, seconds=wait)
        return await work(url)

    try:
        return asyncio.run(run())
    except (OSError, TimeoutError) as error:
        raise NotReachableError("The database does not answer.") from error
    except (asyncpg.PostgresError, SQLAlchemyError) as error:
        raise CommandError(f"The database refuses this: {error}") from error

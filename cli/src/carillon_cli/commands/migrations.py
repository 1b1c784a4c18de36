"""`carillon db`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

import asyncpg
import typer
from carillon_shared.db import migrate as migrations
from sqlalchemy.exc import SQLAlchemyError

from carillon_cli.connection import this_checkout
from carillon_cli.failures import CommandError, NotReachableError
from carillon_cli.output import JsonFlag, print_json, print_line
from carillon_cli.recorded import owner_database_url
from carillon_cli.settings import cli_settings

app = typer.Typer(help="The database's tables.", no_args_is_help=True)

Wait = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the database.")]


@app.command()
def migrate(wait: Wait = 60.0, as_json: JsonFlag = False) -> None:
    """Bring the tables up to date; may be repeated."""
    _run(migrate_database, wait=wait)
    _report(as_json=as_json)


@app.command()
def check(wait: Wait = 10.0, as_json: JsonFlag = False) -> None:
    """Tell whether the tables are up to date; exit code 1 when they are not."""
    if not _run(migrations.is_current, wait=wait):
        if as_json:
            print_json({"revision": migrations.newest_revision(), "current": False})
        raise CommandError("The database is behind this release: run `carillon db migrate`.")
    _report(as_json=as_json)


async def migrate_database(url: str) -> bool:
    """Run every outstanding migration."""
    await migrations.migrate(url)
    return True


def _run(work: Callable[[str], Awaitable[bool]], *, wait: float) -> bool:
    url = owner_database_url(cli_settings(), this_checkout())

    async def run() -> bool:
        await migrations.wait_until_reachable(url, seconds=wait)
        return await work(url)

    try:
        return asyncio.run(run())
    except (OSError, TimeoutError) as error:
        raise NotReachableError("The database does not answer.") from error
    except (asyncpg.PostgresError, SQLAlchemyError) as error:
        raise CommandError(f"The database refuses this: {error}") from error


def _report(*, as_json: bool) -> None:
    revision = migrations.newest_revision()
    if as_json:
        print_json({"revision": revision, "current": True})
    else:
        print_line(f"The database is at revision {revision}.")

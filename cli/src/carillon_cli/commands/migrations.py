"""`carillon db`."""

# ruff: noqa: PLC0415 - the database's libraries take longer to load than most commands to run

from typing import Annotated

import typer

from carillon_cli.commands import storage
from carillon_cli.connection import this_checkout
from carillon_cli.failures import CommandError
from carillon_cli.output import JsonFlag, print_json, print_line
from carillon_cli.recorded import owner_database_url
from carillon_cli.settings import cli_settings

app = typer.Typer(help="The database's tables.", no_args_is_help=True)

app.command()(storage.sizes)
app.command()(storage.retention)

Wait = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the database.")]


@app.command()
def migrate(wait: Wait = 60.0, as_json: JsonFlag = False) -> None:
    """Bring the tables up to date; may be repeated."""
    from carillon_cli.schema import bring_up_to_date, newest_revision

    bring_up_to_date(owner_database_url(cli_settings(), this_checkout()), wait=wait)
    _report(newest_revision(), as_json=as_json)


@app.command()
def check(wait: Wait = 10.0, as_json: JsonFlag = False) -> None:
    """Tell whether the tables are up to date; exit code 1 when they are not."""
    from carillon_cli.schema import check_current, newest_revision

    if not check_current(owner_database_url(cli_settings(), this_checkout()), wait=wait):
        if as_json:
            print_json({"revision": newest_revision(), "current": False})
        raise CommandError("The database is behind this release: run `carillon db migrate`.")
    _report(newest_revision(), as_json=as_json)


def _report(revision: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"revision": revision, "current": True})
    else:
        print_line(f"The database is at revision {revision}.")

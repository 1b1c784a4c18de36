"""`carillon operations`."""

from typing import Annotated

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.operating import print_outcome, watch
from carillon_cli.output import JsonFlag, print_fields, print_json

app = typer.Typer(help="Replays and discards of many dead letters.", no_args_is_help=True)

Operation = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.")]


@app.command()
def show(
    operation: Operation,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended, with its progress.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show an operation and how far it is; exit code 1 when it has failed."""
    if wait:
        found = with_api(lambda api: watch(api, operation))
    else:
        found = with_api(lambda api: api.get(f"/v1/admin/operations/{segment(operation)}"))
    print_outcome(found, as_json=as_json)


@app.command()
def stop(operation: Operation, as_json: JsonFlag = False) -> None:
    """Stop an operation. What it has done stays done."""
    found = with_api(lambda api: api.call("DELETE", f"/v1/admin/operations/{segment(operation)}"))
    if as_json:
        print_json(found)
    else:
        print_fields(found)

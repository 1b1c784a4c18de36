"""`carillon dead-letters poison`: messages that could not be handled. For keys with the scope admin."""

from typing import Annotated, Any

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.operating import confirm
from carillon_cli.failures import NothingMatchedError, WrongUseError
from carillon_cli.output import JsonFlag, print_fields, print_json, print_rows

app = typer.Typer(
    help="Messages that nobody could read. Needs a key with the scope admin.", no_args_is_help=True
)

_PATH = "/v1/admin/poison-messages"
_COLUMNS = ("id", "queue", "message_type", "size", "received_at", "error")
QueueOption = Annotated[str | None, typer.Option(help="Of this queue only.")]


@app.command("list")
def list_poison(
    queue: QueueOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List them, newest first; exit code 4 when there is none."""
    rows = with_api(lambda api: api.rows(_PATH, most=limit, queue=queue))
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(_COLUMNS, [[row.get(name) for name in _COLUMNS] for row in rows])
    if not rows:
        raise NothingMatchedError("There is no poison message.")


@app.command()
def show(
    message: Annotated[int, typer.Argument(metavar="ID", help="Its number.")], as_json: JsonFlag = False
) -> None:
    """Show one with its body, addresses masked."""
    found = with_api(lambda api: api.get(f"{_PATH}/{segment(str(message))}"))
    if as_json:
        print_json(found)
    else:
        print_fields(found)


@app.command()
def discard(
    messages: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Their numbers.")] = None,
    queue: QueueOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Needed where nothing else is chosen.")] = False,
    why: Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Discard them for good; exit code 4 when none matches."""
    if not messages and queue is None and not everything:
        raise WrongUseError("Without a choice this means every poison message: say so with --all.")
    if why is None:
        raise WrongUseError("Say why with --reason: it is written down.")
    confirm("Discard these messages for good?", yes=yes)
    body: dict[str, Any] = {"ids": messages or None, "queue": queue, "all": everything, "reason": why}
    found = with_api(lambda api: api.post(f"{_PATH}:discard", body))
    if as_json:
        print_json(found)
    else:
        print_fields(found)
    if not found["discarded"]:
        raise NothingMatchedError("No poison message matches.")

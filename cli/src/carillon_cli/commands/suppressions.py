"""`carillon suppressions`."""

from typing import Annotated, Any

import typer
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.suppressions import SuppressionReason

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.operating import confirm
from carillon_cli.failures import NothingMatchedError, WrongUseError
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows

app = typer.Typer(
    help="Whom nothing is sent to over a channel: mail came back, a stop, or an operator's word.",
    no_args_is_help=True,
)

_PATH = "/v1/admin/suppressions"
_COLUMNS = ("id", "channel", "address", "subscriber", "reason", "detail", "created_at", "expires_at")
AddressOption = Annotated[str | None, typer.Option(help="An e-mail address or phone number, whole.")]
SubscriberOption = Annotated[str | None, typer.Option(help="A person's id.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is written down.")]


@app.command("list")
def list_suppressions(
    channel: Annotated[Channel | None, typer.Option(help="Of this channel.")] = None,
    because: Annotated[SuppressionReason | None, typer.Option(help="What brought it about.")] = None,
    address: AddressOption = None,
    subscriber: SubscriberOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List those in force, newest first; exit code 4 when there is none."""
    wanted = {"channel": channel, "reason": because, "address": address, "subscriber": subscriber}
    rows = with_api(lambda api: api.rows(_PATH, most=limit, **wanted))
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(_COLUMNS, [[row.get(name) for name in _COLUMNS] for row in rows])
    if not rows:
        raise NothingMatchedError("Nothing is suppressed that matches.")


@app.command()
def add(
    channel: Annotated[Channel, typer.Argument(help="email or whatsapp.")],
    why: Why,
    address: AddressOption = None,
    subscriber: SubscriberOption = None,
    expires_at: Annotated[
        str | None, typer.Option(help="Until when, as 2026-12-31T00:00:00Z; else until removed.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Send nothing more over a channel, to an address or to a person. Needs the scope operator."""
    if (address is None) == (subscriber is None):
        raise WrongUseError("Name either --address or --subscriber.")
    whom = {"address": address} if address is not None else {"subscriber": subscriber}
    body = {"channel": channel.value, **whom, "reason": why, "expires_at": expires_at}
    stored: dict[str, Any] = with_api(lambda api: api.post(_PATH, body))
    if as_json:
        print_json(stored)
    else:
        print_fields(stored)


@app.command()
def remove(
    suppression: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    why: Why,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send there again from now on. An address that bounced may harm the sender's reputation."""
    confirm(f"Send to what suppression {suppression} is about again?", yes=yes)
    with_api(lambda api: api.call("DELETE", f"{_PATH}/{segment(suppression)}", params={"reason": why}))
    if as_json:
        print_json({"removed": suppression})
    else:
        print_line("Removed.")

"""`carillon dead-letters`."""

from typing import Annotated

import typer
from carillon_shared.domain.channels import Channel

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.deliveries import print_attempts
from carillon_cli.failures import NothingMatchedError
from carillon_cli.output import JsonFlag, print_fields, print_json, print_rows

app = typer.Typer(help="Deliveries that will not be tried again without a person.", no_args_is_help=True)

_COLUMNS = ("id", "event_type", "subscriber", "channel", "reason", "attempt", "dead_at", "error")


@app.command("list")
def list_dead_letters(
    channel: Annotated[Channel | None, typer.Option(help="Of this channel only.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Of this event type only.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason only.")] = None,
    provider: Annotated[str | None, typer.Option(help="Of this provider only.")] = None,
    since: Annotated[str | None, typer.Option(help="Dead since this time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Dead before this time (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters, newest first; exit code 4 when there is none."""
    rows = with_api(
        lambda api: api.rows(
            "/v1/admin/dead-letters",
            most=limit,
            channel=channel.value if channel else None,
            event_type=event_type,
            reason=reason,
            provider=provider,
            since=since,
            until=until,
        )
    )
    if as_json:
        print_json(rows)
    elif rows:
        print_rows(_COLUMNS, [[row.get(name) for name in _COLUMNS] for row in rows])
    if not rows:
        raise NothingMatchedError("There is no dead letter.")


@app.command()
def show(
    delivery: Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show a dead letter, its error and every attempt."""
    found = with_api(lambda api: api.get(f"/v1/admin/dead-letters/{segment(delivery)}"))
    if as_json:
        print_json(found)
        return
    print_fields({name: value for name, value in found.items() if name != "attempts"})
    print_attempts(found["attempts"])

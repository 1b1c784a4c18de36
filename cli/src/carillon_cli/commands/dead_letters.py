"""`carillon dead-letters`."""

from typing import Annotated, Any

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands import poison
from carillon_cli.commands.dead_letter_corrections import (
    DataOption,
    EmailOption,
    PhoneOption,
    corrections,
)
from carillon_cli.commands.dead_letter_export import export
from carillon_cli.commands.dead_letter_reconcile import reconcile
from carillon_cli.commands.dead_letter_selection import (
    ChannelOption,
    DeadReasonOption,
    EventTypeOption,
    IdsOption,
    ProviderOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    selection,
)
from carillon_cli.commands.deliveries import print_attempts
from carillon_cli.commands.operating import operate
from carillon_cli.failures import NothingMatchedError
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows, tell

app = typer.Typer(help="Deliveries that will not be tried again without a person.", no_args_is_help=True)

_COLUMNS = ("id", "event_type", "subscriber", "channel", "reason", "attempt", "dead_at", "error")

Everything = Annotated[bool, typer.Option("--all", help="Needed where nothing else is chosen.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
Why = Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Rate = Annotated[int | None, typer.Option(min=1, help="At most so many a second.")]


app.command()(export)
app.command()(reconcile)
app.add_typer(poison.app, name="poison")


@app.command("list")
def list_dead_letters(
    channel: ChannelOption = None,
    event_type: EventTypeOption = None,
    reason: ReasonOption = None,
    provider: ProviderOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters, newest first; exit code 4 when there is none."""
    chosen = selection(
        channel=channel, event_type=event_type, reason=reason, provider=provider, since=since, until=until
    )
    rows = with_api(lambda api: api.rows("/v1/admin/dead-letters", most=limit, **chosen))
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
    """Show a dead letter, its error, every attempt, and what it would say if it were sent again now."""
    found = with_api(lambda api: api.get(f"/v1/admin/dead-letters/{segment(delivery)}"))
    if as_json:
        print_json(found)
        return
    print_fields({name: value for name, value in found.items() if name not in {"attempts", "preview"}})
    print_attempts(found["attempts"])
    _print_preview(found["preview"])


def _print_preview(preview: dict[str, Any] | None) -> None:
    if preview is None:
        tell("Its event is no longer kept, so there is nothing to show of it.")
    elif preview["rendered"] is None:
        tell(f"It cannot be sent as it is: {preview['error']}")
    else:
        print_line("would say now:")
        print_fields(preview["rendered"])


@app.command()
def count(
    channel: ChannelOption = None,
    event_type: EventTypeOption = None,
    reason: ReasonOption = None,
    provider: ProviderOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Count dead letters by reason."""
    chosen = selection(
        channel=channel, event_type=event_type, reason=reason, provider=provider, since=since, until=until
    )
    found = with_api(lambda api: api.get("/v1/admin/dead-letters:count", **chosen))
    if as_json:
        print_json(found)
        return
    print_rows(("reason", "dead letters"), [*found["by_reason"].items(), ("total", found["total"])])


@app.command()
def replay(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    channel: ChannelOption = None,
    event_type: EventTypeOption = None,
    dead_reason: DeadReasonOption = None,
    provider: ProviderOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdsOption = None,
    email: EmailOption = None,
    phone: PhoneOption = None,
    data: DataOption = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    why: Why = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Send dead letters again; what is expired, read or opted out of stays. Exit code 4 when none matches.

    Named by --id they can be put right on the way: --email, --phone, --set-data.
    """
    chosen = selection(
        channel=channel,
        event_type=event_type,
        reason=dead_reason,
        provider=provider,
        since=since,
        until=until,
        ids=ids,
    )
    operate(
        "replay",
        chosen,
        overrides=corrections(email=email, phone=phone, data=data),
        everything=everything,
        dry_run=dry_run,
        rate=rate,
        why=why,
        yes=yes,
        as_json=as_json,
    )


@app.command()
def discard(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    channel: ChannelOption = None,
    event_type: EventTypeOption = None,
    dead_reason: DeadReasonOption = None,
    provider: ProviderOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdsOption = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    rate: Rate = None,
    why: Why = None,
    yes: Yes = False,
    as_json: JsonFlag = False,
) -> None:
    """Give dead letters up. Exit code 4 when none matches."""
    chosen = selection(
        channel=channel,
        event_type=event_type,
        reason=dead_reason,
        provider=provider,
        since=since,
        until=until,
        ids=ids,
    )
    operate(
        "discard",
        chosen,
        everything=everything,
        dry_run=dry_run,
        rate=rate,
        why=why,
        yes=yes,
        as_json=as_json,
    )

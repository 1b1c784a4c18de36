"""`carillon channels`."""

from typing import Annotated, Any

import typer
from carillon_shared.domain.channels import Channel

from carillon_cli.calling import with_api
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows

app = typer.Typer(
    help="Whole channels: what waits in their queues, and whether it is taken.", no_args_is_help=True
)

_COLUMNS = ("queue", "ready", "consumers", "oldest_age_seconds", "paused", "measured_at")

Name = Annotated[Channel, typer.Argument(help="The channel.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is written down.")]


@app.command("list")
def list_channels(as_json: JsonFlag = False) -> None:
    """Show every queue with its depth, and which channels are paused, by whom and why."""
    found = with_api(lambda api: api.get("/v1/admin/queues"))
    if as_json:
        print_json(found)
        return
    print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in found["queues"]])
    for channel in found["channels"]:
        if channel["paused"]:
            since = f"since {channel['paused_at']} by {channel['paused_by']}"
            print_line(f"{channel['channel']} is paused {since}: {channel['reason']}")


@app.command()
def pause(channel: Name, why: Why, as_json: JsonFlag = False) -> None:
    """Stop a channel for all tenants until it is resumed. Needs a key with the scope admin."""
    _switch(channel, "pause", why, as_json=as_json)


@app.command()
def resume(channel: Name, why: Why, as_json: JsonFlag = False) -> None:
    """Deliver over a channel again. Needs a key with the scope admin."""
    _switch(channel, "resume", why, as_json=as_json)


def _switch(channel: Channel, verb: str, why: str, *, as_json: bool) -> None:
    answer: dict[str, Any] = with_api(
        lambda api: api.post(f"/v1/admin/channels/{channel.value}:{verb}", {"reason": why})
    )
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)

"""`carillon events`."""

from typing import Annotated, Any

import typer

from carillon_cli.api import Api, segment
from carillon_cli.calling import with_api
from carillon_cli.commands.deliveries import COLUMNS, row_of
from carillon_cli.commands.operating import confirm
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows

app = typer.Typer(help="What became of events.", no_args_is_help=True)

_MOST = 50
_COUNTS = ("stopped", "already_sent", "in_flight", "unplanned")


@app.callback()
def events() -> None:
    """Group the commands, also while there is one only."""


@app.command()
def show(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The id that sending answered with.")],
    as_json: JsonFlag = False,
) -> None:
    """Show an event, its progress and its newest deliveries."""

    async def fetch(api: Api) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        found = await api.get(f"/v1/events/{segment(event)}")
        return found, await api.rows("/v1/deliveries", most=_MOST, event=found["id"])

    found, deliveries = with_api(fetch)
    if as_json:
        print_json(found | {"deliveries": deliveries})
        return
    _print_event(found)
    if deliveries:
        print_line("")
        print_rows(COLUMNS, [row_of(delivery) for delivery in deliveries])
    if found["progress"]["total"] > len(deliveries):
        print_line(f"... and {found['progress']['total'] - len(deliveries)} more")


def _print_event(event: dict[str, Any]) -> None:
    progress = event["progress"]
    names = ("id", "type", "status", "subject", "actor", "priority", "channels", "audience", "data")
    fields = {name: event.get(name) for name in names}
    fields["accepted at"] = event.get("accepted_at")
    fields["plan error"] = event.get("plan_error")
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(progress["by_status"].items()))
    fields["progress"] = f"{progress['percent']:g} % of {progress['total']}: {by_status}"
    print_fields(fields)


@app.command()
def cancel(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The id that sending answered with.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Cancel an event: what has not left yet will not be sent. Shows exactly how many had left."""
    confirm(f"Cancel event {event}?", yes=yes)
    found = with_api(lambda api: api.call("DELETE", f"/v1/events/{segment(event)}"))
    if as_json:
        print_json(found)
    else:
        print_rows(("stopped", "already sent", "in flight", "unplanned"), [[found[name] for name in _COUNTS]])


@app.command()
def approve(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The id that sending answered with.")],
    why: Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Let an event go on that waits for approval."""
    _decide(event, "approve", why, as_json=as_json)


@app.command()
def reject(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The id that sending answered with.")],
    why: Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """End an event that waits for approval: nobody is told."""
    _decide(event, "reject", why, as_json=as_json)


def _decide(event: str, verb: str, why: str | None, *, as_json: bool) -> None:
    path = f"/v1/events/{segment(event)}/{verb}"
    answer = with_api(lambda api: api.post(path, {"reason": why}))
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)

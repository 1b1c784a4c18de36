"""`carillon schedules`."""

from typing import Annotated, Any

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.operating import confirm
from carillon_cli.event_files import read_events
from carillon_cli.failures import WrongUseError
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows

app = typer.Typer(help="Events that come again and again.", no_args_is_help=True)

_PATH = "/v1/schedules"
_MOST = 200
_COLUMNS = ("id", "name", "cron", "time_zone", "paused", "next_at", "last_at", "last_error")

Schedule = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id.")]


@app.command("list")
def list_schedules(as_json: JsonFlag = False) -> None:
    """List schedules with their next tick."""
    rows = with_api(lambda api: api.rows(_PATH, most=_MOST))
    if as_json:
        print_json(rows)
    else:
        print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])


@app.command()
def show(schedule: Schedule, as_json: JsonFlag = False) -> None:
    """Show a schedule, its next ticks and what came of the last."""
    _print(with_api(lambda api: api.get(f"{_PATH}/{segment(schedule)}")), as_json=as_json)


@app.command()
def add(
    cron: Annotated[str, typer.Argument(help='Five fields, such as "0 9 * * MON-FRI".')],
    event: Annotated[str, typer.Argument(metavar="FILE|-", help="The event, without id, source and time.")],
    time_zone: Annotated[str, typer.Option("--time-zone", help="Whose wall clock is meant.")] = "UTC",
    name: Annotated[str, typer.Option("--name")] = "",
    once: Annotated[bool, typer.Option("--once", help="Make up for missed ticks, once.")] = False,
    ends_at: Annotated[str | None, typer.Option("--ends-at", help="An RFC 3339 time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Have an event sent again and again."""
    events = read_events(event)
    if len(events) != 1:
        raise WrongUseError(f"{event} has {len(events)} events in it; a schedule has one.")
    body: dict[str, Any] = {
        "name": name,
        "cron": cron,
        "time_zone": time_zone,
        "event": events[0],
        "on_missed": "once" if once else "skip",
        "ends_at": ends_at,
    }
    _print(with_api(lambda api: api.post(_PATH, body)), as_json=as_json)


@app.command()
def pause(schedule: Schedule, as_json: JsonFlag = False) -> None:
    """Send nothing until the schedule is resumed."""
    _switch(schedule, paused=True, as_json=as_json)


@app.command()
def resume(schedule: Schedule, as_json: JsonFlag = False) -> None:
    """Go on with the next tick from now."""
    _switch(schedule, paused=False, as_json=as_json)


@app.command()
def remove(
    schedule: Schedule, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove a schedule. Events it has sent stay."""
    confirm(f"Remove schedule {schedule}?", yes=yes)
    with_api(lambda api: api.call("DELETE", f"{_PATH}/{segment(schedule)}"))
    print_line("removed")


def _switch(schedule: str, *, paused: bool, as_json: bool) -> None:
    path = f"{_PATH}/{segment(schedule)}"
    _print(with_api(lambda api: api.call("PATCH", path, json={"paused": paused})), as_json=as_json)


def _print(answer: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)

"""`carillon deliveries`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows

app = typer.Typer(help="One event to one person over one channel.", no_args_is_help=True)

COLUMNS = ("delivery", "subscriber", "channel", "status", "why", "attempts")


DeliveryArgument = Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id.")]
Why = Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")]


@app.command()
def show(delivery: DeliveryArgument, as_json: JsonFlag = False) -> None:
    """Show a delivery and every attempt at it."""
    found = with_api(lambda api: api.get(f"/v1/deliveries/{segment(delivery)}"))
    if as_json:
        print_json(found)
        return
    print_fields({name: value for name, value in found.items() if name != "attempts"})
    print_attempts(found["attempts"])


@app.command()
def retry(delivery: DeliveryArgument, why: Why = None, as_json: JsonFlag = False) -> None:
    """Send a dead delivery again; exit code 1 when that would not be right any more."""
    path = f"/v1/deliveries/{segment(delivery)}/retry"
    _print_command(with_api(lambda api: api.post(path, {"reason": why})), as_json=as_json)


@app.command()
def cancel(delivery: DeliveryArgument, why: Why = None, as_json: JsonFlag = False) -> None:
    """Stop a delivery that has not begun; exit code 1 when it is being sent or over."""
    path = f"/v1/deliveries/{segment(delivery)}/cancel"
    _print_command(with_api(lambda api: api.post(path, {"reason": why})), as_json=as_json)


def _print_command(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)


def row_of(delivery: dict[str, Any]) -> Sequence[Any]:
    """Return a delivery as a row of `COLUMNS`."""
    return (
        delivery["id"],
        delivery["subscriber"],
        delivery["channel"],
        delivery["status"],
        delivery["reason"] or delivery["hold_reason"],
        delivery["attempt"],
    )


def print_attempts(attempts: Sequence[dict[str, Any]]) -> None:
    """Print the timeline of attempts."""
    if not attempts:
        return
    print_line("")
    columns = ("number", "started_at", "outcome", "provider", "code", "error")
    print_rows(columns, [[attempt.get(name) for name in columns] for attempt in attempts])
    for attempt in attempts:
        if attempt.get("stack"):
            print_line(f"\nattempt {attempt['number']}:\n{attempt['stack']}")

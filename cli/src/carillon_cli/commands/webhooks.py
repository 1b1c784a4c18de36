"""`carillon webhooks`."""

from typing import Annotated, Any

import typer

from carillon_cli.api import segment
from carillon_cli.calling import with_api
from carillon_cli.commands.operating import confirm
from carillon_cli.output import JsonFlag, print_fields, print_json, print_line, print_rows, tell

app = typer.Typer(help="Where outcomes are posted, signed (Standard Webhooks).", no_args_is_help=True)

_PATH = "/v1/webhook-endpoints"
_MOST = 200
_COLUMNS = ("id", "url", "enabled", "disabled_reason", "failing_since", "states", "channels")
_MESSAGE_COLUMNS = ("id", "type", "status", "attempt", "code", "due_at", "created_at", "error")

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id.")]
States = Annotated[list[str] | None, typer.Option("--state", help="Only this state; may be repeated.")]
Channels = Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; may be repeated.")]


@app.command("list")
def list_endpoints(as_json: JsonFlag = False) -> None:
    """List endpoints."""
    rows = with_api(lambda api: api.rows(_PATH, most=_MOST))
    if as_json:
        print_json(rows)
    else:
        print_rows(_COLUMNS, [[row[name] for name in _COLUMNS] for row in rows])


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Public and https, unless the platform allows its network.")],
    state: States = None,
    channel: Channels = None,
    description: Annotated[str, typer.Option("--description")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Have outcomes posted to an address. Its secret is printed this once."""
    body: dict[str, Any] = {"url": url, "description": description}
    body |= {"states": state} if state else {}
    body |= {"channels": channel} if channel else {}
    _print(with_api(lambda api: api.post(_PATH, body)), as_json=as_json)
    if not as_json:
        tell("Keep the secret: it is not shown again.")


@app.command()
def remove(
    endpoint: Endpoint, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Remove an endpoint, and all that waits for it."""
    confirm(f"Remove endpoint {endpoint}?", yes=yes)
    with_api(lambda api: api.call("DELETE", f"{_PATH}/{segment(endpoint)}"))
    print_line("removed")


@app.command()
def enable(endpoint: Endpoint, as_json: JsonFlag = False) -> None:
    """Post to a disabled endpoint again, from now on; `recover` posts what it missed."""
    _switch(endpoint, enabled=True, as_json=as_json)


@app.command()
def disable(endpoint: Endpoint, as_json: JsonFlag = False) -> None:
    """Post nothing to an endpoint until it is enabled."""
    _switch(endpoint, enabled=False, as_json=as_json)


@app.command()
def recover(
    endpoint: Endpoint,
    since: Annotated[str, typer.Option("--since", help="An RFC 3339 time, such as 2026-11-21T10:00:00Z.")],
    as_json: JsonFlag = False,
) -> None:
    """Post again what has failed since a time."""
    path = f"{_PATH}/{segment(endpoint)}:recover"
    _print(with_api(lambda api: api.post(path, {"since": since})), as_json=as_json)


@app.command()
def rotate(endpoint: Endpoint, as_json: JsonFlag = False) -> None:
    """Sign with a new secret, printed this once; the old one signs too for a day."""
    path = f"{_PATH}/{segment(endpoint)}:rotate-secret"
    _print(with_api(lambda api: api.post(path)), as_json=as_json)


@app.command("test")
def post_test(endpoint: Endpoint, as_json: JsonFlag = False) -> None:
    """Post a message of the type `test`."""
    path = f"{_PATH}/{segment(endpoint)}:test"
    _print(with_api(lambda api: api.post(path)), as_json=as_json)


@app.command()
def messages(
    endpoint: Endpoint,
    status: Annotated[str | None, typer.Option("--status", help="waiting, delivered or failed.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List what was posted to an endpoint, waits or has failed, newest first."""
    path = f"{_PATH}/{segment(endpoint)}/messages"
    rows = with_api(lambda api: api.rows(path, most=_MOST, status=status))
    if as_json:
        print_json(rows)
    else:
        print_rows(_MESSAGE_COLUMNS, [[row[name] for name in _MESSAGE_COLUMNS] for row in rows])


def _switch(endpoint: str, *, enabled: bool, as_json: bool) -> None:
    path = f"{_PATH}/{segment(endpoint)}"
    _print(with_api(lambda api: api.call("PATCH", path, json={"enabled": enabled})), as_json=as_json)


def _print(answer: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_fields(answer)

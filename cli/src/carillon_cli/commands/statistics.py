"""`carillon stats`."""

from typing import Annotated, Any

import typer

from carillon_cli.calling import with_api
from carillon_cli.failures import NothingMatchedError
from carillon_cli.output import JsonFlag, print_json, print_rows, tell

_PERCENTILES = ("p50", "p95", "p99")


def stats(
    by: Annotated[
        str, typer.Option(help="Such as type,channel,status,reason,provider,hour or day.")
    ] = "channel,status",
    since: Annotated[str | None, typer.Option(help="An RFC 3339 time; else a day ago.")] = None,
    until: Annotated[str | None, typer.Option(help="An RFC 3339 time; else now.")] = None,
    type_name: Annotated[str | None, typer.Option("--type", help="Of this event type.")] = None,
    channel: Annotated[str | None, typer.Option(help="Over this channel.")] = None,
    event: Annotated[str | None, typer.Option(help="Of this event.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count what came of events, and how long it took in seconds; exit code 4 when there are none."""
    wanted = {"by": by, "since": since, "until": until, "type": type_name, "channel": channel, "event": event}
    found = with_api(lambda api: api.get("/v1/stats", **wanted))
    if as_json:
        print_json(found)
    elif found["data"]:
        columns = (*found["by"], "deliveries", "attempts", *_PERCENTILES)
        print_rows(columns, [_cells(group, found["by"]) for group in found["data"]])
    if found["truncated"]:
        tell("There is more: ask for a shorter time, or count by less.")
    if not found["data"]:
        raise NothingMatchedError("There is nothing to count.")


def _cells(group: dict[str, Any], by: list[str]) -> list[Any]:
    latency = group["latency"] or {}
    times = [f"{latency[name]:.3f}" if name in latency else None for name in _PERCENTILES]
    return [*(group[name] for name in by), group["deliveries"], group["attempts"], *times]

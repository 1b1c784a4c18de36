"""`carillon send`."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from carillon_cli.api import Api, ProblemError, sentence_of
from carillon_cli.calling import with_api
from carillon_cli.event_files import batches, content_type, read_events
from carillon_cli.failures import CommandError
from carillon_cli.output import JsonFlag, print_json, print_line

Event = Mapping[str, Any]


def send(
    source: Annotated[
        str, typer.Argument(metavar="FILE|-", help="One event or a list, as JSON; - is stdin.")
    ],
    as_json: JsonFlag = False,
) -> None:
    """Send events, plain or CloudEvents. Fails when any of them was refused."""
    events = read_events(source)
    results = with_api(lambda api: _send(api, events))
    if as_json:
        print_json(results)
    else:
        for result in results:
            print_line(_line(result))
    refused = sum("problem" in result for result in results)
    if refused:
        raise CommandError(f"{refused} of {len(results)} events were refused.")


async def _send(api: Api, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(events) == 1:
        kind = content_type(events, single=True)
        return [{"index": 0} | await api.post("/v1/events", events[0], content_type=kind)]
    results: list[dict[str, Any]] = []
    kind = content_type(events, single=False)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("Sending", total=len(events))
        for batch in batches(events):
            results += await _send_batch(api, batch, kind=kind, first=len(results))
            progress.update(bar, completed=len(results))
    return results


async def _send_batch(
    api: Api, batch: list[dict[str, Any]], *, kind: str, first: int
) -> list[dict[str, Any]]:
    """Return the result of each event, numbered as in the file."""
    try:
        answer = await api.post("/v1/events", batch, content_type=kind)
        rows = answer["data"]
    except ProblemError as error:
        rows = error.problem.get("data")  # a batch of which nothing was accepted lists its problems, too
        if not rows:
            raise
    return [{**row, "index": first + row["index"]} for row in rows]


def _line(result: Mapping[str, Any]) -> str:
    problem = result.get("problem")
    if problem:
        return f"refused    event {result['index']}: {sentence_of(int(problem.get('status', 0)), problem)}"
    word = "duplicate" if result.get("duplicate") else result["status"]
    return f"{word:<9}  {result['id']}"

"""`carillon explain`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from carillon_cli.api import Api, segment, sentence_of
from carillon_cli.calling import with_api
from carillon_cli.event_files import content_type, read_events
from carillon_cli.explained import event_lines, people_lines
from carillon_cli.failures import CommandError, WrongUseError
from carillon_cli.output import JsonFlag, print_json, print_line

_MOST = 200
_FEW = 4  # people of whom every rule is shown without being asked


def explain(
    event: Annotated[
        str | None, typer.Argument(metavar="EVENT", help="The id that sending answered with.")
    ] = None,
    dry_run: Annotated[
        Path | None,
        typer.Option("--dry-run", metavar="FILE|-", help="An event that is not sent: what would come of it?"),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="This person only.")] = None,
    every_rule: Annotated[bool, typer.Option("--rules", help="Show every rule for everybody.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say who is told about an event over which channel, who is not, and why.

    Of an event that was sent, decisions are shown as they were made. With --dry-run nothing is sent.
    """
    if (event is None) == (dry_run is None):
        raise WrongUseError("Give the id of an event, or --dry-run and a file with one that is not sent.")
    if event is not None:
        _explain_sent(event, user, every_rule=every_rule, as_json=as_json)
    else:
        _explain_unsent(str(dry_run), user, every_rule=every_rule, as_json=as_json)


def _explain_sent(event: str, user: str | None, *, every_rule: bool, as_json: bool) -> None:
    path = f"/v1/events/{segment(event)}/explain"
    found = with_api(lambda api: api.get(path, subscriber=user, limit=_MOST))
    if as_json:
        print_json(found)
        return
    what = f"{found['type']}  {found['event_id']}  {found['status']}"
    _print(event_lines(what, found["steps"]))
    # Newest first is the order of lists; here people are looked for.
    _print_people(list(reversed(found["data"])), every_rule=every_rule)
    if found["note"]:
        print_line(f"\n{found['note']}")
    if found["next_cursor"]:
        print_line(f"\nOnly the last {_MOST} decisions are shown; --user shows those about one person.")


def _explain_unsent(source: str, user: str | None, *, every_rule: bool, as_json: bool) -> None:
    events = read_events(source)
    if len(events) != 1:
        raise WrongUseError(f"{source} has {len(events)} events in it; a dry run takes one.")

    async def ask(api: Api) -> dict[str, Any]:
        kind = content_type(events, single=True)
        path = "/v1/events:explain" + (f"?subscriber={segment(user)}" if user else "")
        answer: dict[str, Any] = await api.post(path, events[0], content_type=kind)
        return answer

    found = with_api(ask)
    if as_json:
        print_json(found)
    else:
        _print_dry_run(found, str(events[0].get("type")), user, every_rule=every_rule)
    if found["result"] == "refused":
        problem = found["problem"]
        raise CommandError(f"It would be refused: {sentence_of(problem['status'], problem)}")


def _print_dry_run(found: dict[str, Any], kind: str, user: str | None, *, every_rule: bool) -> None:
    if found["result"] == "refused":
        return
    if found["result"] == "duplicate":
        print_line(f"This event was sent before. See: carillon explain {found['event_id']}")
        return
    people = "1 person" if found["people"] == 1 else f"{found['people']} people"
    _print(event_lines(f"{kind}  not sent, a dry run  for {people}", found["steps"]))
    _print_people(found["data"], every_rule=every_rule)
    if user and not found["data"]:
        print_line(f"\n{user} is not in its audience.")
    if found["truncated"]:
        print_line("\nOnly the first people are shown; --user shows what would come of one person.")


def _print_people(rows: Sequence[dict[str, Any]], *, every_rule: bool) -> None:
    people = {row["subscriber"] for row in rows}
    _print(people_lines(rows, every_rule=every_rule or len(people) <= _FEW))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print_line(line)

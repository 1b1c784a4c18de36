"""Asking for an operation on dead letters and watching it until it ends."""

import asyncio
import sys
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from carillon_cli.api import Api, segment
from carillon_cli.calling import with_api
from carillon_cli.failures import CommandError, NothingMatchedError, WrongUseError
from carillon_cli.output import print_fields, print_json, screen, tell

_PAUSE_SECONDS = 0.5


def operate(  # noqa: PLR0913 - the options of two commands
    verb: str,
    chosen: dict[str, Any],
    *,
    overrides: dict[str, Any] | None = None,
    everything: bool,
    dry_run: bool,
    rate: int | None,
    why: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Replay or discard; `verb` as the API names it.

    Raises `WrongUseError` for an empty filter without `--all` and for a missing reason, `NothingMatchedError`
    when no dead letter matches, `CommandError` when the operation did not end well.
    """
    if not chosen and not everything:
        raise WrongUseError("Without a filter this means every dead letter: say so with --all.")
    if why is None and not dry_run:
        raise WrongUseError("Say why with --reason: it is written down.")
    body: dict[str, Any] = {"filter": chosen, "all": everything}
    if overrides:
        body["overrides"] = overrides
    preview = with_api(lambda api: _ask(api, verb, body | {"dry_run": True}))
    if dry_run or not preview["matched"]:
        _print_preview(preview, as_json=as_json)
        if not preview["matched"]:
            raise NothingMatchedError("No dead letter matches.")
        return
    confirm(f"{verb.capitalize()} {preview['acted']} of {preview['matched']} dead letters?", yes=yes)
    asked = body | {"reason": why} | ({"rate_per_second": rate} if rate else {})
    print_outcome(with_api(lambda api: _carry_out(api, verb, asked)), as_json=as_json)


def print_outcome(operation: dict[str, Any], *, as_json: bool) -> None:
    """Print an operation. Raises `CommandError` when it failed."""
    if as_json:
        print_json(operation)
    else:
        print_fields(operation)
    if operation["status"] == "failed":
        raise CommandError(f"The operation failed: {operation['error']}")


async def _ask(api: Api, verb: str, body: dict[str, Any]) -> Any:
    return await api.post(f"/v1/admin/dead-letters:{verb}", body)


async def _carry_out(api: Api, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    asked = await _ask(api, verb, body)
    tell(f"operation {asked['operation_id']}: `carillon operations stop` stops it")
    return await watch(api, asked["operation_id"])


async def watch(api: Api, operation: str) -> dict[str, Any]:
    """Show an operation's progress until it ends, and return it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen(), disable=not sys.stdout.isatty(), transient=True) as progress:
        bar = progress.add_task("dead letters", total=None)
        while True:
            found: dict[str, Any] = await api.get(f"/v1/admin/operations/{segment(operation)}")
            over = found["acted"] + sum(found["skipped"].values())
            progress.update(bar, total=found["matched"], completed=over)
            if found["status"] != "running":
                return found
            await asyncio.sleep(_PAUSE_SECONDS)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Raises `WrongUseError` where nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUseError(f"{question} Say so with --yes.")
    if not typer.confirm(question, err=True):
        raise CommandError("Nothing was done.")


def _print_preview(preview: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(preview)
    else:
        print_fields(preview)

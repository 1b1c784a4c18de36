"""`carillon dead-letters reconcile`."""

from typing import Annotated, Any

import typer

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.commands.dead_letter_selection import ChannelOption
from carillon_cli.commands.operating import confirm, watch
from carillon_cli.failures import CommandError
from carillon_cli.output import JsonFlag, print_json, print_rows, tell

_COUNTS = ("agreed", "stale", "duplicate", "missing")


def reconcile(
    channel: ChannelOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what differs.")] = False,
    why: Annotated[str | None, typer.Option("--reason", help="Why; it is written down.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make the dead queues agree with the database, which decides; a purged queue is built anew.

    Shows dead letters that had their copy (agreed), copies without a dead letter and second ones (stale,
    duplicate: removed), and dead letters whose copy was missing (published).
    """
    if not dry_run:
        confirm("Mend the dead queues?", yes=yes)
    body: dict[str, Any] = {"channel": channel.value if channel else None, "dry_run": dry_run}
    found = with_api(lambda api: _carry_out(api, body | ({"reason": why} if why else {})))
    if as_json:
        print_json(found)
    else:
        report: dict[str, dict[str, int]] = found["report"] or {}
        rows = [[name, *(counts[column] for column in _COUNTS)] for name, counts in report.items()]
        print_rows(("channel", *_COUNTS), rows)
    if found["status"] != "done":
        raise CommandError(f"The operation is {found['status']}: {found['error'] or 'stopped'}")


async def _carry_out(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    asked = await api.post("/v1/admin/dead-letters:reconcile", body)
    tell(f"operation {asked['operation_id']}: `carillon operations stop` stops it")
    return await watch(api, asked["operation_id"])

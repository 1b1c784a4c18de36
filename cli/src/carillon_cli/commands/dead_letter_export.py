"""`carillon dead-letters export`."""

import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from carillon_shared.domain.records import FileFormat

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.commands.dead_letter_selection import (
    ChannelOption,
    EventTypeOption,
    ProviderOption,
    ReasonOption,
    SinceOption,
    UntilOption,
    selection,
)
from carillon_cli.failures import NothingMatchedError
from carillon_cli.output import tell


def export(  # noqa: PLR0913, PLR0917 - typer makes an option of each argument
    channel: ChannelOption = None,
    event_type: EventTypeOption = None,
    reason: ReasonOption = None,
    provider: ProviderOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    form: Annotated[FileFormat, typer.Option("--format", help="CSV or JSON lines.")] = FileFormat.CSV,
    out: Annotated[Path | None, typer.Option(help="Into this file instead of standard output.")] = None,
    reveal: Annotated[bool, typer.Option("--reveal", help="Addresses as they are; this is audited.")] = False,
) -> None:
    """Export dead letters, addresses masked; exit code 4 when there is none."""
    chosen = selection(
        channel=channel, event_type=event_type, reason=reason, provider=provider, since=since, until=until
    )
    given = chosen | {"format": form.value, "reveal": "true" if reveal else None}
    if out is None:
        lines = with_api(lambda api: _copy(api, given, sys.stdout.buffer))
    else:
        with out.open("wb") as file:
            lines = with_api(lambda api: _copy(api, given, file))
        tell(f"written to {out}")
    if lines <= (1 if form is FileFormat.CSV else 0):
        raise NothingMatchedError("There is no dead letter.")


async def _copy(api: Api, given: dict[str, str | None], file: BinaryIO) -> int:
    """Write the export to a file as it comes; returns how many lines it has."""
    lines = 0
    async for piece in api.download("/v1/admin/dead-letters:export", **given):
        file.write(piece)
        lines += piece.count(b"\n")
    file.flush()
    return lines

"""`carillon registry`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.output import JsonFlag, print_json, print_line
from carillon_cli.registry_file import Applied, RegistryFile, read_registry
from carillon_cli.registry_file import apply as apply_registry

app = typer.Typer(help="Event types, templates and people.", no_args_is_help=True)


@app.callback()
def registry() -> None:
    """Group the commands, also while there is one only."""


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON; see examples/registry.yaml.")],
    as_json: JsonFlag = False,
) -> None:
    """Register what a file says; applying it again changes nothing."""
    wanted = read_registry(file)
    done = with_api(lambda api: _apply(api, wanted))
    if as_json:
        print_json([applied.model_dump() for applied in done])
        return
    for applied in done:
        print_line(f"{applied.verb:<9}  {applied.what}")


async def _apply(api: Api, wanted: RegistryFile) -> list[Applied]:
    done: list[Applied] = []
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task("Registering", total=wanted.steps)
        async for applied in apply_registry(api, wanted):
            done.append(applied)
            progress.advance(bar)
    return done

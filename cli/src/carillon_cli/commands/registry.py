"""`carillon registry`."""

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from carillon_cli.api import Api
from carillon_cli.calling import with_api
from carillon_cli.failures import ExitCode, WrongUseError
from carillon_cli.output import JsonFlag, print_json, print_line, tell
from carillon_cli.registry.changes import Applied, Difference, compare
from carillon_cli.registry.changes import apply as apply_registry
from carillon_cli.registry.export import export_registry
from carillon_cli.registry.file import RegistryFile, read_registry
from carillon_cli.registry.things import things_of
from carillon_cli.registry.yaml_text import as_yaml

app = typer.Typer(help="Event types, templates and people in a file.", no_args_is_help=True)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML or JSON; see examples/registry.yaml.")
]
A = TypeVar("A", bound=Applied)


@app.command()
def apply(file: FileArgument, as_json: JsonFlag = False) -> None:
    """Register what a file says; applying it again changes nothing."""
    done = _each(apply_registry, read_registry(file), "Registering")
    if as_json:
        print_json([applied.model_dump() for applied in done])
        return
    for applied in done:
        print_line(f"{applied.verb:<9}  {applied.what}")


@app.command()
def diff(
    file: FileArgument,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when something differs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what `apply` would change, and change nothing. What only the platform has stays out of it."""
    found = _each(compare, read_registry(file), "Comparing")
    differing = [one for one in found if one.verb != "unchanged"]
    if as_json:
        print_json([one.model_dump() for one in differing])
    else:
        _print(differing, of=len(found))
    if check and differing:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def export(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a new file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Print the tenant's defaults, event types and templates as a file that `apply` takes. No people."""
    content = with_api(export_registry)
    if as_json:
        print_json(content)
    elif out is None:
        sys.stdout.write(as_yaml(content))
    else:
        _write(out, as_yaml(content))


def _print(differing: list[Difference], *, of: int) -> None:
    for one in differing:
        print_line(f"{one.verb:<9}  {one.what}")
        for line in one.lines:
            print_line(f"    {line[0]} {line[1:]}")
    tell(f"{len(differing)} of {of} would change.")


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise WrongUseError(f"{path} cannot be written: {error.strerror or error}") from error


def _each(
    work: Callable[[Api, RegistryFile], AsyncIterator[A]], registry: RegistryFile, title: str
) -> list[A]:
    """Do the work on everything in a file, with a progress bar on a terminal."""

    async def run(api: Api) -> list[A]:
        done: list[A] = []
        console = Console(stderr=True)
        with Progress(console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
            bar = progress.add_task(title, total=sum(1 for _ in things_of(registry)))
            async for one in work(api, registry):
                done.append(one)
                progress.advance(bar)
        return done

    return with_api(run)

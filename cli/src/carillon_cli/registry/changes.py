"""What becomes of a registry's things: registered, or only compared."""

from collections.abc import AsyncIterator
from difflib import unified_diff
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from carillon_cli.api import Api, ProblemError
from carillon_cli.failures import CommandError
from carillon_cli.registry.file import Place, RegistryFile
from carillon_cli.registry.things import Thing, things_of
from carillon_cli.registry.yaml_text import as_yaml

Verb = Literal["created", "changed", "unchanged"]


class Applied(BaseModel):
    """What became of one thing in the file."""

    model_config = ConfigDict(frozen=True)

    what: str
    verb: Verb


class Difference(Applied):
    """What would become of one thing.

    `lines` begin with `-` for what is kept now, and with `+` for what the file says.
    """

    lines: list[str] = []


class RefusedError(CommandError):
    """The API takes something in the file for wrong."""


async def apply(api: Api, registry: RegistryFile) -> AsyncIterator[Applied]:
    """Register everything, saying what became of each; what is so already is left alone.

    Raises `RefusedError`, naming file and line, for what the API refuses.
    """
    for thing in things_of(registry):
        before, after = await _put(api, registry, thing, dry_run=False)
        yield Applied(what=thing.what, verb=_verb(before, after))


async def compare(api: Api, registry: RegistryFile) -> AsyncIterator[Difference]:
    """Say what `apply` would do to each thing, and do nothing. Raises `RefusedError` as `apply` does."""
    for thing in things_of(registry):
        before, after = await _put(api, registry, thing, dry_run=True)
        yield Difference(what=thing.what, verb=_verb(before, after), lines=_lines(before, after))


async def _put(api: Api, registry: RegistryFile, thing: Thing, *, dry_run: bool) -> tuple[Any, Any]:
    before = await thing.before(api)
    try:
        return before, await thing.put(api, before, dry_run=dry_run)
    except ProblemError as error:
        raise RefusedError(_complaint(registry, thing, error)) from error


def _complaint(registry: RegistryFile, thing: Thing, error: ProblemError) -> str:
    """Return a line for each fault, with the place in the file that it is about."""
    faults = [fault for fault in error.problem.get("errors") or () if fault.get("pointer")]
    if not faults:
        return f"{registry.place(thing.place)}: {thing.what}: {error}"
    return "\n".join(
        f"{registry.place((*thing.place, *_steps(fault['pointer'])))}: {thing.what}: "
        f"{fault['pointer']} {fault.get('detail')}"
        for fault in faults
    )


def _steps(pointer: str) -> Place:
    """Return the steps of a JSON pointer (RFC 6901)."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _verb(before: Any, after: Any) -> Verb:
    if before is None:
        return "created"
    return "unchanged" if before == after else "changed"


def _lines(before: Any, after: Any) -> list[str]:
    if before is None or before == after:
        return []
    texts = (as_yaml(before).splitlines(), as_yaml(after).splitlines())
    changes = list(unified_diff(*texts, lineterm="", n=0))[2:]
    return [line for line in changes if not line.startswith("@@")]

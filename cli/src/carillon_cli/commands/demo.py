"""`carillon demo`."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from carillon_local.launcher import Status

from carillon_cli.commands.platform import BackendOption, start_detached
from carillon_cli.connection import ApiAccess, CliFile, this_checkout
from carillon_cli.demo_screen import DemoScreen
from carillon_cli.demo_tenant import remember_platform
from carillon_cli.failures import CommandError
from carillon_cli.next_steps import addresses, commands
from carillon_cli.output import JsonFlag, print_json
from carillon_cli.registry.changes import apply
from carillon_cli.registry.file import read_registry
from carillon_cli.stories import STORIES, StoryResult, open_stage, play

_SETTING_UP = 2  # starting and registering, beside the stories


def demo(
    backend: BackendOption = "auto",
    patience: Annotated[float, typer.Option(min=1, help="Seconds that each check waits.")] = 30.0,
    as_json: JsonFlag = False,
) -> None:
    """Start the platform in the background and send real events through it, showing each arrive."""
    began = time.monotonic()
    checkout = this_checkout()
    show = DemoScreen(steps=len(STORIES) + _SETTING_UP, quiet=as_json)
    with show.progress:
        show.begin("Starting the platform")
        found = start_detached(backend, checkout, say=show.say)
        known = remember_platform(found, checkout)
        show.done()
        results = asyncio.run(_tell(show, known, checkout / "examples", patience=patience))
    steps = commands(ApiAccess(known.api_url, known.api_key))
    places = addresses(api_url=known.api_url, mock_url=known.mock_url or "", key=known.api_key)
    if as_json:
        print_json(_as_json(found, results, seconds=time.monotonic() - began))
    show.end(results, commands=steps, addresses=places)
    if not all(result.passed for result in results):
        raise CommandError("The demo failed; `carillon doctor` looks for a cause.")


async def _tell(show: DemoScreen, known: CliFile, examples: Path, *, patience: float) -> list[StoryResult]:
    """Register everything and play the stories; returns what they found."""
    if known.mock_url is None:
        raise CommandError("The demo needs the mock providers, and this platform runs without them.")
    async with open_stage(
        api_url=known.api_url,
        key=known.api_key,
        mock_url=known.mock_url,
        examples=examples,
        patience=patience,
    ) as stage:
        show.say("Registering event types, templates and people")
        async for _ in apply(stage.api, read_registry(stage.examples.registry)):
            pass
        show.done()
        results = []
        for story in STORIES:
            show.begin(story.title)
            result = await play(story, stage)
            show.story(result, shows=story.shows)
            show.done()
            results.append(result)
        return results


def _as_json(found: Status, results: Sequence[StoryResult], *, seconds: float) -> dict[str, Any]:
    return {
        "passed": all(result.passed for result in results),
        "seconds": round(seconds, 3),
        "backend": found.backend,
        "stories": [
            {
                "title": result.title,
                "passed": result.passed,
                "seconds": round(result.seconds, 3),
                "checks": [asdict(check) for check in result.checks],
            }
            for result in results
        ],
    }

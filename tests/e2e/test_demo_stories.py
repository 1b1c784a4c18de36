"""What `carillon demo` shows, on the shared platform, and what it leaves a person with."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from carillon_cli.connection import ApiAccess
from carillon_cli.next_steps import NextStep, addresses, commands
from carillon_cli.registry.changes import apply
from carillon_cli.registry.file import read_registry
from carillon_cli.stories import STORIES, Stage, Story, open_stage, play
from support.seen import Seen
from support.tenant import Tenant

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 60.0


@pytest.fixture(scope="module")
async def storied(platform: Seen) -> Tenant:
    """A tenant with the example registry."""
    return await platform.new_tenant()


@pytest.fixture(scope="module")
async def stage(platform: Seen, storied: Tenant) -> AsyncIterator[Stage]:
    async with open_stage(
        api_url=platform.api_url, key=storied.key, mock_url=platform.mock_url, examples=ROOT / "examples"
    ) as opened:
        async for _ in apply(opened.api, read_registry(opened.examples.registry)):
            pass
        yield opened


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_story_of_the_demo_arrives(stage: Stage, story: Story) -> None:
    result = await play(story, stage)
    assert result.passed, "\n".join(map(str, result.checks))


async def test_every_command_the_demo_prints_works(platform: Seen, storied: Tenant, stage: Stage) -> None:
    for story in STORIES:  # the commands look at what the stories have done
        if story.name in {"help-desk", "system-message", "dead-letter"}:
            assert (await play(story, stage)).passed
    environment = os.environ | {
        "CARILLON_API_URL": platform.api_url,
        "CARILLON_API_KEY": storied.key,
    }
    for step in commands(ApiAccess(platform.api_url, storied.key)):
        _run(step, environment)


async def test_every_address_the_demo_prints_opens(platform: Seen, storied: Tenant) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        for place in addresses(api_url=platform.api_url, mock_url=platform.mock_url, key=storied.key):
            reply = await http.get(place.text)
            assert reply.status_code == 200, place.text


def _run(step: NextStep, environment: dict[str, str]) -> None:
    """Paste a command into a shell in the checkout."""
    program = f"'{sys.executable}' -m carillon_cli"  # what ./carillon runs once it is set up
    done = subprocess.run(  # noqa: S602 - a person's shell is what it is for
        step.text.replace("./carillon", program),
        shell=True,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, f"{step.text}: {done.stdout}{done.stderr}"
    assert done.stdout.strip()

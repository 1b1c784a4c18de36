"""The list of stories, and playing one."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from carillon_cli.failures import CommandError
from carillon_cli.stories.checks import Check, StoryResult
from carillon_cli.stories.dead_letter import dead_letter
from carillon_cli.stories.help_desk import help_desk
from carillon_cli.stories.invitation import invitation
from carillon_cli.stories.long_job import long_job
from carillon_cli.stories.sign_in import sign_in
from carillon_cli.stories.stage import Stage
from carillon_cli.stories.system_message import system_message
from carillon_cli.stories.user_management import user_management


@dataclass(frozen=True, slots=True)
class Story:
    """A story: what it is called, what it shows, and how it goes."""

    title: str
    shows: str
    tell: Callable[[Stage], Awaitable[Sequence[Check]]]

    @property
    def name(self) -> str:
        """A short name, for choosing it."""
        return self.tell.__name__.replace("_", "-")


STORIES = (
    Story("Help desk", "a ticket changes, somebody writes a note", help_desk),
    Story("Sign-in", "a security mail in Mongolian, ten an hour at most", sign_in),
    Story("Long job", "live progress, then how it ended", long_job),
    Story("User management", "all admins, over three channels", user_management),
    Story("Invitation", "to somebody known by an address only", invitation),
    Story("System message", "to everyone, from one request", system_message),
    Story("A bad day", "a mail server fails until we give up", dead_letter),
)


async def play(story: Story, stage: Stage) -> StoryResult:
    """Play a story, as a run of its own. What ends it early is a check that did not pass."""
    began = time.monotonic()
    try:
        checks = await story.tell(replace(stage, examples=stage.examples.another_run()))
    except CommandError as error:
        checks = [Check("the story goes to its end", passed=False, detail=str(error))]
    return StoryResult(story.title, checks, time.monotonic() - began)

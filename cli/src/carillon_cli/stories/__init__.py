"""Six stories of real use and one bad day, played against a running platform.

`STORIES` lists them; each takes a `Stage` and returns what it has checked. They are what `carillon demo`
shows and what the end-to-end tests run.
"""

from carillon_cli.stories.checks import Check, StoryResult
from carillon_cli.stories.playing import STORIES, Story, play
from carillon_cli.stories.stage import Stage, open_stage

__all__ = ["STORIES", "Check", "Stage", "Story", "StoryResult", "open_stage", "play"]

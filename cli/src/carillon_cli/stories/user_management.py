"""User management: everybody with the role `admin` hears of a new user, over all three channels."""

from collections.abc import Sequence

from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Stage, together


async def user_management(stage: Stage) -> Sequence[Check]:
    """Send `user.created`, as a CloudEvent."""
    async with stage.listen("oyuna") as oyuna, stage.listen("anna") as anna:
        (created,) = await stage.send(stage.examples.event("user.created"))
        return await together(
            stage.feed(created, oyuna, "Шинэ хэрэглэгч: Tuya"),
            stage.feed(created, anna, "New user: Tuya"),
            stage.mail(created, "oyuna@acme.example", "Шинэ хэрэглэгч: Tuya"),
            stage.mail(created, "anna@acme.example", "New user: Tuya"),
            stage.phone(created, "+97699112233", "Tuya", "tuya@acme.example"),
            stage.phone(created, "+12025550147", "New user: Tuya"),
            stage.completed(created),
        )

"""System message: the built-in type `message` reaches everybody from one request, nothing registered."""

from collections.abc import Sequence

from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Stage, together


async def system_message(stage: Stage) -> Sequence[Check]:
    """Send a `message` to everyone."""
    async with stage.listen("bat") as bat, stage.listen("anna") as anna:
        (sent,) = await stage.send(stage.examples.event("message"))
        return await together(
            stage.feed(sent, bat, "Maintenance tonight", "22:05"),
            stage.feed(sent, anna, "Maintenance tonight", "22:05"),
            stage.mail(sent, "chimeg@acme.example", "Maintenance tonight", "We restart at 22:00"),
            stage.phone(sent, "+97688123456", "Maintenance tonight"),
            stage.delivery(sent, "bat", "whatsapp", status="read"),
            stage.delivery(sent, "unlucky", "email", status="skipped", reason="opted_out"),
            stage.completed(sent),
        )

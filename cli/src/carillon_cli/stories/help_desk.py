"""Help desk: the ticket's owner hears of a change; its watchers hear of a note, its author does not."""

from collections.abc import Sequence

from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Stage, together


async def help_desk(stage: Stage) -> Sequence[Check]:
    """Send `ticket.status_changed`, whose owner stands in its data, and `ticket.note_added`."""
    async with stage.listen("bat") as bat, stage.listen("chimeg") as chimeg:
        (changed,) = await stage.send(stage.examples.event("ticket.status_changed"))
        checks = await together(
            stage.feed(changed, bat, "42", "solved"),
            stage.mail(changed, "bat@acme.example", "42 дугаартай хүсэлт", "Бат"),
        )
        (note,) = await stage.send(stage.examples.event("ticket.note_added"))
        return [
            *checks,
            *await together(
                stage.feed(note, bat, "Grace"),
                stage.feed(note, chimeg, "Grace wrote on ticket 42"),
                stage.delivery(note, "grace", "inapp", status="skipped", reason="actor"),
            ),
        ]

"""Invitation: to somebody who is not registered, given with the event by an address only."""

from collections.abc import Sequence

from carillon_cli.stories.checks import Check
from carillon_cli.stories.stage import Stage, together


async def invitation(stage: Stage) -> Sequence[Check]:
    """Send `invitation.sent` to a new person."""
    address = f"nomin+{stage.examples.run}@partner.example"
    event = stage.examples.event("invitation.sent")
    event["audience"] = {"users": [{"id": f"invited:{address}", "email": address}]}
    (sent,) = await stage.send(event)
    return await together(
        stage.mail(sent, address, "Grace invites you to Acme Support", "Accept the invitation"),
        stage.completed(sent),
    )

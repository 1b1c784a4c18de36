"""Which dead letters a command is about: the same options everywhere."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from carillon_shared.domain.channels import Channel

ChannelOption = Annotated[Channel | None, typer.Option(help="Of this channel only.")]
EventTypeOption = Annotated[str | None, typer.Option(help="Of this event type only.")]
ReasonOption = Annotated[str | None, typer.Option(help="With this reason only.")]
DeadReasonOption = Annotated[str | None, typer.Option("--dead-reason", help="Dead for this reason only.")]
ProviderOption = Annotated[str | None, typer.Option(help="Of this provider only.")]
SinceOption = Annotated[str | None, typer.Option(help="Dead since this time (RFC 3339).")]
UntilOption = Annotated[str | None, typer.Option(help="Dead before this time (RFC 3339).")]
IdsOption = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="These deliveries only.")]


def selection(
    *,
    channel: Channel | None,
    event_type: str | None,
    reason: str | None,
    provider: str | None,
    since: str | None,
    until: str | None,
    ids: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return what is given, as the API names it."""
    given = {
        "channel": channel.value if channel else None,
        "event_type": event_type,
        "reason": reason,
        "provider": provider,
        "since": since,
        "until": until,
        "ids": list(ids) if ids else None,
    }
    return {name: value for name, value in given.items() if value is not None}

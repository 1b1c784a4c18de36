"""People whose quiet hours are now, or were until a moment ago."""

from datetime import UTC, datetime, timedelta
from typing import Any

from support.planning import Planning
from support.quiet_oracle import window

_PUT = """
    INSERT INTO carillon.preferences (tenant_id, subscriber, document)
    SELECT $1, number, jsonb_build_object('quiet_hours', $3::jsonb) FROM carillon.subscribers
    WHERE tenant_id = $1 AND id = ANY ($2)
    ON CONFLICT (tenant_id, subscriber) DO UPDATE SET document = preferences.document || excluded.document
"""


def around_now() -> dict[str, Any]:
    """Return quiet hours that began an hour ago and end in two, whatever the time is."""
    now = datetime.now(UTC)
    return {"windows": [window(f"{now - timedelta(hours=1):%H:%M}", f"{now + timedelta(hours=2):%H:%M}")]}


def over_by_now() -> dict[str, Any]:
    """Return quiet hours that ended an hour ago."""
    now = datetime.now(UTC)
    return {"windows": [window(f"{now - timedelta(hours=3):%H:%M}", f"{now - timedelta(hours=1):%H:%M}")]}


async def give_quiet_hours(planning: Planning, *people: str, hours: dict[str, Any] | None = None) -> None:
    """Let these people have quiet hours, around this moment if nothing else is said."""
    await planning.owner.execute(_PUT, planning.world.tenant_id, list(people), hours or around_now())


async def end_quiet_hours(planning: Planning) -> None:
    """Let everybody's quiet hours be over, and what waited for their end be due."""
    await planning.owner.execute(
        """UPDATE carillon.preferences SET document = document || jsonb_build_object('quiet_hours', $1::jsonb)
        WHERE quiet IS NOT NULL""",
        over_by_now(),
    )
    await make_due(planning)


async def make_due(planning: Planning) -> None:
    """Let everything that waits have waited long enough."""
    await planning.owner.execute("UPDATE carillon.due SET due_at = now() WHERE kind = 'hold'")
    await planning.owner.execute("UPDATE carillon.digests SET closes_at = now() WHERE closed_at IS NULL")

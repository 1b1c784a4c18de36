"""What a person can choose about: channels that reach them, and the tenant's kinds of events."""

from itertools import groupby

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from pydantic import BaseModel, Field

from carillon_api.subscribers.models import Preferences

_CHANNELS = """
SELECT ARRAY(
    SELECT carillon.channel_name(c) FROM unnest(enum_range(NULL::carillon.channel)) AS c
    WHERE c <> ALL (t.disabled_channels || carillon.switched_off())
      AND carillon.has_address(c, s.email, s.phone)
) AS channels, t.preferences AS defaults
FROM carillon.subscribers s JOIN carillon.tenants t ON t.id = s.tenant_id
WHERE s.number = $1
"""
_TYPES = """
SELECT name AS type, category, channels::text[], mandatory FROM carillon.event_types ORDER BY category, name
"""


class ChoosableType(BaseModel):
    """An event type. What is mandatory arrives whatever a person chooses."""

    type: str
    channels: list[Channel]
    mandatory: bool


class ChoosableCategory(BaseModel):
    """A category and the event types in it."""

    category: str
    types: list[ChoosableType]


class PreferenceOptions(BaseModel):
    """What a page about preferences shows besides what was chosen."""

    channels: list[Channel] = Field(description="Those over which you can be reached.")
    categories: list[ChoosableCategory]
    defaults: Preferences = Field(description="What holds where you chose nothing; silence means yes.")


async def read_options(connection: Connection, number: int) -> PreferenceOptions:
    """Return what this person of the current tenant can choose about."""
    person = await connection.fetchrow(_CHANNELS, number)
    assert person is not None  # noqa: S101 - the number was looked up in this transaction
    rows = [dict(row) for row in await connection.fetch(_TYPES)]
    categories = [
        ChoosableCategory.model_validate({"category": category, "types": list(types)})
        for category, types in groupby(rows, key=lambda row: str(row["category"]))
    ]
    defaults = Preferences.model_validate(person["defaults"])
    return PreferenceOptions(channels=person["channels"], categories=categories, defaults=defaults)

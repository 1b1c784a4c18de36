"""What holds for a person in the end, for every event type and channel, and where it comes from."""

from enum import StrEnum

from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from pydantic import BaseModel, Field

# The rule itself is the one that planning asks.
_EFFECTIVE = """
SELECT y.name AS type, y.category, carillon.channel_name(c) AS channel, y.mandatory,
       y.mandatory OR carillon.wants(p.document, t.preferences, y.name, y.category, c) AS wanted,
       CASE WHEN y.mandatory THEN 'mandatory'
            ELSE carillon.choice_origin(p.document, t.preferences, y.name, y.category, c) END AS origin,
       c <> ALL (t.disabled_channels || carillon.switched_off()) AND carillon.has_address(c, s.email, s.phone)
           AS reachable
FROM carillon.subscribers s
JOIN carillon.tenants t ON t.id = s.tenant_id
JOIN carillon.event_types y ON y.tenant_id = s.tenant_id
CROSS JOIN unnest(y.channels) WITH ORDINALITY AS w(c, place)
LEFT JOIN carillon.preferences p ON p.tenant_id = s.tenant_id AND p.subscriber = s.number
WHERE s.number = $1
ORDER BY y.category, y.name, w.place
"""


class Origin(StrEnum):
    """Whose choice decides, from the most specific to none."""

    MANDATORY = "mandatory"  # of the event type: nobody can choose otherwise
    TYPE = "type"  # the person's own choices
    CATEGORY = "category"
    ALL = "all"
    TENANT_TYPE = "tenant_type"  # the tenant's defaults
    TENANT_CATEGORY = "tenant_category"
    TENANT_ALL = "tenant_all"
    NOTHING = "nothing"  # nobody chose: it is wanted


class EffectivePreference(BaseModel):
    """What holds for one event type over one channel."""

    type: str
    category: str
    channel: Channel
    wanted: bool
    origin: Origin = Field(description="The choice that decides; `nothing`: nobody chose, which means yes.")
    locked: bool = Field(description="Mandatory: to be shown, and not to be changed.")
    reachable: bool = Field(description="False without an address, or while the channel is switched off.")


class EffectivePreferences(BaseModel):
    """What holds, by category and type."""

    data: list[EffectivePreference]


async def read_effective(connection: Connection, number: int) -> EffectivePreferences:
    """Return what holds for this person of the current tenant."""
    rows = await connection.fetch(_EFFECTIVE, number)
    return EffectivePreferences(
        data=[EffectivePreference.model_validate({**row, "locked": row["mandatory"]}) for row in rows]
    )

"""What an operator puts right when dead letters are sent again."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self
from uuid import UUID

import asyncpg
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from carillon_api.errors import FieldError, invalid, json_pointer
from carillon_api.intake.event_types import EventTypes
from carillon_api.intake.payload_schema import PayloadSchema
from carillon_api.subscribers.models import Email, Phone
from carillon_api.written import check_storable

MAX_DATA_BYTES = 16_384
MAX_DATA_KEYS = 50

_CHANNELS = """
SELECT DISTINCT channel::text FROM carillon.dead_letters
WHERE tenant_id = $1 AND delivery_id = ANY ($2::uuid[])
"""
# Many deliveries of one event share their data, but for what was put right before.
_DATA = """
SELECT DISTINCT e.type, e.data || coalesce(k.data, '{}') AS data
FROM carillon.dead_letters l
JOIN carillon.deliveries d ON d.id = l.delivery_id
JOIN carillon.events e ON e.id = d.event_id
LEFT JOIN carillon.corrections k ON k.delivery_id = l.delivery_id
WHERE l.tenant_id = $1 AND l.delivery_id = ANY ($2::uuid[])
"""
_DATA_POINTER = "/overrides/data"
_ADDRESS_OF = {"email": Channel.EMAIL, "phone": Channel.WHATSAPP}


class AddressOverride(BaseModel):
    """Where to send instead."""

    model_config = ConfigDict(extra="forbid")

    email: Email | None = None
    phone: Phone | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.email is None) == (self.phone is None):
            raise ValueError("give either an email or a phone")
        return self


class Overrides(BaseModel):
    """Corrections for the deliveries that are replayed, and for no others of their events."""

    model_config = ConfigDict(extra="forbid")

    address: AddressOverride | None = Field(default=None, description="Only for exactly one delivery.")
    data: dict[str, Any] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_DATA_KEYS,
        description="Takes the place of what the event's data has under the same keys.",
    )

    @field_validator("data")
    @classmethod
    def _can_be_stored(cls, data: dict[str, Any] | None) -> dict[str, Any] | None:
        if data is None:
            return None
        check_storable(data)
        if len(json.dumps(data)) > MAX_DATA_BYTES:
            raise ValueError(f"is larger than {MAX_DATA_BYTES} bytes")
        return data

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.address is None and self.data is None:
            raise ValueError("give an address or data")
        return self

    def chosen(self) -> dict[str, Any]:
        """Return what is given, as it is stored."""
        return self.model_dump(mode="json", exclude_none=True)


async def data_of(connection: Connection, *, tenant_id: int, ids: list[UUID]) -> Sequence[asyncpg.Record]:
    """Return the types and data of the events of these dead letters."""
    rows: Sequence[asyncpg.Record] = await connection.fetch(_DATA, tenant_id, ids)
    return rows


async def refuse_wrong_data(
    overrides: Overrides, events: Sequence[asyncpg.Record], *, types: EventTypes, tenant_id: int
) -> None:
    """Raise `Problem` (422) for data that the event type's payload schema does not allow."""
    if overrides.data is None:
        return
    for event in events:
        kind = await types.find(tenant_id, event["type"])
        if kind is None or kind.payload is None:
            continue
        faults = _new_faults(kind.payload, before=event["data"], given=overrides.data)
        if faults:
            raise invalid(faults)


def _new_faults(
    schema: PayloadSchema, *, before: Mapping[str, Any], given: Mapping[str, Any]
) -> list[FieldError]:
    """Return what is wrong with the given data, and not what was wrong before in other places."""
    known = schema.faults(before, pointer=_DATA_POINTER)
    roots = tuple(_DATA_POINTER + json_pointer([name]) for name in given)
    return [
        fault
        for fault in schema.faults({**before, **given}, pointer=_DATA_POINTER)
        if fault not in known or any(f"{fault['pointer']}/".startswith(f"{root}/") for root in roots)
    ]


async def refuse_wrong_channel(
    connection: Connection, overrides: Overrides, *, tenant_id: int, ids: list[UUID]
) -> None:
    """Raise `Problem` (422) for an address that the delivery's channel cannot use."""
    if overrides.address is None:
        return
    channel = _ADDRESS_OF["email" if overrides.address.email else "phone"]
    rows = await connection.fetch(_CHANNELS, tenant_id, ids)
    for row in rows:
        if row["channel"] != channel:
            detail = f"is no address for the channel {row['channel']}"
            raise invalid([{"pointer": "/overrides/address", "detail": detail}])

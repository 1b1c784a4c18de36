"""A person's preferences document: what they want over which channel, and when not."""

from collections.abc import Mapping
from typing import Any

from carillon_shared.db.pool import Connection

from carillon_api.preferences.quiet_hours import OwnPreferences, QuietHours
from carillon_api.subscribers import storage

_KEY = "quiet_hours"


async def read(connection: Connection, number: int) -> OwnPreferences:
    """Return what a person chose."""
    return OwnPreferences.model_validate(await storage.get_preferences(connection, number))


async def replace(
    connection: Connection, body: OwnPreferences, *, tenant_id: int, number: int
) -> OwnPreferences:
    """Replace what a person chose, and return it; quiet hours only if the body speaks of them."""
    kept = await storage.get_preferences(connection, number, lock=True)
    document = body.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={_KEY})
    quiet = _stored(body.quiet_hours) if _KEY in body.model_fields_set else kept.get(_KEY)
    return await _put(connection, document, quiet, tenant_id=tenant_id, number=number)


async def replace_quiet_hours(
    connection: Connection, quiet: QuietHours | None, *, tenant_id: int, number: int
) -> None:
    """Replace a person's quiet hours only; None removes them."""
    kept = await storage.get_preferences(connection, number, lock=True)
    document = {name: value for name, value in kept.items() if name != _KEY}
    await _put(connection, document, _stored(quiet), tenant_id=tenant_id, number=number)


async def _put(
    connection: Connection, document: dict[str, Any], quiet: Any, *, tenant_id: int, number: int
) -> OwnPreferences:
    whole = document | {_KEY: quiet} if quiet else document
    await storage.put_preferences(connection, tenant_id=tenant_id, number=number, document=whole)
    return OwnPreferences.model_validate(whole)


def _stored(quiet: QuietHours | None) -> Mapping[str, Any] | None:
    return quiet.model_dump(mode="json", by_alias=True, exclude_none=True) if quiet else None

"""A person's preferences document: what they want over which channel, and when not."""

from collections.abc import Mapping
from typing import Any

from carillon_shared.db.pool import Connection

from carillon_api.errors import Problem
from carillon_api.preferences.quiet_hours import MAX_MUTED, OwnPreferences, QuietHours
from carillon_api.subscribers import storage

_QUIET = "quiet_hours"
_MUTED = "muted"
_KEPT = (_QUIET, _MUTED)  # a page that knows nothing of them does not end them


async def read(connection: Connection, number: int) -> OwnPreferences:
    """Return what a person chose."""
    return OwnPreferences.model_validate(await storage.get_preferences(connection, number))


async def replace(
    connection: Connection, body: OwnPreferences, *, tenant_id: int, number: int
) -> OwnPreferences:
    """Replace what a person chose, and return it; quiet hours and mutes only if the body speaks of them."""
    kept = await storage.get_preferences(connection, number, lock=True)
    left_out = {name: kept[name] for name in _KEPT if name in kept and name not in body.model_fields_set}
    document = stored(body) | left_out
    return await _put(connection, document, tenant_id=tenant_id, number=number)


def stored(body: OwnPreferences) -> dict[str, Any]:
    """Return all that a body says as it is kept; what it leaves out is chosen no more."""
    document = body.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=set(_KEPT))
    document |= {_QUIET: _stored(body.quiet_hours), _MUTED: sorted(set(body.muted or ()))}
    return _whole(document)


async def replace_quiet_hours(
    connection: Connection, quiet: QuietHours | None, *, tenant_id: int, number: int
) -> None:
    """Replace a person's quiet hours only; None removes them."""
    kept = await storage.get_preferences(connection, number, lock=True)
    await _put(connection, {**kept, _QUIET: _stored(quiet)}, tenant_id=tenant_id, number=number)


async def mute(connection: Connection, topic: str, *, tenant_id: int, number: int) -> None:
    """Mute a topic; no harm when it is. Raises `Problem` 409 when too many are."""
    kept = await storage.get_preferences(connection, number, lock=True)
    muted = {*kept.get(_MUTED, ()), topic}
    if len(muted) > MAX_MUTED:
        raise Problem("too-many-muted", "Too many topics are muted.", 409, f"At most {MAX_MUTED} can be.")
    await _put(connection, {**kept, _MUTED: sorted(muted)}, tenant_id=tenant_id, number=number)


async def unmute(connection: Connection, topic: str, *, tenant_id: int, number: int) -> None:
    """End the muting of a topic; no harm when it is not muted."""
    kept = await storage.get_preferences(connection, number, lock=True)
    muted = {*kept.get(_MUTED, ())} - {topic}
    await _put(connection, {**kept, _MUTED: sorted(muted)}, tenant_id=tenant_id, number=number)


async def _put(
    connection: Connection, document: Mapping[str, Any], *, tenant_id: int, number: int
) -> OwnPreferences:
    whole = _whole(document)
    await storage.put_preferences(connection, tenant_id=tenant_id, number=number, document=whole)
    return OwnPreferences.model_validate(whole)


def _whole(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value or name not in _KEPT}


def _stored(quiet: QuietHours | None) -> Mapping[str, Any] | None:
    return quiet.model_dump(mode="json", by_alias=True, exclude_none=True) if quiet else None

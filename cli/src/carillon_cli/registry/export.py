"""A tenant's registry as the API keeps it, in the shape of a registry file."""

from typing import Any

from carillon_cli.api import Api, segment
from carillon_cli.registry.things import lasting

_MOST_TYPES = 100_000


async def export_registry(api: Api) -> dict[str, Any]:
    """Return the tenant's defaults, origins, event types and newest templates. People are not part of it."""
    content: dict[str, Any] = {"defaults": _said(await api.get("/v1/tenant/defaults"))}
    if origins := (await api.get("/v1/tenant/origins"))["origins"]:
        content["origins"] = origins
    layouts = (await api.get("/v1/tenant/layouts"))["data"]
    if layouts:
        content["layouts"] = {row.pop("locale"): _said(lasting(row)) for row in layouts}
    types = await api.rows("/v1/event-types", most=_MOST_TYPES)
    content["event_types"] = [await _type(api, row) for row in types]
    return content


async def _type(api: Api, row: dict[str, Any]) -> dict[str, Any]:
    entry = {"type": row["type"], **_said(lasting(row))}
    found = await api.get(f"/v1/event-types/{segment(row['type'])}/templates")
    templates: dict[str, dict[str, Any]] = {}
    for template in found["data"]:
        templates.setdefault(template["channel"], {})[template["locale"]] = template["content"]
    return {**entry, "templates": templates} if templates else entry


def _said(value: Any) -> Any:
    """Leave out what says nothing, at every depth but inside lists."""
    if not isinstance(value, dict):
        return value
    said = {name: _said(part) for name, part in value.items()}
    return {name: part for name, part in said.items() if part not in (None, {}, [])}

"""A tenant's event types, templates and people in one YAML or JSON file, registered through the API."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from carillon_cli.api import Api, MissingError, segment
from carillon_cli.failures import NothingMatchedError, WrongUseError

Content = dict[str, Any]
Verb = Literal["created", "changed", "unchanged"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class TypeEntry(_Part):
    """An event type; what is not named here goes to the API as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    templates: dict[str, dict[str, Content]] = Field(default_factory=dict)  # by channel and locale

    @property
    def body(self) -> dict[str, Any]:
        """The registration without the name and the templates."""
        return dict(self.model_extra or {})


class PersonEntry(_Part):
    """A person; what is not named here goes to the API as it is."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    roles: list[str] = Field(default_factory=list)
    topics: list[str] = Field(default_factory=list)
    preferences: dict[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The registration without the name, the memberships and the preferences."""
        return dict(self.model_extra or {})


class RegistryFile(_Part):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    defaults: dict[str, Any] | None = None
    origins: list[str] | None = None
    event_types: list[TypeEntry] = Field(default_factory=list)
    subscribers: list[PersonEntry] = Field(default_factory=list)

    @property
    def steps(self) -> int:
        """How many things `apply` reports."""
        templates = sum(len(locales) for entry in self.event_types for locales in entry.templates.values())
        whole = (self.defaults is not None) + (self.origins is not None)
        return whole + len(self.event_types) + templates + len(self.subscribers)


class Applied(_Part):
    """What became of one thing in the file."""

    what: str
    verb: Verb


def read_registry(path: Path) -> RegistryFile:
    """Read a file; JSON is YAML, too.

    Raises:
        NothingMatchedError: when there is none.
        WrongUseError: when it cannot be read or is no registry.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NothingMatchedError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WrongUseError(f"{path} cannot be read: {error}") from error
    try:
        return RegistryFile.model_validate(content)
    except ValidationError as error:
        faults = [
            f"{path}: {'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise WrongUseError("\n".join(faults)) from error


async def apply(api: Api, registry: RegistryFile) -> AsyncIterator[Applied]:
    """Register everything, saying what became of each; what is so already is left alone."""
    if registry.defaults is not None:
        yield await _put(api, "the tenant's defaults", "/v1/tenant/defaults", registry.defaults)
    if registry.origins is not None:
        yield await _put(api, "the tenant's origins", "/v1/tenant/origins", {"origins": registry.origins})
    for entry in registry.event_types:
        async for applied in _apply_type(api, entry):
            yield applied
    for person in registry.subscribers:
        yield await _apply_person(api, person)


async def _apply_type(api: Api, entry: TypeEntry) -> AsyncIterator[Applied]:
    path = f"/v1/event-types/{segment(entry.type)}"
    yield await _put(api, f"event type {entry.type}", path, entry.body)
    kept = {
        (row["channel"], row["locale"]): row["content"]
        for row in (await api.get(f"{path}/templates"))["data"]
    }
    for channel, locales in entry.templates.items():
        for locale, content in locales.items():
            before = kept.get((channel, locale))
            # Every write makes a new version, so what is the same already is not written.
            if before != content:
                await api.put(f"{path}/templates/{segment(channel)}/{segment(locale)}", content)
            verb: Verb = "created" if before is None else "unchanged" if before == content else "changed"
            yield Applied(what=f"template {entry.type}/{channel}/{locale}", verb=verb)


async def _apply_person(api: Api, person: PersonEntry) -> Applied:
    path = f"/v1/subscribers/{segment(person.id)}"
    applied = await _put(api, f"subscriber {person.id}", path, person.body)
    for role in person.roles:
        await api.put(f"/v1/roles/{segment(role)}/members/{segment(person.id)}")
    for topic in person.topics:
        await api.put(f"/v1/topics/{segment(topic)}/subscribers/{segment(person.id)}")
    if person.preferences is not None:
        await api.put(f"{path}/preferences", person.preferences)
    return applied


async def _put(api: Api, what: str, path: str, body: dict[str, Any]) -> Applied:
    before = await _get(api, path)
    after = await api.put(path, body)
    if before is None:
        return Applied(what=what, verb="created")
    return Applied(what=what, verb="unchanged" if _lasting(before) == _lasting(after) else "changed")


async def _get(api: Api, path: str) -> Any:
    try:
        return await api.get(path)
    except MissingError:
        return None


def _lasting(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "updated_at"}

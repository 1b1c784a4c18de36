"""What a registry consists of, one thing after the other, each as the file has it and as the API keeps it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from carillon_cli.api import Api, MissingError, segment
from carillon_cli.registry.file import Content, PersonEntry, Place, RegistryFile, TypeEntry

_NOT_WRITTEN = {"type", "id", "created_at", "updated_at"}


class Thing(Protocol):
    """One thing that can be registered."""

    @property
    def what(self) -> str:
        """What it is, for people."""
        ...

    @property
    def place(self) -> Place:
        """Where it stands in the file."""
        ...

    async def before(self, api: Api) -> Any:
        """Return what the API keeps, None when it keeps nothing."""
        ...

    async def put(self, api: Api, before: Any, *, dry_run: bool) -> Any:
        """Register it, or only try to; returns what the API keeps then."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A thing with an address of its own, written as it is."""

    what: str
    place: Place
    path: str
    body: Any

    async def before(self, api: Api) -> Any:
        """Return what the API keeps, None when it keeps nothing."""
        found = await _get(api, self.path)
        return None if found is None else lasting(found)

    async def put(self, api: Api, before: Any, *, dry_run: bool) -> Any:  # noqa: ARG002 - see `Thing`
        """Register it, or only try to."""
        return lasting(await api.put(self.path, self.body, dry_run=dry_run))


@dataclass(frozen=True, slots=True)
class Template:
    """A template. Every write makes a new version, so what is the same already is not written."""

    event_type: str
    channel: str
    locale: str
    content: Content
    place: Place

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"template {self.event_type}/{self.channel}/{self.locale}"

    async def before(self, api: Api) -> Any:
        """Return the newest version's content, None when there is none."""
        found = await _get(api, f"/v1/event-types/{segment(self.event_type)}/templates")
        rows = found["data"] if found else ()
        here = (self.channel, self.locale)
        return next((row["content"] for row in rows if (row["channel"], row["locale"]) == here), None)

    async def put(self, api: Api, before: Any, *, dry_run: bool) -> Any:
        """Store a new version when the content is another one."""
        if before == self.content:
            return before
        place = f"{segment(self.channel)}/{segment(self.locale)}"
        path = f"/v1/event-types/{segment(self.event_type)}/templates/{place}"
        try:
            await api.put(path, self.content, dry_run=dry_run)
        except MissingError:
            if not dry_run:
                raise
            # Its event type is new as well, and was only tried.
        return self.content


@dataclass(frozen=True, slots=True)
class Person:
    """A person with memberships and preferences. Memberships are added; none is taken away."""

    entry: PersonEntry
    place: Place

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"subscriber {self.entry.id}"

    @property
    def _path(self) -> str:
        return f"/v1/subscribers/{segment(self.entry.id)}"

    async def before(self, api: Api) -> Any:
        """Return what the API keeps of them, None when it knows nobody of this name."""
        found = await _get(api, self._path)
        if found is None:
            return None
        return {**lasting(found), "preferences": await api.get(f"{self._path}/preferences")}

    async def put(self, api: Api, before: Any, *, dry_run: bool) -> Any:
        """Register them, or only try to."""
        stored = lasting(await api.put(self._path, self.entry.body, dry_run=dry_run))
        preferences = await self._put_preferences(api, before, dry_run=dry_run)
        if not dry_run:
            await self._join(api)
        return {**stored, **self._memberships(stored), "preferences": preferences}

    async def _put_preferences(self, api: Api, before: Any, *, dry_run: bool) -> Any:
        wanted = self.entry.preferences
        if wanted is None:
            return before and before["preferences"]
        if dry_run and before is None:
            return wanted  # somebody new has nothing yet that preferences could be tried on
        return await api.put(f"{self._path}/preferences", wanted, dry_run=dry_run)

    async def _join(self, api: Api) -> None:
        person = segment(self.entry.id)
        for role in self.entry.roles:
            await api.put(f"/v1/roles/{segment(role)}/members/{person}")
        for topic in self.entry.topics:
            await api.put(f"/v1/topics/{segment(topic)}/subscribers/{person}")

    def _memberships(self, stored: Mapping[str, Any]) -> dict[str, list[str]]:
        return {
            "roles": sorted({*stored.get("roles", ()), *self.entry.roles}),
            "topics": sorted({*stored.get("topics", ()), *self.entry.topics}),
        }


def things_of(registry: RegistryFile) -> Iterator[Thing]:
    """Yield everything in a file, in the order it must be registered in."""
    if registry.defaults is not None:
        yield Plain("the tenant's defaults", ("defaults",), "/v1/tenant/defaults", registry.defaults)
    if registry.origins is not None:
        body = {"origins": registry.origins}
        yield Plain("the tenant's origins", ("origins",), "/v1/tenant/origins", body)
    for locale, layout in registry.layouts.items():
        path = f"/v1/tenant/layouts/{segment(locale)}"
        yield Plain(f"layout {locale}", ("layouts", locale), path, layout)
    for number, entry in enumerate(registry.event_types):
        yield from _of_type(entry, ("event_types", number))
    for number, person in enumerate(registry.subscribers):
        yield Person(person, ("subscribers", number))


def _of_type(entry: TypeEntry, place: Place) -> Iterator[Thing]:
    yield Plain(f"event type {entry.type}", place, f"/v1/event-types/{segment(entry.type)}", entry.body)
    for channel, locales in entry.templates.items():
        for locale, content in locales.items():
            where = (*place, "templates", channel, locale)
            yield Template(entry.type, channel, locale, content, where)


def lasting(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file would say of a row: without its name and times."""
    return {name: value for name, value in row.items() if name not in _NOT_WRITTEN}


async def _get(api: Api, path: str) -> Any:
    try:
        return await api.get(path)
    except MissingError:
        return None

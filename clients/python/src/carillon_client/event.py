"""What a producer says: an event, for whom it is, and its form on the wire."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

from carillon_client.ids import new_id

Priority = Literal["critical", "normal", "bulk"]
OnConflict = Literal["reject", "replace", "allow"]

_LISTS = ("users", "roles", "topics", "exclude", "channels")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody given with an event: stored if new, brought up to date if not."""

    id: str
    _: KW_ONLY
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return what is known."""
        known = {
            "id": self.id,
            "email": self.email,
            "phone": self.phone,
            "locale": self.locale,
            "time_zone": self.time_zone,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Event:
    """A fact that a product tells Carillon, and who should hear of it.

    The id is made with the event and not when it is sent, so sending the same object again is always safe: it
    is the same event, and the second answer says `duplicate`. Without `users`, `roles`, `topics` or
    `everyone` the event type's own rule finds the audience.

    Raises:
        TypeError: for a text where a list of texts belongs.
        ValueError: for a time without a zone.
    """

    type: str
    """A registered event type, or `message`."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What templates and audience rules see; times and UUIDs in it are written as text."""
    _: KW_ONLY
    id: str = field(default_factory=new_id)
    """Your own id of it, unique within the source. The default is a new UUIDv7."""
    source: str | None = None
    """Who sends it; the client's `source` where it is None."""
    subject: str | None = None
    time: datetime | None = None
    users: Sequence[str | Person] = ()
    roles: Sequence[str] = ()
    topics: Sequence[str] = ()
    everyone: bool = False
    exclude: Sequence[str] = ()
    actor: str | None = None
    """Who did it; is not told about it themselves."""
    channels: Sequence[str] = ()
    """Some of the type's; all of them when empty."""
    priority: Priority | None = None
    category: str | None = None
    deliver_at: datetime | None = None
    expires_at: datetime | None = None
    collapse_key: str | None = None
    on_conflict: OnConflict | None = None
    force: bool = False

    def __post_init__(self) -> None:
        for name in _LISTS:
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a list: write [{getattr(self, name)!r}]")
        for name in ("time", "deliver_at", "expires_at"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{name} needs a time zone")

    @property
    def names_an_audience(self) -> bool:
        """True when the event itself says whom it is for."""
        return bool(self.users or self.roles or self.topics or self.everyone)

    def as_json(self, *, source: str) -> dict[str, Any]:
        """Return the body of this event; `source` for one that names none."""
        given: dict[str, Any] = {
            "type": self.type,
            "source": self.source or source,
            "id": self.id,
            "subject": self.subject,
            "time": self.time,
            "data": dict(self.data),
            "audience": self._audience(),
            "actor": self.actor,
            "channels": list(self.channels) or None,
            "priority": self.priority,
            "category": self.category,
            "deliver_at": self.deliver_at,
            "expires_at": self.expires_at,
            "collapse_key": self.collapse_key,
            "on_conflict": self.on_conflict,
            "force": self.force or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def encoded(self, *, source: str) -> bytes:
        """Return the body as bytes. Raises ``ValueError`` when the data cannot be written as JSON."""
        return to_json(self.as_json(source=source))

    def _audience(self) -> dict[str, Any] | None:
        named = {
            "users": [user.as_json() if isinstance(user, Person) else user for user in self.users],
            "roles": list(self.roles),
            "topics": list(self.topics),
            "everyone": self.everyone,
            "exclude": list(self.exclude),
        }
        return {name: value for name, value in named.items() if value} or None


def message(title: str, body: str, *, action_url: str | None = None, **more: Any) -> Event:
    """Return an event of the built-in type `message`, which needs nothing registered.

    `more` as for `Event`: `users`, `roles`, `category`, `channels`, `id` and so on.
    """
    data = {"title": title, "body": body} | ({"action_url": action_url} if action_url else {})
    return Event("message", data, **more)


def to_json(value: Any) -> bytes:
    """Return compact JSON (UTF-8). Raises ``ValueError`` for what JSON has no form for."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except TypeError as error:
        raise ValueError(str(error)) from error
    return text.encode()  # raises UnicodeEncodeError, a ValueError, for half a character


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time in the data needs a time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no form in JSON")

"""Who can be addressed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from carillon_client.call import Answer
from carillon_client.errors import ProblemError


class Subscriber(Answer):
    """A person as they are kept."""

    id: str
    email: str | None
    phone: str | None
    locale: str | None
    time_zone: str | None
    attributes: Mapping[str, Any]
    roles: tuple[str, ...]
    topics: tuple[str, ...]
    created_at: datetime
    updated_at: datetime


class Token(Answer):
    """Lets one person into their own feed; hand it to their browser or app."""

    token: str
    expires_at: datetime


class Member(Answer):
    """Somebody who has a role or follows a topic."""

    id: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one of many people."""

    id: str | None
    """None when not even that could be read."""
    status: str
    """`created`, `updated`, `unchanged`, or `refused`."""
    error: ProblemError | None = None

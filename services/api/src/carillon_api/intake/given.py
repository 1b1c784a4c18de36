"""Events as requests hold them, before anything is known about their type."""

from dataclasses import dataclass
from typing import Any

from carillon_api.errors import Problem


@dataclass(frozen=True, slots=True)
class GivenEvent:
    """An event in plain form, not validated yet. `traceparent` is no part of what makes it the same event."""

    plain: dict[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An item of a batch that is no event."""

    problem: Problem


Given = GivenEvent | UnreadableEvent

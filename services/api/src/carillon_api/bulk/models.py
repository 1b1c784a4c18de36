"""People as a file has them, and what became of each line."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field

from carillon_api.preferences import documents
from carillon_api.preferences.quiet_hours import OwnPreferences
from carillon_api.problem_responses import ProblemDocument
from carillon_api.subscribers.models import Line, SubscriberBody, Topic

COLUMNS: Final = (
    "id",
    "email",
    "phone",
    "locale",
    "time_zone",
    "attributes",
    "roles",
    "topics",
    "preferences",
)
"""What there is to know of a person, in the order of an export."""

_ADDRESSES: Final = frozenset({"email", "phone", "locale", "time_zone"})


class BulkSubscriber(SubscriberBody):
    """A person as a line of a file. What is left out stays as it is; null removes it."""

    id: Line
    attributes: Annotated[dict[str, Any], Field(max_length=100)] | None = None  # type: ignore[assignment]  # null, too
    roles: Annotated[list[Line], Field(description="All of them: others are taken away.")] | None = None
    topics: (
        Annotated[list[Topic], Field(description="All of them: others are no longer followed.")] | None
    ) = None
    preferences: Annotated[OwnPreferences, Field(description="The whole document.")] | None = None

    def document(self) -> dict[str, Any]:
        """Return what the line says, and only that, as it is stored."""
        given = self.model_fields_set
        said: dict[str, Any] = self.model_dump(include=given & _ADDRESSES) | {"id": self.id}
        if "attributes" in given:
            said["attributes"] = self.attributes or {}
        said |= {
            name: sorted({*(getattr(self, name) or ())}) for name in ("roles", "topics") if name in given
        }
        if "preferences" in given:
            said["preferences"] = documents.stored(self.preferences) if self.preferences else {}
        return said


class BulkLine(BaseModel):
    """What became of a line."""

    line: int = Field(description="Where the record begins in the body, from 1.")
    id: str | None = Field(description="The person's; null when the line could not be read.")
    status: str = Field(description="`created`, `updated`, `unchanged` or `refused`.")
    problem: ProblemDocument | None = None


class BulkAnswer(BaseModel):
    """What became of all lines, and of each in the order of the body."""

    created: int
    updated: int
    unchanged: int
    refused: int
    data: list[BulkLine]

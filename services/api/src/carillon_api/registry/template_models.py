"""Templates as they are read, and what a preview is given."""

from datetime import datetime
from typing import Any

from carillon_shared.domain.channels import Channel
from pydantic import BaseModel, Field

from carillon_api.written import Written, WrittenPart


class TemplateVersion(BaseModel):
    """One version of a template. Versions are never changed; the newest is used."""

    type: str
    channel: Channel
    locale: str
    version: int
    content: dict[str, Any]
    created_at: datetime


class TemplateVersions(BaseModel):
    """Versions, newest first."""

    data: list[TemplateVersion]


class SamplePerson(WrittenPart):
    """Somebody made up, for a preview."""

    id: str = "preview"
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class PreviewBody(Written):
    """What a preview is rendered with. `content` is tried without being stored."""

    data: dict[str, Any] = Field(default_factory=dict)
    subscriber: SamplePerson | str | None = None
    version: int | None = None
    content: dict[str, Any] | None = None


class Preview(BaseModel):
    """A rendered template, by field."""

    rendered: dict[str, Any]

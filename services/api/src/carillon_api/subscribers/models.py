"""People as they are written and read."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from carillon_shared.domain.channels import Channel
from pydantic import AfterValidator, BaseModel, Field, StrictBool

from carillon_api.subscribers.addresses import check_email, check_locale, check_phone, check_time_zone
from carillon_api.written import Written

MAX_TOKEN_SECONDS = 3600

Email = Annotated[str, Field(max_length=254), AfterValidator(check_email)]
Phone = Annotated[str, Field(max_length=40), AfterValidator(check_phone)]
LocaleTag = Annotated[str, Field(max_length=35), AfterValidator(check_locale)]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(check_time_zone)]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Topic = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f,]+$")]


class SubscriberBody(Written):
    """A person. What is left out is removed: a PUT replaces the whole."""

    email: Email | None = None
    phone: Phone | None = None
    locale: LocaleTag | None = None
    time_zone: TimeZone | None = None
    attributes: Annotated[dict[str, Any], Field(max_length=100)] = Field(default_factory=dict)


class Subscriber(BaseModel):
    """A person as it is kept."""

    id: str
    email: str | None
    phone: str | None
    locale: str | None
    time_zone: str | None
    attributes: dict[str, Any]
    roles: list[str]
    topics: list[str]
    created_at: datetime
    updated_at: datetime


class TokenBody(Written):
    """What a subscriber token allows. `topics` may be streamed besides the person's own."""

    topics: Annotated[list[Topic], Field(max_length=100)] = Field(default_factory=list)
    expires_in: Annotated[int, Field(gt=0, le=MAX_TOKEN_SECONDS, strict=True)] = MAX_TOKEN_SECONDS


class Token(BaseModel):
    """A subscriber token, shown once."""

    token: str
    expires_at: datetime


ChannelChoice = dict[Channel, StrictBool]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Choices = Annotated[dict[Name, ChannelChoice], Field(max_length=500)]


class Preferences(Written):
    """What a person wants over which channel; the most specific wins, nothing chosen means yes."""

    all: ChannelChoice = Field(default_factory=dict)
    categories: Choices = Field(default_factory=dict)
    types: Choices = Field(default_factory=dict)


def check_origin(value: str) -> str:
    """Return an exact origin, https://app.example.org (RFC 6454). Raises ``ValueError``."""
    parts = urlsplit(value)
    whole = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or whole != value or "@" in parts.netloc:
        raise ValueError("is no origin; write it as https://app.example.org, without a path")
    if value != value.lower() or "*" in value or not value.isascii():
        raise ValueError("is no exact origin as browsers send it: lower case, ASCII, no wildcard")
    return value


class Origins(Written):
    """Origins of the pages that may call recipient routes."""

    origins: Annotated[
        list[Annotated[str, Field(max_length=255), AfterValidator(check_origin)]], Field(max_length=100)
    ]

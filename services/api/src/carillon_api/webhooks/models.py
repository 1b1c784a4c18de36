"""Webhook endpoints as they are written and shown."""

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit
from uuid import UUID

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import RESTING_STATUSES, DeliveryStatus
from pydantic import AfterValidator, BaseModel, Field, StrictBool

from carillon_api.intake.timestamps import Timestamp
from carillon_api.written import Written

TOLD_STATES = tuple(
    state for state in DeliveryStatus if state in RESTING_STATUSES or state is DeliveryStatus.UNKNOWN
)
"""The states that endpoints can ask for."""


def _check_url(url: str) -> str:
    parts = urlsplit(url)  # raises ValueError
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user or a password: posts are signed")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    if not url.isascii() or any(character.isspace() for character in url):
        raise ValueError("must be written in ASCII: names as xn--..., all else percent-encoded")
    if parts.port == 0:  # .port raises ValueError beyond 65535
        raise ValueError("must have a port that exists")
    return url


def _check_state(state: DeliveryStatus) -> DeliveryStatus:
    if state not in TOLD_STATES:
        raise ValueError(f"is not told; these are: {', '.join(TOLD_STATES)}")
    return state


Url = Annotated[str, Field(max_length=2000), AfterValidator(_check_url)]
States = Annotated[
    list[Annotated[DeliveryStatus, AfterValidator(_check_state)]], Field(min_length=1, max_length=20)
]
Channels = Annotated[list[Channel], Field(min_length=1, max_length=20)]
Description = Annotated[str, Field(max_length=500)]


class NewEndpoint(Written):
    """An endpoint to post to. Without `states` and `channels` it is told all."""

    url: Url = Field(description="Public and https, unless the platform's operator has allowed its network.")
    description: Description = ""
    states: States = Field(default_factory=lambda: list(TOLD_STATES))
    channels: Channels = Field(default_factory=lambda: list(Channel))


class EndpointChange(Written):
    """What to change. `enabled: true` has a disabled endpoint posted to again, from now on."""

    url: Url | None = None
    description: Description | None = None
    states: States | None = None
    channels: Channels | None = None
    enabled: StrictBool | None = None


class Recovery(Written):
    """Which failed messages to post again."""

    since: Timestamp = Field(description="Those made at this time or later.")


class Endpoint(BaseModel):
    """Where outcomes are posted."""

    id: UUID
    url: str
    description: str
    states: list[DeliveryStatus]
    channels: list[Channel]
    enabled: bool
    disabled_reason: Literal["operator", "failing", "gone"] | None = Field(
        description="`failing`: nothing was taken for days. `gone`: it answered 410."
    )
    failing_since: datetime | None = Field(description="The first failure since the last success.")
    old_secret_until: datetime | None = Field(
        description="Posts are signed with the secret before this one, too, until then."
    )
    created_at: datetime
    updated_at: datetime


class CreatedEndpoint(Endpoint):
    """A new endpoint, with its secret, which is never shown again."""

    secret: str


class RotatedSecret(BaseModel):
    """A new secret, which is never shown again."""

    secret: str
    old_secret_until: datetime


class Recovered(BaseModel):
    """What a recovery came to."""

    recovered: int = Field(description="Messages that are posted again, with a full schedule of attempts.")


class WebhookMessage(BaseModel):
    """One message to one endpoint."""

    id: UUID = Field(description="The `webhook-id` of every attempt.")
    type: str
    status: Literal["waiting", "delivered", "failed"]
    attempt: int = Field(description="Attempts made so far.")
    due_at: datetime | None
    code: int | None = Field(description="What the endpoint answered last.")
    error: str | None
    created_at: datetime
    updated_at: datetime

"""Event types as they are written and read."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.durations import format_duration, parse_duration
from carillon_shared.domain.lanes import Lane
from carillon_shared.retry.policy import RetryPolicy, Strategy
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from carillon_api.intake.payload_schema import PayloadSchema
from carillon_api.subscribers.models import Email, Line
from carillon_api.written import Written, WrittenPart

TYPE_PATTERN = r"^[a-z0-9_]+([.-][a-z0-9_]+)*$"
MAX_HOLD_SECONDS = 30 * 86_400

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2s", "1m", "3d"]}),
]
"""Seconds inside; "2s", "1m", "3d" outside."""


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    PayloadSchema(schema)
    return schema


class Retry(WrittenPart):
    """A retry policy. What is left out has the value of `RetryPolicy`."""

    strategy: Strategy = Strategy.EXPONENTIAL
    initial: Duration | None = None
    factor: Annotated[float, Field(ge=1, le=100)] | None = None
    step: Duration | None = None
    delays: Annotated[list[Duration], Field(min_length=1, max_length=100)] | None = None
    max_delay: Duration | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100, strict=True)] | None = None
    max_elapsed: Duration | None = None
    jitter: Annotated[float, Field(ge=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        RetryPolicy.from_json(self.stored())
        return self

    def stored(self) -> dict[str, Any]:
        """Return the policy as workers read it: all times in seconds, and every default spelled out."""
        given = self.model_dump(exclude_none=True) | {"strategy": self.strategy.value}
        if self.strategy is Strategy.SCHEDULE and "max_attempts" not in given:
            given["max_attempts"] = len(given.get("delays", ())) + 1
        return given


class Throttle(WrittenPart):
    """At most `limit` deliveries to one person within any window of `per`."""

    limit: Annotated[int, Field(ge=1, le=1_000, strict=True)]
    per: Annotated[Duration, Field(ge=1, le=MAX_HOLD_SECONDS)]
    channels: Annotated[list[Channel], Field(min_length=1)] | None = None
    on_exceed: Literal["hold", "reject", "skip"] = "hold"


class Digest(WrittenPart):
    """What comes within a window is gathered for each person and sent as one message.

    Its templates see `data.items`, each with the `data`, `type`, `subject` and `time` of its event, and
    `data.total`, how many they are.
    """

    window: Annotated[Duration, Field(ge=1, le=MAX_HOLD_SECONDS)]
    sliding: StrictBool = Field(
        default=False, description="The window begins anew with each event, until `max_window` is over."
    )
    max_window: Annotated[Duration, Field(ge=1, le=MAX_HOLD_SECONDS)] | None = None
    key: Annotated[str, Field(pattern=r"^data(\.[A-Za-z0-9_-]+)+$", max_length=200)] | None = Field(
        default=None,
        description="Events with different values here are gathered apart.",
        examples=["data.ticket_id"],
    )
    first_at_once: StrictBool = Field(
        default=False, description="The first is sent at once; what follows within the window is gathered."
    )
    channels: Annotated[list[Channel], Field(min_length=1)] | None = Field(
        default=None, description="Where it is gathered; left out: on all of the type's but the feed."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.sliding != (self.max_window is not None):
            raise ValueError("max_window: goes with a sliding window, and a sliding window needs it")
        if self.max_window is not None and self.max_window < self.window:
            raise ValueError("max_window: is shorter than the window")
        return self


class Condition(WrittenPart):
    """This channel only if the event's feed item was not seen (or not read) within a time."""

    unless: Literal["seen", "read"] = "seen"
    after: Annotated[Duration, Field(ge=1, le=MAX_HOLD_SECONDS)]


class InlinePerson(WrittenPart):
    """A person given by a rule; every text may be an expression."""

    id: str
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    time_zone: str | None = None


class AudienceRule(WrittenPart):
    """Who an event is for, filled from its data: `{"users": ["{{ data.owner }}"]}`."""

    users: list[str | InlinePerson] = Field(default_factory=list)
    roles: list[str] = Field(default_factory=list)
    topics: list[str] = Field(default_factory=list)
    everyone: StrictBool = False
    exclude: list[str] = Field(default_factory=list)


class EventTypeBody(Written):
    """An event type as it is registered."""

    category: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,64}$")] = "general"
    channels: Annotated[list[Channel], Field(min_length=1)]
    priority: Lane = Lane.NORMAL
    mandatory: StrictBool = False
    audience: AudienceRule | None = None
    retry: dict[Channel, Retry] = Field(default_factory=dict)
    throttle: Throttle | None = None
    digest: Digest | None = None
    frequency_cap: StrictBool = Field(
        default=True, description="Whether the tenant's frequency caps hold and count it."
    )
    quiet_hours: Literal["hold", "pass", "skip"] = Field(
        default="hold",
        description="In a person's quiet hours: wait until they end, be sent all the same, or not at all. "
        "What is urgent is always sent, and the feed is never silent.",
    )
    conditions: dict[Channel, Condition] = Field(
        default_factory=dict,
        description="Channels that are used only if the feed did not do: "
        "`{email: {unless: seen, after: 10m}}`.",
    )
    stop_on_first_success: StrictBool = Field(
        default=False,
        description="One channel after the other, in the order of `channels`, until a provider takes it.",
    )
    approval: StrictBool = Field(
        default=False, description="Every event waits until an operator approves or rejects it."
    )
    on_unknown: Literal["at_least_once", "at_most_once"] = "at_least_once"
    expires_after: Annotated[Duration, Field(gt=0)] | None = None
    payload_schema: Annotated[dict[str, Any], AfterValidator(_check_schema)] | None = Field(
        default=None, description="JSON Schema (draft 2020-12) that `data` must match."
    )
    sender_name: Line | None = None
    sender_address: Email | None = None
    reply_to: Email | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("channels: names a channel twice")
        if self.throttle and not set(self.throttle.channels or ()) <= set(self.channels):
            raise ValueError("throttle.channels: names a channel that is not among channels")
        self._check_digest()
        self._check_conditions()
        if self.mandatory and self.quiet_hours == "skip":
            raise ValueError("quiet_hours: what is mandatory cannot be skipped; hold it, or let it pass")
        return self

    @property
    def digest_channels(self) -> list[Channel]:
        """Where its digest gathers: never in the feed."""
        if self.digest is None:
            return []
        return self.digest.channels or [each for each in self.channels if each is not Channel.INAPP]

    def _check_conditions(self) -> None:
        if not self.conditions:
            return
        if Channel.INAPP in self.conditions or not set(self.conditions) <= set(self.channels):
            raise ValueError("conditions: names a channel that is not among channels, or the feed itself")
        if Channel.INAPP not in self.channels:
            raise ValueError("conditions: asks for the feed, which is not among channels")
        if set(self.conditions) & set(self.digest_channels):
            raise ValueError("conditions: a channel cannot have a condition and gather a digest")

    def _check_digest(self) -> None:
        if self.digest is None:
            return
        if not self.digest_channels or not set(self.digest_channels) <= set(self.channels):
            raise ValueError("digest.channels: names a channel that is not among channels, or none is left")
        if Channel.INAPP in self.digest_channels:
            raise ValueError("digest.channels: the feed shows everything at once")


class EventType(EventTypeBody):
    """An event type as it is kept."""

    type: str
    created_at: datetime
    updated_at: datetime

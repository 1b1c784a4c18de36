"""What a producer may send, as pydantic models. Everything else is refused."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    ValidationInfo,
    field_validator,
)

from carillon_api.intake.timestamps import Timestamp

SubscriberId = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

OnConflict = Literal["reject", "replace", "allow"]

# Source and id share a key of the database, whose rows end at 2,704 bytes.
MAX_SOURCE = 400
MAX_ID = 200

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
"""W3C Trace Context, section 3.2.2."""

_FORM = ConfigDict(extra="forbid", frozen=True)


class InlineUser(BaseModel):
    """A person given with the event; stored with these addresses if new, and brought up to date if not.

    An address that cannot be used does not refuse the event: its delivery ends as `invalid_address`.
    """

    model_config = _FORM

    id: SubscriberId
    email: Annotated[str | None, Field(max_length=320)] = None
    phone: Annotated[str | None, Field(max_length=40)] = None
    locale: Annotated[str | None, Field(max_length=35)] = None
    time_zone: Annotated[str | None, Field(max_length=64)] = None


def _kind_of_user(value: Any) -> str:
    return "<inline>" if isinstance(value, dict | InlineUser) else "<id>"


# Tags in angle brackets are left out of error pointers.
User = Annotated[
    Annotated[SubscriberId, Tag("<id>")] | Annotated[InlineUser, Tag("<inline>")],
    Discriminator(_kind_of_user),
]


class Audience(BaseModel):
    """Who the event is for: everybody that any of these names, except those excluded."""

    model_config = _FORM

    users: list[User] = []
    roles: list[Name] = []
    topics: list[Name] = []
    everyone: StrictBool = False
    exclude: list[SubscriberId] = []

    @property
    def names_nobody(self) -> bool:
        """True when nothing is named, so that nobody could ever be reached."""
        return not (self.users or self.roles or self.topics or self.everyone)


EXAMPLE: dict[str, Any] = {
    "type": "ticket.status_changed",
    "source": "/helpdesk",
    "id": "chg-9131",
    "subject": "ticket/42",
    "data": {"ticket_id": 42, "old_status": "open", "new_status": "solved", "owner": "u-7"},
    "audience": {"users": ["u-7"], "roles": ["support"], "exclude": ["u-9"]},
    "actor": "u-9",
    "channels": ["inapp", "email"],
    "priority": "normal",
}


class EventBody(BaseModel):
    """An event in plain JSON."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [EXAMPLE]},
    )

    type: Annotated[
        str, Field(min_length=1, max_length=128, description="A registered event type, or `message`.")
    ]
    data: Annotated[dict[str, Any], Field(description="The payload that templates and audience rules see.")]
    source: Annotated[
        str, Field(min_length=1, max_length=MAX_SOURCE, description="Who sends it; ids are unique within it.")
    ] = "/"
    id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_ID,
            description="The producer's own id. The same id again with the same body is a duplicate; "
            "with another body it is refused (409). Defaults to a new one.",
        ),
    ] = None
    subject: Annotated[str | None, Field(min_length=1, max_length=1000)] = None
    time: Annotated[Timestamp | None, Field(description="When it happened; defaults to now.")] = None
    audience: Annotated[Audience | None, Field(description="Defaults to the type's rule.")] = None
    actor: Annotated[
        SubscriberId | None, Field(description="Who did it; is not told about it themselves.")
    ] = None
    channels: Annotated[
        list[Channel] | None,
        Field(min_length=1, max_length=3, description="Some of the type's, in its order."),
    ] = None
    priority: Annotated[Lane | None, Field(description="Defaults to the type's.")] = None
    category: Annotated[
        Name | None, Field(description="For the built-in type `message` only; other types have their own.")
    ] = None
    deliver_at: Annotated[Timestamp | None, Field(description="Not before this; at most 30 days ahead.")] = (
        None
    )
    collapse_key: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="What the event is about. While an earlier one of its type with the same key is not "
            "completed, `on_conflict` says what happens.",
        ),
    ] = None
    on_conflict: Annotated[
        OnConflict,
        Field(
            description="`reject`: this one is refused with 409. `replace`: what has not left of the earlier "
            "ones is cancelled, and their feed items are brought up to date. `allow`: nothing."
        ),
    ] = "reject"
    force: Annotated[StrictBool, Field(description="Overrides `reject`.")] = False
    expires_at: Annotated[
        Timestamp | None, Field(description="Not after this; defaults to the type's `expires_after`.")
    ] = None

    @field_validator("expires_at")
    @classmethod
    def _expires_after_delivery(cls, expires_at: datetime | None, info: ValidationInfo) -> datetime | None:
        deliver_at = info.data.get("deliver_at")
        if deliver_at and expires_at and expires_at <= deliver_at:
            raise ValueError("must be later than deliver_at")
        return expires_at

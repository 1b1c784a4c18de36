"""What holds for a whole tenant: where nothing else is said, and how much a person gets at most."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from carillon_shared.domain.channels import Channel
from pydantic import Field, field_validator

from carillon_api.registry.models import MAX_HOLD_SECONDS, Duration
from carillon_api.subscribers.models import Email, Line, LocaleTag, Name, Preferences, TimeZone
from carillon_api.written import Written, WrittenPart

_CAPPED = (Channel.EMAIL, Channel.WHATSAPP)


class FrequencyCap(WrittenPart):
    """At most `limit` messages to one person on each channel within any window of `per`, all types together.

    What is beyond it is gathered, and sent as one message when there is room. What has piled up in somebody's
    quiet hours is one message at their end, and not counted.
    """

    limit: Annotated[int, Field(ge=1, le=1_000, strict=True)]
    per: Annotated[Duration, Field(ge=1, le=MAX_HOLD_SECONDS)]
    channels: Annotated[list[Channel], Field(min_length=1)] = Field(default_factory=lambda: list(_CAPPED))

    @field_validator("channels")
    @classmethod
    def _not_the_feed(cls, channels: list[Channel]) -> list[Channel]:
        if Channel.INAPP in channels:
            raise ValueError("the feed shows everything at once")
        return channels

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """Return a cap as planning reads it."""
        if stored is None:
            return None
        return cls(limit=stored["limit"], per=stored["per_seconds"], channels=stored["channels"])

    def stored(self) -> dict[str, Any]:
        """Return it as planning reads it."""
        channels = [channel.value for channel in self.channels]
        return {"limit": self.limit, "per_seconds": round(self.per), "channels": channels}


class FrequencyCaps(WrittenPart):
    """What is urgent or mandatory is neither held nor counted, nor are types that say so."""

    default: FrequencyCap | None = None
    categories: dict[Name, FrequencyCap | None] = Field(
        default_factory=dict,
        max_length=500,
        description="A category's own cap takes the place of the default and counts by itself; null: no cap.",
    )

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Return caps as planning reads them."""
        categories = {name: FrequencyCap.read(cap) for name, cap in stored.get("categories", {}).items()}
        return cls(default=FrequencyCap.read(stored.get("default")), categories=categories)

    def stored(self) -> dict[str, Any]:
        """Return them as planning reads them."""
        categories = {name: cap and cap.stored() for name, cap in self.categories.items()}
        given = {"default": self.default and self.default.stored(), "categories": categories}
        return {name: value for name, value in given.items() if value}


class TenantDefaults(Written):
    """What holds where a person or an event type says nothing."""

    locale: LocaleTag = "en"
    time_zone: TimeZone = "UTC"
    sender_name: Line | None = None
    sender_address: Email | None = None
    reply_to: Email | None = None
    disabled_channels: list[Channel] = Field(default_factory=list)
    preferences: Preferences = Preferences()
    frequency_caps: FrequencyCaps = FrequencyCaps()
    brand: Annotated[dict[Name, str | int | float | bool], Field(max_length=50)] = Field(
        default_factory=dict,
        description="What templates and layouts see as `tenant.brand`, such as colours and a logo.",
        examples=[{"color": "#0a7d5a", "logo": "https://example.org/logo.png"}],
    )

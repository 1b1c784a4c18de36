"""Statistics as they are asked for and shown."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from carillon_shared.domain.states import EventStatus
from pydantic import BaseModel, ConfigDict, Field


class Dimension(StrEnum):
    """What deliveries are counted by. Times are those of the event's acceptance, in UTC."""

    EVENT = "event"
    TYPE = "type"
    CATEGORY = "category"
    PRIORITY = "priority"
    CHANNEL = "channel"
    STATUS = "status"
    REASON = "reason"
    PROVIDER = "provider"
    HOUR = "hour"
    DAY = "day"


class Latency(BaseModel):
    """Seconds from when an event was due until a provider, or the feed, took a delivery; holds included."""

    p50: float
    p95: float
    p99: float


class Group(BaseModel):
    """Deliveries that have the same in all dimensions asked for; these stand beside the numbers."""

    model_config = ConfigDict(extra="allow")

    deliveries: int
    attempts: int = Field(description="How often one of them was tried.")
    latency: Latency | None = Field(description="None when none of them was sent.")


class EventCounts(BaseModel):
    """The events of that time."""

    total: int
    by_status: dict[EventStatus, int]


class Statistics(BaseModel):
    """What came of the events that were accepted within a time."""

    since: datetime
    until: datetime
    by: list[Dimension]
    events: EventCounts
    data: list[Group]
    truncated: bool = Field(description="True when there are more groups than are shown.")


def group_of(row: dict[str, Any], by: list[Dimension]) -> Group:
    """Return one group as it is shown."""
    latency = row["latency"]
    return Group(
        **{name.value: row[name.value] for name in by},
        deliveries=row["deliveries"],
        attempts=row["attempts"],
        latency=None if latency is None else Latency(p50=latency[0], p95=latency[1], p99=latency[2]),
    )

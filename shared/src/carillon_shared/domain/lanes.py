"""Priority lanes: urgent work never waits behind bulk."""

from enum import StrEnum


class Lane(StrEnum):
    """Priority class of work; also the value of an event's ``priority``."""

    CRITICAL = "critical"
    NORMAL = "normal"
    BULK = "bulk"

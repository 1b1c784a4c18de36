"""Windows of lanes that a test opens and shuts, and queues that are as full as it says."""

from dataclasses import dataclass

from carillon_shared.domain.lanes import Lane


@dataclass(slots=True)
class FixedRoom:
    """Room for so many messages more."""

    left: int = 1_000_000

    async def room(self) -> int:
        """Return what is left."""
        return self.left

    def fill(self, messages: int) -> None:
        """Use some of it up."""
        self.left -= messages


@dataclass(slots=True)
class FixedGauge:
    """A queue with so many messages in it."""

    messages: int = 0

    async def ready(self) -> int:
        """Return how many wait."""
        return self.messages


def rooms(left: int = 1_000_000) -> dict[Lane, FixedRoom]:
    """Return the same room for each lane."""
    return {lane: FixedRoom(left) for lane in Lane}

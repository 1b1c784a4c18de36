"""Send slots: bounded concurrency in which urgent work always finds room, and tenants take turns."""

from collections.abc import Iterable
from uuid import UUID

from carillon_shared.delivery.work import Chunk, Item
from carillon_shared.domain.lanes import Lane
from carillon_shared.turns import Turns


class Slots:
    """Items that wait, by lane, and how many of each lane are being sent.

    Critical work may use every slot. An eighth is kept free of normal work, and bulk work gets at most half,
    so that what is urgent never waits for a slot behind what is not. Within a lane the tenants take turns,
    one item each, so that none waits for all of another's.
    """

    def __init__(self, total: int) -> None:
        reserved = max(1, total // 8) if total > 1 else 0
        self._total = total
        self._caps = {Lane.CRITICAL: total, Lane.NORMAL: total - reserved, Lane.BULK: max(1, total // 2)}
        self._waiting: dict[Lane, Turns[Item]] = {lane: Turns() for lane in Lane}
        self._busy = dict.fromkeys(Lane, 0)
        self._all_busy = 0

    @property
    def busy(self) -> int:
        """Attempts under way."""
        return self._all_busy

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, item: Item) -> None:
        """Let an item wait at the end of its lane, behind those of its tenant."""
        message = item.chunk.message
        self._waiting[message.lane].add(message.tenant, (item,))

    def add_all(self, chunk: Chunk, deliveries: Iterable[UUID]) -> None:
        """Let these deliveries of a chunk, at least one, wait at the end of its lane."""
        message = chunk.message
        self._waiting[message.lane].add(message.tenant, [Item(chunk, one) for one in deliveries])

    def clear(self) -> None:
        """Forget what waits."""
        for waiting in self._waiting.values():
            waiting.clear()

    def take(self, limit: int) -> list[Item]:
        """Take at most `limit` items that have free slots, the most urgent lane first, and occupy those."""
        taken: list[Item] = []
        for lane, waiting in self._waiting.items():
            many = min(len(waiting), self._room(lane), limit - len(taken))
            if many > 0:
                taken += waiting.take(many)
                self._busy[lane] += many
                self._all_busy += many
        return taken

    def takeable(self, limit: int) -> int:
        """Return how many items `take` can be asked for, at most `limit`; it may then return fewer."""
        return min(limit, self._total - self._all_busy, self.waiting)

    def free(self, lane: Lane) -> None:
        """Give one slot back."""
        self._busy[lane] -= 1
        self._all_busy -= 1

    @property
    def could_take(self) -> bool:
        """True when `take` would return something."""
        return any(self._waiting[lane] and self._room(lane) > 0 for lane in Lane)

    def _room(self, lane: Lane) -> int:
        return min(self._total - self._all_busy, self._caps[lane] - self._busy[lane])

"""Send slots: bounded concurrency in which urgent work always finds room."""

from collections import deque

from carillon_shared.delivery.work import Item
from carillon_shared.domain.lanes import Lane


class Slots:
    """Items that wait, by lane, and how many of each lane are being sent.

    Critical work may use every slot. An eighth is kept free of normal work, and bulk work gets at most half,
    so that what is urgent never waits for a slot behind what is not.
    """

    def __init__(self, total: int) -> None:
        reserved = max(1, total // 8) if total > 1 else 0
        self._total = total
        self._caps = {Lane.CRITICAL: total, Lane.NORMAL: total - reserved, Lane.BULK: max(1, total // 2)}
        self._waiting: dict[Lane, deque[Item]] = {lane: deque() for lane in Lane}
        self._busy = dict.fromkeys(Lane, 0)
        self._all_busy = 0

    @property
    def busy(self) -> int:
        """Attempts under way."""
        return self._all_busy

    def add(self, item: Item) -> None:
        """Let an item wait at the end of its lane."""
        self._waiting[item.chunk.message.lane].append(item)

    def clear(self) -> None:
        """Forget what waits."""
        for waiting in self._waiting.values():
            waiting.clear()

    def take(self, limit: int) -> list[Item]:
        """Take at most `limit` items that have free slots, the most urgent lane first, and occupy those."""
        taken: list[Item] = []
        for lane, waiting in self._waiting.items():
            many = min(len(waiting), self._room(lane), limit - len(taken))
            taken += [waiting.popleft() for _ in range(many)]
            self._busy[lane] += many
            self._all_busy += many
        return taken

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

"""A waiting line for each tenant, and whose turn it is."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Turns(Generic[ItemT]):
    """Items that wait. The tenants take turns, one item each; each tenant's own keep their order."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[ItemT]] = {}
        self._turns: deque[str] = deque()
        self._many = 0

    def __len__(self) -> int:
        return self._many

    def waiting(self, tenant: str) -> int:
        """Return how many items of this tenant wait."""
        return len(self._lines.get(tenant, ()))

    def add(self, tenant: str, items: Sequence[ItemT]) -> None:
        """Add items, at least one; a tenant that had none comes last."""
        line = self._lines.get(tenant)
        if line is None:
            line = self._lines[tenant] = deque()
            self._turns.append(tenant)
        line.extend(items)
        self._many += len(items)

    def take(self, many: int) -> list[ItemT]:
        """Take so many items, which must be there."""
        self._many -= many
        if len(self._turns) == 1:
            return self._take_alone(many)
        taken = []
        for _ in range(many):
            tenant = self._turns[0]
            line = self._lines[tenant]
            taken.append(line.popleft())
            if line:
                self._turns.rotate(-1)
            else:
                self._turns.popleft()
                del self._lines[tenant]
        return taken

    def drop(self, stale: Callable[[ItemT], bool]) -> int:
        """Forget the beginning of each line as far as it is stale; return how many items that were."""
        before = self._many
        for tenant, line in list(self._lines.items()):
            while line and stale(line[0]):
                line.popleft()
                self._many -= 1
            if not line:
                self._turns.remove(tenant)
                del self._lines[tenant]
        return before - self._many

    def clear(self) -> None:
        """Forget all."""
        self._lines.clear()
        self._turns.clear()
        self._many = 0

    def _take_alone(self, many: int) -> list[ItemT]:
        (tenant,) = self._turns
        line = self._lines[tenant]
        taken = [line.popleft() for _ in range(many)]
        if not line:
            self._turns.clear()
            del self._lines[tenant]
        return taken

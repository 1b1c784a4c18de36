"""Messages of one queue of which the tenants have turns."""

from collections.abc import Callable
from dataclasses import dataclass

from carillon_shared.broker.consumer import Subscription
from carillon_shared.broker.incoming import Incoming
from carillon_shared.consumer.settlement import Requeue
from carillon_shared.consumer.source import EVERYTHING, MessageSource
from carillon_shared.turns import Turns


@dataclass(frozen=True, slots=True)
class Portion:
    """Whose a message is, and how many things to do it carries."""

    tenant: str
    items: int = 1


PortionOf = Callable[[Incoming], Portion]


class FairSource(MessageSource):
    """Takes all that has arrived, and gives it out by turns of the tenants.

    A queue keeps its order, so this is fair within what the broker has sent, `prefetch` messages; whoever
    fills the queue must see to it that it stays short. A batch ends as soon as it carries `max_items`, so
    that who comes meanwhile does not wait for a long one.
    """

    def __init__(
        self, subscription: Subscription, *, portion_of: PortionOf, max_items: int | None = None
    ) -> None:
        super().__init__(subscription)
        self._portion_of = portion_of
        self._max_items = max_items
        self._turns: Turns[tuple[Incoming, int]] = Turns()

    async def get_batch(self, limit: int, *, wait: float | None = None) -> list[Incoming]:
        """Return up to `limit` messages that are here, waiting only when there is none."""
        self._sort(await super().get_batch(EVERYTHING, wait=0 if self._turns else wait))
        if self.draining:
            return []
        if self._max_items is None:
            return [incoming for incoming, _ in self._turns.take(min(limit, len(self._turns)))]
        return self._take_items(limit, self._max_items)

    async def drain(self) -> None:
        """Stop consuming and give back what nobody has got from here."""
        await super().drain()
        untouched = self._turns.take(len(self._turns))
        await self.settle_many([(incoming, Requeue()) for incoming, _ in untouched])

    def _take_items(self, limit: int, most: int) -> list[Incoming]:
        batch: list[Incoming] = []
        while self._turns and len(batch) < limit and most > 0:
            ((incoming, items),) = self._turns.take(1)
            batch.append(incoming)
            most -= items
        return batch

    def _sort(self, fresh: list[Incoming]) -> None:
        if fresh and self._turns:
            self._turns.drop(lambda old: old[0].generation != fresh[0].generation)
        for incoming in fresh:
            portion = self._portion_of(incoming)
            self._turns.add(portion.tenant, ((incoming, portion.items),))

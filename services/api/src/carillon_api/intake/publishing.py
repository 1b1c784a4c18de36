"""The broker's publisher, as far as the API uses it."""

from collections.abc import Sequence
from typing import Protocol

from carillon_shared.broker import Outgoing, PublishResult


class Publishes(Protocol):
    """The part of the broker's publisher that the API uses."""

    @property
    def connected(self) -> bool:
        """True while a publish can leave the process."""
        ...

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all and return one result for each: None when the broker has it safely."""
        ...

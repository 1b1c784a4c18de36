"""What a producer knows: which events were accepted, and what was to come of each."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from support.tenant import Tenant

Pair = tuple[str, str]
"""A subscriber's id and a channel."""


@dataclass(slots=True)
class Accepted:
    """One event that was answered with 202.

    Attributes:
        event: its id.
        source: of the producer; with `external_id` the key of duplicates.
        pairs: every delivery that must come of it.
        asked_to_cancel: whether cancelling it was answered with success.
    """

    event: UUID
    source: str
    external_id: str
    type: str
    pairs: frozenset[Pair]
    at: datetime
    asked_to_cancel: bool = False


@dataclass(slots=True)
class Ledger:
    """Everything one tenant's producer was told.

    Attributes:
        accepted: by the producer's own id.
        unanswered: own ids whose post had no answer when the producer gave up: accepted or not, nobody knows.
        surprises: answers a producer must never get, whatever is broken.
        postponed: how many posts were repeated, because they were refused for a while or not answered.
        refused: how many of these were refused: answered 429 or 503.
    """

    tenant: Tenant
    accepted: dict[str, Accepted] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    surprises: list[str] = field(default_factory=list)
    postponed: int = 0
    refused: int = 0

    def by_event(self) -> dict[UUID, Accepted]:
        """Return what was accepted, by event id."""
        return {one.event: one for one in self.accepted.values()}

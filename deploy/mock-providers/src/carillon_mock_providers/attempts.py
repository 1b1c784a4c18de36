"""Every call made to a provider, however it ended."""

import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from carillon_mock_providers.faults import Channel, Decision, Fault
from carillon_mock_providers.ring import RecipientRing, iso_time


class Outcome(StrEnum):
    """What the provider did with the message."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DROPPED = "dropped"


@dataclass(slots=True)
class Attempt:
    """One call for one recipient; `reply` stays None for as long as no answer was sent."""

    n: int
    received_at: float
    recipients: tuple[str, ...]
    channel: Channel
    reference: str
    fault: Fault | None
    outcome: Outcome = Outcome.OPEN
    reply: str | None = None

    def view(self) -> dict[str, Any]:
        """The record as JSON values."""
        return {
            "n": self.n,
            "channel": self.channel,
            "to": self.recipients[0],
            "reference": self.reference,
            "fault": self.fault,
            "outcome": self.outcome,
            "reply": self.reply,
            "at": iso_time(self.received_at),
        }


class Attempts:
    """The log of attempts, with totals that outlive the log's oldest records."""

    def __init__(self, capacity: int) -> None:
        self.log: RecipientRing[Attempt] = RecipientRing(capacity)
        self._totals: Counter[tuple[Channel, Outcome]] = Counter()

    def open(
        self, *, channel: Channel, recipient: str, reference: str, decision: Decision | None = None
    ) -> Attempt:
        """Notes that a call was made."""
        fault = None if decision is None else decision.fault
        attempt = Attempt(
            self.log.next_number(), time.time(), (recipient.lower(),), channel, reference, fault
        )
        self.log.append(attempt)
        self._totals[channel, Outcome.OPEN] += 1
        return attempt

    def settle(self, attempt: Attempt, outcome: Outcome) -> None:
        """Notes what became of the message."""
        self._totals[attempt.channel, attempt.outcome] -= 1
        self._totals[attempt.channel, outcome] += 1
        attempt.outcome = outcome

    def totals(self, outcome: Outcome) -> dict[str, int]:
        """How many attempts have this outcome, by channel."""
        return {channel.value: self._totals[channel, outcome] for channel in Channel}

    def clear(self) -> None:
        """Forgets all attempts and totals."""
        self.log.clear()
        self._totals.clear()

"""The retry ladder: one queue per delay, from which a message returns to its lane with its key kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tier:
    """One rung: `label` names its queue, `seconds` is its time to live."""

    label: str
    seconds: int

    @property
    def milliseconds(self) -> int:
        """The queue's `x-message-ttl`."""
        return self.seconds * 1000


LADDER: tuple[Tier, ...] = (
    Tier("1s", 1),
    Tier("2s", 2),
    Tier("4s", 4),
    Tier("8s", 8),
    Tier("10s", 10),
    Tier("16s", 16),
    Tier("30s", 30),
    Tier("1m", 60),
    Tier("2m", 120),
    Tier("5m", 300),
    Tier("10m", 600),
    Tier("30m", 1800),
    Tier("1h", 3600),
)
"""Shortest first. Longer waits are holds in the database."""


def tier_for(remaining: float) -> Tier:
    """Return the largest tier not above the seconds that remain, at least the smallest.

    A message that returns early goes round with what remains, so its delay is exact to about a second.
    """
    fitting = [tier for tier in LADDER if tier.seconds <= remaining]
    return fitting[-1] if fitting else LADDER[0]

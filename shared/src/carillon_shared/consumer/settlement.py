"""How a message ends, as far as the broker is concerned."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ack:
    """What the message asked for is done, and committed."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """It was not begun, because the process is stopping. Never a way to wait: every requeue counts
    towards the queue's delivery limit.
    """


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """It cannot be handled; the broker moves it to the dead letters. `reason` is for the log."""

    reason: str


Settlement = Ack | Requeue | DeadLetter

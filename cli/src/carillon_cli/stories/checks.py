"""What a story found."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One fact that was waited for.

    Attributes:
        what: the fact, as a person says it.
        passed: whether it came true in time.
        detail: what was seen, or what was seen instead.
        milliseconds: from sending to seeing; None where nothing was timed.
    """

    what: str
    passed: bool
    detail: str = ""
    milliseconds: float | None = None

    def __str__(self) -> str:
        took = "" if self.milliseconds is None else f"  {self.milliseconds:.0f} ms"
        return f"{'✓' if self.passed else '✗'} {self.what}: {self.detail}{took}"


@dataclass(frozen=True, slots=True)
class StoryResult:
    """A story's checks."""

    title: str
    checks: Sequence[Check]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether there were checks and all passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

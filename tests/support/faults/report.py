"""What the checker found."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: which invariant, about what (an id), and what is wrong."""

    invariant: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """All violations; none is a clean run. `summary` says how much was compared."""

    violations: Sequence[Violation]
    summary: str

    def broken(self) -> set[str]:
        """Return which invariants do not hold, such as `{"I3"}`."""
        return {one.invariant for one in self.violations}

    def assert_clean(self) -> None:
        """Raise ``AssertionError`` with the first violations of each invariant, if there is any."""
        if self.violations:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
        for one in self.violations:
            kinds[one.invariant, one.text].append(one.subject)
        lines = [
            f"{invariant} {text} ({len(subjects)}): {', '.join(subjects[:_SHOWN])}"
            for (invariant, text), subjects in sorted(kinds.items())
        ]
        return "\n".join([f"{len(self.violations)} violations; {self.summary}", *lines])

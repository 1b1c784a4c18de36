"""Dead letters and operations [operator]."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from carillon_client.blocking.wire import Wire
from carillon_client.dead_letters import (
    DeadLetter,
    DeadLetterCount,
    DeadLetterDetail,
    DeadLetterFilter,
    DryRun,
    Operation,
    OperationStarted,
)
from carillon_client.requests import operators

_ALL = DeadLetterFilter()


class DeadLetters:
    """`/v1/admin/dead-letters`. An empty filter is refused unless `everything` is true."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def list(self, wanted: DeadLetterFilter = _ALL) -> Iterator[DeadLetter]:
        """Yield dead letters, newest first, page by page."""
        return self._wire.rows(operators.list_dead_letters(wanted))

    def count(self, wanted: DeadLetterFilter = _ALL) -> DeadLetterCount:
        """Return how many there are, by reason."""
        return self._wire.perform(operators.count(wanted))

    def get(self, delivery: UUID | str) -> DeadLetterDetail:
        """Return one, with `preview`: what it would say if it were sent again now."""
        return self._wire.perform(operators.get_dead_letter(delivery))

    def preview_replay(self, wanted: DeadLetterFilter, *, everything: bool = False) -> DryRun:
        """Return what a replay would do; nothing changes."""
        return self._wire.perform(operators.try_out("replay", wanted, everything=everything))

    def preview_discard(self, wanted: DeadLetterFilter, *, everything: bool = False) -> DryRun:
        """Return what a discard would do; nothing changes."""
        return self._wire.perform(operators.try_out("discard", wanted, everything=everything))

    def replay(
        self,
        wanted: DeadLetterFilter,
        *,
        reason: str,
        everything: bool = False,
        rate_per_second: int | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> OperationStarted:
        """Send dead letters again, those for whom it is still right; `reason` is for the audit.

        `overrides` puts right an address (`{"address": {"email": ...}}`) or data of a few, named by `ids`.
        """
        call = operators.operate(
            "replay",
            wanted,
            everything=everything,
            reason=reason,
            rate_per_second=rate_per_second,
            overrides=overrides,
        )
        return self._wire.perform(call)

    def discard(
        self,
        wanted: DeadLetterFilter,
        *,
        reason: str,
        everything: bool = False,
        rate_per_second: int | None = None,
    ) -> OperationStarted:
        """Give dead letters up; `reason` is for the audit."""
        call = operators.operate(
            "discard", wanted, everything=everything, reason=reason, rate_per_second=rate_per_second
        )
        return self._wire.perform(call)


class Operations:
    """`/v1/admin/operations`: replays and discards, and how far they are."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get(self, operation: UUID | str) -> Operation:
        """Return an operation and its progress."""
        return self._wire.perform(operators.get_operation(operation))

    def stop(self, operation: UUID | str) -> Operation:
        """Stop an operation. What it has done stays done."""
        return self._wire.perform(operators.stop_operation(operation))

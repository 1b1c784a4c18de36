"""Intake as a whole: from events in plain form to answers."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from carillon_shared.domain.states import EventStatus
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics

from carillon_api.errors import Problem, conflict, invalid, unavailable
from carillon_api.intake.collapsing import being_planned, collapsed
from carillon_api.intake.completion import Circumstances, complete
from carillon_api.intake.event_types import EventTypes
from carillon_api.intake.fast_path import FastPath
from carillon_api.intake.given import Given, UnreadableEvent
from carillon_api.intake.group_commit import GroupCommit, LineFullError
from carillon_api.intake.rows import IntakeRow, Result, Stored
from carillon_api.intake.store import StoreUnavailableError
from carillon_api.intake.throttling import throttled

_DRAIN_SECONDS = 3.0
_BUSY_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts to cancel an event that is being planned; a plan takes a tenth of one."""

Answer = dict[str, Any] | Problem
EVENT_CONFLICT = "event-conflict"


class Intake:
    """Takes events, stores them, and hands them on."""

    def __init__(self, *, event_types: EventTypes, group_commit: GroupCommit, fast_path: FastPath) -> None:
        self.event_types = event_types
        self._group_commit = group_commit
        self._fast_path = fast_path

    async def run(self) -> None:
        """Commit and publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._group_commit.run(), name="group-commit")
            tasks.create_task(self._fast_path.run(), name="fast-path")

    async def drain(self) -> None:
        """Let what is under way be stored and published, within a few seconds; the relay does the rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._group_commit.drained()
                await self._fast_path.drained()

    async def close(self) -> None:
        """Let go of the database, after `run` has ended."""
        await self._group_commit.close()

    async def accept(self, events: Sequence[Given], at: Circumstances) -> list[Answer]:
        """Return an answer for each event, once all that are accepted are committed.

        Raises `Problem` 503 when the database cannot take them now, and the database's own errors.
        """
        rows = [
            await self._row(event, at if len(events) == 1 else _for_place(at, place))
            for place, event in enumerate(events)
        ]
        stored = iter(await self._commit([row for row in rows if isinstance(row, IntakeRow)]))
        answers = [
            row if isinstance(row, Problem) else self._answer(row, next(stored), at=at) for row in rows
        ]
        refused = sum(1 for answer in answers if isinstance(answer, Problem))
        if refused:
            metrics.INTAKE_EVENTS.labels("rejected").inc(refused)
        return answers

    async def _row(self, event: Given, at: Circumstances) -> IntakeRow | Problem:
        if isinstance(event, UnreadableEvent):
            return event.problem
        try:
            return await complete(event, self.event_types, at)
        except Problem as problem:
            return problem

    async def _commit(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        try:
            stored = await self._submit(rows)
        except LineFullError as error:
            raise unavailable(
                "Too many events wait to be stored; none of these was.", retry_after=1
            ) from error
        except StoreUnavailableError as error:
            raise unavailable(
                "The database cannot be reached. Send the same again, with the same ids."
            ) from error
        crash_point(CrashPoint.API_AFTER_COMMIT)
        return stored

    async def _submit(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Submit rows; those whose predecessor is being planned at the moment, again, a little later."""
        stored = await self._group_commit.submit(rows)
        for pause in _BUSY_PAUSES:
            busy = [place for place, one in enumerate(stored) if one.result is Result.BUSY]
            if not busy:
                break
            await asyncio.sleep(pause)
            again = await self._group_commit.submit([rows[place] for place in busy])
            for place, one in zip(busy, again, strict=True):
                stored[place] = one
        return stored

    def _answer(self, row: IntakeRow, stored: Stored, *, at: Circumstances) -> Answer:
        if stored.result is Result.ACCEPTED or stored.result is Result.DUPLICATE:
            return self._accepted(row, stored, at=at)
        if stored.result is Result.THROTTLED:
            return throttled(row)
        if stored.result is Result.CONFLICT:
            return event_conflict(str(stored.event_id))
        if stored.result is Result.COLLAPSED:
            return collapsed(row, str(stored.event_id))
        if stored.result is Result.BUSY:
            return being_planned()
        return invalid([{"pointer": "", "detail": "holds something that cannot be stored"}])

    def _accepted(self, row: IntakeRow, stored: Stored, *, at: Circumstances) -> dict[str, Any]:
        later = row.deliver_at is not None and row.deliver_at > at.now
        is_duplicate = stored.result is Result.DUPLICATE
        metrics.INTAKE_EVENTS.labels(stored.result.value).inc()
        if stored.event_id is not None and not later and not is_duplicate and not row.needs_approval:
            self._fast_path.offer(stored.event_id, row)
        return {
            "id": str(stored.event_id),
            "status": _status(row, later=later),
            "duplicate": is_duplicate,
        }


def _status(row: IntakeRow, *, later: bool) -> str:
    if row.needs_approval:
        return EventStatus.PENDING_APPROVAL.value
    return (EventStatus.SCHEDULED if later else EventStatus.ACCEPTED).value


def event_conflict(event_id: str | None) -> Problem:
    """The producer used this id before, for something else."""
    detail = "An event with this source and id, and another body, is already there."
    problem = conflict(detail, slug=EVENT_CONFLICT)
    problem.members["event_id"] = event_id
    return problem


def _for_place(at: Circumstances, place: int) -> Circumstances:
    """One Idempotency-Key serves a whole batch: each event without an id gets one of its own."""
    return replace(at, default_id=f"{at.default_id}:{place}") if at.default_id else at

"""Group commit: requests that wait at the same moment share one statement and one fsync.

Self-clocked: a group goes out at once when the last one is done, and holds whatever has arrived meanwhile.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from carillon_shared.telemetry import metrics

from carillon_api.intake.rows import IntakeRow, Key, Result, Stored
from carillon_api.intake.store import EventStore, RowsRefusedError, StoreUnavailableError, TryAgainError

MAX_GROUP = 2_000
_TRIES = 5
_LONGEST_PAUSE_SECONDS = 0.05

log = structlog.get_logger(__name__)


class LineFullError(Exception):
    """More events wait for their commit than may: come back later."""


@dataclass(slots=True, eq=False)
class _Submission:
    """What one request handed in."""

    rows: Sequence[IntakeRow]
    answer: asyncio.Future[list[Stored]]
    stored: dict[int, Stored] = field(default_factory=dict)

    def settle(self, place: int, stored: Stored) -> None:
        self.stored[place] = stored
        if len(self.stored) == len(self.rows) and not self.answer.done():
            self.answer.set_result([self.stored[n] for n in range(len(self.rows))])

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row's place in its submission."""

    row: IntakeRow
    submission: _Submission
    place: int

    def settle(self, stored: Stored) -> None:
        self.submission.settle(self.place, stored)


class GroupCommit:
    """Commits the rows of many requests together and answers each after the commit."""

    def __init__(self, store: EventStore, *, max_waiting: int, max_group: int = MAX_GROUP) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._max_group = max_group
        self._line: deque[_Submission] = deque()
        self._waiting = 0
        self._flushing: list[_Submission] = []
        self._arrived = asyncio.Event()

    async def submit(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Return what became of each row, once it is committed.

        Raises `LineFullError`, or `StoreUnavailableError` when the database cannot take it at the moment.
        """
        if not rows:
            return []
        if self._waiting + len(rows) > self._max_waiting:
            raise LineFullError
        submission = _Submission(rows, asyncio.get_running_loop().create_future())
        self._line.append(submission)
        self._waiting += len(rows)
        self._arrived.set()
        return await submission.answer

    async def run(self) -> None:
        """Commit groups until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._flushing = self._take()
                await self._flush(self._flushing)
                self._flushing = []
                if not self._line:
                    self._arrived.clear()
        finally:
            self._refuse(self._take_all(), StoreUnavailableError("shutting down", maybe_stored=False))

    async def drained(self) -> None:
        """Return when everything handed in so far has its answer."""
        answers = [submission.answer for submission in (*self._line, *self._flushing)]
        if answers:
            await asyncio.wait(answers)

    async def close(self) -> None:
        """Let go of the database, after `run` has ended."""
        await self._store.close()

    def _take(self) -> list[_Submission]:
        """Take as many whole submissions as fit into a group, at least one."""
        taken: list[_Submission] = []
        size = 0
        while self._line and (not taken or size + len(self._line[0].rows) <= self._max_group):
            size += len(self._line[0].rows)
            taken.append(self._line.popleft())
        self._waiting -= size
        return taken

    def _take_all(self) -> list[_Submission]:
        taken = list(self._line)
        self._line.clear()
        self._waiting = 0
        return taken

    async def _flush(self, submissions: list[_Submission]) -> None:
        try:
            await self._commit(_entries(submissions))
        except StoreUnavailableError as error:
            log.warning("events not stored", error=str(error), maybe_stored=error.maybe_stored)
            # Those who came meanwhile would only wait for the same: nothing of theirs was tried.
            self._refuse(submissions, error)
            self._refuse(self._take_all(), StoreUnavailableError(str(error), maybe_stored=False))
        except asyncio.CancelledError:
            self._refuse(submissions, StoreUnavailableError("shutting down", maybe_stored=True))
            raise
        except Exception as error:
            log.exception("group commit failed")
            self._refuse(submissions, error)

    def _refuse(self, submissions: Iterable[_Submission], error: Exception) -> None:
        for submission in submissions:
            submission.fail(error)

    async def _commit(self, entries: Iterable[_Entry]) -> None:
        """Commit each key once, then answer those that share one; those left over have another round."""
        by_key: dict[Key, list[_Entry]] = {}
        for entry in entries:
            by_key.setdefault(entry.row.key, []).append(entry)
        groups = list(by_key.values())
        left: list[_Entry] = []
        answers = await self._store_rows([group[0].row for group in groups])
        for group, stored in zip(groups, answers, strict=True):
            left += _answer(group, stored)
        if left:
            await self._commit(left)

    async def _store_rows(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Store rows; a fault in one is looked for by halving, so that only the offender is refused."""
        started = time.perf_counter()
        try:
            answers = await self._store_with_retries(rows)
        except RowsRefusedError as error:
            if len(rows) == 1:
                log.warning("event refused by the database", error=str(error), event_type=rows[0].type)
                return [Stored(Result.REFUSED)]
            half = len(rows) // 2
            return await self._store_rows(rows[:half]) + await self._store_rows(rows[half:])
        metrics.INTAKE_FLUSH_SIZE.observe(len(rows))
        metrics.INTAKE_FLUSH_SECONDS.observe(time.perf_counter() - started)
        return answers

    async def _store_with_retries(self, rows: Sequence[IntakeRow]) -> list[Stored]:
        """Store rows. After an unknown outcome the same are tried once more: their keys make that safe."""
        tries_left, asked_again = _TRIES, False
        while True:
            try:
                return await self._store.accept(rows)
            except TryAgainError as error:
                tries_left -= 1
                if not tries_left:
                    raise StoreUnavailableError(str(error), maybe_stored=False) from error
                await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))  # noqa: S311 - spreads retries
            except StoreUnavailableError as error:
                if asked_again or not error.maybe_stored:
                    raise
                asked_again = True


def _entries(submissions: Iterable[_Submission]) -> Iterator[_Entry]:
    for submission in submissions:
        for place, row in enumerate(submission.rows):
            yield _Entry(row, submission, place)


def _answer(group: Sequence[_Entry], stored: Stored) -> list[_Entry]:
    """Answer the entries of one key and return those that this answer says nothing about."""
    first, *others = group
    first.settle(stored)
    left: list[_Entry] = []
    for other in others:
        answer = _answer_for_another(stored, same_body=other.row.body_hash == first.row.body_hash)
        if answer is None:
            left.append(other)
        else:
            other.settle(answer)
    return left


def _answer_for_another(stored: Stored, *, same_body: bool) -> Stored | None:
    if same_body:
        return Stored(Result.DUPLICATE, stored.event_id) if stored.result is Result.ACCEPTED else stored
    if stored.result in {Result.ACCEPTED, Result.DUPLICATE}:
        return Stored(Result.CONFLICT, stored.event_id)
    return None

"""Receipts of many requests, written down together.

Self-clocked like intake: a group goes out when the last one is done, and holds whatever has come meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from carillon_shared.db.pool import Pool
from carillon_shared.db.transient import is_transient
from carillon_shared.telemetry import metrics

from carillon_api.errors import database_unavailable, unavailable
from carillon_api.receipts.receipt import Report
from carillon_api.receipts.store import Written, record_receipts

MAX_WAITING = 20_000
MAX_GROUP = 2_000
_TRIES = 3
_PAUSE_SECONDS = 0.05

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A report, and the request that waits for its commit."""

    report: Report
    done: asyncio.Future[None]

    def end(self, error: Exception | None = None) -> None:
        """Let the request go on, unless it has ended by itself."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class ReceiptLine:
    """Commits the receipts of many requests together and answers each after the commit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._line: deque[_Waiting] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()

    async def record(self, report: Report) -> None:
        """Return when this is committed.

        Raises `Problem` 503 when it is not: the provider is to report it again.
        """
        if not report.receipts:
            return
        if self._waiting + len(report.receipts) > MAX_WAITING:
            raise unavailable("More receipts wait than may.")
        waiting = _Waiting(report, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._waiting += len(report.receipts)
        self._arrived.set()
        await waiting.done

    async def run(self) -> None:
        """Commit groups until cancelled."""
        group: list[_Waiting] = []
        try:
            while True:
                await self._arrived.wait()
                group = self._take()
                await self._commit(group)
                if not self._line:
                    self._arrived.clear()
        finally:
            for waiting in (*group, *self._line):
                waiting.end(unavailable("The service is shutting down."))

    def _take(self) -> list[_Waiting]:
        """Take whole reports of one channel and provider, at least one."""
        taken = [self._line.popleft()]
        size = len(taken[0].report.receipts)
        while self._line and _fits(taken[0].report, self._line[0].report, room=MAX_GROUP - size):
            taken.append(self._line.popleft())
            size += len(taken[-1].report.receipts)
        self._waiting -= size
        return taken

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._write([waiting.report for waiting in group])
        except Exception as error:  # noqa: BLE001 - a fault in one report must not end the line for all
            if len(group) > 1 and not is_transient(error):
                for waiting in group:  # only the offender is refused
                    await self._commit([waiting])
                return
            log.warning("receipts not stored", reports=len(group), error=str(error) or type(error).__name__)
            for waiting in group:
                waiting.end(database_unavailable() if is_transient(error) else error)
            return
        for waiting in group:
            waiting.end()

    async def _write(self, reports: Sequence[Report]) -> None:
        """Write a group; after a deadlock or a lost connection again, as often as a provider waits."""
        for left in reversed(range(_TRIES)):
            try:
                written = await record_receipts(self._pool, reports)
            except Exception as error:
                if not left or not is_transient(error):
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                _count(reports, written)
                return


def _fits(first: Report, other: Report, *, room: int) -> bool:
    return len(other.receipts) <= room and (first.channel, first.provider) == (other.channel, other.provider)


def _count(reports: Sequence[Report], written: Written) -> None:
    counts = {
        "raised": written.changed,
        "kept": max(written.fresh - written.changed, 0),
        "repeated": written.known - written.fresh,
        "unmatched": sum(len(report.receipts) for report in reports) - written.known,
    }
    for result, count in counts.items():
        metrics.RECEIPTS.labels(reports[0].channel, result).inc(count)

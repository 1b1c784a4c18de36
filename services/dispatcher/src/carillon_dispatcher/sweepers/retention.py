"""Lets go of what has been kept long enough: a partition at once, after what is open in it was ended.

Every step is a transaction of its own and finds by itself what there is to do, so a round that was cut short,
or made by two dispatchers at once, is simply made again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.changed_feeds import tell_streams

log = structlog.get_logger(__name__)

TABLES = ("attempts", "receipts", "feed_items", "deliveries", "events")
ENDED = ("event", "delivery", "dead_letter")
_PAGE = 5_000  # deliveries looked at together
_BATCH = 1_000
_PEOPLE = 200  # whose feeds are emptied together

_OUTDATED = "SELECT * FROM carillon.outdated_partitions($1)"
_END_EVENTS = "SELECT carillon.end_outdated_events($1, $2, $3)"
_END_PAGE = "SELECT * FROM carillon.end_outdated_page($1, $2, $3::text::carillon.channel, $4)"
_DISCARD = "SELECT carillon.discard_outdated($1, $2)"
_EMPTY = "SELECT * FROM carillon.empty_feeds($1, $2, $3, $4, $5)"
_DROP = "SELECT carillon.drop_partition($1, $2)"


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition that has had its time: ids from `low` and below `below`."""

    parent: str
    name: str
    low: UUID
    below: UUID
    days: int  # that its table's rows are kept

    def holds(self, other: "Partition") -> bool:
        """Tell whether these are deliveries of events in the other one."""
        overlaps = self.low < other.below and other.low < self.below
        return overlaps and (self.parent, other.parent) == ("deliveries", "events")


class Retention:
    """Ends, empties and drops. `days` by table, see `RetentionSettings.kept_days`."""

    def __init__(
        self, pool: Pool, publisher: Publishing, *, days: Mapping[str, int], dead_letter_days: int
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._days = {**days, "receipts": days["attempts"]}
        self._dead_letter_days = dead_letter_days
        metrics.start_at_zero(metrics.PARTITIONS_DROPPED, what=TABLES)
        metrics.start_at_zero(metrics.RETENTION_ENDED, what=ENDED)

    async def sweep(self) -> int:
        """Let go of everything whose time is over. Returns 0: what could not go now has its next round."""
        await self._discard_dead_letters()
        waiting: list[Partition] = []
        for partition in await self.outdated():
            # Deliveries say of which event they are, and outcomes are told with what the event says.
            if any(each.holds(partition) for each in waiting) or not await self._let_go(partition):
                waiting.append(partition)
        metrics.RETENTION_WAITING.set(len(waiting))
        return 0

    async def outdated(self) -> list[Partition]:
        """Return the partitions whose time is over, in the order in which they go."""
        rows = await self._pool.fetch(_OUTDATED, self._days)
        return [
            Partition(row["parent"], row["name"], row["low"], row["below"], self._days[row["parent"]])
            for row in rows
        ]

    async def _let_go(self, partition: Partition) -> bool:
        """Return whether it is gone. What was ended in this round is told first, and goes in the next one."""
        match partition.parent:
            case "events" | "deliveries":
                if not await self._is_ended(partition, over=None):
                    return False
            case "feed_items":
                if not await self._is_ended(partition, over=Channel.INAPP):  # nothing is written into it now
                    return False
                await self._empty(partition)
        crash_point(CrashPoint.RETENTION_BEFORE_DROP)
        dropped = bool(await self._pool.fetchval(_DROP, partition.name, partition.days))
        if dropped:
            metrics.PARTITIONS_DROPPED.labels(partition.parent).inc()
            log.info("partition dropped", table=partition.parent, partition=partition.name)
        return dropped

    async def _is_ended(self, partition: Partition, *, over: Channel | None) -> bool:
        """End what is open. Returns whether nothing was, neither here nor on its way to a provider."""
        ended, busy = 0, 0
        if over is None:
            ended = await self._end_events(partition)
        position: UUID | None = partition.low
        while position is not None:
            row = await self._pool.fetchrow(_END_PAGE, position, partition.below, over, _PAGE)
            assert row is not None  # noqa: S101 - the function answers with one row
            position, ended, busy = row["last"], ended + row["ended"], busy + row["busy"]
            metrics.RETENTION_ENDED.labels("delivery").inc(row["ended"])
        if ended or busy:
            log.info("outdated work ended", partition=partition.name, ended=ended, busy=busy)
        return not ended and not busy

    async def _end_events(self, partition: Partition) -> int:
        total = 0
        while True:
            ended = int(await self._pool.fetchval(_END_EVENTS, partition.low, partition.below, _BATCH))
            metrics.RETENTION_ENDED.labels("event").inc(ended)
            total += ended
            if ended < _BATCH:
                return total

    async def _discard_dead_letters(self) -> None:
        while True:
            ended = int(await self._pool.fetchval(_DISCARD, self._dead_letter_days, _BATCH))
            metrics.RETENTION_ENDED.labels("dead_letter").inc(ended)
            if ended < _BATCH:
                return

    async def _empty(self, partition: Partition) -> None:
        """Take a feed partition's items out of their feeds, and tell whoever is connected."""
        tenant, person = 0, 0
        while True:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                feeds = await connection.fetch(
                    _EMPTY, partition.name, partition.days, tenant, person, _PEOPLE
                )
            if not feeds:
                return
            crash_point(CrashPoint.RETENTION_AFTER_EMPTY)
            await tell_streams(self._publisher, [feed for feed in feeds if feed["changed"]])
            tenant, person = feeds[-1]["tenant_id"], feeds[-1]["number"]

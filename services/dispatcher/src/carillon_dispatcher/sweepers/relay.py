"""Publishes events that are owed to the broker: what the API could not hand on, and what has come due.

Only as many as there is room for in a lane. The rest waits in the database, and the tenants take turns.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog
from carillon_shared.broker import Outgoing, PublishResult
from carillon_shared.broker.window import Room
from carillon_shared.contracts.messages import EventAccepted
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.lanes import Lane
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import EVENTS, event_routing_key

log = structlog.get_logger(__name__)

CLAIM_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
_TURN_SECONDS = 2.0  # then the sweep may look whether the process is to stop
_LOOK_SECONDS = 0.02  # between looks for room in the lanes
_CLAIM = "SELECT * FROM carillon.claim_owed($1, $2, $3::text[]::carillon.lane[])"
# What was owed anew since the claim, by a plan that failed, stays owed.
_CLEAR = """
    UPDATE carillon.events
    SET owed_at = NULL, status = CASE status WHEN 'scheduled' THEN 'accepted' ELSE status END
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND owed_at = $4
"""
_GIVE_BACK = """
    UPDATE carillon.events SET owed_at = now() + make_interval(secs => $5)
    WHERE id = ANY ($1) AND id BETWEEN $2 AND $3 AND owed_at = $4
"""


class RelayPublisher(Protocol):
    """Publishes with confirms; see `carillon_shared.broker.Publisher`."""

    @property
    def connected(self) -> bool:
        """True while a publish can leave the process."""
        ...

    async def publish_many(self, outgoings: Sequence[Outgoing]) -> list[PublishResult]:
        """Publish all and return one result for each: None when confirmed."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """Owed events that are ours until the claim runs out."""

    mark: datetime
    ids: Sequence[UUID]
    outgoings: Sequence[Outgoing]
    full: bool  # as many as were asked for: there may be more


class Relay:
    """Claims a batch while the one before is being published. No transaction is open meanwhile."""

    def __init__(
        self, pool: Pool, publisher: RelayPublisher, *, windows: Mapping[Lane, Room], batch: int
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._windows = windows
        self._batch = batch

    async def relay(self) -> int:
        """Publish what is owed now and has room, for about two seconds; return how many events that were."""
        end = asyncio.get_running_loop().time() + _TURN_SECONDS
        total = 0
        claim = await self._claim_before(end)
        while claim is not None:
            ahead = None
            async with asyncio.TaskGroup() as tasks:
                if claim.full:
                    ahead = tasks.create_task(self._claim_before(end))
                await self._hand_over(claim)
            total += len(claim.ids)
            claim = await ahead if ahead is not None else None
        return total

    async def _claim_before(self, end: float) -> Claim | None:
        """Claim the next batch, as soon as there is room for it."""
        clock = asyncio.get_running_loop().time
        while clock() < end:
            claim = await self._claim()
            if claim is not None or len(await self._rooms()) == len(Lane):
                return claim
            await asyncio.sleep(_LOOK_SECONDS)
        return None

    async def _claim(self) -> Claim | None:
        rooms = await self._rooms() if self._publisher.connected else {}
        if not rooms:
            return None
        most = min(self._batch, max(rooms.values()))
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_CLAIM, most, CLAIM_SECONDS, list(rooms))
        if not rows:
            return None
        for lane, many in Counter(Lane(row["lane"]) for row in rows).items():
            self._windows[lane].fill(many)
        outgoings = [
            _outgoing(row["event_id"], row["tenant"], row["type"], Lane(row["lane"]), row["traceparent"])
            for row in rows
        ]
        ids = [row["event_id"] for row in rows]
        return Claim(rows[0]["claim"], ids, outgoings, full=len(ids) == most)

    async def _rooms(self) -> dict[Lane, int]:
        """Return the lanes that take more, and how much."""
        rooms = {lane: await window.room() for lane, window in self._windows.items()}
        return {lane: room for lane, room in rooms.items() if room > 0}

    async def _hand_over(self, claim: Claim) -> None:
        crash_point(CrashPoint.RELAY_AFTER_CLAIM)
        results = await self._publisher.publish_many(claim.outgoings)
        crash_point(CrashPoint.RELAY_AFTER_PUBLISH)
        outcomes = list(zip(claim.ids, results, strict=True))
        published = [event for event, error in outcomes if error is None]
        failed = [event for event, error in outcomes if error is not None]
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            if published:
                await connection.execute(_CLEAR, published, min(published), max(published), claim.mark)
            if failed:
                await connection.execute(
                    _GIVE_BACK, failed, min(failed), max(failed), claim.mark, _AGAIN_SECONDS
                )
        metrics.RELAYED.inc(len(published))
        log.info("events relayed", events=len(published), failed=len(failed))


def _outgoing(event: UUID, tenant: str, event_type: str, lane: Lane, traceparent: str | None) -> Outgoing:
    return Outgoing(
        EVENTS.name,
        event_routing_key(lane=lane, tenant=tenant, event_type=event_type),
        EventAccepted(event_id=event, tenant=tenant, event_type=event_type, lane=lane),
        str(event),
        traceparent=traceparent,
    )

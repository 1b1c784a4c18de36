"""One broadcast to very many people: how long, how much memory, how much room, and nobody twice."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from bench.accounting import Usage
from bench.broadcast import MESSAGE, RunningPlatform, make_key, post, running_platform
from bench.contender import ContenderError
from bench.goals import FAN_OUT_GROWTH
from bench.results import check_count
from bench.servers import Servers
from bench.workload import Workload

_DONE_SECONDS = 240.0
_LOOK_SECONDS = 0.25
_WARM_UP = 10_000  # people of a broadcast before, so that what grows once has grown
_PEOPLE = """
    INSERT INTO carillon.subscribers (tenant_id, id, attributes)
    SELECT $1, 'person-' || n, '{}' FROM generate_series(1, $2::integer) AS n
"""
_SIZE = "SELECT pg_database_size(current_database())"
_STATUS = """
    SELECT status, extract(epoch FROM clock_timestamp() - accepted_at) AS seconds
    FROM carillon.events WHERE id = $1
"""
_COUNTS = """
    SELECT count(*) AS deliveries, count(DISTINCT subscriber) AS people,
           count(*) FILTER (WHERE status = 'delivered') AS delivered
    FROM carillon.deliveries WHERE event_id = $1
"""
_FEED = """
    SELECT (SELECT count(*) FROM carillon.feed_items WHERE event_id = $1) AS items,
           (SELECT count(*) FROM carillon.feeds WHERE unread = 1 AND seq = 1) AS feeds
"""
_TOOK = """
    SELECT extract(epoch FROM max(d.updated_at) - min(e.accepted_at))
    FROM carillon.deliveries d JOIN carillon.events e ON e.id = d.event_id WHERE e.id = $1
"""


@dataclass(frozen=True, slots=True)
class Large:
    """One large broadcast over one channel: times in seconds, memory and room in bytes."""

    people: int
    dispatched: float
    """Until the last range was planned and published."""
    delivered: float
    """Until the last delivery was recorded."""
    growth: dict[str, int]
    """Of each service's resident memory: its highest less what it was before."""
    room: int
    """By which the database grew."""

    @property
    def rate(self) -> float:
        """Deliveries a second, from the request to the last record."""
        return self.people / self.delivered

    @property
    def is_bounded(self) -> bool:
        """True when the dispatcher's memory does not grow with the audience."""
        return self.growth["dispatcher"] < FAN_OUT_GROWTH


async def tell_everybody(servers: Servers, workload: Workload, *, people: int) -> Large:
    """Tell so many people something in their feeds. Raises `CountError` unless each was told once."""
    await _people(workload, _WARM_UP)
    key = await make_key(workload.pool, servers, workload.tenant_id)
    async with running_platform(servers, {}) as platform:
        await _broadcast(platform, workload, key)
        await workload.superuser.execute("TRUNCATE carillon.feeds, carillon.feed_items, carillon.deliveries")
        await _people(workload, people)
        before, room = platform.usages(), await workload.superuser.fetchval(_SIZE)
        seen = await _broadcast(platform, workload, key)
    await _check(workload, seen.event, people)
    return Large(
        people=people,
        dispatched=seen.dispatched,
        delivered=float(await workload.superuser.fetchval(_TOOK, seen.event)),
        growth={one.name: seen.highest[one.name] - before[one.name].resident for one in platform.started},
        room=await workload.superuser.fetchval(_SIZE) - room,
    )


async def _people(workload: Workload, people: int) -> None:
    await workload.superuser.execute("DELETE FROM carillon.subscribers")
    await workload.superuser.execute(_PEOPLE, workload.tenant_id, people)
    await workload.superuser.execute("ANALYZE carillon.subscribers")


@dataclass(slots=True)
class _Seen:
    """What was seen of a broadcast while it ran."""

    event: UUID
    dispatched: float = 0.0
    highest: dict[str, int] = field(default_factory=dict)  # bytes of memory, by process

    def note(self, status: str, seconds: float, used: Mapping[str, Usage]) -> None:
        if status == "dispatching" or not self.dispatched:
            self.dispatched = seconds
        for name, usage in used.items():
            self.highest[name] = max(self.highest.get(name, 0), usage.resident)


async def _broadcast(platform: RunningPlatform, workload: Workload, key: str) -> _Seen:
    """Send one and watch it until it is completed."""
    body = json.loads(MESSAGE) | {"channels": ["inapp"]}
    headers = {"Authorization": f"Bearer {key}"}
    answer = await asyncio.to_thread(post, f"{platform.url}/v1/events", body, headers)
    seen, deadline, status = _Seen(UUID(answer["id"])), time.monotonic() + _DONE_SECONDS, ""
    while status != "completed":
        row = await workload.superuser.fetchrow(_STATUS, seen.event)
        assert row is not None
        status = row["status"]
        seen.note(status, float(row["seconds"]), platform.usages())
        if time.monotonic() > deadline:
            raise ContenderError(f"the broadcast was not completed in {_DONE_SECONDS:g} s")
        for one in platform.started:
            one.check()
        await asyncio.sleep(_LOOK_SECONDS)
    return seen


async def _check(workload: Workload, event: UUID, people: int) -> None:
    for query in (_COUNTS, _FEED):
        row = await workload.superuser.fetchrow(query, event)
        assert row is not None
        check_count("Carillon", expected=people, found=dict(row))

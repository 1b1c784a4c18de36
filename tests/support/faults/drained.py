"""Waiting until a platform has nothing left to do, and what is left when it does not come to rest."""

import asyncio
import json
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aio_pika
import asyncpg
import httpx2
from carillon_shared.broker.management import vhost_of
from carillon_shared.db.pool import Pool
from carillon_shared.topology.carillon import carillon_topology
from support.platform import Platform

QUEUES = tuple(queue.name for queue in carillon_topology().queues)
WORKING_QUEUES = tuple(name for name in QUEUES if not name.endswith(".dead"))
"""Dispatch, fan-out, work and retry queues: empty when everything is at rest."""

_PAUSE_SECONDS = 0.25
_LOOK_SECONDS = 15.0
_OPEN = """
    SELECT 'event ' || id || ' is ' || status AS left_over FROM carillon.events
    WHERE tenant_id = ANY ($1) AND status NOT IN ('completed', 'cancelled', 'rejected', 'expired')
    UNION ALL
    SELECT 'delivery ' || id || ' is ' || status FROM carillon.deliveries
    WHERE tenant_id = ANY ($1) AND status IN ('held', 'queued', 'sending', 'retrying', 'unknown')
    LIMIT 20
"""


async def left_over(platform: Platform, pool: Pool, tenants: Sequence[int], *, seconds: float) -> list[str]:
    """Wait until nothing is under way, for so long at most; return what still is, in words."""
    deadline = asyncio.get_running_loop().time() + seconds
    while found := await _under_way(platform, pool, tenants):
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    return found


async def _under_way(platform: Platform, pool: Pool, tenants: Sequence[int]) -> list[str]:
    """Look at what is cheap to see first; a server that is away leaves the question open."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            rows = await pool.fetch(_OPEN, list(tenants))
            if rows:
                return [row["left_over"] for row in rows]
            depths = await queue_depths(platform.addresses.broker_url, WORKING_QUEUES)
            untold = (await platform.mock("/control/state"))["webhooks"]["pending"]
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        aio_pika.exceptions.AMQPError,
        httpx2.HTTPError,
    ) as error:
        return [f"cannot look: {error!r}"]
    waiting = [f"queue {name} holds {depth}" for name, depth in depths.items() if depth]
    if untold:  # deliveries still rise to what the provider will say of these
        waiting.append(f"{untold} messages have receipts to come")
    return waiting or await unacked(platform)


async def queue_depths(broker_url: str, names: Sequence[str]) -> dict[str, int]:
    """Return how many messages wait in each queue, not counting those that a consumer holds."""
    connection = await aio_pika.connect(broker_url, timeout=_LOOK_SECONDS)
    async with connection:
        channel = await connection.channel()
        found = [await channel.declare_queue(name, passive=True) for name in names]
    return {queue.name: queue.declaration_result.message_count or 0 for queue in found}


async def unacked(platform: Platform) -> list[str]:
    """Return which queues have messages that a consumer holds; the management API tells it seconds late."""
    if platform.management_url is None:
        return []
    vhost = quote(vhost_of(platform.addresses.broker_url), safe="")
    path = f"/api/queues/{vhost}?columns=name,messages_unacknowledged"
    found = await asyncio.to_thread(_get, platform.management_url, path)
    return [
        f"queue {row['name']}: {row['messages_unacknowledged']} unacked"
        for row in found
        if row["name"] in WORKING_QUEUES and row.get("messages_unacknowledged")
    ]


def _get(management_url: str, path: str) -> Any:
    place = urlsplit(management_url)
    request = urllib.request.Request(f"http://{place.hostname}:{place.port}{path}")
    login = f"{unquote(place.username or '')}:{unquote(place.password or '')}"
    request.add_header("Authorization", f"Basic {b64encode(login.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=_LOOK_SECONDS) as answer:  # noqa: S310 -- as above
        return json.load(answer)

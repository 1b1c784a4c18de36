"""Paused channels and measured queues in the database."""

from typing import Any

import asyncpg
from carillon_shared.db.pool import Connection
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import work_queue

from carillon_api.operators.channel_models import ChannelControl, QueueState

_PAUSE = """
INSERT INTO carillon.channel_pauses (channel, paused_by, reason)
VALUES ($1::text::carillon.channel, $2, $3) ON CONFLICT (channel) DO NOTHING
RETURNING channel::text
"""
_RESUME = (
    "DELETE FROM carillon.channel_pauses WHERE channel = $1::text::carillon.channel RETURNING channel::text"
)
_PAUSES = "SELECT channel::text, paused_at, paused_by, reason FROM carillon.channel_pauses"
_QUEUES = """
SELECT m.queue, m.ready, m.consumers, m.measured_at, carillon.oldest_seconds(m) AS oldest_age_seconds
FROM carillon.queue_measurements m ORDER BY m.queue
"""
_CHANNELS = {work_queue(channel, lane): channel for channel in Channel for lane in Lane}


async def pause(connection: Connection, channel: Channel, *, actor: str, reason: str) -> bool:
    """Pause a channel. Returns False when it was paused already: who did it first stays."""
    return await connection.fetchval(_PAUSE, channel.value, actor, reason) is not None


async def resume(connection: Connection, channel: Channel) -> bool:
    """Resume a channel. Returns False when it was not paused."""
    return await connection.fetchval(_RESUME, channel.value) is not None


async def controls(connection: Connection) -> dict[Channel, ChannelControl]:
    """Return how every channel stands."""
    found = {Channel(row["channel"]): row for row in await connection.fetch(_PAUSES)}
    return {
        channel: ChannelControl(channel=channel, paused=True, **_pause(found[channel]))
        if channel in found
        else ChannelControl(channel=channel, paused=False)
        for channel in Channel
    }


async def queues(connection: Connection, known: dict[Channel, ChannelControl]) -> list[QueueState]:
    """Return every queue that was measured."""
    states = []
    for row in await connection.fetch(_QUEUES):
        channel = _CHANNELS.get(row["queue"])
        paused = channel is not None and known[channel].paused
        states.append(QueueState(channel=channel, paused=paused, **dict(row)))
    return states


def _pause(row: asyncpg.Record) -> dict[str, Any]:
    return {name: row[name] for name in ("paused_at", "paused_by", "reason")}

"""How full queues are, asked with no more rights than any user of the broker has."""

from dataclasses import dataclass

from aiormq.channel import Channel

from carillon_shared.broker.admin import Admin, NotFoundError


@dataclass(frozen=True, slots=True)
class QueueSize:
    """A queue's messages that nobody has been given yet, and how many take from it."""

    queue: str
    messages: int
    consumers: int


async def queue_size(admin: Admin, queue: str) -> QueueSize | None:
    """Ask for a queue's size; None when there is no such queue. Raises `BrokerError`."""

    async def look(channel: Channel) -> QueueSize:
        found = await channel.queue_declare(queue, passive=True)
        return QueueSize(queue, found.message_count or 0, found.consumer_count or 0)

    try:
        return await admin.call(look)
    except NotFoundError:
        return None

"""Messages of the dead queues: copies of dead letters, for the broker's own tools. The rows decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from carillon_shared.broker import Incoming, Outgoing
from carillon_shared.contracts.codec import UndecodableMessageError, decode
from carillon_shared.contracts.messages import DeadDelivery, Message, WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import DEAD, work_routing_key


@dataclass(frozen=True, slots=True)
class Copy:
    """A message of a dead queue and what it says; None: nobody can read it."""

    incoming: Incoming
    message: Message | None


def read_copy(incoming: Incoming) -> Copy:
    """Return what a message says."""
    try:
        return Copy(incoming, decode(incoming.type, incoming.body))
    except UndecodableMessageError:
        return Copy(incoming, None)


def deliveries_of(message: Message | None) -> Sequence[UUID]:
    """Return the deliveries that a message of a dead queue is about."""
    match message:
        case DeadDelivery():
            return [message.delivery_id]
        case WorkChunk():
            return message.delivery_ids
        case _:
            return []


def copy_of(message: DeadDelivery, *, traceparent: str | None = None) -> Outgoing:
    """Return a copy on its way to the dead queue of its channel."""
    return Outgoing(
        DEAD.name,
        work_routing_key(message.channel, message.lane),
        message,
        f"{message.delivery_id}:{message.attempt}:dead",
        traceparent=traceparent,
    )


def copy_of_row(row: asyncpg.Record) -> Outgoing:
    """Return the copy of a dead letter with `delivery_id`, `attempt`, `reason`, `event_id` and so on."""
    return copy_of(
        DeadDelivery(
            event_id=row["event_id"],
            tenant=row["tenant"],
            channel=Channel(row["channel"]),
            lane=Lane(row["lane"]),
            delivery_id=row["delivery_id"],
            attempt=row["attempt"],
            reason=row["reason"],
        )
    )

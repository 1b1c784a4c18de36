"""What follows an attempt on the broker: retries go up the ladder, dead letters to their queue."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from carillon_shared.broker.outgoing import Outgoing
from carillon_shared.contracts.messages import DeadDelivery, WorkChunk
from carillon_shared.delivery.work import Chunk
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import DEAD, retry_exchange, work_routing_key
from carillon_shared.topology.ladder import Tier, tier_for


@dataclass(frozen=True, slots=True)
class Again:
    """This delivery is to be tried (or looked at) again after `delay` seconds, as attempt `attempt`."""

    chunk: Chunk
    id: UUID
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class Buried:
    """This delivery is dead after `attempt` attempts."""

    chunk: Chunk
    id: UUID
    attempt: int
    reason: str


Aftermath = Again | Buried


@dataclass(frozen=True, slots=True)
class Errand:
    """One message to publish, and the deliveries that are done here once it is confirmed."""

    outgoing: Outgoing
    chunk: Chunk
    ids: Sequence[UUID]


def errands_of(following: Iterable[Aftermath]) -> list[Errand]:
    """Return the messages to publish. Retries of one chunk that share a tier and attempt share a message."""
    together: dict[tuple[Chunk, int, Tier], list[UUID]] = defaultdict(list)
    errands = []
    for one in following:
        match one:
            case Again(chunk, delivery, attempt, delay):
                together[chunk, attempt, tier_for(delay)].append(delivery)
            case Buried():
                errands.append(_dead_letter(one))
    errands += [_retry(chunk, attempt, tier, ids) for (chunk, attempt, tier), ids in together.items()]
    return errands


def _retry(chunk: Chunk, attempt: int, tier: Tier, ids: list[UUID]) -> Errand:
    old = chunk.message
    message = WorkChunk(
        event_id=old.event_id,
        tenant=old.tenant,
        channel=old.channel,
        lane=old.lane,
        attempt=attempt,
        delivery_ids=ids,
        isolated=old.isolated,
    )
    metrics.RETRIES.labels(old.channel, tier.label).inc(len(ids))
    return Errand(_outgoing(retry_exchange(tier), chunk, message, f"{ids[0]}:{attempt}"), chunk, ids)


def _dead_letter(buried: Buried) -> Errand:
    old = buried.chunk.message
    message = DeadDelivery(
        event_id=old.event_id,
        tenant=old.tenant,
        channel=old.channel,
        lane=old.lane,
        delivery_id=buried.id,
        attempt=buried.attempt,
        reason=buried.reason,
    )
    outgoing = _outgoing(DEAD.name, buried.chunk, message, f"{buried.id}:{buried.attempt}:dead")
    return Errand(outgoing, buried.chunk, [buried.id])


def _outgoing(exchange: str, chunk: Chunk, message: WorkChunk | DeadDelivery, message_id: str) -> Outgoing:
    return Outgoing(
        exchange,
        work_routing_key(message.channel, message.lane),
        message,
        message_id,
        traceparent=chunk.incoming.traceparent,
    )

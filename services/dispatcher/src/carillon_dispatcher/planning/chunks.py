"""Cuts queued deliveries into work messages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from carillon_shared.broker import Outgoing
from carillon_shared.contracts.messages import WorkChunk
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.topology.carillon import WORK, work_routing_key

from carillon_dispatcher.planning.rows import PlannedRows

CHUNK_SIZES = {Channel.INAPP: 500, Channel.EMAIL: 200, Channel.WHATSAPP: 200}
"""Most deliveries of one message. A feed write is one statement for all, a send is a call for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Deliveries of one event and channel that are to make the same attempt."""

    event_id: UUID
    tenant: str
    traceparent: str | None
    channel: Channel
    lane: Lane
    ids: Sequence[UUID]
    attempt: int = 1
    isolated: bool = False  # each in a message of its own, because one of them may kill its worker


def work_of(rows: PlannedRows) -> Work:
    """Return the first attempt of these rows."""
    return Work(
        event_id=rows.event_id,
        tenant=rows.tenant,
        traceparent=rows.traceparent,
        channel=rows.channel,
        lane=rows.lane,
        ids=rows.ids,
    )


def chunks_of(works: Iterable[Work]) -> list[Outgoing]:
    """Return the messages that carry this work. The same work gives the same message ids."""
    return [_outgoing(work, ids) for work in works for ids in _slices(work)]


def pieces_of(works: Iterable[Work]) -> list[Work]:
    """Return the same work in pieces that are one message each."""
    return [replace(work, ids=ids) for work in works for ids in _slices(work)]


def _slices(work: Work) -> Iterable[Sequence[UUID]]:
    size = 1 if work.isolated else CHUNK_SIZES[work.channel]
    for start in range(0, len(work.ids), size):
        yield work.ids[start : start + size]


def _outgoing(work: Work, ids: Sequence[UUID]) -> Outgoing:
    message = WorkChunk(
        event_id=work.event_id,
        tenant=work.tenant,
        channel=work.channel,
        lane=work.lane,
        attempt=work.attempt,
        delivery_ids=list(ids),
        isolated=work.isolated,
    )
    return Outgoing(
        WORK.name,
        work_routing_key(work.channel, work.lane),
        message,
        f"{ids[0]}:{work.attempt}",
        traceparent=work.traceparent,
    )

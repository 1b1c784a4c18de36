"""Publishes outcomes: what product services learn about their deliveries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import structlog
from carillon_shared.broker import Outgoing, outcome
from carillon_shared.contracts.messages import OutcomeBatch
from carillon_shared.db.pool import CONNECT_SECONDS, Pool
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.states import DeliveryStatus
from carillon_shared.lifecycle import CrashPoint, crash_point
from carillon_shared.telemetry import metrics

from carillon_dispatcher.sweepers.relay import RelayPublisher

log = structlog.get_logger(__name__)

IDS_PER_MESSAGE = 2000
"""An id takes 39 bytes of JSON, and a body stays under 100 KB."""

_CLAIM_SECONDS = 30.0
_CLAIM = "SELECT * FROM carillon.claim_outcomes($1, $2)"
_FINISH = "SELECT carillon.finish_outcomes($1)"


class _Kind(NamedTuple):
    tenant: str
    channel: Channel
    state: DeliveryStatus


@dataclass(slots=True)
class _Gathered:
    """What one batch has to tell about one (tenant, channel, state)."""

    at: datetime
    rows: list[int] = field(default_factory=list)
    deliveries: list[UUID] = field(default_factory=list)

    def add(self, row: asyncpg.Record) -> None:
        self.at = max(self.at, row["at"])
        self.rows.append(row["id"])
        self.deliveries += row["delivery_ids"]


class OutcomeRelay:
    """Claims outcomes, publishes them, and when the broker has confirmed makes webhooks of them."""

    def __init__(self, pool: Pool, publisher: RelayPublisher, *, batch: int) -> None:
        self._pool = pool
        self._publisher = publisher
        self._batch = batch

    async def relay(self) -> int:
        """Publish a batch of what is owed; return how many rows that were."""
        if not self._publisher.connected:
            return 0
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_CLAIM, self._batch, _CLAIM_SECONDS)
        if not rows:
            return 0
        told = await self._publish(_gathered(rows))
        crash_point(CrashPoint.OUTCOMES_AFTER_PUBLISH)
        if told:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                await connection.execute(_FINISH, told)
        return len(rows)

    async def _publish(self, gathered: dict[_Kind, _Gathered]) -> list[int]:
        """Publish, and return the rows of which every message was confirmed. The others stay owed."""
        messages = [
            (kind, outgoing) for kind, of_kind in gathered.items() for outgoing in _messages(kind, of_kind)
        ]
        results = await self._publisher.publish_many([outgoing for _, outgoing in messages])
        failed = {kind for (kind, _), error in zip(messages, results, strict=True) if error is not None}
        if failed:
            log.warning("outcomes not published", kinds=len(failed), of=len(gathered))
        told = {kind: of_kind for kind, of_kind in gathered.items() if kind not in failed}
        for kind, of_kind in told.items():
            metrics.OUTCOMES.labels(kind.channel, kind.state).inc(len(of_kind.deliveries))
        return [row for of_kind in told.values() for row in of_kind.rows]


def _gathered(rows: Sequence[asyncpg.Record]) -> dict[_Kind, _Gathered]:
    found: dict[_Kind, _Gathered] = {}
    for row in sorted(rows, key=lambda row: int(row["id"])):
        kind = _Kind(row["tenant"], Channel(row["channel"]), DeliveryStatus(row["state"]))
        found.setdefault(kind, _Gathered(row["at"])).add(row)
    return found


def _messages(kind: _Kind, gathered: _Gathered) -> Iterator[Outgoing]:
    for start in range(0, len(gathered.deliveries), IDS_PER_MESSAGE):
        message = OutcomeBatch(
            tenant=kind.tenant,
            channel=kind.channel,
            state=kind.state.value,
            delivery_ids=gathered.deliveries[start : start + IDS_PER_MESSAGE],
            at=gathered.at,
        )
        yield outcome(message, message_id=f"outcome:{gathered.rows[0]}:{start}")

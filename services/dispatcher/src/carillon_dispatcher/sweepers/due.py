"""Brings on deliveries whose unknown outcome or whose overdue retry is due."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg
from carillon_shared.broker import Outgoing
from carillon_shared.contracts.messages import DeadDelivery
from carillon_shared.db.pool import Pool, transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.lanes import Lane
from carillon_shared.domain.states import DeliveryStatus, Reason
from carillon_shared.retry.policy import policy_for
from carillon_shared.telemetry import metrics
from carillon_shared.topology.carillon import DEAD, work_routing_key

from carillon_dispatcher.planning.publishing import Publishing
from carillon_dispatcher.sweepers.rescued import publish_rescued, rescued

_CLAIM = "SELECT * FROM carillon.claim_due($1::text::carillon.due_kind, $2, $3)"
_APPLY = "SELECT carillon.apply_due($1, $2, $3, $4)"
# Given to a retry that was sent again before it counts as lost once more; doubled each time.
_AGAIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Next:
    """What a delivery becomes. Without a status it stays as it is, and is no longer due."""

    status: DeliveryStatus | None = None
    reason: Reason | None = None


_STALE = Next()


def after_unknown(row: asyncpg.Record) -> Next:
    """Return what follows a provider call that ended without an answer, by the rule of the event type."""
    if row["status"] != DeliveryStatus.UNKNOWN:
        return _STALE
    if row["ending"] is not None:
        return Next(DeliveryStatus(row["ending"]), Reason(row["ending"]))
    if row["on_unknown"] == "at_most_once":
        return Next(DeliveryStatus.DEAD, Reason.OUTCOME_UNKNOWN)
    return _tried_out(row) or Next(DeliveryStatus.RETRYING)


def after_overdue(row: asyncpg.Record) -> Next:
    """Return what becomes of a retry that nobody has begun in time."""
    if row["status"] != DeliveryStatus.RETRYING:
        return _STALE
    if row["ending"] is not None:
        return Next(DeliveryStatus(row["ending"]), Reason(row["ending"]))
    # A receipt that tells of a passing failure does not know how often this type is tried.
    return _tried_out(row) or Next(DeliveryStatus.RETRYING)


def _tried_out(row: asyncpg.Record) -> Next | None:
    made = row["attempt"] - row["budget_start"]
    if made < policy_for(row["retry"], Channel(row["channel"])).max_attempts:
        return None
    return Next(DeliveryStatus.DEAD, Reason.RETRIES_EXHAUSTED)


class DueDeliveries:
    """Decides with `rule` about what is due of one kind for `grace` seconds; `what` names the rescue."""

    def __init__(
        self,
        pool: Pool,
        publisher: Publishing,
        *,
        kind: str,
        what: str,
        rule: Callable[[asyncpg.Record], Next],
        batch: int,
        grace: float = 0.0,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._kind = kind
        self._what = what
        self._rule = rule
        self._batch = batch
        self._grace = grace

    async def bring_on(self) -> int:
        """Decide about everything due of this kind; return how many that were.

        States are committed first. Should this process end before the messages are out, the retries' due rows
        bring them back, and the dead letters are in their table.
        """
        async with transaction(self._pool) as connection:
            rows = await connection.fetch(_CLAIM, self._kind, self._batch, self._grace)
            if not rows:
                return 0
            decided = [(row, self._rule(row)) for row in rows]
            await connection.execute(_APPLY, *_columns(decided), _AGAIN_SECONDS)
        retries = [rescued(row) for row, then in decided if then.status is DeliveryStatus.RETRYING]
        await publish_rescued(self._publisher, self._what, retries)
        await self._bury([(row, then) for row, then in decided if then.status is DeliveryStatus.DEAD])
        return len(rows)

    async def _bury(self, dead: Sequence[tuple[asyncpg.Record, Next]]) -> None:
        for row, then in dead:
            metrics.DEAD_LETTERS.labels(row["channel"], then.reason).inc()
        if dead:
            await self._publisher.publish_many([_dead_letter(row, then) for row, then in dead])


def _columns(
    decided: Sequence[tuple[asyncpg.Record, Next]],
) -> tuple[list[object], list[DeliveryStatus | None], list[Reason | None]]:
    return (
        [row["delivery_id"] for row, _ in decided],
        [then.status for _, then in decided],
        [then.reason for _, then in decided],
    )


def _dead_letter(row: asyncpg.Record, then: Next) -> Outgoing:
    channel, lane = Channel(row["channel"]), Lane(row["lane"])
    message = DeadDelivery(
        event_id=row["event_id"],
        tenant=row["tenant"],
        channel=channel,
        lane=lane,
        delivery_id=row["delivery_id"],
        attempt=row["attempt"],
        reason=then.reason or "",
    )
    return Outgoing(
        DEAD.name,
        work_routing_key(channel, lane),
        message,
        f"{row['delivery_id']}:{row['attempt']}:dead",
        traceparent=row["traceparent"],
    )

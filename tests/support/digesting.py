"""Digests in the making: events that are gathered, and the delivery that carries them."""

from typing import Any
from uuid import UUID

import asyncpg
from carillon_shared.domain.channels import Channel
from support.planning import Planning

DIGEST = {"key": [], "window": "fixed", "seconds": 600, "channels": ["email"]}
MAIL = (Channel.EMAIL,)


async def send_one(planning: Planning, data: dict[str, Any] | None = None, **given: Any) -> UUID:
    """Store an event for `u-1` with this data, and plan it."""
    event = await planning.add_event({"users": ["u-1"]}, **({"channels": MAIL} | given))
    await planning.owner.execute("UPDATE carillon.events SET data = $2 WHERE id = $1", event, data or {})
    await planning.plan(event)
    await planning.store.mark_events_published([event])
    return event


async def state_of(planning: Planning, event: UUID) -> tuple[str, str | None, str | None]:
    """Return status, reason of the hold and reason of an event's only delivery."""
    (row,) = await planning.rows(event)
    return row["status"], row["hold_reason"], row["reason"]


async def states_of(planning: Planning, *events: UUID) -> list[str]:
    """Return the status of each event's only delivery."""
    return [(await state_of(planning, event))[0] for event in events]


async def gather(planning: Planning, many: int = 3, **digest: Any) -> list[UUID]:
    """Register a type that gathers, and plan so many events of it; `digest`: other than in `DIGEST`."""
    await planning.add_type(digest=DIGEST | digest)
    return [await send_one(planning, {"n": n}) for n in range(many)]


async def newest_carrier(planning: Planning) -> asyncpg.Record:
    """Return the delivery of the newest digest."""
    row = await planning.owner.fetchrow(
        "SELECT * FROM carillon.deliveries WHERE carrier ORDER BY id DESC LIMIT 1"
    )
    assert row is not None
    return row


async def lease(worker: asyncpg.Pool, delivery: UUID, *, attempt: int = 1) -> tuple[str, list[Any]]:
    """Take a delivery as a worker does; returns the verdict and the `n` of every item."""
    row = await worker.fetchrow(
        "SELECT verdict, own_data FROM carillon.lease($1, $2, $3, $3, $4, 'test', 30)",
        [delivery],
        [attempt],
        delivery,
        attempt + 40,
    )
    assert row is not None
    return row["verdict"], [item["data"].get("n") for item in (row["own_data"] or {}).get("items", ())]


async def settle(worker: asyncpg.Pool, delivery: UUID, status: str, *, attempt: int = 1) -> None:
    """Write down how a digest's attempt ended, as a worker does."""
    await worker.execute(
        """SELECT * FROM carillon.settle($1, $2, $3, $4, '{NULL}', $5, '{p-1}', '{sent}', '{NULL}', '{NULL}',
            '{NULL}', '{0}', '{0}', '{carillon.digest}', '{smtp}', '{0}', $6, $6, '{}')""",
        [delivery],
        [attempt + 40],
        [status],
        ["provider_rejected" if status == "dead" else None],
        [60.0 if status == "retrying" else None],
        delivery,
    )

"""Erasing a person: everything that says who they are goes, in steps that may be begun again."""

from uuid import UUID, uuid4

import structlog
from carillon_shared.broker import live
from carillon_shared.contracts.messages import LiveGone
from carillon_shared.db.pool import tenant_transaction
from carillon_shared.ids import delivery_id_range

from carillon_api.authentication.callers import ApiKey
from carillon_api.services import Services

_EVENTS = 10_000  # looked at together
_DELIVERIES = 2_000
_FIRST = UUID(int=0)

log = structlog.get_logger(__name__)


async def erase(services: Services, caller: ApiKey, subscriber: str) -> bool:
    """Erase a person of the caller's tenant; false when there is none of that id.

    Takes as long as looking through the tenant's events takes. The person can be reached no more from the
    first step on; when a later one fails, calling it again goes on.
    """
    number = await _begin(services, caller, subscriber)
    if number is None:
        return False
    erasure = _Erasure(services, caller.tenant_id, number)
    await erasure.end_deliveries()
    await _close_streams(services, caller.tenant, subscriber)
    await erasure.look_through_events()
    await erasure.end(actor=f"key:{caller.key_id}")
    return True


async def _begin(services: Services, caller: ApiKey, subscriber: str) -> int | None:
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        number: int | None = await connection.fetchval(
            "SELECT carillon.begin_erasure($1, $2)", caller.tenant_id, subscriber
        )
    return number


async def _close_streams(services: Services, tenant: str, subscriber: str) -> None:
    """Have every replica close the person's streams now; else the next comparison with the database does."""
    gone = LiveGone(tenant=tenant, subscribers=[subscriber])
    await services.hub.show(gone)
    if services.publisher.connected:
        await services.publisher.publish_many([live(gone, message_id=str(uuid4()))])


class _Erasure:
    """The steps after the first."""

    def __init__(self, services: Services, tenant_id: int, number: int) -> None:
        self._pool = services.pool
        self._tenant_id = tenant_id
        self._number = number

    async def end_deliveries(self) -> None:
        """End what has not begun."""
        while True:
            async with tenant_transaction(self._pool, self._tenant_id) as connection:
                ended = await connection.fetchval(
                    "SELECT carillon.end_deliveries_of($1, $2, $3)",
                    self._tenant_id,
                    self._number,
                    _DELIVERIES,
                )
            if ended < _DELIVERIES:
                return

    async def look_through_events(self) -> None:
        """Take the person out of the tenant's events, and of what others were shown of these."""
        after: UUID | None = _FIRST
        while after is not None:
            _, shared = await self._look_at_events(after, changing=False)
            for event in shared:
                await self._look_through_items(event)
            after, _ = await self._look_at_events(after, changing=True)

    async def _look_at_events(self, after: UUID, *, changing: bool) -> tuple[UUID | None, list[UUID]]:
        """Return the last event of the next ones, and which of them tell others of the person."""
        async with tenant_transaction(self._pool, self._tenant_id) as connection:
            row = await connection.fetchrow(
                "SELECT * FROM carillon.erase_from_events($1, $2, $3, $4, $5)",
                *(self._tenant_id, self._number, after, _EVENTS, changing),
            )
        assert row is not None  # noqa: S101 - the function answers with one row
        return row["last"], row["shared"] or []

    async def _look_through_items(self, event: UUID) -> None:
        after: UUID | None
        after, below = delivery_id_range(event)
        while after is not None:
            async with tenant_transaction(self._pool, self._tenant_id) as connection:
                after = await connection.fetchval(
                    "SELECT carillon.erase_from_items($1, $2, $3, $4, $5, $6)",
                    *(self._tenant_id, self._number, event, after, below, _DELIVERIES),
                )

    async def end(self, *, actor: str) -> None:
        """Erase all that is found by the person, and the person."""
        async with tenant_transaction(self._pool, self._tenant_id) as connection:
            await connection.execute(
                "SELECT carillon.end_erasure($1, $2, $3, $4)",
                *(self._tenant_id, self._number, actor, "on request"),
            )

"""What waits to be tried again."""

from support.platform import Platform
from support.tenant import Tenant
from support.waiting import eventually

_WAITING = """
    SELECT count(*) FROM carillon.deliveries
    WHERE tenant_id = $1 AND status = 'retrying' AND next_attempt_at < now() - make_interval(secs => $2)
"""


async def retries_wait(platform: Platform, tenant: Tenant, *, least: int, overdue: float = -3600) -> None:
    """Wait until so many of a tenant's deliveries wait for another try, and for so many seconds too long."""
    pool = await platform.database.pool(max_size=1)

    async def look() -> bool:
        return int(await pool.fetchval(_WAITING, tenant.id, overdue)) >= least

    try:
        await eventually(look, seconds=60, what=f"{least} retries to wait")
    finally:
        await pool.close()

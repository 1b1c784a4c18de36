"""Many people at once, registered the way an import would do it."""

from support.platform import Platform
from support.tenant import Tenant


async def register_many(platform: Platform, tenant: Tenant, count: int, *, prefix: str = "p") -> list[str]:
    """Register people with an address each; returns their ids, `<prefix>-1` and so on."""
    pool = await platform.database.pool(max_size=1)
    await pool.execute(
        """
        INSERT INTO carillon.subscribers (tenant_id, id, email)
        SELECT $1, $2 || '-' || n, $2 || '-' || n || '@' || $3 || '.example.org'
        FROM generate_series(1, $4::integer) AS n
        """,
        tenant.id,
        prefix,
        tenant.slug,
        count,
    )
    await pool.close()
    return [f"{prefix}-{n}" for n in range(1, count + 1)]


def address_of(tenant: Tenant, person: str) -> str:
    """Return the address that `register_many` gave."""
    return f"{person}@{tenant.slug}.example.org"

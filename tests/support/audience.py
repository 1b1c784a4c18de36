"""Many people at once, registered the way an import would do it."""

from support.platform import Platform
from support.tenant import Tenant


async def register_many(
    platform: Platform, tenant: Tenant, count: int, *, prefix: str = "p", with_phone: bool = False
) -> list[str]:
    """Register people with an address each; returns their ids, `<prefix>-1` and so on.

    Phones are the tenant's and the person's numbers, so that no two people of a platform share one.
    """
    pool = await platform.database.pool(max_size=1)
    await pool.execute(
        """
        INSERT INTO carillon.subscribers (tenant_id, id, email, phone)
        SELECT $1, $2 || '-' || n, $2 || '-' || n || '@' || $3 || '.example.org',
               CASE WHEN $5 THEN '+9768' || lpad(($1::integer * 10000 + n)::text, 7, '0') END
        FROM generate_series(1, $4::integer) AS n
        """,
        tenant.id,
        prefix,
        tenant.slug,
        count,
        with_phone,
    )
    await pool.close()
    return [f"{prefix}-{n}" for n in range(1, count + 1)]


def address_of(tenant: Tenant, person: str) -> str:
    """Return the address that `register_many` gave."""
    return f"{person}@{tenant.slug}.example.org"

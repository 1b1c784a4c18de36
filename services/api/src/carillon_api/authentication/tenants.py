"""Finds tenants by the slug that tokens carry."""

from carillon_shared.clock import Clock
from carillon_shared.db.pool import Pool

from carillon_api.authentication.callers import Tenant
from carillon_api.ttl_cache import TtlCache

_KEPT_SECONDS = 5.0


class Tenants:
    """The tenants that requests have named."""

    def __init__(self, pool: Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._found = TtlCache(self._load, seconds=_KEPT_SECONDS, clock=clock)

    async def find(self, slug: str) -> Tenant | None:
        """Return the tenant, at most 5 s old; None when there is none."""
        return await self._found.get(slug)

    def forget(self, slug: str) -> None:
        """Look this tenant up again next time: something about it has been changed here."""
        self._found.forget(slug)

    async def _load(self, slug: str) -> Tenant | None:
        row = await self._pool.fetchrow("SELECT * FROM carillon.find_tenant($1)", slug)
        return Tenant(row["tenant_id"], slug, frozenset(row["origins"])) if row else None

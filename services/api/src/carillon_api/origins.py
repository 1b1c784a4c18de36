"""Origins of the pages that may call recipient routes."""

from carillon_shared.clock import Clock
from carillon_shared.db.pool import Pool

from carillon_api.ttl_cache import TtlCache

_KEPT_SECONDS = 5.0


class ListedOrigins:
    """Which origins any tenant has listed: all that a preflight, which carries no credential, can ask."""

    def __init__(self, pool: Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._found = TtlCache(self._load, seconds=_KEPT_SECONDS, clock=clock, size=1_000)

    async def is_listed(self, origin: str) -> bool:
        """Tell whether any tenant has listed this origin."""
        return await self._found.get(origin)

    async def _load(self, origin: str) -> bool:
        return bool(await self._pool.fetchval("SELECT carillon.origin_is_listed($1)", origin))

"""Finds the API key that a request presents."""

from dataclasses import dataclass
from datetime import datetime

from carillon_shared.clock import Clock
from carillon_shared.credentials import parse_api_key, secret_matches
from carillon_shared.db.pool import Pool

from carillon_api.authentication.callers import ApiKey
from carillon_api.ttl_cache import TtlCache

# A revoked key works this much longer at most.
_KEPT_SECONDS = 5.0
_UNKNOWN_HASH = bytes(32)


@dataclass(frozen=True, slots=True)
class _StoredKey:
    caller: ApiKey
    secret_hash: bytes
    expires_at: datetime | None


class ApiKeys:
    """The keys of all tenants, as far as requests have named them."""

    def __init__(self, pool: Pool, *, pepper: bytes, clock: Clock) -> None:
        self._pool = pool
        self._pepper = pepper
        self._clock = clock
        self._found = TtlCache(self._load, seconds=_KEPT_SECONDS, clock=clock)

    async def authenticate(self, text: str) -> ApiKey | None:
        """Return the key's owner; None when the key is unknown, wrong, expired or revoked."""
        presented = parse_api_key(text)
        if presented is None:
            return None
        stored = await self._found.get(presented.id)
        expected = stored.secret_hash if stored else _UNKNOWN_HASH
        matches = secret_matches(presented.secret, expected, pepper=self._pepper)
        if stored is None or not matches:
            return None
        if stored.expires_at is not None and stored.expires_at <= self._clock.now():
            return None
        return stored.caller

    async def _load(self, key_id: str) -> _StoredKey | None:
        row = await self._pool.fetchrow("SELECT * FROM carillon.find_api_key($1)", key_id)
        if row is None:
            return None
        caller = ApiKey(row["tenant_id"], row["tenant"], key_id, frozenset(row["scopes"]))
        return _StoredKey(caller, row["secret_hash"], row["expires_at"])

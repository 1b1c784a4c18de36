"""Webhooks in the database."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from carillon_shared.db.pool import CONNECT_SECONDS, Pool

from carillon_dispatcher.webhooks.posting import Posted

_CLAIM = "SELECT * FROM carillon.claim_webhooks($1, $2, $3, $4)"
_SETTLE = "SELECT carillon.settle_webhook($1, $2, $3, $4, $5, $6, $7, $8)"


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A message to post now. `id` is the same in every attempt; secrets are shown to nobody."""

    id: UUID
    endpoint: UUID
    url: str
    secrets: tuple[str, ...]
    payload: bytes
    attempt: int

    def __repr__(self) -> str:
        return f"DueWebhook({self.id}, attempt={self.attempt})"


class WebhookStore:
    """Claims messages and writes down what came of them."""

    def __init__(self, pool: Pool, *, disable_days: float) -> None:
        self._pool = pool
        self._disable_days = disable_days

    async def claim(
        self, *, busy: Collection[UUID], endpoints: int, each: int, seconds: float
    ) -> list[DueWebhook]:
        """Take a few messages of each of some endpoints, for so many seconds. Raises what asyncpg raises."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            rows = await connection.fetch(_CLAIM, list(busy), endpoints, each, seconds)
        return [
            DueWebhook(
                row["id"],
                row["endpoint_id"],
                row["url"],
                tuple(row["secrets"]),
                row["payload"].encode(),
                row["attempt"],
            )
            for row in rows
        ]

    async def settle(self, webhook: DueWebhook, posted: Posted, *, delay: float | None) -> bool:
        """Write down what came of a post; return whether that has disabled the endpoint."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            disabled: bool = await connection.fetchval(
                _SETTLE,
                webhook.id,
                webhook.attempt,
                posted.delivered,
                posted.code,
                posted.error,
                delay,
                posted.gone,
                self._disable_days,
            )
        return disabled

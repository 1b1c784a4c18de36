"""Webhook endpoints in the database."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from carillon_shared.db.pool import Connection

from carillon_api.webhooks.models import Endpoint, EndpointChange, NewEndpoint, WebhookMessage

_COLUMNS = """id, url, description, states::text[], channels::text[], disabled_at IS NULL AS enabled,
    disabled_reason, failing_since, CASE WHEN old_secret_until > now() THEN old_secret_until END
    AS old_secret_until, created_at, updated_at"""
_ARRAYS = {"states": "carillon.delivery_status[]", "channels": "carillon.channel[]"}
_INSERT = f"""
INSERT INTO carillon.webhook_endpoints (tenant_id, url, description, states, channels, secret)
VALUES ($1, $2, $3, $4::text[]::carillon.delivery_status[], $5::text[]::carillon.channel[], $6)
RETURNING {_COLUMNS}
"""
_LIST = f"""
SELECT {_COLUMNS} FROM carillon.webhook_endpoints
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
_RECOVER = """
UPDATE carillon.webhook_messages
SET status = 'waiting', attempt = 0, due_at = now(), updated_at = now()
WHERE tenant_id = $1 AND endpoint_id = $2 AND status = 'failed' AND created_at >= $3
"""
_MESSAGES = """
SELECT id, type, status, attempt, due_at, code, error, created_at, updated_at
FROM carillon.webhook_messages
WHERE tenant_id = $1 AND endpoint_id = $2 AND ($3::text IS NULL OR status = $3)
  AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5))
ORDER BY created_at DESC, id DESC LIMIT $6
"""
_ADD_MESSAGE = """
INSERT INTO carillon.webhook_messages (tenant_id, endpoint_id, type, payload)
SELECT tenant_id, id, $3, $4 FROM carillon.webhook_endpoints
WHERE tenant_id = $1 AND id = $2 AND disabled_at IS NULL
RETURNING id
"""


async def create(connection: Connection, *, tenant_id: int, wanted: NewEndpoint, secret: str) -> Endpoint:
    """Store an endpoint."""
    row = await connection.fetchrow(
        _INSERT, tenant_id, wanted.url, wanted.description, wanted.states, wanted.channels, secret
    )
    return Endpoint.model_validate(dict(row or {}))


async def count(connection: Connection, *, tenant_id: int) -> int:
    """Return how many endpoints the tenant has."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM carillon.webhook_endpoints WHERE tenant_id = $1", tenant_id
    )
    return found


async def find(connection: Connection, *, tenant_id: int, endpoint: UUID) -> Endpoint | None:
    """Return one endpoint; None when the tenant has none of that id."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM carillon.webhook_endpoints WHERE tenant_id = $1 AND id = $2",
        tenant_id,
        endpoint,
    )
    return Endpoint.model_validate(dict(row)) if row else None


async def listed(connection: Connection, *, tenant_id: int, after: UUID | None, limit: int) -> list[Endpoint]:
    """Return endpoints in the order of their ids."""
    rows = await connection.fetch(_LIST, tenant_id, after, limit)
    return [Endpoint.model_validate(dict(row)) for row in rows]


async def change(
    connection: Connection, *, tenant_id: int, endpoint: UUID, wanted: EndpointChange
) -> Endpoint | None:
    """Change what is given; return the endpoint, None when the tenant has none of that id."""
    given = wanted.model_dump(exclude_none=True)
    enabled = given.pop("enabled", None)
    values: list[Any] = [tenant_id, endpoint]
    sets = ["updated_at = now()"]
    for name, value in given.items():
        values.append(value)
        cast = f"::text[]::{_ARRAYS[name]}" if name in _ARRAYS else ""
        sets.append(f"{name} = ${len(values)}{cast}")
    if enabled is True:
        sets.append("disabled_at = NULL, disabled_reason = NULL, failing_since = NULL")
    elif enabled is False:
        sets.append("disabled_at = now(), disabled_reason = 'operator'")
    row = await connection.fetchrow(
        f"""UPDATE carillon.webhook_endpoints SET {", ".join(sets)}
        WHERE tenant_id = $1 AND id = $2 RETURNING {_COLUMNS}""",
        *values,
    )
    if row is not None and enabled is False:
        await connection.execute("SELECT carillon.give_up_webhooks($1)", endpoint)
    return Endpoint.model_validate(dict(row)) if row else None


async def remove(connection: Connection, *, tenant_id: int, endpoint: UUID) -> bool:
    """Remove an endpoint with its messages; return whether there was one."""
    tag = await connection.execute(
        "DELETE FROM carillon.webhook_endpoints WHERE tenant_id = $1 AND id = $2", tenant_id, endpoint
    )
    return tag == "DELETE 1"


async def rotate(connection: Connection, *, tenant_id: int, endpoint: UUID, secret: str) -> datetime | None:
    """Give an endpoint a new secret; return until when the old one is good, None for no endpoint."""
    until: datetime | None = await connection.fetchval(
        "SELECT carillon.rotate_webhook_secret($1, $2, $3)", tenant_id, endpoint, secret
    )
    return until


async def recover(connection: Connection, *, tenant_id: int, endpoint: UUID, since: datetime) -> int:
    """Have failed messages posted again; return how many."""
    tag = await connection.execute(_RECOVER, tenant_id, endpoint, since)
    return int(tag.split()[-1])


async def add_test_message(connection: Connection, *, tenant_id: int, endpoint: UUID) -> UUID | None:
    """Have a message of the type `test` posted; None when there is no such endpoint, or it is disabled."""
    payload = {"type": "test", "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"), "data": {}}
    message: UUID | None = await connection.fetchval(
        _ADD_MESSAGE, tenant_id, endpoint, "test", json.dumps(payload)
    )
    return message


async def messages(
    connection: Connection,
    *,
    tenant_id: int,
    endpoint: UUID,
    status: str | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
) -> list[WebhookMessage]:
    """Return messages to an endpoint, newest first."""
    moment, last = before or (None, None)
    rows = await connection.fetch(_MESSAGES, tenant_id, endpoint, status, moment, last, limit)
    return [WebhookMessage.model_validate(dict(row)) for row in rows]

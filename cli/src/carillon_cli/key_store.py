"""API keys in the database, reached directly as the schema's owner: who has no key yet cannot ask the API."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from carillon_shared.credentials import ApiKeyText, hash_secret, make_api_key

from carillon_cli.failures import CommandError, NothingMatchedError, NotReachableError, describe

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

_SECONDS = 10.0


async def create_key(
    url: str,
    *,
    tenant: str,
    scopes: Sequence[str],
    pepper: bytes,
    name: str = "",
    create_tenant: bool = False,
) -> ApiKeyText:
    """Store a new key and return it; only its hash is kept.

    Raises:
        NothingMatchedError: when there is no such tenant and none is to be made.
        NotReachableError: when the database does not answer.
    """
    key = make_api_key()
    async with _connection(url) as connection, connection.transaction():
        if create_tenant:
            await connection.execute(
                "INSERT INTO carillon.tenants (slug, name) VALUES ($1, $2) ON CONFLICT (slug) DO NOTHING",
                tenant,
                tenant.replace("-", " ").capitalize(),
            )
        tenant_id = await connection.fetchval("SELECT id FROM carillon.tenants WHERE slug = $1", tenant)
        if tenant_id is None:
            raise NothingMatchedError(f"There is no tenant {tenant!r}; `--create-tenant` makes it.")
        await connection.execute(
            "INSERT INTO carillon.api_keys (id, tenant_id, name, secret_hash, scopes)"
            " VALUES ($1, $2, $3, $4, $5)",
            key.id,
            tenant_id,
            name,
            hash_secret(key.secret, pepper=pepper),
            list(dict.fromkeys(scopes)),
        )
    return key


async def revoke_key(url: str, key_id: str) -> None:
    """Revoke a key; the API forgets it within seconds.

    Raises:
        NothingMatchedError: when there is no such key, or it was revoked before.
        NotReachableError: when the database does not answer.
    """
    async with _connection(url) as connection:
        done = await connection.execute(
            "UPDATE carillon.api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", key_id
        )
    if done != "UPDATE 1":
        raise NothingMatchedError(f"There is no key {key_id!r} in use.")


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator["Connection"]:
    try:
        connection = await asyncpg.connect(url, timeout=_SECONDS, command_timeout=_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise NotReachableError(f"The database does not answer: {describe(error)}") from error
    try:
        yield connection
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise CommandError("The database has no tables yet: run `carillon db migrate`.") from error
    except asyncpg.CheckViolationError as error:
        raise CommandError(f"The database refuses this: {error}") from error
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as error:
        raise NotReachableError(f"The database went away: {describe(error)}") from error
    finally:
        await connection.close(timeout=_SECONDS)

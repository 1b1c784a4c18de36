import pytest
from carillon_cli.failures import CommandError, NothingMatchedError
from carillon_cli.key_store import create_key, revoke_key
from carillon_shared.credentials import secret_matches
from support.migrated import MigratedDatabase
from support.services import PostgresService

PEPPER = b"a pepper that only tests know, 32 characters"
OWNER = "carillon_owner"


async def _found(migrated: MigratedDatabase, key_id: str) -> object:
    pool = await migrated.pool("carillon_api", max_size=1)
    try:
        return await pool.fetchrow("SELECT * FROM carillon.find_api_key($1)", key_id)
    finally:
        await pool.close()


async def test_a_new_key_is_found_by_the_api_and_only_its_hash_is_kept(migrated: MigratedDatabase) -> None:
    url = migrated.url(OWNER)
    key = await create_key(
        url, tenant="acme", scopes=["operator", "events:read"], pepper=PEPPER, create_tenant=True
    )
    found = await _found(migrated, key.id)
    assert isinstance(found, object)
    row = dict(found)  # type: ignore[call-overload]  # a record of the driver
    assert (row["tenant"], row["scopes"]) == ("acme", ["operator", "events:read"])
    assert secret_matches(key.secret, row["secret_hash"], pepper=PEPPER)
    assert not secret_matches(key.secret, row["secret_hash"], pepper=b"another")


async def test_a_tenant_is_made_once_and_only_when_asked_for(migrated: MigratedDatabase) -> None:
    url = migrated.url(OWNER)
    with pytest.raises(NothingMatchedError, match="create-tenant"):
        await create_key(url, tenant="acme", scopes=["operator"], pepper=PEPPER)
    for _ in range(2):
        await create_key(url, tenant="acme", scopes=["operator"], pepper=PEPPER, create_tenant=True)
    pool = await migrated.pool(OWNER, max_size=1)
    assert await pool.fetchval("SELECT count(*) FROM carillon.tenants") == 1
    assert await pool.fetchval("SELECT count(*) FROM carillon.api_keys") == 2
    await pool.close()


async def test_a_revoked_key_is_not_found_and_cannot_be_revoked_again(migrated: MigratedDatabase) -> None:
    url = migrated.url(OWNER)
    key = await create_key(url, tenant="acme", scopes=["operator"], pepper=PEPPER, create_tenant=True)
    await revoke_key(url, key.id)
    assert await _found(migrated, key.id) is None
    with pytest.raises(NothingMatchedError):
        await revoke_key(url, key.id)


async def test_a_database_without_tables_is_a_sentence(postgres: PostgresService, database: str) -> None:
    with pytest.raises(CommandError, match="carillon db migrate"):
        await revoke_key(postgres.url(OWNER, database), "abcdefgh")


async def test_a_name_that_is_no_tenants_is_a_sentence(migrated: MigratedDatabase) -> None:
    with pytest.raises(CommandError, match="refuses"):
        await create_key(
            migrated.url(OWNER), tenant="Not A Name", scopes=["operator"], pepper=PEPPER, create_tenant=True
        )

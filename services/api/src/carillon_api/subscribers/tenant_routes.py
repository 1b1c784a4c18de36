"""`/v1/tenant`: what holds for the whole tenant."""

from typing import Annotated

from carillon_shared.db.pool import Connection, tenant_transaction
from fastapi import APIRouter, Depends

from carillon_api.authentication.callers import ApiKey
from carillon_api.dependencies import require_scope
from carillon_api.dry_run import DryRun, writing
from carillon_api.subscribers.models import Origins
from carillon_api.subscribers.people import Parts
from carillon_api.subscribers.tenant_defaults import FrequencyCaps, TenantDefaults

router = APIRouter(prefix="/v1/tenant", tags=["Tenant"])

Registrar = Annotated[ApiKey, Depends(require_scope("registry:write"))]


@router.get("/origins")
async def get_origins(caller: Registrar, services: Parts) -> Origins:
    """Return the origins whose pages may call recipient routes."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return Origins(origins=await connection.fetchval("SELECT origins FROM carillon.tenants"))


@router.put("/origins")
async def put_origins(body: Origins, caller: Registrar, services: Parts, dry_run: DryRun) -> Origins:
    """Replace the origins whose pages may call recipient routes. Other replicas follow within seconds."""
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        await connection.execute("UPDATE carillon.tenants SET origins = $1", body.origins)
    services.tenants.forget(caller.tenant)
    return body


@router.get("/defaults")
async def get_defaults(caller: Registrar, services: Parts) -> TenantDefaults:
    """Return what holds where a person or an event type says nothing."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return await _defaults(connection)


@router.put("/defaults")
async def put_defaults(
    body: TenantDefaults, caller: Registrar, services: Parts, dry_run: DryRun
) -> TenantDefaults:
    """Replace what holds where a person or an event type says nothing."""
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        await connection.execute(
            """UPDATE carillon.tenants SET
                   default_locale = $1, default_time_zone = $2, sender_name = $3, sender_address = $4,
                   reply_to = $5, disabled_channels = $6::text[]::carillon.channel[], preferences = $7,
                   brand = $8, frequency_caps = $9""",
            body.locale,
            body.time_zone,
            body.sender_name,
            body.sender_address,
            body.reply_to,
            [channel.value for channel in body.disabled_channels],
            body.preferences.model_dump(mode="json", exclude_defaults=True),
            body.brand,
            body.frequency_caps.stored(),
        )
    return body


async def _defaults(connection: Connection) -> TenantDefaults:
    row = await connection.fetchrow(
        """SELECT default_locale AS locale, default_time_zone AS time_zone, sender_name, sender_address,
                  reply_to, disabled_channels::text[], preferences, brand, frequency_caps
           FROM carillon.tenants"""
    )
    assert row is not None  # noqa: S101 - the caller's key belongs to it
    return TenantDefaults.model_validate({**row, "frequency_caps": FrequencyCaps.read(row["frequency_caps"])})

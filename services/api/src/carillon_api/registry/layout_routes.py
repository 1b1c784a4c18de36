"""`/v1/tenant/layouts`: what stands around every mail, by language."""

from typing import Annotated

from carillon_shared.content import lint_layout
from carillon_shared.db.pool import tenant_transaction
from fastapi import APIRouter, Path

from carillon_api.dry_run import DryRun, writing
from carillon_api.errors import invalid, not_found
from carillon_api.problem_responses import problems
from carillon_api.registry import layout_storage as storage
from carillon_api.registry.layout_storage import Layout, LayoutBody, Layouts
from carillon_api.registry.routes import Parts, Registrar

router = APIRouter(prefix="/v1/tenant/layouts", tags=["Tenant"])

Locale = Annotated[
    str, Path(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=35, examples=["en", "mn-MN"])
]


@router.get("", operation_id="listLayouts", responses=problems())
async def list_layouts(caller: Registrar, services: Parts) -> Layouts:
    """List the layouts of mails."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return Layouts(data=await storage.layouts(connection))


@router.put("/{locale}", operation_id="putLayout", responses=problems())
async def put_layout(
    locale: Locale, body: LayoutBody, caller: Registrar, services: Parts, dry_run: DryRun
) -> Layout:
    """Store what stands around every mail in this language, used from now on.

    A template whose HTML is a whole document, or that says `"layout": false`, is sent without it.
    """
    wrong = lint_layout(body.model_dump())
    if wrong:
        raise invalid([{"pointer": each.pointer, "detail": each.detail} for each in wrong])
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        return await storage.put_layout(connection, body, tenant_id=caller.tenant_id, locale=locale)


@router.get("/{locale}", operation_id="getLayout", responses=problems(404))
async def get_layout(locale: Locale, caller: Registrar, services: Parts) -> Layout:
    """Return one layout."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = [each for each in await storage.layouts(connection) if each.locale == locale]
    if not found:
        raise not_found("layout")
    return found[0]


@router.delete("/{locale}", operation_id="deleteLayout", status_code=204, responses=problems(404))
async def delete_layout(locale: Locale, caller: Registrar, services: Parts) -> None:
    """Delete a layout: mail in this language then has that of the tenant's own, if there is one."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        if not await storage.delete_layout(connection, locale):
            raise not_found("layout")

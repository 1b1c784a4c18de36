"""`/v1/event-types/{type}/templates`: what is said, per channel and language."""

# ruff: noqa: FAST003 - `template_key` reads the parts of the path

from collections.abc import Mapping
from typing import Annotated, Any

from carillon_shared.content import ContentError, lint_template, preview, with_layouts
from carillon_shared.db.pool import Connection, tenant_transaction
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import Recipient
from fastapi import APIRouter, Body, Depends, Path
from pydantic import AfterValidator

from carillon_api.dry_run import DryRun, writing
from carillon_api.errors import FieldError, Problem, invalid, not_found
from carillon_api.paging import DEFAULT_LIMIT, Limit
from carillon_api.registry import template_storage as storage
from carillon_api.registry.layout_storage import list_layouts
from carillon_api.registry.routes import Parts, Registrar, TypeName, unknown_type
from carillon_api.registry.template_models import (
    Preview,
    PreviewBody,
    SamplePerson,
    TemplateVersion,
    TemplateVersions,
)
from carillon_api.registry.template_storage import TemplateKey
from carillon_api.written import check_storable

router = APIRouter(prefix="/v1/event-types/{event_type}/templates", tags=["Registry"])

Locale = Annotated[
    str, Path(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$", max_length=35, examples=["en", "mn-MN"])
]
Content = Annotated[
    dict[str, Any],
    AfterValidator(check_storable),
    Body(examples=[{"title": "Ticket {{ data.ticket_id }} is {{ data.new_status }}", "body": "..."}]),
]


def template_key(event_type: TypeName, channel: Channel, locale: Locale) -> TemplateKey:
    """Return which template the path names."""
    return TemplateKey(event_type, channel, locale)


Key = Annotated[TemplateKey, Depends(template_key)]


@router.get("")
async def list_templates(event_type: TypeName, caller: Registrar, services: Parts) -> TemplateVersions:
    """List the newest version of each template of an event type."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        return TemplateVersions(data=await storage.list_current(connection, event_type))


@router.put("/{channel}/{locale}")
async def put_template(
    key: Key, content: Content, caller: Registrar, services: Parts, dry_run: DryRun
) -> TemplateVersion:
    """Store a new version, used from now on. Mistakes in it are named by JSON pointers (422)."""
    _check_content(key.channel, content)
    async with writing(services.pool, caller.tenant_id, dry_run=dry_run) as connection:
        version = await storage.put_template(connection, tenant_id=caller.tenant_id, key=key, content=content)
    if version is None:
        raise unknown_type()
    return version


@router.get("/{channel}/{locale}")
async def list_versions(
    key: Key, caller: Registrar, services: Parts, limit: Limit = DEFAULT_LIMIT
) -> TemplateVersions:
    """List the versions of one template, newest first."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        versions = await storage.list_versions(connection, key, limit=limit)
    if not versions:
        raise not_found("template")
    return TemplateVersions(data=versions)


@router.delete("/{channel}/{locale}", status_code=204)
async def delete_template(key: Key, caller: Registrar, services: Parts) -> None:
    """Delete a template with all its versions."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        found = await storage.delete_template(connection, key)
    if not found:
        raise not_found("template")


@router.post("/{channel}/{locale}/preview")
async def preview_template(key: Key, body: PreviewBody, caller: Registrar, services: Parts) -> Preview:
    """Render a template with this data, as sending would. What is wrong with it is a 422."""
    async with tenant_transaction(services.pool, caller.tenant_id) as connection:
        content = await _content(connection, key, body)
        tenant = await storage.tenant_profile(connection)
        recipient = await _recipient(connection, body.subscriber, key.locale)
        layouts = await list_layouts(connection) if key.channel is Channel.EMAIL else {}
    try:
        rendered = preview(
            channel=key.channel,
            locale=key.locale,
            content=with_layouts({key.locale: content}, layouts, tenant.default_locale)[key.locale],
            event_type=key.type,
            data=body.data,
            tenant=tenant,
            recipient=recipient,
        )
    except ContentError as error:
        raise _cannot_render(error, at="/content" if body.content is not None else "") from error
    return Preview(rendered=rendered)


async def _content(connection: Connection, key: TemplateKey, body: PreviewBody) -> Mapping[str, Any]:
    if body.content is not None:
        _check_content(key.channel, body.content, at="/content")
        return body.content
    versions = await storage.list_versions(connection, key, limit=1_000 if body.version else 1)
    for each in versions:
        if body.version in {None, each.version}:
            return each.content
    raise not_found("template")


async def _recipient(connection: Connection, subscriber: SamplePerson | str | None, locale: str) -> Recipient:
    if isinstance(subscriber, str):
        found = await storage.find_recipient(connection, subscriber)
        if found is None:
            raise invalid([{"pointer": "/subscriber", "detail": "is not registered"}])
        return found
    person = subscriber or SamplePerson()
    return Recipient(
        id=person.id,
        number=0,
        email=person.email,
        phone=person.phone,
        locale=person.locale or locale,
        time_zone=person.time_zone,
        attributes=person.attributes,
    )


def _check_content(channel: Channel, content: Mapping[str, Any], *, at: str = "") -> None:
    problems = lint_template(channel, content)
    if problems:
        raise invalid([{"pointer": at + each.pointer, "detail": each.detail} for each in problems])


def _cannot_render(error: ContentError, *, at: str) -> Problem:
    fault = [FieldError(pointer=at + error.pointer, detail=error.detail)] if error.pointer else []
    return Problem(
        "template-error",
        "The template cannot be rendered.",
        422,
        error.detail,
        errors=fault,
        reason=error.reason,
    )
